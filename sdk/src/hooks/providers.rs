//! What a plugin can be besides a link of a chain: the broker's store, a bridge.

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;

use crate::{Fault, MaybeSend, OwnedMessage};

/// How safe a commit is when it returns. Ordered: each promises more than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Applied; a stop of the process loses it.
    #[default]
    Memory,
    /// With the operating system; survives a kill of the process.
    Async,
    /// On the disk; survives a loss of power.
    Fsync,
    /// With a quorum of machines.
    Replicated,
}

/// What a store can do. Doesn't change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCaps {
    /// The strongest promise of its commits.
    pub strongest: Durability,
    /// Whether several brokers may use it at once.
    pub shared: bool,
    /// The largest batch in bytes.
    pub batch_bytes_max: u64,
    /// The largest value in bytes.
    pub value_bytes_max: u64,
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value from now on.
        value: Vec<u8>,
    },
    /// Removes a key; one that isn't there is no error.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Refuses the whole batch with [`StoreFault::Conflict`] unless the key holds exactly this.
    Expect {
        /// The key.
        key: Vec<u8>,
        /// What it must hold; `None`: it must be absent.
        value: Option<Vec<u8>>,
    },
}

/// Why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// An `Expect` of the batch didn't hold; nothing was written.
    Conflict,
    /// The store can't be reached now.
    Unavailable(String),
    /// The store takes no more writes.
    ReadOnly(String),
    /// A batch or value is larger than [`StoreCaps`] says.
    TooLarge,
    /// What was read is damaged.
    Corrupt(String),
}

/// A record of a store: key and value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Where Sessions, queues, Retained and Will Messages live: ordered records with atomic, durable batches. What they mean is the
/// broker's affair. `[store] engine = "INSTANCE"` makes an instance the broker's store.
///
/// **When:** `commit` when something must survive that isn't safe yet, one at a time; `scan` at start and for long queues; `get` rarely.
///
/// **May change:** nothing; values come back as they were put.
///
/// **On the wire:** nothing. Acknowledgements wait for the commits they depend on.
///
/// **On failure:** the broker stops acknowledging what must be durable; it never acknowledges what wasn't committed.
///
/// **Cost:** off the path of messages that nobody has to keep.
pub trait SessionStore {
    /// Returns what the store can do. Asked once, after `create`.
    fn caps(&self) -> StoreCaps;

    /// Applies `batch` in order, all or nothing, and returns when it is as durable as `want`.
    ///
    /// # Errors
    /// Nothing of the batch was applied.
    fn commit(
        &self,
        batch: &[StoreOp],
        want: Durability,
    ) -> impl Future<Output = Result<(), StoreFault>> + MaybeSend;

    /// Returns the value of `key`.
    ///
    /// # Errors
    /// It can't be read.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, StoreFault>> + MaybeSend;

    /// Returns records whose keys begin with `prefix`, in key order, behind the key `after`, at most `max`.
    ///
    /// # Errors
    /// They can't be read.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreFault>> + MaybeSend;
}

/// Carries messages to another system and back. The broker queues and retries; a bridge only carries. `[[bridges]]` name the instance.
///
/// **When:** `egress` when messages match the bridge's outgoing filters; `ingress` again and again, each call may wait for messages to come.
///
/// **May change:** nothing; mapping topics is the broker's affair.
///
/// **On the wire:** what comes in passes the chain that the bridge's block names.
///
/// **On failure:** the broker tries again with growing pauses, 100 ms to 30 s; messages wait in a bounded queue.
///
/// **Cost:** one task for each direction; messages in batches.
pub trait Bridge {
    /// Takes `batch` to the other side and returns how many of it, from its start, the other side has. The rest comes again.
    ///
    /// # Errors
    /// The other side has taken nothing.
    fn egress(&self, batch: &[OwnedMessage]) -> impl Future<Output = Result<usize, Fault>> + MaybeSend;

    /// Waits for messages from the other side. They are acknowledged there by the next call.
    ///
    /// # Errors
    /// The other side can't be reached.
    fn ingress(&self) -> impl Future<Output = Result<Vec<OwnedMessage>, Fault>> + MaybeSend;
}
