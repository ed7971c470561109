//! Who may connect.

use std::time::Duration;

use async_trait::async_trait;
use broker_types::ProtocolVersion;

use crate::{Cx, Denial, Fault};

/// What a client shows of itself.
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    /// The Client Identifier.
    pub client_id: &'a str,
    /// The User Name.
    pub username: Option<&'a str>,
    /// The Password: any bytes.
    pub password: Option<&'a [u8]>,
    /// The client certificate, DER; checked against the listener's authorities by the TLS handshake.
    pub certificate: Option<&'a [u8]>,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The version it speaks.
    pub version: ProtocolVersion,
    /// Clean Start.
    pub clean_start: bool,
}

impl std::fmt::Debug for AuthRequest<'_> {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "***"))
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What a client is granted. The default grants the user name it came with and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The user name from here on; `None`: the claimed one.
    pub username: Option<String>,
    /// Another Client Identifier; told as Assigned Client Identifier.
    pub client_id: Option<String>,
    /// Facts for later plugins, like roles.
    pub attributes: Vec<(String, String)>,
    /// The prefix before all topics of this client.
    pub mount: Option<String>,
    /// The longest Session Expiry Interval.
    pub session_expiry_cap: Option<Duration>,
    /// How long the grant holds; then the connection ends with 0xA0 unless the client re-authenticated.
    pub expires_in: Option<Duration>,
}

impl Grant {
    /// Lays `later` over this grant, for chains in which every authenticator must allow: attributes add up, a later
    /// name or mount replaces an earlier one, the lowest cap and the nearest end hold.
    pub fn merge(&mut self, later: Self) {
        self.username = later.username.or(self.username.take());
        self.client_id = later.client_id.or(self.client_id.take());
        self.attributes.extend(later.attributes);
        self.mount = later.mount.or(self.mount.take());
        self.session_expiry_cap = min_some(self.session_expiry_cap, later.session_expiry_cap);
        self.expires_in = min_some(self.expires_in, later.expires_in);
    }
}

fn min_some(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What an authenticator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthVerdict {
    /// This one is not mine: ask the next.
    Skip,
    /// Let it in.
    Allow(Box<Grant>),
    /// Keep it out.
    Deny(Denial),
}

impl AuthVerdict {
    /// Lets the client in under the user name it came with.
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow(Box::default())
    }

    /// Lets the client in as `username`.
    #[must_use]
    pub fn allow_as(username: impl Into<String>) -> Self {
        Self::Allow(Box::new(Grant {
            username: Some(username.into()),
            ..Grant::default()
        }))
    }

    /// Keeps the client out: 0x86, Bad User Name or Password.
    #[must_use]
    pub const fn bad_credentials() -> Self {
        Self::Deny(Denial::new(broker_types::ReasonCode::BadUserNameOrPassword))
    }
}

/// Decides who may connect.
///
/// **When:** once for each CONNECT without an Authentication Method, after [`crate::Connect`].
///
/// **May change:** through [`Grant`]: user name, Client Identifier, attributes, mount, caps.
///
/// **Verdicts on the wire:** the first `Allow` or `Deny` of the chain decides (with `authenticate = "all"` every verdict that is
/// not `Skip` must allow). `Deny` is a CONNACK with the Reason Code (3.1.1: 4 for 0x86, 5 for 0x87). If all skip: 0x87,
/// unless the listener lets anonymous clients in and no credentials came.
///
/// **On error, timeout or panic:** `deny`: CONNACK 0x88 (3.1.1: 3), never 0x87; `drop` and `disconnect` close; `skip` asks the next;
/// `allow` lets in.
///
/// **Cost:** one allocation for each call. Deadline 5 s; only this client waits. Hashing passwords belongs on
/// [`crate::run_blocking`].
///
/// ```
/// use plugin_api::{AuthRequest, AuthVerdict, Authenticate, Cx, Fault, async_trait};
///
/// struct OneSecret;
/// #[async_trait]
/// impl Authenticate for OneSecret {
///     async fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
///         Ok(match request.password {
///             None => AuthVerdict::Skip,
///             Some(b"open sesame") => AuthVerdict::allow(),
///             Some(_) => AuthVerdict::bad_credentials(),
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Decides about `request`.
    ///
    /// # Errors
    /// A fault; see the trait.
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault>;
}
