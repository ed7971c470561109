//! A broker without an audience: plugins and chains as they would serve, but no port. One client at a time connects, publishes
//! or subscribes over a connection inside the process, and what each plugin said to that is written down. It is the same connection, chain and
//! protocol as with a client from outside, so what is explained is what happens.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_proto::{
    Client, ClientError, ClientEvent, ClientLimits, Connect, Delivered, SubscribeFilters, SubscribeOptions,
};
use broker_types::{Message, ProtocolVersion, QoS, ReasonCode, Timestamp};
use plugin_api::{ClientInfo, Grant, Peer};
use tokio::sync::oneshot;

use crate::builder::BrokerBuilder;
use crate::chain::Chain;
use crate::connection;
use crate::engine::shard::{Job, Shard};
use crate::error::StartError;
use crate::hooks::{Concluded, FaultAction, Trace, Turn, Verdict};
use crate::listener::ChainRef;
use crate::net::{Carrier, LocalStream, pipe};
use crate::start::{self, Running};

/// How long one act may take, all plugins together.
const ACT_MAX: Duration = Duration::from_secs(60);
/// How long plugins have to stop.
const STOP_MAX: Duration = Duration::from_secs(5);
/// The Client Identifier of an actor that has none of its own.
const CLIENT_ID: &str = "rehearsal";
/// DISCONNECT, in all versions. Not said through [`Client`], for which everything were over then, also what still comes.
const GOODBYE: [u8; 2] = [0xE0, 0];

/// Plugins and chains that are started, and that nobody can reach. Made by [`BrokerBuilder::rehearse`]. Dropping it ends it at
/// once; [`Self::end`] stops the plugins in order.
#[must_use = "a rehearsal that is dropped ends"]
pub struct Rehearsal {
    running: Running,
    trace: Arc<Trace>,
}

impl std::fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}

/// Who does something in a [`Rehearsal`].
#[derive(Clone)]
pub struct Actor {
    listener: String,
    client_id: String,
    username: Option<String>,
    password: Option<Vec<u8>>,
    version: ProtocolVersion,
    peer: Peer,
    assumed: Option<Vec<(String, String)>>,
}

/// What an [`Actor`] does after it has connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Act {
    /// Nothing more.
    Connect,
    /// Publishes a message.
    Publish(Message),
    /// Subscribes to filters, all in one packet, with this QoS.
    Subscribe(Vec<String>, QoS),
}

/// What became of it, and what each plugin said.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explained {
    /// Every call of a plugin, in order.
    pub turns: Vec<Turn>,
    /// What CONNACK said; `None`: the connection was closed without one.
    pub connack: Option<ReasonCode>,
    /// The client as it was let in.
    pub client: Option<ClientInfo>,
    /// What became of the act.
    pub outcome: Outcome,
    /// What the broker's DISCONNECT said, if it ended the connection with one.
    pub disconnect: Option<ReasonCode>,
}

/// What became of an [`Act`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The client wasn't let in.
    Refused,
    /// It was, and that was all.
    Connected,
    /// What SUBACK said, a code for each filter.
    Subscribed(Vec<ReasonCode>),
    /// What became of the message.
    Published(Delivery),
    /// The broker ended the connection and gave no answer.
    Closed,
}

/// What became of a message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// Where it went.
    pub fate: Fate,
    /// What PUBACK or PUBREC said; `None` with QoS 0, and where the broker closed instead.
    pub reason: Option<ReasonCode>,
    /// The message as the plugins left it. Its topic is without the client's mount.
    pub message: Message,
    /// What plugins sent besides. Their topics are with the mount.
    pub emitted: Vec<Message>,
}

