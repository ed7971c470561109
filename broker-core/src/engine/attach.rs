//! A connection takes a Session and gives it back, and a Session ends. One Session has one connection at most
//! `[MQTT-3.1.4-3]`: whoever wants it tells the one that has it to go, and waits until it has.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker_proto::{
    DropPolicy, Outbound, OutboundLimits, PacketType, Peer, Phase, ReceivedIds, Stored, WriteBuf,
};
use broker_types::{ClientHandle, ClientId, Limits, ReasonCode, Timestamp};
use plugin_api::{ClientView, Durability, EventKind};
use tokio::sync::oneshot;

use super::core::tell;
use super::listener::ListenerState;
use super::memory::Pressure;
use super::session::{Kick, Link, Owner, Session, State, Will};
use super::shard::Shard;
use super::subscriptions::Held;
use super::timers::{Due, TimerKey};
use crate::connection::describe;
use crate::hooks::{AclCache, ChainSet};
use crate::net::Socket;
use crate::settings::QueueFull;
use crate::store::{Entry, EntryPhase, Group, Kept, Moment, Staging, Transaction, WINDOW};

/// How long a connection may take to give its Session up before it is taken from it.
const RELEASE_MAX: Duration = Duration::from_secs(5);
/// What a client is told whose Session can't be made durable.
const UNAVAILABLE: ReasonCode = ReasonCode::ServerUnavailable;
/// Bounds of sending halves that a shard remembers, to share them.
const LIMITS_KNOWN: usize = 16;
/// Session Expiry Interval that never passes.
pub(crate) const NEVER: u32 = u32::MAX;

/// What a connection brings along that wants a Session.
pub(crate) struct Opening {
    pub(crate) client: Arc<ClientView>,
    pub(crate) listener: Arc<ListenerState>,
    pub(crate) chain: Arc<ChainSet>,
    pub(crate) socket: Arc<Socket>,
    pub(crate) clean_start: bool,
    /// Session Expiry Interval in seconds.
    pub(crate) expiry: u32,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) peer: Peer,
}

/// A Session that is the connection's own now.
pub(crate) struct Attached {
    pub(crate) session: Arc<Session>,
    pub(crate) received: ReceivedIds,
}

/// How a connection ended, as far as its Session is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// The Reason Code that was sent or received.
    pub(crate) reason: ReasonCode,
    /// Whether the broker ended it.
    pub(crate) by_server: bool,
    /// Whether the Will Message is published.
    pub(crate) will: bool,
    /// The Session Expiry Interval that the client set when it left.
    pub(crate) expiry: Option<u32>,
}

/// What a connection gets with its Session.
struct Linked {
    received: ReceivedIds,
    /// What must be durable before the client is told.
    group: Option<Group>,
}

/// What keeps a connection from taking a Session at once.
enum Obstacle {
    /// It has ended, and only its place is still there.
    Ended,
    /// It has to end first.
    MustEnd,
    /// Its Will Message has to be published first.
    WillDue,
    /// Another connection has it; the receiver hears when that has let go.
    Connected(ClientHandle, oneshot::Receiver<()>),
}

/// What a Session that ended leaves to others.
struct Left {
    subscriptions: Vec<Held>,
    will: Option<Box<Will>>,
    timers: [Option<TimerKey>; 2],
    shared: Vec<Arc<Stored>>,
    /// The end of its records: `shared` is gone from here and there for others at the same moment.
    transaction: Option<Transaction>,
    /// What waited goes now, not when the last one lets go of the Session; and not under the lock.
    outbound: Outbound,
    listener: Arc<ListenerState>,
}

