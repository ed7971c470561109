//! Work that would hold up a worker: hashing a password, reading a file.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{Fault, FaultKind, Host};

/// Runs `job` on the broker's bounded pool for blocking work and returns its result.
///
/// # Errors
/// A `Backend` fault at once when the pool's queue is full, a `Panic` fault when the job panicked.
pub async fn run_blocking<T: Send + 'static>(
    host: &dyn Host,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let slot = Arc::new(Mutex::new(Slot {
        value: None,
        waker: None,
        gone: false,
    }));
    let sender = Sender(slot.clone());
    host.spawn_blocking(Box::new(move || {
        let value = job();
        lock(&sender.0).value = Some(value);
    }))?;
    Receiver(slot).await
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    gone: bool,
}

/// Wakes the receiver when it is dropped, with or without a value.
struct Sender<T>(Arc<Mutex<Slot<T>>>);

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.0);
            slot.gone = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Receiver<T>(Arc<Mutex<Slot<T>>>);

impl<T> Future for Receiver<T> {
    type Output = Result<T, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if slot.gone {
            return Poll::Ready(Err(Fault::new(FaultKind::Panic, "a blocking job panicked")));
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> std::sync::MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