/// Where a message went. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To all who are subscribed.
    Routed,
    /// Nowhere, though its publisher is told that it was taken.
    Dropped,
    /// Nowhere: it was refused.
    Refused,
    /// To the plugin that owns its `$CONTROL/` topic.
    Answered,
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// There is no such listener.
    #[error("there is no listener `{0}`")]
    NoListener(String),
    /// No client can do that.
    #[error("no client can send that: {0}")]
    Impossible(String),
    /// A plugin took too long, all deadlines together.
    #[error("no answer within {} s", ACT_MAX.as_secs())]
    TooLong,
    /// The system has no sockets, or a thread has ended.
    #[error("the rehearsal broke off: {0}")]
    Io(#[from] io::Error),
}

impl Actor {
    /// A client without user name and password, speaking 5.0, on this machine, whom authenticators are asked about.
    #[must_use]
    pub fn new(listener: impl Into<String>) -> Self {
        Self {
            listener: listener.into(),
            client_id: CLIENT_ID.to_owned(),
            username: None,
            password: None,
            version: ProtocolVersion::V5,
            peer: Peer::Local,
            assumed: None,
        }
    }

    /// Sets its Client Identifier; default: `rehearsal`.
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Sets its user name.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.username = Some(name.into());
        self
    }

    /// Sets its password.
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Sets the version it speaks.
    #[must_use]
    pub const fn version(mut self, version: ProtocolVersion) -> Self {
        self.version = version;
        self
    }

    /// Sets where it comes from, as plugins see it.
    #[must_use]
    pub const fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// Takes it for who it says it is, without asking authenticators: as if the first had allowed it with these attributes.
    #[must_use]
    pub fn assumed(mut self, attributes: Vec<(String, String)>) -> Self {
        self.assumed = Some(attributes);
        self
    }

    fn grant(&self) -> Option<Box<Grant>> {
        let attributes = self.assumed.clone()?;
        Some(Box::new(Grant {
            attributes,
            ..Grant::default()
        }))
    }
}

impl std::fmt::Debug for Actor {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor")
            .field("listener", &self.listener)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl BrokerBuilder {
    /// Starts plugins and puts chains together as [`Self::start`] does, but opens no port, no bridge and no store, and tells
    /// nobody of events. What plugins do by themselves when they are started, they do.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub async fn rehearse(mut self) -> Result<Rehearsal, StartError> {
        let trace = Arc::new(Trace::default());
        let traced = |chain: &mut Chain| *chain = std::mem::take(chain).traced(&trace);
        self.chains.values_mut().for_each(traced);
        for listener in &mut self.listeners {
            listener.durability = None;
            if let ChainRef::Inline(chain) = &mut listener.chain {
                traced(chain);
            }
        }
        let builder = Self {
            bridges: Vec::new(),
            shards: Some(1),
            sys_interval: None,
            store: Self::default().store,
            ..self
        };
        let running = start::rehearse(Arc::new(builder)).await?;
        Ok(Rehearsal { running, trace })
    }
}

impl Rehearsal {
    /// Has `actor` connect and do `act`, and says what each plugin said to it.
    ///
    /// # Errors
    /// Nothing could be explained. That a client is refused is no error.
    pub async fn explain(&mut self, actor: Actor, act: Act) -> Result<Explained, RehearsalError> {
        self.trace.begin(actor.grant());
        let (done, played) = oneshot::channel();
        let job: Job = Box::new(move |shard: &Rc<Shard>| {
            let shard = shard.clone();
            tokio::task::spawn_local(async move {
                // Whoever asked may have gone.
                let _ = done.send(play(&shard, &actor, &act).await);
            });
        });
        let gone = || io::Error::other("a worker has ended");
        self.running.core.jobs[0].send(job).await.map_err(|_| gone())?;
        let played = played.await.map_err(|_| gone())??;
        let (turns, concluded) = self.trace.take();
        Ok(played.explained(turns, concluded))
    }

    /// Stops the plugins. Takes at most 10 s.
    pub async fn end(self) {
        self.running.stop(STOP_MAX).await;
    }
}

