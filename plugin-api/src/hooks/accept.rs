//! Before any MQTT byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Fault, Peer};

/// A Network Connection that has just been accepted.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The name of the listener.
    pub listener: Arc<str>,
    /// The other end.
    pub peer: Peer,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The protocol that ALPN agreed on.
    pub alpn: Option<String>,
    /// The TLS version, like `1.3`.
    pub tls_version: Option<String>,
    /// The client certificate, DER.
    pub certificate: Option<Bytes>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptVerdict {
    /// Go on to the next plugin, and at the end to CONNECT.
    Continue,
    /// Close it without a word.
    Drop,
    /// Read nothing from it for this long (at most 60 s), then go on. Delays of several plugins add up.
    Delay(Duration),
}

/// Decides whether a Network Connection may begin at all: address bans, connection rates.
///
/// **When:** once for each Network Connection, after the TLS handshake if there is one, before a byte of MQTT is read.
///
/// **May change:** nothing.
///
/// **Verdicts on the wire:** the same for all versions: `Drop` closes, the client sees the end of the stream.
///
/// **On error or panic:** `deny`, `drop` and `disconnect` close; `skip` and `allow` go on. There is no timeout: it must
/// answer at once.
///
/// **Cost:** one call for each connection, on the thread that accepted it; never block.
///
/// ```
/// use plugin_api::{Accept, AcceptVerdict, Fault, Incoming, Peer};
///
/// struct NoPrivilegedPorts;
/// impl Accept for NoPrivilegedPorts {
///     fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
///         Ok(match incoming.peer {
///             Peer::Tcp(address) if address.port() < 1024 => AcceptVerdict::Drop,
///             _ => AcceptVerdict::Continue,
///         })
///     }
/// }
/// ```
pub trait Accept: Send + Sync {
    /// Decides about `incoming`.
    ///
    /// # Errors
    /// A fault; see the trait.
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault>;
}
