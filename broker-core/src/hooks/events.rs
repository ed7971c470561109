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
use super::{Guard, Instance, UseState};
use crate::chain::{Hook, Use, address};

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
    /// Counts failed calls. Not that of a use: the queue outlives it, and a plugin that can't take notes may still decide.
    state: Arc<UseState>,
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

    /// Returns the queue of the plugin of `used`. The first use that asks sets its name and deadline.
    pub(super) fn queue(&self, used: &Use, instance: &Instance, hook: &Arc<dyn Events>) -> EventQueue {
        let plugin = &instance.plugin;
        let mut queues = self.lock();
        queues.known.retain(|(_, queue)| queue.strong_count() > 0);
        let mut known = queues.known.iter().filter(|(known, _)| *known == address(plugin));
        if let Some(queue) = known.find_map(|(_, queue)| queue.upgrade()) {
            return EventQueue(queue);
        }
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let state = Arc::new(UseState::new(used, instance, 0));
        let (hook, guard) = (hook.clone(), Guard::new(Hook::Events, used, state.clone()));
        let queue = Arc::new(Queue {
            sender,
            dropped: AtomicU64::new(0),
            state,
            _plugin: plugin.clone(),
        });
        queues.known.push((address(plugin), Arc::downgrade(&queue)));
        queues
            .runners
            .push(Box::pin(tell(Slot { hook, guard }, receiver)));
        EventQueue(queue)
    }

    /// Waits until `plugin` has taken all events that were pushed before; what it was told last may still be under way.
    pub(crate) async fn taken(&self, plugin: &Arc<dyn Plugin>) {
        let known = {
            let queues = self.lock();
            let mut known = queues.known.iter().filter(|(known, _)| *known == address(plugin));
            known.find_map(|(_, queue)| queue.upgrade())
        };
        if let Some(queue) = known {
            // An error means that nobody takes anything any more.
            let _ = queue.sender.reserve_many(QUEUE_MAX).await;
        }
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
    targets: Vec<Target>,
}

#[derive(Clone)]
struct Target {
    mask: EventMask,
    queue: EventQueue,
    /// Where the plugin stands in its chain.
    position: usize,
}

/// What became of a plugin's events, in whatever chain it stands.
pub(super) struct Told {
    /// Where the plugin stands in this chain.
    pub(super) position: usize,
    /// Events lost because it was too slow.
    pub(super) dropped: u64,
    /// Batches that it failed to take.
    pub(super) failed: u64,
}

impl EventSink {
    /// Returns a sink for what concerns no listener: the plugins of all these, each once.
    pub(crate) fn union<'a>(sinks: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for target in sinks.into_iter().flat_map(|sink| &sink.targets) {
            union.add(target.queue.clone(), target.mask, target.position);
        }
        union
    }

    /// Tells whether somebody wants events of this kind.
    pub(crate) const fn wants(&self, kind: EventKind) -> bool {
        self.mask.contains(kind)
    }

    /// Hands `event` to those who want it. Never waits.
    pub(crate) fn push(&self, event: Event) {
        let kind = event.kind;
        let mut wanting = self.targets.iter().filter(|target| target.mask.contains(kind));
        let Some(first) = wanting.next() else {
            return;
        };
        for target in wanting {
            target.queue.push(event.clone());
        }
        first.queue.push(event);
    }

    /// Returns what became of each plugin's events.
    pub(super) fn told(&self) -> impl Iterator<Item = Told> {
        self.targets.iter().map(|target| Told {
            position: target.position,
            dropped: target.queue.0.dropped.load(Ordering::Relaxed),
            failed: target.queue.0.state.faults().map(|(_, count)| count).sum(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn add(&mut self, queue: EventQueue, mask: EventMask, position: usize) {
        self.mask = self.mask.union(mask);
        let mut known = self.targets.iter_mut();
        match known.find(|known| Arc::ptr_eq(&known.queue.0, &queue.0)) {
            Some(known) => known.mask = known.mask.union(mask),
            None => self.targets.push(Target {
                mask,
                queue,
                position,
            }),
        }
    }
}

impl EventQueue {
    fn push(&self, event: Event) {
        if self.0.sender.try_send(event).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
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
