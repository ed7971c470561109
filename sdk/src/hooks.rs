//! The hooks: one trait each, with what it is asked and what it may say. When each is called, what its verdicts mean on the
//! wire and what happens when it fails is told by the trait of the same name in `plugin-api`.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use broker_types::{QoS, ReasonCode};

use crate::{ClientHandle, Cx, Fault, Message};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The Reason Code, 0x80 or above.
    pub reason: ReasonCode,
    /// The Reason String.
    pub text: Option<String>,
}

impl Denial {
    /// Refuses with `reason`.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, text: None }
    }

    /// Adds a Reason String.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }
}

/// A Network Connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The listener.
    pub listener: &'a str,
    /// The address of the other end; `None`: no TCP.
    pub address: Option<&'a str>,
    /// Its port.
    pub port: u16,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptVerdict {
    /// It may speak.
    Continue,
    /// It is closed without a word.
    Drop,
    /// It may speak after so long.
    Delay(Duration),
}

/// Decides whether a Network Connection may begin.
pub trait Accept {
    /// Decides about `incoming`, at once.
    ///
    /// # Errors
    /// It can't say.
    fn accept(&self, incoming: &Incoming<'_>) -> Result<AcceptVerdict, Fault>;
}

/// What a client shows of itself.
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    /// The Client Identifier.
    pub client_id: &'a str,
    /// The User Name.
    pub username: Option<&'a str>,
    /// The Password; never there in [`Connect`].
    pub password: Option<&'a [u8]>,
    /// The client certificate, DER.
    pub certificate: Option<&'a [u8]>,
    /// Clean Start.
    pub clean_start: bool,
}

impl core::fmt::Debug for AuthRequest<'_> {
    /// Leaves the password out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What a client is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Another user name.
    pub username: Option<String>,
    /// Another Client Identifier.
    pub client_id: Option<String>,
    /// Facts for later plugins.
    pub attributes: Vec<(String, String)>,
    /// The prefix before all its topics.
    pub mount: Option<String>,
    /// The longest Session Expiry Interval.
    pub session_expiry_cap: Option<Duration>,
    /// How long the grant holds.
    pub expires_in: Option<Duration>,
}

/// What an authenticator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    /// Not mine: ask the next.
    Skip,
    /// Let it in.
    Allow(Grant),
    /// Keep it out.
    Deny(Denial),
}

impl AuthVerdict {
    /// Lets the client in under the user name it came with.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow(Grant::default())
    }
}

/// Decides who may connect.
pub trait Authenticate {
    /// Decides about `request`.
    ///
    /// # Errors
    /// It can't say.
    fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault>;
}

/// What a plugin changes of a CONNECT; an absent field stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectEdit {
    /// Another Client Identifier.
    pub client_id: Option<String>,
    /// Another user name.
    pub username: Option<String>,
    /// The prefix before all its topics.
    pub mount: Option<String>,
    /// The longest Keep Alive in seconds.
    pub keep_alive_cap: Option<u16>,
    /// The longest Session Expiry Interval.
    pub session_expiry_cap: Option<Duration>,
    /// Server Reference.
    pub server_reference: Option<String>,
    /// User Properties for the CONNACK.
    pub user_properties: Vec<(String, String)>,
}

/// How the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFlow {
    /// To the next plugin.
    Continue(ConnectEdit),
    /// No later plugin is asked.
    Stop(ConnectEdit),
    /// No connection.
    Reject(Denial),
}

/// Sees and changes a CONNECT before anybody is authenticated.
pub trait Connect {
    /// Decides about `request`.
    ///
    /// # Errors
    /// It can't say.
    fn connect(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<ConnectFlow, Fault>;
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send to a Topic Name.
    Publish,
    /// Subscribe to a Topic Filter.
    Subscribe,
    /// Get from a Topic Name.
    Receive,
}

/// One thing to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclItem<'a> {
    /// The action.
    pub action: Action,
    /// The Topic Name, or for `Subscribe` the Topic Filter.
    pub topic: &'a str,
    /// The QoS wanted.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
}

/// What an authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AclVerdict {
    /// Not mine: ask the next.
    #[default]
    Skip,
    /// Yes.
    Allow,
    /// Yes, with at most this QoS.
    AllowMaxQos(QoS),
    /// No.
    Deny(Denial),
}

/// A verdict and how long it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclDecision {
    /// The verdict.
    pub verdict: AclVerdict,
    /// How long the connection may remember it; `None`: not at all.
    pub cache_for: Option<Duration>,
}

