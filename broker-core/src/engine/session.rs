//! A Session as the engine holds it: what the protocol keeps for sending, the connection it has at the moment, and who
//! owns it. Everything that other shards touch stands behind one lock, which is held for one append or one look and
//! never across an await; nobody holds two of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake as _;

use broker_proto::{Outbound, OutboundLimits, ReceivedIds, Token, WriteBuf};
use broker_types::{ClientHandle, ClientId, Message, ProtocolVersion, ReasonCode, Timestamp, TopicRef};
use plugin_api::{ClientInfo, ClientView};
use tokio::sync::oneshot;

use super::listener::ListenerState;
use super::memory::Footprint;
use super::subscriptions::Subscriptions;
use super::timers::TimerKey;
use crate::hooks::{AclCache, ChainSet};
use crate::net::Socket;
use crate::routing::Subscriber;
use crate::store::{Kept, SessionRecord, Staging, WillKey, WillRecord};

/// The state of one Client Identifier, from its first CONNECT to the end of the Session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Never used twice; what routes know it by.
    pub(crate) id: u64,
    /// The Client Identifier.
    pub(crate) client_id: ClientId,
    /// Messages under way: a hint for those who don't hold the lock.
    inflight: AtomicU32,
    /// How often decisions about this client alone were invalidated.
    invalidated: AtomicU32,
    /// The connection it has, or had last; with [`CONNECTED`] if it has it, as a hint for those who don't hold the lock.
    handle: AtomicU64,
    state: Mutex<State>,
}

/// The bit of [`Session::handle`] that no handle has: they are counted from 1.
const CONNECTED: u64 = 1 << 63;

/// What stands behind the Session's lock.
#[derive(Debug)]
pub(crate) struct State {
    /// The sending half.
    pub(crate) outbound: Outbound,
    /// The connection, if there is one.
    pub(crate) link: Option<Box<Link>>,
    /// Packet Identifiers of received QoS 2 messages, while no connection holds them.
    pub(crate) received: ReceivedIds,
    /// What the client is subscribed to.
    pub(crate) subscriptions: Subscriptions,
    /// The generation of the routes in which a subscription was given up last.
    pub(crate) gave_up_at: u64,
    /// Who may resume it; `None`: who shows nothing.
    pub(crate) owner: Option<Box<Owner>>,
    /// The version the client spoke last.
    pub(crate) version: ProtocolVersion,
    /// The listener that the client came through last.
    pub(crate) listener: Arc<ListenerState>,
    /// Session Expiry Interval in seconds; `u32::MAX`: never.
    pub(crate) expiry: u32,
    /// The Will Message of the connection, or of the one that ended and whose Will Delay Interval runs.
    pub(crate) will: Option<Box<Will>>,
    /// The timer of the Session Expiry Interval.
    pub(crate) expiry_timer: Option<TimerKey>,
    /// No connection has had it yet: whoever is the first to take it finds no Session present, also if another made it.
    pub(crate) fresh: bool,
    /// The Session has ended; whoever still holds it looks for another.
    pub(crate) ended: bool,
    /// What of it is counted.
    pub(crate) footprint: Footprint,
    /// Its records, if it must survive the broker.
    pub(crate) kept: Option<Box<Kept>>,
}

/// Who a Session belongs to: whoever shows the same may resume it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The authenticated user name.
    pub(crate) username: Option<Arc<str>>,
    /// The mount.
    pub(crate) mount: Arc<str>,
}

impl Owner {
    /// Returns it as a Session keeps it: most clients of many brokers show nothing.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let anybody = self.username.is_none() && self.mount.is_empty();
        (!anybody).then(|| Box::new(self))
    }
}

/// A Will Message and for whom it will be authorized.
#[derive(Debug)]
pub(crate) struct Will {
    /// The message, with an absolute topic.
    pub(crate) message: Message,
    /// Will Delay Interval in seconds.
    pub(crate) delay: u32,
    /// The identity that left it.
    pub(crate) client: Arc<ClientView>,
    /// The timer of the Will Delay Interval, once it runs.
    pub(crate) timer: Option<TimerKey>,
    /// Its record, if it must survive the broker.
    pub(crate) record: Option<WillKey>,
}

impl Will {
    /// Tells whether its Will Delay Interval has passed.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.timer.is_some_and(|timer| timer.is_due(now))
    }
}

