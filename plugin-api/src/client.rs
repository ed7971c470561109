//! What a hook may know of the client it is called for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker_types::{ClientHandle, ClientId, ProtocolVersion};

/// The other end of a Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket on this machine.
    Unix,
    /// The embedding program itself.
    Local,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// A client as hooks see it: plain data, the same for the life of a Network Connection, except that each
/// authentication makes a new one. Before a client is authenticated, `username` is what it claims.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// Names this Network Connection; keep it to act on the client later.
    pub handle: ClientHandle,
    /// The Client Identifier.
    pub id: ClientId,
    /// The user name: claimed in CONNECT, or what the authenticator granted.
    pub username: Option<Arc<str>>,
    /// Whether an authenticator let this client in. Only then may a rule trust `username`.
    pub authenticated: bool,
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The other end.
    pub peer: Peer,
    /// The version it speaks.
    pub version: ProtocolVersion,
    /// Clean Start (in 3.1 and 3.1.1: clean session) of its CONNECT.
    pub clean_start: bool,
    /// The prefix before all its topics, or empty. The topics that hooks see are without it.
    pub mount: Arc<str>,
    /// What authenticators said about it, in order of arrival.
    pub attributes: Arc<[(String, String)]>,
    /// The client certificate, DER.
    pub certificate: Option<Arc<[u8]>>,
    /// Whether it is the embedding program, which asked that no authorizer decides about it.
    pub unrestricted: bool,
}

impl ClientView {
    /// Returns the last attribute `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What comes with every call about a client.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    /// The client; clone the `Arc` to keep it.
    pub client: &'a Arc<ClientView>,
    /// The wall time this call may take before the use's `on_timeout` is applied.
    pub budget: Duration,
}
