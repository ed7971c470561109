//! The end of a broker, in order and within its time, and what it has to say about that.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::engine::core::Core;
use crate::engine::shard::{Job, Shard};
use crate::reload::Order;
use crate::start::Running;

/// How much later than planned a thread may be before it is given up: a plugin blocks it.
const GRACE: Duration = Duration::from_secs(5);

/// What an orderly end waited for, and what it left behind when its time was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Connections that there were.
    pub connections: usize,
    /// Connections that didn't end in time and were cut.
    pub cut: usize,
    /// Messages that waited for a bridge and were not carried out in time. They are lost.
    pub not_bridged: u64,
    /// Plugins that didn't stop in time.
    pub late_plugins: Vec<Arc<str>>,
    /// Changes that were not durable in time: as if the broker had been killed.
    pub not_durable: usize,
    /// Threads of the broker that didn't end, since a plugin doesn't return. They go on until it does.
    pub stuck_threads: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Shutdown {
    /// Tells whether everybody ended in time and nothing is lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let left = self.cut + self.late_plugins.len() + self.not_durable + self.stuck_threads.len();
        left == 0 && self.not_bridged == 0
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.connections.saturating_sub(self.cut);
        write!(f, "connections ended in order: {ended}")?;
        if self.cut > 0 {
            write!(f, ", cut: {}", self.cut)?;
        }
        if self.not_bridged > 0 {
            write!(f, ", messages for bridges lost: {}", self.not_bridged)?;
        }
        if self.not_durable > 0 {
            write!(f, ", changes not durable: {}", self.not_durable)?;
        }
        for plugin in &self.late_plugins {
            write!(f, ", plugin `{plugin}` didn't stop in time")?;
        }
        for thread in &self.stuck_threads {
            write!(f, ", thread `{thread}` is blocked by a plugin")?;
        }
        write!(f, "; took {:?}", self.took)
    }
}

impl Running {
    /// Stops in order: clients, bridges and the store within `deadline`, then plugins within as long again.
    pub(crate) async fn stop(mut self, deadline: Duration) -> Shutdown {
        let began = Instant::now();
        let (done, stopped) = oneshot::channel();
        let core = self.core.clone();
        let job: Job = Box::new(move |_: &Rc<Shard>| {
            tokio::task::spawn_local(async move {
                // Whoever asked may have gone.
                let _ = done.send(wind_up(&core, deadline).await);
            });
        });
        let mut late = std::pin::pin!(after(deadline * 2 + GRACE));
        let wound_up = async {
            match self.core.jobs[0].send(job).await {
                Ok(()) => stopped.await.unwrap_or_default(),
                Err(_) => Shutdown::default(),
            }
        };
        let mut shutdown = tokio::select! {
            shutdown = wound_up => shutdown,
            () = &mut late => Shutdown {
                cut: self.core.connections.load(Ordering::Acquire),
                ..Shutdown::default()
            },
        };
        self.core.end.send_replace(true);
        let mut ended = std::pin::pin!(after(GRACE));
        for mut shard in std::mem::take(&mut self.shards) {
            tokio::select! {
                biased;
                // An error is as good: the thread has ended, by a panic.
                _ = &mut shard.ended => shard.join(),
                () = &mut ended => shutdown.stuck_threads.push(shard.name()),
            }
        }
        if let Some(store) = self.store.take().filter(|_| shutdown.stuck_threads.is_empty()) {
            // Its panic was reported when it happened.
            let _ = store.join();
        }
        // With a thread stuck the store may still be asked.
        if let Some(keeper) = self.keeper.take().filter(|_| shutdown.stuck_threads.is_empty()) {
            let name = keeper.name();
            tokio::select! {
                () = keeper.stop(deadline) => {}
                () = after(deadline + GRACE) => shutdown.late_plugins.push(name),
            }
        }
        shutdown.took = began.elapsed();
        shutdown
    }
}

/// Has everybody end who can, on a shard.
async fn wind_up(core: &Arc<Core>, deadline: Duration) -> Shutdown {
    let until = tokio::time::Instant::now() + deadline;
    let connections = core.connections.load(Ordering::Acquire);
    core.stop();
    let cut = core.drained(until).await;
    let not_bridged = core.bridges_drained(until).await;
    let mut not_durable = 0;
    if let Some(journal) = &core.journal {
        let settled = tokio::time::timeout_at(until, journal.settled()).await;
        if settled != Ok(true) {
            not_durable = core.gauges().store_pending;
        }
    }
    let (told, plugins_stopped) = oneshot::channel();
    // Without a steward no plugin runs.
    let late_plugins = match core.orders.send(Order::Stop(deadline, told)).await {
        Ok(()) => plugins_stopped.await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    Shutdown {
        connections,
        cut,
        not_bridged,
        late_plugins,
        not_durable,
        ..Shutdown::default()
    }
}

/// Resolves after some time, on any runtime or none, also when all shards are blocked.
async fn after(time: Duration) {
    let (over, rung) = oneshot::channel();
    // Its other end is dropped with this future, and the thread ends.
    let (_waiting, gone) = sync_channel::<()>(0);
    let watch = move || {
        if gone.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            // Whoever waited may have gone.
            let _ = over.send(());
        }
    };
    let spawned = std::thread::Builder::new()
        .name("jackfield-end".into())
        .spawn(watch);
    match spawned {
        Ok(_) => _ = rung.await,
        // Without a thread there is no time to keep.
        Err(_) => std::future::pending().await,
    }
}
