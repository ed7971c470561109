//! What an embedder or the configuration says about a listener, before it runs.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use broker_types::{Limits, ProtocolVersion};
use plugin_api::Durability;

use crate::chain::Chain;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bind {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A unix socket at this path. A socket that nobody listens on any more is replaced; anything else at the path is an error.
    Unix(PathBuf),
    /// Nowhere: only the embedding program brings connections, see [`crate::Handle::serve_io`].
    Internal,
}

impl std::fmt::Display for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Internal => f.write_str("internal"),
        }
    }
}

/// Which chain a listener has.
#[derive(Clone, Debug)]
pub(crate) enum ChainRef {
    Named(String),
    Inline(Chain),
}

/// A listener: where clients come in, and what is decided about them there.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) name: Option<String>,
    pub(crate) bind: Result<Bind, String>,
    pub(crate) chain: ChainRef,
    pub(crate) limits: Option<Limits>,
    pub(crate) anonymous: bool,
    pub(crate) protocols: Vec<ProtocolVersion>,
    pub(crate) mount: String,
    pub(crate) shared_sessions: bool,
    pub(crate) durability: Option<Durability>,
}

impl Listener {
    /// Listens on a TCP address. A wrong or unknown one is reported by [`crate::BrokerBuilder::start`].
    #[must_use]
    pub fn tcp(address: impl ToSocketAddrs + std::fmt::Debug) -> Self {
        let bind = match address.to_socket_addrs().map(|mut all| all.next()) {
            Ok(Some(address)) => Ok(Bind::Tcp(address)),
            Ok(None) => Err(format!("{address:?} names no address")),
            Err(error) => Err(format!("{address:?}: {error}")),
        };
        Self::new(bind)
    }

    /// Listens on a unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Ok(Bind::Unix(path.into())))
    }

    /// Listens nowhere. The embedding program brings connections to it, from transports of its own or itself:
    /// [`crate::Handle::serve_io`], [`crate::Handle::link`]. It needs no authenticator; without one, and without
    /// [`Self::anonymous`], only links get in.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Ok(Bind::Internal))
    }

    /// Listens where `bind` says.
    #[must_use]
    pub fn bind(bind: Bind) -> Self {
        Self::new(Ok(bind))
    }

    /// Sets the name; default `listener-0`, `listener-1` … in order.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Uses the chain that the builder holds under `name`.
    #[must_use]
    pub fn chain(mut self, name: impl Into<String>) -> Self {
        self.chain = ChainRef::Named(name.into());
        self
    }

    /// Uses `chain`, which no other listener shares.
    #[must_use]
    pub fn with_chain(mut self, chain: Chain) -> Self {
        self.chain = ChainRef::Inline(chain);
        self
    }

    /// Sets limits of its own; default: the broker's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Lets clients in that show no credentials, when no authenticator decides about them. Default: no; then a chain
    /// without an authenticator is an error.
    #[must_use]
    pub const fn anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Speaks only these versions; default: all.
    #[must_use]
    pub fn protocols(mut self, versions: impl Into<Vec<ProtocolVersion>>) -> Self {
        self.protocols = versions.into();
        self
    }

    /// Puts `prefix` before all topics of its clients, who don't see it. Default: nothing.
    #[must_use]
    pub fn mount(mut self, prefix: impl Into<String>) -> Self {
        self.mount = prefix.into();
        self
    }

    /// Lets any authenticated identity resume any Session by its Client Identifier. Default: no, a Session belongs to the
    /// identity that made it.
    #[must_use]
    pub const fn shared_sessions(mut self, shared: bool) -> Self {
        self.shared_sessions = shared;
        self
    }

    /// Sets how safe its clients' Sessions, and what they publish, must be before that is acknowledged. Default: as safe as
    /// the store can make it. [`Durability::Memory`] acknowledges at once, and its Sessions don't survive the broker; what
    /// its clients publish to Sessions of other listeners does. More than the store promises is an error.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    fn new(bind: Result<Bind, String>) -> Self {
        Self {
            name: None,
            bind,
            chain: ChainRef::Inline(Chain::new()),
            limits: None,
            anonymous: false,
            protocols: vec![ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5],
            mount: String::new(),
            shared_sessions: false,
            durability: None,
        }
    }
}