/// A Session's connection, as those see it who send to it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Where its bytes go.
    pub(crate) socket: Arc<Socket>,
    /// Bytes that wait to be written.
    pub(crate) out: WriteBuf,
    /// Bytes that may not leave before something is durable.
    pub(crate) staging: Staging,
    /// Messages came from the store that may be sent.
    pub(crate) refilled: bool,
    /// Somebody has it on a dirty list or is writing its bytes.
    pub(crate) flushing: bool,
    /// The socket takes nothing; the owner waits until it does.
    pub(crate) blocked: bool,
    /// When the socket last took something while there was more.
    pub(crate) progress: Timestamp,
    /// The owner wants to be woken when `out` is empty.
    pub(crate) wants_drained: bool,
    /// The owner is about to end the connection: nobody begins to write, and whoever writes wakes it when done.
    pub(crate) closing: bool,
    /// The chain of the listener.
    pub(crate) chain: Arc<ChainSet>,
    /// What hooks may know of the client.
    pub(crate) client: Arc<ClientView>,
    /// Messages must be looked at before they go out: by hooks, or to take the mount off.
    pub(crate) looked_at: bool,
    /// A look at a message isn't finished: everything queues behind it until the owner goes on.
    pub(crate) held: bool,
    /// Decisions about receiving.
    pub(crate) receive_cache: AclCache,
    /// What few owners are told; absent until then.
    pub(crate) notes: Option<Box<Notes>>,
}

/// What the owner of a connection is told.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Why it is to end the connection.
    pub(crate) kick: Option<Kick>,
    /// Acknowledgements that became safe since it looked.
    pub(crate) settled: Vec<(Token, ReasonCode)>,
    /// Those who wait for the connection to let go of the Session: they hear of it when this is dropped.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
}

/// Why a connection is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kick {
    /// What a 5.0 client is told.
    pub(crate) reason: ReasonCode,
    /// More, for a person.
    pub(crate) text: Option<Arc<str>>,
    /// Whether the Will Message is published.
    pub(crate) will: bool,
    /// Close without a DISCONNECT.
    pub(crate) silent: bool,
}

impl Kick {
    /// Ends the connection with `reason`; the Will Message is published.
    pub(crate) const fn because(reason: ReasonCode) -> Self {
        Self {
            reason,
            text: None,
            will: true,
            silent: false,
        }
    }
}

impl Will {
    /// Returns its record; `due` is when its Will Delay Interval has passed, by the wall clock.
    pub(crate) fn to_record(&self, due: Option<u64>) -> WillRecord {
        WillRecord {
            message: self.message.clone(),
            client: ClientView::clone(&self.client),
            delay: self.delay,
            due,
        }
    }
}

impl Link {
    /// Returns the name of the connection.
    #[inline]
    pub(crate) fn handle(&self) -> ClientHandle {
        self.client.handle
    }

    /// Returns what the owner is told, to add to it.
    pub(crate) fn note(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// Tells whether the connection is to end.
    pub(crate) fn is_kicked(&self) -> bool {
        self.notes.as_ref().is_some_and(|notes| notes.kick.is_some())
    }

    /// Asks the owner to end the connection. The first reason holds.
    pub(crate) fn kick(&mut self, kick: Kick) {
        self.note().kick.get_or_insert(kick);
        self.wake();
    }

    /// Tells whether somebody must see to it that `out` is written: then that is the caller, and nobody else until it is done.
    #[inline]
    pub(crate) fn begin_flush(&mut self) -> bool {
        let due = !self.flushing && !self.blocked && !self.closing && !self.out.is_empty();
        self.flushing |= due;
        due
    }

    /// Tells whether somebody wants to look at messages before they go out.
    pub(crate) fn is_to_be_looked_at(&self) -> bool {
        self.chain.looks_at_deliveries() || !self.client.mount.is_empty()
    }

    /// Wakes the owner.
    pub(crate) fn wake(&self) {
        self.socket.wake_by_ref();
    }
}

impl Session {
    /// Returns a Session nobody is connected to.
    pub(crate) fn new(id: u64, client_id: ClientId, state: State) -> Self {
        Self {
            id,
            client_id,
            inflight: 0.into(),
            invalidated: 0.into(),
            handle: 0.into(),
            state: Mutex::new(state),
        }
    }

    /// Locks the state. A panic while it was locked costs that connection; what it left is consistent, because every
    /// change of it is one step of the protocol's state machine.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether there is a connection, for those who don't lock.
    pub(crate) fn set_connected(&self, connected: bool) {
        match connected {
            true => self.handle.fetch_or(CONNECTED, Ordering::Relaxed),
            false => self.handle.fetch_and(!CONNECTED, Ordering::Relaxed),
        };
    }

