//! A connection takes a Session and gives it back, and a Session ends. One Session has one connection at most
//! `[MQTT-3.1.4-3]`: whoever wants it tells the one that has it to go, and waits until it has.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{DropPolicy, Outbound, OutboundLimits, PacketType, Peer, ReceivedIds, Stored, WriteBuf};
use broker_types::{ClientHandle, ClientId, Limits, ProtocolVersion, ReasonCode, Timestamp};
use plugin_api::{ClientView, EventKind};
use tokio::sync::oneshot;

use super::core::tell;
use super::listener::ListenerState;
use super::memory::{Footprint, Pressure};
use super::session::{Held, Kick, Link, Owner, Session, State, Subscriptions, Will};
use super::shard::Shard;
use super::timers::{Due, TimerKey};
use crate::connection::describe;
use crate::hooks::{AclCache, ChainSet, HookMask};
use crate::net::Socket;
use crate::settings::QueueFull;

/// How long a connection may take to give its Session up before it is taken from it.
const RELEASE_MAX: Duration = Duration::from_secs(5);
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
    /// What waited goes now, not when the last one lets go of the Session; and not under the lock.
    outbound: Outbound,
    listener: Arc<ListenerState>,
}

impl Shard {
    /// Takes the Session of a client, a new one or the one there is. `welcome` writes the CONNACK, told whether the Session is
    /// present; everything the Session sends comes behind it.
    ///
    /// # Errors
    /// The Reason Code for the CONNACK: 0x85 when the Session belongs to somebody else, 0x97 when there are too many.
    pub(crate) async fn attach(
        self: &Rc<Self>,
        opening: Opening,
        welcome: impl FnOnce(bool, &mut Vec<u8>),
    ) -> Result<Attached, ReasonCode> {
        let client = opening.client.clone();
        let owner = Owner {
            username: client.username.clone(),
            mount: client.mount.clone(),
        };
        loop {
            let full = self.core.sessions.len() >= self.core.settings.sessions_max;
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
                        let chain = opening.chain.clone();
                        let received = self.link(&session, &mut state, opening, |out| welcome(present, out));
                        drop(state);
                        let kind = match present {
                            true => EventKind::SessionResumed,
                            false => EventKind::SessionCreated,
                        };
                        tell(chain.events(), kind, |event| describe(event, &client));
                        return Ok(Attached { session, received });
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
        }
    }

    /// Returns what keeps a connection from taking the Session at once. The connection that has it is told to go.
    fn obstacle(&self, state: &mut State, present: bool, clean_start: bool) -> Option<Obstacle> {
        if state.ended {
            return Some(Obstacle::Ended);
        }
        if let Some(link) = state.link.as_deref_mut() {
            let (done, released) = oneshot::channel();
            link.waiting.push(done);
            link.kick(Kick::because(ReasonCode::SessionTakenOver));
            return Some(Obstacle::Connected(link.handle, released));
        }
        // Timers are coarse, and what is over is over before they say so [MQTT-4.1.0-2].
        let over = state.expiry_timer.is_some_and(|timer| timer.is_due(self.now()));
        if (clean_start || over) && present {
            return Some(Obstacle::MustEnd);
        }
        let will_due = state.will.as_ref().is_some_and(|will| will.is_due(self.now()));
        will_due.then_some(Obstacle::WillDue)
    }

