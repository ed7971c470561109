//! Telling plugins what happened, off the path of messages: a bounded queue and a task for each plugin, in whatever chains
//! it stands. Whoever is too slow loses events, which is counted; nobody waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use plugin_api::{Event, EventKind, EventMask, Events, Plugin};
use tokio::sync::mpsc;

use super::chain::Slot;
use super::guard::unchecked;
use super::{Guard, UseState};
use crate::chain::address;

/// Events that wait for one plugin.
const QUEUE_MAX: usize = 8_192;
/// Events that one call tells.
const BATCH_MAX: usize = 256;

/// Drains one plugin's queue until no chain feeds it any more.
pub(crate) type Runner = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The queues of a broker's plugins. A plugin that is in several chains, or in a chain that was compiled again, keeps its
/// one queue, and with it the order of what it is told.
#[derive(Default)]
pub(crate) struct EventHub(Mutex<Queues>);

#[derive(Default)]
struct Queues {
    known: Vec<(usize, Weak<Queue>)>,
    runners: Vec<Runner>,
}

/// The sending half of a plugin's queue. The last chain that drops it ends the runner.
struct Queue {
    sender: mpsc::Sender<Event>,
    dropped: AtomicU64,
    /// The use that came first; faults are counted there.
    first: Arc<UseState>,
    /// Keeps the plugin's address from being used again while it stands in the hub.
    _plugin: Arc<dyn Plugin>,
}

impl EventHub {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns what has to be spawned since the last call: one future for each plugin that wants events. Each ends when no
    /// chain has its plugin any more and all is told.
    pub(crate) fn take_runners(&self) -> Vec<Runner> {
        std::mem::take(&mut self.lock().runners)
    }

    /// Returns the queue of `plugin`. `guard` is that of the use that came first.
    pub(super) fn queue(&self, plugin: &Arc<dyn Plugin>, hook: Arc<dyn Events>, guard: Guard) -> EventQueue {
        let mut queues = self.lock();
        queues.known.retain(|(_, queue)| queue.strong_count() > 0);
        let mut known = queues.known.iter().filter(|(known, _)| *known == address(plugin));
        if let Some(queue) = known.find_map(|(_, queue)| queue.upgrade()) {
            return EventQueue(queue);
        }
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let queue = Arc::new(Queue {
            sender,
            dropped: AtomicU64::new(0),
            first: guard.state().clone(),
            _plugin: plugin.clone(),
        });
        queues.known.push((address(plugin), Arc::downgrade(&queue)));
        queues
            .runners
            .push(Box::pin(tell(Slot { hook, guard }, receiver)));
        EventQueue(queue)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plugin's queue, as a chain holds it.
#[derive(Clone)]
pub(super) struct EventQueue(Arc<Queue>);

/// Where events go: the queues of all plugins of a chain that want some.
#[derive(Clone, Default)]
pub(crate) struct EventSink {
    mask: EventMask,
    queues: Vec<(EventMask, EventQueue)>,
}

impl EventSink {
    /// Returns a sink for what concerns no listener: the plugins of all these, each once.
    pub(crate) fn union<'a>(sinks: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for (mask, queue) in sinks.into_iter().flat_map(|sink| &sink.queues) {
            union.add(queue.clone(), *mask);
        }
        union
    }

    /// Returns the kinds that somebody wants. Other events need not be made.
    pub(crate) const fn mask(&self) -> EventMask {
        self.mask
    }

    /// Tells whether somebody wants events of this kind.
    pub(crate) const fn wants(&self, kind: EventKind) -> bool {
        self.mask.contains(kind)
    }

    /// Hands `event` to those who want it. Never waits.
    pub(crate) fn push(&self, event: Event) {
        let kind = event.kind;
        let mut wanting = self.queues.iter().filter(|(mask, _)| mask.contains(kind));
        let Some((_, first)) = wanting.next() else {
            return;
        };
        for (_, queue) in wanting {
            queue.0.push(event.clone());
        }
        first.0.push(event);
    }

    /// Returns how many events were lost because their plugin was too slow. Failed calls are counted by the use, too.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = (&UseState, u64)> {
        let queues = self.queues.iter().map(|(_, EventQueue(queue))| queue);
        queues.map(|queue| (&*queue.first, queue.dropped.load(Ordering::Relaxed)))
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(super) fn add(&mut self, queue: EventQueue, mask: EventMask) {
        self.mask = self.mask.union(mask);
        let mut known = self.queues.iter_mut();
        match known.find(|(_, known)| Arc::ptr_eq(&known.0, &queue.0)) {
            Some((before, _)) => *before = before.union(mask),
            None => self.queues.push((mask, queue)),
        }
    }
}

impl Queue {
    fn push(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells a plugin what comes in. A batch that it fails to take is lost; the guard counts and logs that.
async fn tell(slot: Slot<dyn Events>, mut receiver: mpsc::Receiver<Event>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let _told = slot.guard.run(|| slot.hook.notify(&batch), unchecked).await;
        batch.clear();
    }
}
