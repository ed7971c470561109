//! Plugin code whose panics are faults: while it is called, while its future is polled, and when that is dropped.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use plugin_api::{Fault, FaultKind};

/// A plugin's call under way.
pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Calls plugin code; a panic becomes a fault. The caller throws away whatever the call had changed by then.
pub(super) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| panicked(&*payload))
}

/// Makes a call that has to be awaited; panics become faults.
pub(crate) async fn caught_call<'a, T>(start: impl FnOnce() -> Call<'a, T>) -> Result<T, Fault> {
    match caught(start) {
        Ok(call) => Caught::new(call).await,
        Err(fault) => Err(fault),
    }
}

fn panicked(payload: &(dyn Any + Send)) -> Fault {
    let text = match payload.downcast_ref::<&'static str>() {
        Some(text) => Some((*text).to_owned()),
        None => payload.downcast_ref::<String>().cloned(),
    };
    Fault::new(
        FaultKind::Panic,
        text.unwrap_or_else(|| "without a message".to_owned()),
    )
}

/// A plugin's future whose panics are faults, also those of its destructor when it is cancelled.
pub(super) struct Caught<'a, T>(Option<Call<'a, T>>);

impl<T> Future for Caught<'_, T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.0.as_mut().expect("a future isn't polled after it is ready");
        let ready = match caught(|| call.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(fault) => Err(fault),
        };
        let dropped = self.cancel();
        Poll::Ready(ready.and_then(|value| dropped.map(|()| value)))
    }
}

impl<'a, T> Caught<'a, T> {
    pub(super) const fn new(call: Call<'a, T>) -> Self {
        Self(Some(call))
    }

    fn cancel(&mut self) -> Result<(), Fault> {
        let call = self.0.take();
        caught(|| drop(call))
    }
}

impl<T> Drop for Caught<'_, T> {
    fn drop(&mut self) {
        if let Err(fault) = self.cancel() {
            tracing::warn!(
                fault = fault.kind.as_str(),
                "cancelling a plugin's call: {}",
                fault.text
            );
        }
    }
}
