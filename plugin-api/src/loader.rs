//! From what the configuration names to a plugin.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Grants, Plugin, PluginInfo, Sandbox};

/// What stands behind the colon of `use = "KIND:WHAT"`, and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginSource {
    /// A built-in's name, or a file.
    pub what: String,
    /// The SHA-256 the file must have, lower-case hexadecimal.
    pub sha256: Option<String>,
    /// The key of whoever must have signed the file: `ed25519:` and the base64 of 32 bytes.
    pub public_key: Option<String>,
    /// The signature: `ed25519:` and the base64 of 64 bytes. `None` with a `public_key`: it stands in a file beside the
    /// plugin's, called as that and `.sig`.
    pub signature: Option<String>,
    /// The folders that the configuration lets plugins be in. A loader of files looks there, in this order, besides in
    /// those that it was made with.
    pub folders: Vec<PathBuf>,
    /// What the plugin may do besides answering.
    pub grants: Grants,
    /// The bounds of a plugin that nobody trusts.
    pub sandbox: Sandbox,
}

/// Why a plugin couldn't be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no such plugin.
    #[error("there is no plugin `{what}`")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The nearest name there is.
        did_you_mean: Option<String>,
    },
    /// The file can't be read or isn't what it should be.
    #[error("plugin `{what}`: {why}")]
    Refused {
        /// What was asked for.
        what: String,
        /// Why, for the operator.
        why: String,
    },
    /// The options don't fit the plugin's schema or make no sense.
    #[error("option `{key}`: {why}")]
    Options {
        /// The path of the option, dotted; empty for the options as a whole.
        key: String,
        /// What is wrong and what would be accepted.
        why: String,
    },
    /// The plugin could not be made or started.
    #[error("plugin failed to start: {0}")]
    Start(String),
}

/// Turns a source into a [`Plugin`]. The built-in plugins, the native host and the Wasm host are loaders. A loader may
/// keep compiled code; each configured use is one more `load`.
#[async_trait]
pub trait PluginLoader: Send + Sync {
    /// Returns what stands before the colon in `use`: `builtin`, `native`, `wasm`.
    fn kind(&self) -> &'static str;

    /// Returns the facts about a plugin without making one.
    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError>;

    /// Checks options without making a plugin: for `jackfield check`.
    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError>;

    /// Returns the file that a plugin comes from, so that one can see whether it has changed; `None`: from no file, or it
    /// can't be found.
    fn file(&self, source: &PluginSource) -> Option<PathBuf> {
        let _ = source;
        None
    }

    /// Makes a plugin. `name` is the instance's name in the configuration, `options` a JSON object.
    async fn load(
        &self,
        name: &str,
        source: &PluginSource,
        options: &str,
    ) -> Result<Arc<dyn Plugin>, LoadError>;
}