    /// Returns the connection it has, or had last.
    pub(crate) fn handle(&self) -> ClientHandle {
        ClientHandle(self.handle.load(Ordering::Relaxed) & !CONNECTED)
    }

    /// Notes which connection it has.
    pub(crate) fn set_handle(&self, handle: ClientHandle) {
        self.handle.store(handle.0, Ordering::Relaxed);
    }

    /// Makes the connection forget the decisions it cached.
    pub(crate) fn invalidate(&self) {
        self.invalidated.fetch_add(1, Ordering::Release);
    }

    /// Returns how often decisions were invalidated.
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidated.load(Ordering::Acquire).into()
    }

    /// Returns what others may know of it.
    pub(crate) fn info(&self) -> ClientInfo {
        let state = self.lock();
        let client = state.link.as_ref().map(|link| &link.client);
        let owner = state.owner.as_ref();
        ClientInfo {
            handle: client.map(|client| client.handle),
            id: self.client_id.to_string(),
            username: owner.and_then(|owner| owner.username.as_deref().map(Into::into)),
            listener: state.listener.name.to_string(),
            peer: client.map(|client| client.peer),
            version: state.version,
            subscriptions: state.subscriptions.len(),
            queued: state.outbound.queued_messages(),
        }
    }

    /// Tells whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.handle.load(Ordering::Relaxed) & CONNECTED != 0
    }

    /// Notes how many messages are under way, for those who don't lock.
    pub(crate) fn set_inflight(&self, inflight: u32) {
        self.inflight.store(inflight, Ordering::Relaxed);
    }
}

impl State {
    /// Tells whether a message that was routed in this generation comes too late: the subscription it is for has been given
    /// up since, and after UNSUBACK nothing more is added `[MQTT-3.10.4-2]`. Looks at the subscriptions only in that case.
    pub(crate) fn gave_up(&self, topic: TopicRef<'_>, generation: u64) -> bool {
        self.gave_up_at > generation
            && !self
                .subscriptions
                .iter()
                .any(|held| held.routed().filter.matches(topic))
    }

    /// Returns the state of a Session that `owner` makes.
    pub(crate) fn new(
        limits: Arc<OutboundLimits>,
        listener: Arc<ListenerState>,
        owner: Option<Box<Owner>>,
    ) -> Self {
        Self {
            outbound: Outbound::new(limits),
            link: None,
            received: ReceivedIds::new(),
            subscriptions: Subscriptions::default(),
            gave_up_at: 0,
            owner,
            version: ProtocolVersion::V5,
            listener,
            expiry: 0,
            will: None,
            expiry_timer: None,
            fresh: true,
            ended: false,
            footprint: Footprint::default(),
            kept: None,
        }
    }

    /// Returns the Session's own record; `ended_at` is when it lost its connection.
    pub(crate) fn record(&self, session: u64, ended_at: Option<u64>) -> SessionRecord {
        SessionRecord {
            number: session,
            owner: self.owner.as_deref().cloned().unwrap_or_default(),
            listener: self.listener.name.clone(),
            version: self.version,
            expiry: self.expiry,
            ended_at,
        }
    }

    /// Gives the connection the listener's present chain. True: it had another.
    pub(crate) fn follow_chain(&mut self) -> bool {
        let Self {
            link,
            listener,
            outbound,
            ..
        } = self;
        let Some(link) = link.as_deref_mut() else {
            return false;
        };
        if link.chain.generation() == listener.chain.generation() {
            return false;
        }
        link.chain = listener.chain.load_full();
        if link.is_to_be_looked_at() && !link.looked_at {
            link.looked_at = true;
            link.held = outbound.is_waiting();
        }
        // What waits to be looked at is, even if nobody wants to any more.
        link.looked_at &= link.is_to_be_looked_at() || link.held || outbound.is_waiting();
        true
    }

    /// Returns the connection if it is the one that `handle` names.
    pub(crate) fn link_of(&mut self, handle: ClientHandle) -> Option<&mut Link> {
        self.link.as_deref_mut().filter(|link| link.handle() == handle)
    }
}

impl Subscriber for Arc<Session> {
    fn id(&self) -> u64 {
        self.id
    }

    fn available(&self) -> bool {
        self.is_connected()
    }

    fn inflight(&self) -> usize {
        self.inflight.load(Ordering::Relaxed) as usize
    }
}
