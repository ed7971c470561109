//! What a component says of itself before it may run: for `jackfield plugin inspect`.

use plugin_api::{LoadError, PluginInfo, PluginSource};
use plugin_artefact::Artefact;

use crate::loader::WasmLoader;
use crate::plugin;

/// Facts about a component.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Described {
    /// What every loader tells.
    pub info: PluginInfo,
    /// What it must be granted, by the keys of `allow`.
    pub wants: Vec<String>,
    /// Whether it links WASI.
    pub wasi: bool,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl WasmLoader {
    /// Compiles the component of `source` and tells what it is; grants are not looked at.
    ///
    /// # Errors
    /// Why it can't be loaded.
    pub async fn describe(&self, source: &PluginSource) -> Result<Described, LoadError> {
        let code = self.code(source).await?;
        let file = Artefact::read(source, &self.folders)?;
        Ok(Described {
            info: plugin::info(&code),
            wants: code.imports.wanted(),
            wasi: code.imports.wasi,
            bytes: file.content.len() as u64,
            sha256: file.digest,
        })
    }
}
