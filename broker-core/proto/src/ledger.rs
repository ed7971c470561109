//! A count of bytes that are kept, whoever keeps them and whoever lets go of them last. A message that waits for a
//! thousand Sessions is entered once.
//!
//! Cost: four atomic operations on one cache line for each message that is kept at all; a message that only passes through
//! is never entered.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Where bytes are entered. Cloning gives the same ledger; an engine has one for each of its threads.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Total>);

/// In a cache line of its own: it is written by one thread much more than by the others.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Total(AtomicUsize);

impl Ledger {
    /// Returns an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Makes `bytes` shared; they are entered until the last reference is gone.
    #[must_use]
    pub fn share(&self, bytes: Vec<u8>) -> Bytes {
        let entered = bytes.capacity() + size_of::<Shared>();
        self.enter(entered);
        Bytes::from_owner(Shared {
            bytes,
            entered,
            ledger: self.clone(),
        })
    }

    pub(crate) fn enter(&self, bytes: usize) {
        self.0.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self, bytes: usize) {
        self.0.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct Shared {
    bytes: Vec<u8>,
    entered: usize,
    ledger: Ledger,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.ledger.leave(self.entered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bytes_are_entered_once_until_the_last_reference_goes() {
        let ledger = Ledger::new();
        let bytes = ledger.share(vec![1; 1000]);
        let entered = ledger.bytes();
        assert!((1000..1100).contains(&entered), "{entered}");
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(ledger.bytes(), entered);
        drop(part);
        assert_eq!(ledger.bytes(), 0);
    }
}