impl AclDecision {
    /// A verdict that holds until [`crate::Host::invalidate`].
    #[must_use]
    pub const fn fixed(verdict: AclVerdict) -> Self {
        Self {
            verdict,
            cache_for: Some(Duration::MAX),
        }
    }
}

/// Decides what a client may do.
pub trait Authorize {
    /// Decides about one topic. All filters of a SUBSCRIBE come one after the other, in one call of the broker.
    ///
    /// # Errors
    /// It can't say.
    fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault>;
}

/// A filter of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The Topic Filter, without the share.
    pub filter: &'a str,
    /// The Share Name.
    pub share: Option<&'a str>,
    /// The QoS wanted.
    pub qos: QoS,
    /// The Subscription Identifier, 0: none.
    pub id: u32,
}

/// What a plugin changes of a subscription; an absent field stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeEdit {
    /// Another Topic Filter.
    pub filter: Option<String>,
    /// The highest QoS.
    pub max_qos: Option<QoS>,
    /// The subscriber class.
    pub class: Option<u32>,
}

/// How the chain goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeFlow {
    /// To the next plugin.
    Continue(SubscribeEdit),
    /// No later plugin is asked.
    Stop(SubscribeEdit),
    /// No subscription.
    Reject(Denial),
}

/// Sees and changes subscriptions.
pub trait Subscribe {
    /// Decides about `subscription`.
    ///
    /// # Errors
    /// It can't say.
    fn subscribe(&self, cx: &Cx<'_>, subscription: &Subscription<'_>) -> Result<SubscribeFlow, Fault>;
}

/// Maps the filter of an UNSUBSCRIBE as [`Subscribe`] mapped that of the SUBSCRIBE.
pub trait Unsubscribe {
    /// Returns another filter; `None`: the same.
    ///
    /// # Errors
    /// It can't say.
    fn unsubscribe(&self, cx: &Cx<'_>, subscription: &Subscription<'_>) -> Result<Option<String>, Fault>;
}

/// How the chain goes on with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next plugin, with the changes.
    Continue,
    /// No later plugin sees it.
    Stop,
    /// Acknowledged as success, goes nowhere.
    Drop,
    /// Refused.
    Reject(Denial),
    /// Refused, and the connection ends.
    Disconnect(Denial),
    /// As `Continue`, and nothing more is read from this client for so long.
    Throttle(Duration),
}

/// Sees, changes, drops, refuses and multiplies the messages that come in.
pub trait Publish {
    /// Decides about `message`.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn publish(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault>;
}

/// What a class of subscribers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliverFlow {
    /// The message with the changes; ask the next plugin.
    Continue,
    /// The message with the changes.
    Stop,
    /// Nothing.
    Drop,
}

/// Changes messages on their way out, once for each subscriber class.
pub trait Deliver {
    /// Changes `message` for the subscribers of `class`.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn deliver(&self, class: u32, message: &mut Message<'_>) -> Result<DeliverFlow, Fault>;
}

/// Sees and changes a Will Message when it fires.
pub trait Will {
    /// Changes `message` or drops it.
    ///
    /// # Errors
    /// It can't say; its changes are thrown away.
    fn will(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<DeliverFlow, Fault>;
}

/// What becomes of a message with RETAIN set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainVerdict {
    /// It is retained.
    Store,
    /// It is retained for so long.
    StoreFor(Duration),
    /// Present subscribers get it, and it is not retained.
    Pass,
}

/// Decides whether a message is retained.
pub trait Retain {
    /// Decides about `message`, at once.
    ///
    /// # Errors
    /// It can't say.
    fn retain(&self, message: &Message<'_>) -> Result<RetainVerdict, Fault>;
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What (`JF_E_*`).
    pub kind: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The Network Connection.
    pub client: Option<ClientHandle>,
    /// The Client Identifier.
    pub client_id: Option<&'a str>,
    /// The topic or filter.
    pub topic: Option<&'a str>,
    /// The Reason Code.
    pub reason: u8,
    /// Whether the broker ended it.
    pub by_server: bool,
}

/// Is told what happens.
pub trait Events {
    /// Takes note of `batch`, oldest first.
    fn notify(&self, batch: &[Event<'_>]);
}

/// Answers requests under `$CONTROL/`, with the prefixes of [`crate::Interest::control`].
pub trait Control {
    /// Answers: reply bytes, or a Reason Code that refuses.
    ///
    /// # Errors
    /// It can't say.
    fn control(&self, cx: &Cx<'_>, topic: &str, payload: &[u8])
    -> Result<Result<Vec<u8>, ReasonCode>, Fault>;
}
