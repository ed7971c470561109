//! A plugin that is part of the program instead of a library: for tests of plugins, which then cross the same border as
//! in a broker, without a file.

use std::sync::Arc;

use plugin_abi::Entry;
use plugin_api::{LoadError, Plugin};

use crate::library::Library;
use crate::loader;

/// Makes an instance of the plugin whose entry is at `entry`, under `name`, with `options` (a JSON object).
///
/// # Errors
/// As for a library: the entry is refused, the options are wrong, or the instance can't be made.
///
/// # Safety
/// `entry` must be null or point to an entry as the header has it, which stays as it is until the process ends.
pub unsafe fn linked(entry: *const Entry, name: &str, options: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    // SAFETY: the caller's promise.
    let library = unsafe { Library::read(entry) }.map_err(|why| LoadError::Refused {
        what: name.to_owned(),
        why,
    })?;
    loader::make(&library, name, options)
}
