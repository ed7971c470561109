//! What the configuration lets one plugin do besides answering.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The `allow = { … }` of one configured plugin. Nothing is granted by default; a service that isn't granted is absent
/// ([`crate::Host::kv`], [`crate::Host::http`]).
///
/// A loader of sandboxed code looks at it before it makes anything ([`crate::PluginSource::grants`]); what the plugin finds in its
/// [`crate::Host`] is narrowed to it by the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Records of its own that outlive it.
    pub kv: bool,
    /// Prefixes of the URLs it may ask for, like `https://auth.example/`.
    pub http: Vec<String>,
    /// The time. Only for sandboxed code, like all that follows.
    pub clock: bool,
    /// Randomness.
    pub random: bool,
    /// Publishing messages of its own, to the topics that `allow.publish` names.
    pub publish: bool,
    /// Looking at clients and ending their connections.
    pub clients: bool,
    /// Environment variables that it sees.
    pub env: Vec<String>,
    /// Folders that it sees; `Some` and none: it may link what opens files, and finds none.
    pub dirs: Option<Vec<Folder>>,
    /// TCP addresses that it may connect to.
    pub sockets: Vec<SocketAddr>,
}

/// A folder that sandboxed code sees, under the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Whether files in it may be changed.
    pub writable: bool,
}