    /// Makes the connection the Session's own.
    fn link(
        &self,
        session: &Arc<Session>,
        state: &mut State,
        opening: Opening,
        welcome: impl FnOnce(&mut Vec<u8>),
    ) -> ReceivedIds {
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
        if let Some(timer) = std::mem::replace(&mut state.will, will).and_then(|will| will.timer) {
            self.core.timers.cancel(timer);
        }
        state.expiry = expiry;
        state.fresh = false;
        let looked_at = chain.mask().has(HookMask::RECEIVE.or(HookMask::DELIVER)) || !client.mount.is_empty();
        let mut out = WriteBuf::new();
        self.lend_buffer(&mut out);
        welcome(out.frames());
        state
            .outbound
            .set_limits(outbound_limits(&listener.limits, self.core.settings.queue_full));
        if looked_at {
            state.outbound.connect_held(&peer);
        } else {
            let pumped = state.outbound.connect(self.now(), &peer, &mut out);
            self.count_pumped(pumped);
        }
        state.listener = listener;
        state.version = peer.version;
        session.set_handle(client.handle);
        self.core.sessions.connect(session);
        let link = state.link.insert(Box::new(Link {
            handle: client.handle,
            socket,
            out,
            flushing: false,
            blocked: false,
            progress: self.now(),
            wants_drained: false,
            kick: None,
            closing: false,
            late: false,
            settled: Vec::new(),
            waker: None,
            chain,
            client,
            looked_at,
            held: looked_at,
            receive_cache: AclCache::default(),
            outbox_bytes_max: peer.outbox_bytes_max,
            waiting: Vec::new(),
        }));
        self.appended(session, link);
        // Whoever stops the broker has kicked all that it found.
        if self.core.is_stopping() {
            link.kick(Kick::because(ReasonCode::ServerShuttingDown));
        }
        self.metrics.sent.one(PacketType::ConnAck);
        self.count_held(session, state);
        session.set_connected(true);
        std::mem::take(&mut state.received)
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
            state.will = None;
        } else if let Some(will) = &mut state.will {
            let delay = will.delay.min(state.expiry);
            if delay == 0 || self.core.is_stopping() {
                fired = state.will.take();
            } else {
                let due = now + Duration::from_secs(delay.into());
                will.timer = Some(self.core.timers.set(due, session, Due::Will));
            }
        }
        let over = state.expiry == 0;
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
        let limits = outbound_limits(&listener.limits, self.core.settings.queue_full);
        let left = Left {
            subscriptions: state.subscriptions.take(),
            timers: [
                state.expiry_timer.take(),
                will.as_ref().and_then(|will| will.timer),
            ],
            will,
            shared: state.outbound.take_shared(true),
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
                .filter_map(|held| self.core.routes.group(&held.routed))
                .collect(),
        };
        for held in &subscriptions {
            self.core.routes.unsubscribe(session.id, &held.routed);
        }
        self.core.sessions.remove(session);
        if let Some(will) = will {
            self.fire_will(*will, listener.chain.load_full(), session.id, self.now());
        }
        for stored in shared {
            self.redeliver(&stored, session, &groups);
        }
        let chain = listener.chain.load();
        tell(chain.events(), EventKind::SessionExpired, |event| {
            event.client_id = Some(session.client_id.clone());
            event.listener = Some(listener.name.clone());
        });
    }

    /// Gives what a disconnected member of shared groups has not acknowledged to other members that are connected.
    fn redeliver_shared(self: &Rc<Self>, session: &Arc<Session>) {
        let mut state = session.lock();
        let groups: Vec<_> = state
            .subscriptions
            .iter()
            .filter(|held| held.requested.share.is_some())
            .filter_map(|held| self.core.routes.group(&held.routed))
            .filter(|group| group.has_available(session.id))
            .collect();
        if groups.is_empty() || state.link.is_some() {
            return;
        }
        let shared = state.outbound.take_shared(false);
        self.count_held(session, &mut state);
        drop(state);
        for stored in shared {
            self.redeliver(&stored, session, &groups);
        }
    }

    /// Takes a Session from a connection that doesn't give it up: its task hangs in code that doesn't return.
    fn wrest(self: &Rc<Self>, session: &Arc<Session>, handle: ClientHandle) {
        let held = session.lock().link_of(handle).is_some();
        if held {
            tracing::warn!(client_id = %session.client_id, "a connection doesn't give its session up; taking it");
            let ending = Ending {
                reason: ReasonCode::SessionTakenOver,
                by_server: true,
                will: true,
                expiry: None,
            };
            self.detach(session, handle, ReceivedIds::new(), &ending);
        }
    }

    fn new_session(&self, client_id: ClientId, listener: &Arc<ListenerState>, owner: Owner) -> Session {
        let limits = outbound_limits(&listener.limits, self.core.settings.queue_full);
        let state = State {
            outbound: Outbound::new(limits),
            link: None,
            received: ReceivedIds::new(),
            subscriptions: Subscriptions::default(),
            gave_up_at: 0,
            owner,
            listener: listener.clone(),
            version: ProtocolVersion::V5,
            expiry: 0,
            will: None,
            expiry_timer: None,
            fresh: true,
            ended: false,
            footprint: Footprint::default(),
        };
        Session::new(self.core.new_session_id(), client_id, state)
    }
}

fn outbound_limits(limits: &Limits, queue_full: QueueFull) -> OutboundLimits {
    OutboundLimits {
        inflight_max: limits.inflight_max,
        queued_messages_max: limits.queued_messages_max,
        queued_bytes_max: limits.queued_bytes_max,
        window: usize::MAX,
        drop: match queue_full {
            QueueFull::DropOldest => DropPolicy::Oldest,
            QueueFull::DropNewest => DropPolicy::Newest,
            QueueFull::Disconnect => DropPolicy::Disconnect,
        },
        queue_qos0: limits.queue_qos0,
        recorded: false,
    }
}
