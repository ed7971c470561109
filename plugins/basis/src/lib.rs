//! What the built-in plugins stand on: options that are checked ([`options`], [`schema`]), a file that may change under
//! a running broker ([`WatchedFile`]), and writing a file so that nobody ever reads half of it ([`replace_file`]).
//!
//! Not a plugin, and nothing of MQTT.
#![forbid(unsafe_code)]

mod options;
mod replace;
mod stamp;
mod watched;

pub use options::{options, schema};
pub use replace::replace_file;
pub use stamp::Stamp;
pub use watched::{FILE_BYTES_MAX, FileError, WatchedFile};
