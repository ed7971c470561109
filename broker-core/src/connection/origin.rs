//! Where a connection comes from: what is known of it before its first byte.

use std::sync::Arc;

use bytes::Bytes;
use plugin_api::{Incoming, Peer};

/// What a program knows of a connection that it brings to its broker. The chain's plugins see it. Default: the program
/// itself, without TLS.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The other end.
    pub peer: Peer,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The protocol that ALPN agreed on.
    pub alpn: Option<String>,
    /// The TLS version, like `1.3`.
    pub tls_version: Option<String>,
    /// The client certificate, DER. The program has verified it.
    pub certificate: Option<Bytes>,
}

impl From<Peer> for PeerInfo {
    fn from(peer: Peer) -> Self {
        Self {
            peer,
            sni: None,
            alpn: None,
            tls_version: None,
            certificate: None,
        }
    }
}

impl Default for PeerInfo {
    fn default() -> Self {
        Self::from(Peer::Local)
    }
}

/// Who the embedding program says it is on a connection of its own; no authenticator is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// The user name that plugins see.
    pub(crate) username: Option<Arc<str>>,
    /// No authorizer is asked either.
    pub(crate) unrestricted: bool,
}

/// Where a connection comes from. What only few connections have is boxed.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) peer: Peer,
    brought: Option<Box<Brought>>,
}

/// What the program said about a connection that it brought.
#[derive(Debug)]
struct Brought {
    info: PeerInfo,
    identity: Option<Identity>,
}

impl From<Peer> for Origin {
    fn from(peer: Peer) -> Self {
        Self { peer, brought: None }
    }
}

impl Origin {
    /// Returns that of a connection which the program brings.
    pub(crate) fn brought(info: PeerInfo, identity: Option<Identity>) -> Self {
        let peer = info.peer;
        let brought = Some(Box::new(Brought { info, identity }));
        Self { peer, brought }
    }

    /// Returns what the hook `accept` sees.
    pub(super) fn incoming(&self, listener: &Arc<str>) -> Incoming {
        let info = self.brought.as_ref().map(|brought| brought.info.clone());
        let info = info.unwrap_or_else(|| PeerInfo::from(self.peer));
        Incoming {
            listener: listener.clone(),
            peer: info.peer,
            sni: info.sni,
            alpn: info.alpn,
            tls_version: info.tls_version,
            certificate: info.certificate,
        }
    }

    /// Returns the server name of the TLS handshake.
    pub(super) fn sni(&self) -> Option<&str> {
        self.brought.as_ref()?.info.sni.as_deref()
    }

    /// Returns the client certificate.
    pub(super) fn certificate(&self) -> Option<Arc<[u8]>> {
        let certificate = self.brought.as_ref()?.info.certificate.as_deref()?;
        Some(certificate.into())
    }

    /// Returns who the program says it is; `None`: authenticators decide.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.brought.as_ref()?.identity.as_ref()
    }
}
