//! Hooks on the way of a client into the broker: the Network Connection, its CONNECT, who it is.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use super::Denial;
use crate::{Cx, Fault, MaybeSend};

/// A Network Connection that was accepted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming<'a> {
    /// The listener.
    pub listener: &'a str,
    /// The address of the other end; `None`: no TCP.
    pub address: Option<&'a str>,
    /// Its port.
    pub port: u16,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The protocol that ALPN agreed on.
    pub alpn: Option<&'a str>,
    /// The TLS version, like `1.3`.
    pub tls_version: Option<&'a str>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptVerdict {
    /// It may speak.
    Continue,
    /// It is closed without a word.
    Drop,
    /// It may speak after so long, at most 60 s.
    Delay(Duration),
}

/// Decides whether a Network Connection may begin: address bans, connection rates.
///
/// **When:** once for each, after the TLS handshake, before a byte of MQTT.
///
/// **May change:** nothing.
///
/// **On the wire:** `Drop` closes; the client sees the end of the stream.
///
/// **On failure:** `on_error` `deny`, `drop` and `disconnect` close, `skip` and `allow` go on.
///
/// **Cost:** one call for each connection. It answers at once and never blocks.
pub trait Accept {
    /// Decides about `incoming`.
    ///
    /// # Errors
    /// It can't say.
    fn accept(&self, incoming: &Incoming<'_>) -> Result<AcceptVerdict, Fault>;
}

/// What a client shows of itself.
#[derive(Clone, Copy, Default)]
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

/// What a client is granted. The default grants the user name it came with and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Another user name.
    pub username: Option<String>,
    /// Another Client Identifier.
    pub client_id: Option<String>,
    /// Facts for later plugins ([`Cx::attribute`]).
    pub attributes: Vec<(String, String)>,
    /// The prefix before all its topics.
    pub mount: Option<String>,
    /// The longest Session Expiry Interval.
    pub session_expiry_cap: Option<Duration>,
    /// How long the grant holds; then the connection ends unless the client re-authenticated.
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

    /// Keeps the client out: 0x86, Bad User Name or Password.
    #[must_use]
    pub const fn bad_credentials() -> Self {
        Self::Deny(Denial::new(broker_types::ReasonCode::BadUserNameOrPassword))
    }
}

/// Decides who may connect.
///
/// **When:** once for each CONNECT without an Authentication Method, after [`Connect`].
///
/// **May change:** through [`Grant`]: user name, Client Identifier, attributes, mount, caps.
///
/// **On the wire:** the first `Allow` or `Deny` of the chain decides. `Deny` is a CONNACK with the Reason Code (3.1.1: 4 for 0x86, 5
/// for 0x87). If all skip, the client is refused with 0x87.
///
/// **On failure:** `deny` is CONNACK 0x88 (3.1.1: 3); `drop` and `disconnect` close; `skip` asks the next; `allow` lets in.
///
/// **Cost:** one call for each CONNECT; deadline 5 s. Hash passwords with [`crate::Interest::blocking`].
pub trait Authenticate {
    /// Decides about `request`.
    ///
    /// # Errors
    /// It can't say.
    fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault>;
}

/// [`Authenticate`] for plugins that ask somebody else.
pub trait AsyncAuthenticate {
    /// Decides about `request`, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn authenticate(
        &self,
        cx: &Cx<'_>,
        request: &AuthRequest<'_>,
    ) -> impl Future<Output = Result<AuthVerdict, Fault>> + MaybeSend;
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

/// Sees and changes a CONNECT before anybody is authenticated: assigning identifiers, mounting tenants, caps.
///
/// **When:** once for each CONNECT, before [`Authenticate`].
///
/// **May change:** what [`ConnectEdit`] has; later plugins and authenticators see the changed CONNECT.
///
/// **On the wire:** a changed Client Identifier is told as Assigned Client Identifier, caps as Server Keep Alive and Session Expiry Interval.
/// `Reject` is a CONNACK with the reason.
///
/// **On failure:** the changes are thrown away; `deny` is CONNACK 0x88 (3.1.1: 3); `drop` and `disconnect` close; `skip` and `allow` go on.
///
/// **Cost:** one call for each CONNECT; deadline 5 s.
pub trait Connect {
    /// Decides about `request`.
    ///
    /// # Errors
    /// It can't say.
    fn connect(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<ConnectFlow, Fault>;
}

/// [`Connect`] for plugins that ask somebody else.
pub trait AsyncConnect {
    /// Decides about `request`, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn connect(
        &self,
        cx: &Cx<'_>,
        request: &AuthRequest<'_>,
    ) -> impl Future<Output = Result<ConnectFlow, Fault>> + MaybeSend;
}

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangePhase {
    /// The CONNECT named the method.
    Start,
    /// The client answered a challenge.
    Continue,
    /// A connected client begins again.
    ReAuthenticate,
    /// The client went, or took too long: forget it. The verdict is not looked at.
    Abandoned,
}

/// One step of an enhanced authentication.
#[derive(Clone, Copy)]
pub struct ExchangeRequest<'a> {
    /// Where it stands.
    pub phase: ExchangePhase,
    /// Names this exchange; it always ends with success, deny or [`ExchangePhase::Abandoned`].
    pub exchange: u64,
    /// The Authentication Method.
    pub method: &'a str,
    /// The Authentication Data.
    pub data: Option<&'a [u8]>,
    /// What the step before left behind ([`ExchangeVerdict::Challenge`]); empty at the start. The next step may meet another
    /// copy of a Wasm plugin, so what it must know stands here and not in the plugin.
    pub state: &'a [u8],
}

impl core::fmt::Debug for ExchangeRequest<'_> {
    /// Leaves data and state out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("phase", &self.phase)
            .field("exchange", &self.exchange)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeVerdict {
    /// Send `data` in an AUTH and wait for the answer.
    Challenge {
        /// The Authentication Data.
        data: Vec<u8>,
        /// What the next step must know.
        state: Vec<u8>,
    },
    /// The client is who it says.
    Success {
        /// What it is granted.
        grant: Box<Grant>,
        /// Authentication Data for the CONNACK or the last AUTH.
        data: Option<Vec<u8>>,
    },
    /// It is not.
    Deny(Denial),
}

/// Runs challenge and response for the methods of [`crate::Interest::methods`].
///
/// **When:** for a CONNECT with an Authentication Method, for each AUTH that follows, and when a connected client re-authenticates.
///
/// **May change:** through [`Grant`]. A re-authentication can't change Client Identifier or mount.
///
/// **On the wire:** `Challenge` is an AUTH 0x18, `Success` a CONNACK or AUTH 0x00, `Deny` a CONNACK, or for a re-authentication a DISCONNECT. MQTT 3.1
/// and 3.1.1 have no enhanced authentication.
///
/// **On failure:** `drop` and `disconnect` close; everything else is 0x88.
///
/// **Cost:** one call for each step; at most 16 steps and 10 s in all.
pub trait Exchange {
    /// Takes one step.
    ///
    /// # Errors
    /// It can't say.
    fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault>;
}

/// [`Exchange`] for plugins that ask somebody else.
pub trait AsyncExchange {
    /// Takes one step, in its own time.
    ///
    /// # Errors
    /// It can't say.
    fn exchange(
        &self,
        cx: &Cx<'_>,
        request: &ExchangeRequest<'_>,
    ) -> impl Future<Output = Result<ExchangeVerdict, Fault>> + MaybeSend;
}
