//! What the configuration lets one plugin do besides answering.

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
}
