//! The one task that commits. It runs on a thread of its own, so that a store that takes its time holds up nobody but
//! those who wait for it. Groups are committed one after the other: while one is on its way, the next gathers.
//!
//! A store that is not available now is asked again, and everybody waits. Any other fault ends it: nothing becomes durable
//! any more and whoever waits is never told, so nothing is acknowledged that was not committed.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use plugin_api::{Durability, SessionStore, StoreFault, StoreOp};
use tokio::sync::oneshot;

use super::journal::{Batch, Group, Journal, Waiter};
use super::recovery::{Recovered, recover};
use super::refill::{refill, sweep};
use crate::engine::core::Core;

/// Pauses before an unavailable store is asked again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the store held, as soon as it has been read.
pub(crate) type Recovering = oneshot::Receiver<Result<Recovered, StoreFault>>;

/// Starts the thread. It first reads what the store holds and hands that on, then commits until the broker ends.
pub(crate) fn spawn(
    core: Arc<Core>,
    store: Arc<dyn SessionStore>,
    journal: Arc<Journal>,
) -> std::io::Result<(JoinHandle<()>, Recovering)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (done, recovered) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("jackfield-store".to_owned())
        .spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let mut end = core.end.subscribe();
                let work = async {
                    let result = recover(&core, &*store, &journal).await;
                    let failed = result.is_err();
                    // The starter may have been dropped; then the broker ends.
                    let _ = done.send(result);
                    if !failed {
                        write(&core, &store, &journal).await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = end.wait_for(|end| *end) => {}
                    () = work => {}
                }
            });
            drop(local);
            journal.fail();
        })?;
    Ok((thread, recovered))
}

/// Commits group after group until one fails for good.
async fn write(core: &Arc<Core>, store: &Arc<dyn SessionStore>, journal: &Arc<Journal>) {
    loop {
        let Batch {
            group,
            operations,
            want,
        } = journal.next_batch().await;
        if !operations.is_empty()
            && let Err(fault) = commit(&**store, &operations, want.min(journal.strongest)).await
        {
            tracing::error!(
                %fault,
                "the session store takes nothing any more: QoS 1 and 2 are not acknowledged where they must be durable, \
                 and persistent sessions are refused, until the broker is started again"
            );
            journal.fail();
            return;
        }
        for waiter in journal.committed(group) {
            tell(core, store, journal, group, waiter);
        }
    }
}

/// Commits one batch; waits for a store that isn't available.
async fn commit(store: &dyn SessionStore, batch: &[StoreOp], want: Durability) -> Result<(), StoreFault> {
    let mut pause = PAUSE_MIN;
    loop {
        match unpanicked(store.commit(batch, want)).await {
            Err(StoreFault::Unavailable(why)) => {
                tracing::warn!(%why, ?pause, "the session store is not available; acknowledgements wait");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            result => return result,
        }
    }
}

/// Makes a fault of a panic.
async fn unpanicked(call: impl Future<Output = Result<(), StoreFault>>) -> Result<(), StoreFault> {
    let mut call = pin!(call);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(StoreFault::ReadOnly("it panicked".to_owned()))))
    })
    .await
}

/// Tells somebody that `group` is durable.
fn tell(
    core: &Arc<Core>,
    store: &Arc<dyn SessionStore>,
    journal: &Arc<Journal>,
    group: Group,
    waiter: Waiter,
) {
    match waiter {
        Waiter::Acknowledgement {
            session,
            handle,
            token,
            reason,
        } => {
            if let Some(link) = session.lock().link_of(handle) {
                link.note().settled.push((token, reason));
                link.wake();
            }
        }
        Waiter::Output(session) => {
            if let Some(link) = session.lock().link.as_deref_mut() {
                link.staging.release(Some(group), &mut link.out);
                link.wake();
            }
        }
        // Whoever asked may have gone.
        Waiter::Task(done) => _ = done.send(()),
        Waiter::Refill(session) => {
            let (core, store) = (core.clone(), store.clone());
            tokio::task::spawn_local(async move { refill(&core, &*store, &session).await });
        }
        Waiter::Sweep(session) => {
            let (store, journal) = (store.clone(), journal.clone());
            tokio::task::spawn_local(async move { sweep(&*store, &journal, session).await });
        }
    }
}