/// Connects an actor to its listener and lets it act.
async fn play(shard: &Rc<Shard>, actor: &Actor, act: &Act) -> Result<Played, RehearsalError> {
    let listeners = shard.core.listeners();
    let Some(listener) = { listeners.iter() }.find(|listener| *listener.name == *actor.listener) else {
        return Err(RehearsalError::NoListener(actor.listener.clone()));
    };
    let before = shard.metrics.messages_accepted.get();
    let (end, stream) = pipe();
    let mut player = Player {
        shard,
        act,
        client: Client::new(ClientLimits::default()),
        stream,
        began: Instant::now(),
        played: Played::default(),
        said_goodbye: false,
    };
    player.connect(actor)?;
    connection::admit(shard, listener, Carrier::Local(end), actor.peer.into());
    match tokio::time::timeout(ACT_MAX, player.run()).await {
        Ok(result) => result?,
        Err(_) => return Err(RehearsalError::TooLong),
    }
    let mut played = player.played;
    played.routed = shard.metrics.messages_accepted.get() > before;
    played.published = match act {
        Act::Publish(message) => Some(message.clone()),
        Act::Connect | Act::Subscribe(..) => None,
    };
    Ok(played)
}

/// A client at work.
struct Player<'a> {
    shard: &'a Rc<Shard>,
    act: &'a Act,
    client: Client,
    stream: LocalStream,
    began: Instant,
    played: Played,
    said_goodbye: bool,
}

/// What a client saw.
#[derive(Default)]
struct Played {
    connack: Option<ReasonCode>,
    client: Option<ClientInfo>,
    suback: Option<Vec<ReasonCode>>,
    puback: Option<ReasonCode>,
    disconnect: Option<ReasonCode>,
    /// It had all it wanted to know. The broker looks at its goodbye only when it is done with everything before.
    finished: bool,
    published: Option<Message>,
    routed: bool,
}

/// An event, without what it borrows.
enum Came {
    Connected(Option<String>),
    Answered,
    Ended,
    Other,
}

impl Player<'_> {
    fn connect(&mut self, actor: &Actor) -> Result<(), RehearsalError> {
        let mut connect = Connect::new(actor.version, &actor.client_id);
        connect.clean_start = true;
        connect.username = actor.username.as_deref();
        connect.password = actor.password.as_deref();
        self.client.connect(&connect).map_err(impossible)
    }

    /// Goes on until the broker closes the connection, which it does after DISCONNECT at the latest.
    async fn run(&mut self) -> Result<(), RehearsalError> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(came) = self.next_event()? {
                match came {
                    Came::Connected(id) => self.act(id.as_deref())?,
                    Came::Answered => self.played.finished = true,
                    Came::Ended => return Ok(()),
                    Came::Other => {}
                }
            }
            if !self.client.output().is_empty() {
                let mut slices = [io::IoSlice::new(&[]); 16];
                let used = self.client.output().io_slices(&mut slices);
                match poll_fn(|cx| self.stream.poll_send(cx, &slices[..used])).await {
                    Ok(sent) => self.client.output().advance(sent),
                    // The broker has closed; what it said before is still to be read.
                    Err(_) => self.client.output().clear(),
                }
                continue;
            }
            if self.played.finished && !self.said_goodbye {
                // All before is read by now, so there is room. That the broker has closed, the read says.
                let goodbye = [io::IoSlice::new(&GOODBYE)];
                let _ = poll_fn(|cx| self.stream.poll_send(cx, &goodbye)).await;
                self.said_goodbye = true;
                continue;
            }
            match poll_fn(|cx| self.stream.poll_receive(cx, &mut buffer)).await {
                0 => return Ok(()),
                count => self.client.handle_input(&buffer[..count]),
            }
        }
    }

    fn next_event(&mut self) -> Result<Option<Came>, RehearsalError> {
        let now = Timestamp::ZERO + self.began.elapsed();
        let event = self.client.poll_event(now).map_err(impossible)?;
        let Some(event) = event else { return Ok(None) };
        let played = &mut self.played;
        Ok(Some(match event {
            ClientEvent::Connected(ack) => {
                played.connack = Some(ack.reason);
                Came::Connected(ack.assigned_client_id.map(str::to_owned))
            }
            ClientEvent::Refused(ack) => {
                played.connack = Some(ack.reason);
                Came::Ended
            }
            ClientEvent::Published { reason, .. } => {
                played.puback = Some(reason);
                Came::Answered
            }
            // Too large for this broker: a client that asks first isn't refused, it doesn't even send.
            ClientEvent::Dropped { .. } => {
                played.puback = Some(ReasonCode::PacketTooLarge);
                Came::Answered
            }
            ClientEvent::Subscribed(ack) => {
                played.suback = Some(ack.reasons.into_owned());
                Came::Answered
            }
            ClientEvent::Disconnected(packet) => {
                played.disconnect = Some(packet.reason);
                Came::Ended
            }
            _ => Came::Other,
        }))
    }

    /// Does what the client came for.
    fn act(&mut self, assigned_id: Option<&str>) -> Result<(), RehearsalError> {
        // Before 5.0 nobody is told that a plugin gave the client another name; but there is no other client.
        let mut connected = Vec::new();
        self.shard.core.sessions.for_each(|session| {
            let info = session.info();
            connected.extend(info.handle.is_some().then_some(info));
        });
        let named = |client: &ClientInfo| assigned_id.is_none_or(|id| client.id == id);
        self.played.client = connected.into_iter().find(named);
        match self.act {
            Act::Connect => {
                self.played.finished = true;
                Ok(())
            }
            Act::Publish(message) => {
                let now = Timestamp::ZERO + self.began.elapsed();
                match self.client.publish(now, message) {
                    Delivered::Sent { .. } | Delivered::Queued { .. } if message.qos > QoS::AtMostOnce => {
                        Ok(())
                    }
                    Delivered::Sent { .. } | Delivered::Queued { .. } => {
                        self.played.finished = true;
                        Ok(())
                    }
                    refused => Err(RehearsalError::Impossible(format!("{refused:?}"))),
                }
            }
            Act::Subscribe(filters, qos) => {
                let options = SubscribeOptions {
                    qos: *qos,
                    ..SubscribeOptions::default()
                };
                let filters = filters.iter().map(|filter| (filter.as_str(), options));
                let filters = SubscribeFilters::collect(filters).map_err(impossible)?;
                self.client.subscribe(filters, None).map(drop).map_err(impossible)
            }
        }
    }
}

