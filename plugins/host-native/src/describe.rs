//! What a library says of itself before an instance is made: for `jackfield plugin inspect`.

use plugin_api::{LoadError, PluginInfo, PluginSource};
use plugin_artefact::Artefact;

use crate::border;
use crate::loader::NativeLoader;

/// Facts about a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What every loader tells.
    pub info: PluginInfo,
    /// Major version and the minor version that it needs of the ABI.
    pub abi: (u16, u16),
    /// What it was built with, like `rust-sdk 0.1.0`; `None`: it doesn't say.
    pub sdk: Option<String>,
    /// Whether it checks options beyond their schema.
    pub checks_options: bool,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl NativeLoader {
    /// Loads the library of `source` and tells what it is. Its constructors run, nothing else of it.
    ///
    /// # Errors
    /// Why it isn't loaded.
    pub fn describe(&self, source: &PluginSource) -> Result<Described, LoadError> {
        let library = self.library(source)?;
        let file = Artefact::read(source, &self.folders)?;
        let entry = &library.entry;
        // SAFETY: the texts of an entry are static and end with a zero.
        let sdk = unsafe { border::c_text(entry.sdk) };
        Ok(Described {
            info: library.info.clone(),
            abi: (entry.abi_major, entry.abi_minor_needed),
            sdk: sdk.ok().flatten(),
            checks_options: entry.check_config.is_some(),
            bytes: file.content.len() as u64,
            sha256: file.digest,
        })
    }
}
