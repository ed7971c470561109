//! The broker's shared state, and what the broker does by itself once a tick.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use broker_proto::{Ledger, Stored};
use broker_types::{ClientHandle, ReasonCode, Timestamp, TopicName};
use plugin_api::{Durability, Event, EventKind, SessionStore};
use tokio::sync::{mpsc, watch};

use super::listener::{Entrance, ListenerState};
use super::registry::Registry;
use super::session::{Kick, Session};
use super::shard::{Job, Shard};
use super::timers::{Due, Timers};
use crate::blocking::BlockingPool;
use crate::bridge::{BridgeCounts, BridgeTable};
use crate::broker::Gauges;
use crate::clock::Clock;
use crate::hooks::{ChainSet, EventSink, HookMask, PluginCounts};
use crate::host::{PluginMetrics, PluginTimers};
use crate::metrics::{Counts, Level, ShardHolds, ShardMetrics};
use crate::reload::{Order, Reloads};
use crate::retained::Retained;
use crate::routing::Routes;
use crate::settings::Settings;
use crate::store::{Journal, Moment, PluginRecords, chunks_of, retained_key, retained_len};

/// Retained Messages that are let go of at a time when they have expired, and how often in a row.
const EXPIRED_AT_ONCE: usize = 256;
const EXPIRED_ROUNDS: usize = 16;
/// Jobs that may wait for a shard.
pub(crate) const JOBS: usize = 4096;

/// What all shards share.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    settings: ArcSwap<Settings>,
    /// Bytes that Sessions and messages may take, as the settings have it: looked at for every message.
    memory_max: AtomicI64,
    pub(crate) sessions: Registry,
    pub(crate) routes: Routes<Arc<Session>>,
    pub(crate) retained: Retained<Arc<Stored>>,
    pub(crate) timers: Timers,
    listeners: ArcSwap<Vec<Arc<ListenerState>>>,
    /// Where connections come in, in the order of the listeners.
    entrances: Mutex<Vec<Entrance>>,
    /// Orders for the steward.
    pub(crate) orders: mpsc::Sender<Order>,
    /// What reloads did.
    pub(crate) reloads: Reloads,
    pub(crate) metrics: Vec<Arc<ShardMetrics>>,
    /// Where kept messages are entered, one for each shard.
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) blocking: BlockingPool,
    pub(crate) plugin_timers: PluginTimers,
    pub(crate) plugin_metrics: PluginMetrics,
    /// The bridges there are.
    pub(crate) bridges: BridgeTable,
    /// What must become durable; `None`: the store survives nothing.
    pub(crate) journal: Option<Arc<Journal>>,
    /// What plugins keep.
    pub(crate) plugin_records: PluginRecords,
    /// Whoever changes a Retained Message in memory and in the journal, so that both end with the same one.
    retained_turn: Mutex<()>,
    /// What concerns all chains.
    chains: ArcSwap<AllChains>,
    /// A chain without plugins, for those who have none yet.
    pub(crate) no_chain: Arc<ChainSet>,
    /// Hands work to a shard.
    pub(crate) jobs: Vec<mpsc::Sender<Job>>,
    /// No new connection is served any more.
    stop: watch::Sender<bool>,
    /// The threads end.
    pub(crate) end: watch::Sender<bool>,
    /// Network Connections that are open, with and without a Session.
    pub(crate) connections: AtomicUsize,
    /// Wakes whoever waits for `connections` to fall.
    pub(crate) connection_ended: tokio::sync::Notify,
    /// A line about refused connections has been written in this tick.
    complained: AtomicBool,
    handles: AtomicU64,
    session_ids: AtomicU64,
    generations: AtomicU64,
    next_shard: AtomicUsize,
}

/// What is said of all chains together.
#[derive(Default)]
struct AllChains {
    /// The plugins of all chains that want to be told, for what concerns no listener.
    events: EventSink,
    /// The chain whose plugin chooses members of shared groups.
    share_pick: Option<Arc<ChainSet>>,
}