impl Shard {
    /// Takes the Session of a client, a new one or the one there is. `welcome` writes the CONNACK, told whether the Session is
    /// present; everything the Session sends comes behind it.
    ///
    /// # Errors
    /// The Reason Code for the CONNACK: 0x85 when the Session belongs to somebody else, 0x97 when there are too many, 0x88 when
    /// it must survive the broker and can't.
    pub(crate) async fn attach(
        self: &Rc<Self>,
        opening: Opening,
        welcome: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<Attached, ReasonCode> {
        let client = opening.client.clone();
        let owner = Owner {
            username: client.username.clone(),
            mount: client.mount.clone(),
        }
        .boxed();
        if self.must_keep(&opening) && self.core.has_store_failed() {
            return Err(UNAVAILABLE);
        }
        let (attached, group, listener, chain, kind) = loop {
            let full = self.core.sessions.len() >= self.core.settings().sessions_max;
            let pressed = self.pressure() >= Pressure::Sessions;
            if (full || pressed) && self.core.sessions.get(client.id.as_str()).is_none() {
                self.metrics.sessions_refused_memory.add(u64::from(pressed));
                return Err(ReasonCode::QuotaExceeded);
            }
            let (session, _) = self.core.sessions.get_or_insert(&client.id, || {
                Arc::new(self.new_session(client.id.clone(), &opening.listener, owner.clone()))
            });
            let obstacle = {
                let mut state = session.lock();
                let present = !state.fresh;
                let foreign = state.owner != owner && !opening.listener.shared_sessions;
                if present && foreign && !state.ended {
                    return Err(ReasonCode::ClientIdentifierNotValid);
                }
                match self.obstacle(&mut state, present, opening.clean_start) {
                    Some(obstacle) => obstacle,
                    None => {
                        state.owner = owner;
                        let (chain, listener) = (opening.chain.clone(), opening.listener.clone());
                        let linked = self.link(&session, &mut state, opening, |out| welcome(present, out));
                        drop(state);
                        let attached = Attached {
                            session,
                            received: linked.received,
                        };
                        let kind = match present {
                            true => EventKind::SessionResumed,
                            false => EventKind::SessionCreated,
                        };
                        break (attached, linked.group, listener, chain, kind);
                    }
                }
            };
            match obstacle {
                Obstacle::Ended => self.core.sessions.remove(&session),
                Obstacle::MustEnd => self.end_session(&session),
                Obstacle::WillDue => self.fire_due_will(&session, self.now()),
                Obstacle::Connected(handle, released) => {
                    self.metrics.take_overs.one();
                    let events = opening.chain.events();
                    tell(events, EventKind::SessionTakenOver, |event| {
                        describe(event, &client)
                    });
                    if tokio::time::timeout(RELEASE_MAX, released).await.is_err() {
                        self.wrest(&session, handle);
                    }
                    self.read_clock();
                }
            }
        };
        if let Some(group) = group {
            let most = listener.limits.connect_timeout;
            if !self
                .is_durable(&attached.session, client.handle, group, most)
                .await
            {
                let ending = Ending {
                    reason: UNAVAILABLE,
                    by_server: true,
                    will: false,
                    expiry: None,
                };
                let created = kind == EventKind::SessionCreated;
                // Its client has never heard of it, and must not find it present.
                attached.session.lock().fresh = created;
                self.detach(&attached.session, client.handle, attached.received, &ending);
                if created {
                    self.end_session(&attached.session);
                }
                return Err(UNAVAILABLE);
            }
            self.read_clock();
        }
        tell(chain.events(), kind, |event| describe(event, &client));
        Ok(attached)
    }

    /// Returns what keeps a connection from taking the Session at once. The connection that has it is told to go.
    fn obstacle(&self, state: &mut State, present: bool, clean_start: bool) -> Option<Obstacle> {
        if state.ended {
            return Some(Obstacle::Ended);
        }
        if let Some(link) = state.link.as_deref_mut() {
            let (done, released) = oneshot::channel();
            link.note().waiting.push(done);
            link.kick(Kick::because(ReasonCode::SessionTakenOver));
            return Some(Obstacle::Connected(link.handle(), released));
        }
        // Timers are coarse, and what is over is over before they say so [MQTT-4.1.0-2].
        let over = state.expiry_timer.is_some_and(|timer| timer.is_due(self.now()));
        if (clean_start || over) && present {
            return Some(Obstacle::MustEnd);
        }
        let will_due = state.will.as_ref().is_some_and(|will| will.is_due(self.now()));
        will_due.then_some(Obstacle::WillDue)
    }

    /// Tells whether the Session of this connection must survive the broker.
    fn must_keep(&self, opening: &Opening) -> bool {
        self.core.journal.is_some() && opening.expiry > 0 && opening.listener.durability > Durability::Memory
    }

    /// Waits until a Session that has a connection now is durable, so that its CONNACK has left. False: it isn't in time,
    /// never will be, or somebody else wants the Session.
    async fn is_durable(
        &self,
        session: &Arc<Session>,
        handle: ClientHandle,
        group: Group,
        most: Duration,
    ) -> bool {
        let Some(journal) = &self.core.journal else {
            return true;
        };
        let mut durable = pin!(journal.durable(group));
        let wait = poll_fn(|cx| match session.lock().link_of(handle) {
            Some(link) if !link.is_kicked() => durable.as_mut().poll(cx),
            _ => Poll::Ready(false),
        });
        let durable = tokio::time::timeout(most, wait).await.unwrap_or(false);
        if durable && let Some(link) = session.lock().link_of(handle) {
            // Whoever tells those who wait may not have come to it yet, and answers must not overtake CONNACK.
            link.staging.release(Some(group), &mut link.out);
        }
        durable
    }

    /// Makes the connection the Session's own. If the Session must survive the broker, its CONNACK and all that follows is
    /// held back until that is durable.
    fn link(
        &self,
        session: &Arc<Session>,
        state: &mut State,
        opening: Opening,
        welcome: impl FnOnce(&mut Vec<u8>),
    ) -> Linked {
        let keep = self.must_keep(&opening);
        let Opening {
            client,
            listener,
            chain,
            socket,
            expiry,
            will,
            peer,
            ..
        } = opening;
        if let Some(timer) = state.expiry_timer.take() {
            self.core.timers.cancel(timer);
        }
        // [MQTT-3.1.3-9]: a Will Message whose delay still runs is not sent when the Session is resumed in time.
        if let Some(before) = std::mem::replace(&mut state.will, will) {
            self.drop_will(*before);
        }
        state.expiry = expiry;
        state.fresh = false;
        let looked_at = chain.looks_at_deliveries() || !client.mount.is_empty();
        let mut out = WriteBuf::new();
        self.lend_buffer(&mut out);
        welcome(out.frames());
        state.listener = listener;
        state.version = peer.version;
        let mut group = (keep || state.kept.is_some()).then(|| self.keep(session, state));
        let limits = self.outbound_limits(&state.listener.limits, state.kept.is_some());
        state.outbound.set_limits(limits);
        if looked_at {
            state.outbound.connect_held(&peer);
        } else {
            let pumped = state.outbound.connect(self.now(), &peer, &mut out);
            self.count_pumped(pumped);
        }
        session.set_handle(client.handle);
        self.core.sessions.connect(session);
        let link = state.link.insert(Box::new(Link {
            socket,
            out,
            staging: Staging::default(),
            refilled: false,
            flushing: false,
            blocked: false,
            progress: self.now(),
            wants_drained: false,
            closing: false,
            chain,
            client,
            looked_at,
            held: looked_at,
            receive_cache: AclCache::default(),
            notes: None,
        }));
        if let (Some(kept), Some(group)) = (&mut state.kept, &mut group) {
            let sent = kept.take_records(&mut state.outbound, None, None);
            kept.refill(session, &state.outbound);
            *group = sent.unwrap_or(*group).max(*group);
            link.staging.open().append(link.out.take());
            link.staged(session, Some(*group), kept.journal());
        }
        self.appended(session, link);
        // Whoever stops the broker has kicked all that it found.
        if self.core.is_stopping() {
            link.kick(Kick::because(ReasonCode::ServerShuttingDown));
        }
        self.metrics.sent.one(PacketType::ConnAck);
        self.count_held(session, state);
        session.set_connected(true);
        let received = std::mem::take(&mut state.received);
        Linked { received, group }
    }

    /// Writes down a Session that must survive the broker; all of it if it hasn't been so far. Returns the group that it is in.
    fn keep(&self, session: &Arc<Session>, state: &mut State) -> Group {
        let moment = self.core.moment();
        let journal = self.core.journal.as_ref().expect("only called with a journal");
        let durability = state.listener.durability.max(Durability::Async);
        match &mut state.kept {
            Some(kept) => kept.set_want(durability),
            None => {
                let kept = Kept::new(journal.clone(), session.id, durability);
                state.kept = Some(keep_all(kept, state, moment));
            }
        }
        let record = state.record(session.id, None);
        let kept = state.kept.as_deref_mut().expect("it has been put there");
        if let Some(will) = &mut state.will {
            will.record = Some(kept.put_will(&will.to_record(None), None));
        }
        kept.put_session(&session.client_id, &record)
    }

    /// Forgets a Will Message that isn't published.
    fn drop_will(&self, will: Will) {
        if let Some(timer) = will.timer {
            self.core.timers.cancel(timer);
        }
        if let (Some(record), Some(journal)) = (will.record, &self.core.journal) {
            record.delete(&mut journal.pen(None, Durability::Async));
        }
    }

    /// Gives the Session back that the connection `handle` has: its Will Message is published or put off, and the Session ends
    /// or waits. Does nothing if the Session was taken from it.
    pub(crate) fn detach(
        self: &Rc<Self>,
        session: &Arc<Session>,
        handle: ClientHandle,
        received: ReceivedIds,
        ending: &Ending,
    ) {
        let now = self.now();
        let mut guard = session.lock();
        let state = &mut *guard;
        if state.link_of(handle).is_none() {
            return;
        }
        let link = state.link.take();
        session.set_connected(false);
        self.core.sessions.disconnect(session);
        let dropped = state.outbound.disconnect();
        self.metrics.dropped_offline.add(dropped as u64);
        self.count_held(session, state);
        state.received = received;
        if let Some(expiry) = ending.expiry {
            state.expiry = expiry;
        }
        let mut fired = None;
        if !ending.will {
            // [MQTT-3.1.2-10]: a DISCONNECT with Reason Code 0x00 takes the Will Message away.
            if let Some(will) = state.will.take() {
                self.drop_will(*will);
            }
        } else if let Some(will) = &mut state.will {
            let delay = will.delay.min(state.expiry);
            if delay == 0 || self.core.is_stopping() {
                fired = state.will.take();
            } else {
                let due = now + Duration::from_secs(delay.into());
                will.timer = Some(self.core.timers.set(due, session, Due::Will));
                if let (Some(kept), record @ Some(_)) = (&state.kept, will.record) {
                    let due = Some(self.core.moment().wall_of(due));
                    will.record = Some(kept.put_will(&will.to_record(due), record));
                }
            }
        }
        let over = state.expiry == 0;
        state.note_records(session);
        if !over && let Some(kept) = &state.kept {
            let record = state.record(session.id, Some(self.core.clock.wall_millis()));
            kept.put_session(&session.client_id, &record);
        }
        // Under the same lock: nobody must find it between its connection's end and its own.
        let left = over.then(|| self.end(session, state));
        if !over && state.expiry != NEVER {
            let due = now + Duration::from_secs(state.expiry.into());
            state.expiry_timer = Some(self.core.timers.set(due, session, Due::SessionExpiry));
        }
        let listener = state.listener.clone();
        drop(guard);
        if let Some(will) = fired {
            self.fire_will(*will, listener.chain.load_full(), session.id, now);
        }
        match left {
            Some(left) => self.clear_away(session, left),
            None => self.redeliver_shared(session),
        }
        // Only now those who waited find the Session without a connection and everything done.
        drop(link);
    }

    /// Ends a Session whose Session Expiry Interval has passed, unless it has a connection again.
    pub(crate) fn expire_session(self: &Rc<Self>, session: &Arc<Session>, now: Timestamp) {
        {
            let mut state = session.lock();
            if state.link.is_some()
                || state.ended
                || state.expiry_timer.is_none_or(|timer| !timer.is_due(now))
            {
                return;
            }
            state.expiry_timer = None;
        }
        self.metrics.sessions_expired.one();
        self.end_session(session);
    }

    /// Ends a Session without a connection: its subscriptions go, its Will Message is published now `[MQTT-3.1.2-8]`, and what waits
    /// for it in shared groups goes to other members.
    pub(crate) fn end_session(self: &Rc<Self>, session: &Arc<Session>) {
        let mut state = session.lock();
        if state.ended || state.link.is_some() {
            return;
        }
        let left = self.end(session, &mut state);
        drop(state);
        self.clear_away(session, left);
    }

    /// Ends a Session: nobody gets it any more.
    fn end(&self, session: &Arc<Session>, state: &mut State) -> Left {
        state.ended = true;
        let will = state.will.take();
        let listener = state.listener.clone();
        let limits = self.outbound_limits(&listener.limits, false);
        let subscriptions = state.subscriptions.take();
        let shared = state.outbound.take_shared(true);
        let transaction = state.kept.take().map(|mut kept| {
            let mut transaction = Transaction::new(kept.journal().clone());
            let group = transaction.group();
            kept.take_records(&mut state.outbound, Some(group), None);
            kept.erase(&session.client_id, subscriptions.iter(), group);
            transaction
        });
        let left = Left {
            subscriptions,
            transaction,
            timers: [
                state.expiry_timer.take(),
                will.as_ref().and_then(|will| will.timer),
            ],
            will,
            shared,
            outbound: std::mem::replace(&mut state.outbound, Outbound::new(limits)),
            listener,
        };
        self.count_held(session, state);
        left
    }

    /// Does what the end of a Session means for others.
    fn clear_away(self: &Rc<Self>, session: &Arc<Session>, left: Left) {
        let Left {
            subscriptions,
            will,
            timers,
            shared,
            transaction,
            outbound,
            listener,
        } = left;
        drop(outbound);
        for timer in timers.into_iter().flatten() {
            self.core.timers.cancel(timer);
        }
        let groups: Vec<_> = match shared.is_empty() {
            true => Vec::new(),
            false => subscriptions
                .iter()
                .filter_map(|held| self.core.routes.group(held.routed()))
                .collect(),
        };
        for held in &subscriptions {
            self.core.routes.unsubscribe(session.id, held.routed());
        }
        self.core.sessions.remove(session);
        self.transact_in(transaction, || {
            for stored in shared {
                self.redeliver(&stored, session, &groups);
            }
        });
        if let Some(will) = will {
            self.fire_will(*will, listener.chain.load_full(), session.id, self.now());
        }
        let chain = listener.chain.load_full();
        tell(chain.events(), EventKind::SessionExpired, |event| {
            event.client_id = Some(session.client_id.clone());
            event.listener = Some(listener.name.clone());
        });
    }

    /// Gives what a disconnected member of shared groups has not acknowledged to other members that are connected.
    fn redeliver_shared(self: &Rc<Self>, session: &Arc<Session>) {
        let mut guard = session.lock();
        let state = &mut *guard;
        let groups: Vec<_> = state
            .subscriptions
            .iter()
            .filter(|held| held.requested.share.is_some())
            .filter_map(|held| self.core.routes.group(held.routed()))
            .filter(|group| group.has_available(session.id))
            .collect();
        if groups.is_empty() || state.link.is_some() {
            return;
        }
        let shared = state.outbound.take_shared(false);
        let transaction = state.kept.as_deref_mut().map(|kept| {
            let mut transaction = Transaction::new(kept.journal().clone());
            let group = transaction.group();
            kept.take_records(&mut state.outbound, Some(group), None);
            transaction
        });
        self.count_held(session, state);
        drop(guard);
        self.transact_in(transaction, || {
            for stored in shared {
                self.redeliver(&stored, session, &groups);
            }
        });
    }

    /// Takes a Session from a connection that doesn't give it up: its task hangs in code that doesn't return.
    fn wrest(self: &Rc<Self>, session: &Arc<Session>, handle: ClientHandle) {
        let (held, written) = {
            let mut state = session.lock();
            // What the task knows goes with it; what is written down must hold.
            let written = state.kept.iter().flat_map(|kept| kept.received()).collect();
            (state.link_of(handle).is_some(), written)
        };
        if held {
            tracing::warn!(client_id = %session.client_id, "a connection doesn't give its session up; taking it");
            let ending = Ending {
                reason: ReasonCode::SessionTakenOver,
                by_server: true,
                will: true,
                expiry: None,
            };
            self.detach(session, handle, written, &ending);
        }
    }

    /// Returns the bounds of a sending half; Sessions with the same share them.
    fn outbound_limits(&self, limits: &Limits, kept: bool) -> Arc<OutboundLimits> {
        let limits = outbound_limits(limits, self.core.settings().queue_full, kept);
        let mut known = self.outbound_limits.borrow_mut();
        if let Some(same) = known.iter().find(|known| ***known == limits) {
            return same.clone();
        }
        if known.len() == LIMITS_KNOWN {
            known.clear();
        }
        let limits = Arc::new(limits);
        known.push(limits.clone());
        limits
    }

    fn new_session(
        &self,
        client_id: ClientId,
        listener: &Arc<ListenerState>,
        owner: Option<Box<Owner>>,
    ) -> Session {
        let limits = self.outbound_limits(&listener.limits, false);
        let state = State::new(limits, listener.clone(), owner);
        Session::new(self.core.new_session_id(), client_id, state)
    }
}

/// Writes down all that a Session holds that is to survive the broker from now on.
fn keep_all(mut kept: Kept, state: &State, moment: Moment) -> Box<Kept> {
    state
        .subscriptions
        .iter()
        .for_each(|held| kept.put_subscription(held));
    state
        .received
        .iter()
        .for_each(|packet_id| kept.put_received(packet_id, None));
    let snapshot = state.outbound.snapshot();
    let under_way = snapshot.inflight.into_iter().map(|slot| {
        let phase = EntryPhase::UnderWay(slot.packet_id, slot.phase);
        (slot.seq, phase, slot.terms, slot.message)
    });
    let waiting = snapshot
        .queued
        .into_iter()
        .map(|queued| (queued.seq, EntryPhase::Waits, queued.terms, Some(queued.message)));
    for (seq, phase, terms, message) in under_way.chain(waiting) {
        let released = matches!(phase, EntryPhase::UnderWay(_, Phase::Released));
        // One that was to be forgotten with its connection is not there any more.
        if message.is_some() || released {
            kept.append(
                seq,
                Entry::new(phase, &terms),
                false,
                message.as_ref(),
                None,
                moment,
            );
        }
    }
    Box::new(kept)
}

/// Returns the bounds of a Session's sending half. One that survives the broker has only the head of its queue in memory.
pub(crate) fn outbound_limits(limits: &Limits, queue_full: QueueFull, kept: bool) -> OutboundLimits {
    OutboundLimits {
        inflight_max: limits.inflight_max,
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        window: if kept { WINDOW } else { usize::MAX },
        drop: match queue_full {
            QueueFull::DropOldest => DropPolicy::Oldest,
            QueueFull::DropNewest => DropPolicy::Newest,
            QueueFull::Disconnect => DropPolicy::Disconnect,
        },
        queue_qos0: limits.queue_qos0,
        recorded: kept,
    }
}