impl Played {
    fn explained(self, turns: Vec<Turn>, concluded: Option<Concluded>) -> Explained {
        Explained {
            turns,
            connack: self.connack,
            client: self.client.clone(),
            disconnect: self.disconnect,
            outcome: self.outcome(concluded),
        }
    }

    fn outcome(self, concluded: Option<Concluded>) -> Outcome {
        if self.client.is_none() {
            return Outcome::Refused;
        }
        if let Some(reasons) = self.suback {
            return Outcome::Subscribed(reasons);
        }
        let Some(published) = self.published else {
            return match self.finished {
                true => Outcome::Connected,
                false => Outcome::Closed,
            };
        };
        let told_no = self.puback.is_some_and(ReasonCode::is_error);
        let is_control = published.topic.as_str().starts_with("$CONTROL/");
        let fate = match concluded.as_ref().map(|concluded| &concluded.verdict) {
            Some(Verdict::Drop | Verdict::Fault(FaultAction::Drop)) => Fate::Dropped,
            Some(Verdict::Reject(_) | Verdict::Disconnect(_) | Verdict::Fault(_)) => Fate::Refused,
            Some(Verdict::Pass) | None if self.routed => Fate::Routed,
            None if is_control && self.finished && !told_no => Fate::Answered,
            Some(Verdict::Pass) | None => Fate::Refused,
        };
        let (message, emitted) = match concluded {
            Some(concluded) => (concluded.message, concluded.emitted),
            None => (published, Vec::new()),
        };
        Outcome::Published(Delivery {
            fate,
            reason: self.puback,
            message,
            emitted,
        })
    }
}

fn impossible(error: impl Into<ClientError>) -> RehearsalError {
    RehearsalError::Impossible(error.into().to_string())
}