impl Core {
    /// Returns the state of a broker that serves nobody yet.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a broker, each named where they are made"
    )]
    pub(crate) fn new(
        clock: Clock,
        settings: Settings,
        listeners: Vec<Arc<ListenerState>>,
        jobs: Vec<mpsc::Sender<Job>>,
        blocking: BlockingPool,
        store: Arc<dyn SessionStore>,
        journal: Option<Arc<Journal>>,
        orders: mpsc::Sender<Order>,
    ) -> Self {
        Self {
            routes: Routes::new(settings.share_strategy),
            metrics: jobs.iter().map(|_| Arc::default()).collect(),
            ledgers: jobs.iter().map(|_| Ledger::new()).collect(),
            clock: clock.clone(),
            memory_max: settings.memory_max.into(),
            settings: ArcSwap::from_pointee(settings),
            sessions: Registry::new(),
            retained: Retained::new(),
            timers: Timers::default(),
            listeners: ArcSwap::from_pointee(listeners),
            entrances: Mutex::default(),
            orders,
            reloads: Reloads::default(),
            blocking,
            plugin_timers: PluginTimers::default(),
            plugin_metrics: PluginMetrics::default(),
            bridges: BridgeTable::default(),
            plugin_records: PluginRecords::new(store, journal.clone(), clock),
            journal,
            retained_turn: Mutex::default(),
            chains: ArcSwap::default(),
            no_chain: Arc::default(),
            jobs,
            stop: watch::Sender::new(false),
            end: watch::Sender::new(false),
            connections: AtomicUsize::new(0),
            connection_ended: tokio::sync::Notify::new(),
            complained: AtomicBool::new(false),
            handles: AtomicU64::new(1),
            session_ids: AtomicU64::new(1),
            generations: AtomicU64::new(1),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Returns a handle that no connection had before.
    pub(crate) fn new_handle(&self) -> ClientHandle {
        ClientHandle(self.handles.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a number that no Session had before.
    pub(crate) fn new_session_id(&self) -> u64 {
        self.session_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives out only greater numbers from now on.
    pub(crate) fn reserve_session_ids(&self, last: u64) {
        self.session_ids.fetch_max(last + 1, Ordering::Relaxed);
    }

    /// Returns the present moment on both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            now: self.clock.now(),
            wall: self.clock.wall_millis(),
        }
    }

    /// Tells whether nothing becomes durable any more.
    pub(crate) fn has_store_failed(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.has_failed())
    }

    /// Waits for the turn to change a Retained Message in memory and in the journal.
    pub(crate) fn retained_turn(&self) -> MutexGuard<'_, ()> {
        self.retained_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what holds for the whole broker.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Lets other settings hold.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.memory_max.store(settings.memory_max, Ordering::Relaxed);
        self.settings.store(Arc::new(settings));
    }

    /// Returns the bytes that Sessions and messages may take; `i64::MAX`: any number.
    #[inline]
    pub(crate) fn memory_max(&self) -> i64 {
        self.memory_max.load(Ordering::Relaxed)
    }

    /// Returns the listeners there are, with the terms for new connections.
    pub(crate) fn listeners(&self) -> Arc<Vec<Arc<ListenerState>>> {
        self.listeners.load_full()
    }

    /// Lets there be other listeners.
    pub(crate) fn set_listeners(&self, listeners: Vec<Arc<ListenerState>>) {
        self.listeners.store(Arc::new(listeners));
    }

    /// Returns where connections come in.
    pub(crate) fn entrances(&self) -> MutexGuard<'_, Vec<Entrance>> {
        self.entrances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a number that no compiled chain had before.
    pub(crate) fn new_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a shard for work that belongs to none, by turns.
    pub(crate) fn any_shard(&self) -> &mpsc::Sender<Job> {
        &self.jobs[self.next_shard.fetch_add(1, Ordering::Relaxed) % self.jobs.len()]
    }

    /// Notes that a listener has another chain.
    pub(crate) fn chains_changed(&self) {
        let chains: Vec<_> = self
            .listeners()
            .iter()
            .map(|listener| listener.chain.load_full())
            .collect();
        let events = EventSink::union(chains.iter().map(|chain| chain.events()));
        let share_pick = chains
            .into_iter()
            .find(|chain| chain.mask().has(HookMask::SHARE_PICK));
        self.chains.store(Arc::new(AllChains { events, share_pick }));
    }

    /// Gives every connection the present chain of its listener, and wakes it to take that for what comes next.
    pub(crate) fn follow_chains(&self) {
        self.sessions.for_each(|session| {
            let mut state = session.lock();
            if state.follow_chain()
                && let Some(link) = state.link.as_deref_mut()
            {
                link.wake();
            }
        });
    }

    /// Returns the chain whose plugin chooses members of shared groups.
    pub(crate) fn share_pick(&self) -> Option<Arc<ChainSet>> {
        self.chains.load().share_pick.clone()
    }

    /// Returns where events go that concern no listener.
    pub(crate) fn events(&self) -> EventSink {
        self.chains.load().events.clone()
    }

    /// Tells everybody, whatever the listener, who asked for events of this kind.
    pub(crate) fn event(&self, kind: EventKind, build: impl FnOnce(&mut Event)) {
        tell(&self.chains.load().events, kind, build);
    }

    /// Sums the counters of all shards.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.metrics.iter().for_each(|shard| counts.add(shard));
        counts
    }

    /// Returns what there is at the moment.
    pub(crate) fn gauges(&self) -> Gauges {
        let (subscriptions, shared_subscriptions) = self.routes.count();
        // The shards are looked at one after the other, so a sum may be off by what happens meanwhile.
        let held = |level: fn(&ShardHolds) -> &Level| {
            let sum: i64 = self.metrics.iter().map(|shard| level(&shard.holds).get()).sum();
            u64::try_from(sum).unwrap_or(0)
        };
        Gauges {
            connections: self.connections.load(Ordering::Relaxed),
            sessions: self.sessions.len(),
            sessions_connected: self.sessions.connected(),
            subscriptions,
            shared_subscriptions,
            retained: self.retained.count(),
            retained_bytes: self.retained.bytes(),
            store_pending: self.journal.as_ref().map_or(0, |journal| journal.pending()),
            store_failed: self.has_store_failed(),
            inflight: held(|holds| &holds.inflight),
            queued: held(|holds| &holds.queued),
            queued_bytes: held(|holds| &holds.queued_bytes),
            output_bytes: held(|holds| &holds.output_bytes),
            partial_bytes: held(|holds| &holds.partial_bytes),
            kept_bytes: self.ledgers.iter().map(|ledger| ledger.bytes() as u64).sum(),
            memory_bytes: u64::try_from(self.memory_bytes()).unwrap_or(0),
            memory_max: u64::try_from(self.memory_max())
                .ok()
                .filter(|max| *max < i64::MAX as u64),
        }
    }

    /// Returns what the plugins of each listener's chain did: listener, plugins in the chain's order.
    pub(crate) fn plugin_counts(&self) -> Vec<(Arc<str>, Vec<PluginCounts>)> {
        let listeners = self.listeners();
        { listeners.iter() }
            .map(|listener| (listener.name.clone(), listener.chain.load_full().counts()))
            .collect()
    }

    /// Returns what the bridges did.
    pub(crate) fn bridge_counts(&self) -> Vec<BridgeCounts> {
        self.bridges
            .get()
            .map(|bridges| bridges.counts())
            .unwrap_or_default()
    }

    /// Waits until the bridges have carried out what waits, at most so long. Returns how many messages are lost.
    pub(crate) async fn bridges_drained(&self, until: tokio::time::Instant) -> u64 {
        let Some(bridges) = self.bridges.get() else {
            return 0;
        };
        if tokio::time::timeout_at(until, bridges.drained()).await.is_ok() {
            return 0;
        }
        let mut lost = 0;
        for bridge in bridges.counts().iter().filter(|bridge| bridge.queued > 0) {
            tracing::warn!(bridge = %bridge.name, queued = bridge.queued, "messages are lost: they were not carried out in time");
            lost += bridge.queued as u64;
        }
        lost
    }

    /// Asks the connection of a Client Identifier to end. False: there is none.
    pub(crate) fn kick(&self, client_id: &str, kick: Kick) -> bool {
        let session = self.sessions.get(client_id);
        session.is_some_and(|session| {
            session
                .lock()
                .link
                .as_deref_mut()
                .map(|link| link.kick(kick))
                .is_some()
        })
    }

    /// Asks the connection that `handle` names to end. False: it is gone.
    pub(crate) fn kick_handle(&self, handle: ClientHandle, kick: Kick) -> bool {
        let session = self.sessions.by_handle(handle);
        session.is_some_and(|session| {
            session
                .lock()
                .link_of(handle)
                .map(|link| link.kick(kick))
                .is_some()
        })
    }

    /// Tells whether a line about refused connections may be written: one a tick.
    pub(crate) fn may_complain(&self) -> bool {
        !self.complained.swap(true, Ordering::Relaxed)
    }

    /// Once a tick, on one shard: Sessions that expire, Will Messages that are due, Retained Messages that have expired,
    /// timers of plugins.
    pub(crate) fn tick(self: &Arc<Self>, shard: &Rc<Shard>, now: Timestamp) {
        self.complained.store(false, Ordering::Relaxed);
        while let Some((session, due)) = self.timers.take_due(now) {
            match due {
                Due::SessionExpiry => shard.expire_session(&session, now),
                Due::Will => shard.fire_due_will(&session, now),
            }
        }
        for topic in self.expire_retained(now) {
            self.event(EventKind::RetainedCleared, |event| {
                event.topic = Some(topic.as_str().into())
            });
        }
        while let Some(due) = self.plugin_timers.take_due(now) {
            let core = self.clone();
            tokio::task::spawn_local(async move {
                due.call().await;
                core.plugin_timers.done(&due, core.clock.now());
            });
        }
    }

    /// Lets go of Retained Messages that have expired, and returns their topics.
    fn expire_retained(&self, now: Timestamp) -> Vec<TopicName> {
        let mut topics = Vec::new();
        for _ in 0..EXPIRED_ROUNDS {
            let mut expired = Vec::new();
            let _turn = self.journal.as_ref().map(|_| self.retained_turn());
            self.retained.expire(now, EXPIRED_AT_ONCE, &mut expired);
            if expired.is_empty() {
                break;
            }
            if let Some(journal) = &self.journal {
                let mut pen = journal.pen(None, Durability::Async);
                for (topic, stored) in &expired {
                    let chunks = chunks_of(retained_len(stored.size()));
                    pen.delete_long(&retained_key(topic.as_str()), chunks);
                }
            }
            topics.extend(expired.into_iter().map(|(topic, _)| topic));
        }
        topics
    }

    /// Tells whether the broker is on its way out.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the broker is on its way out.
    pub(crate) async fn stopping(&self) {
        // An error means that the broker is gone altogether.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Begins to stop: no new connection, and every connection ends with 0x8B.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
        self.sessions.for_each(|session| {
            if let Some(link) = session.lock().link.as_deref_mut() {
                link.kick(Kick::because(ReasonCode::ServerShuttingDown));
            }
        });
    }

    /// Waits until no connection is left, at most so long. Returns how many are.
    pub(crate) async fn drained(&self, until: tokio::time::Instant) -> usize {
        let wait = async {
            loop {
                let ended = self.connection_ended.notified();
                if self.connections.load(Ordering::Acquire) == 0 {
                    return;
                }
                ended.await;
            }
        };
        // Late or not, what is left is counted.
        let _ = tokio::time::timeout_at(until, wait).await;
        self.connections.load(Ordering::Acquire)
    }
}

/// Builds an event and hands it on, if somebody asked for its kind.
#[inline]
pub(crate) fn tell(events: &EventSink, kind: EventKind, build: impl FnOnce(&mut Event)) {
    if events.wants(kind) {
        let mut event = Event::new(kind);
        build(&mut event);
        events.push(event);
    }
}
