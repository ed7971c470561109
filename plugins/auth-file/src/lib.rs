#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod options;
mod passwd;
mod plugin;
mod stored;
mod users;

pub use options::{Options, Unknown};
pub use passwd::{PasswdEntry, PasswdError, add, list, remove, verify};
pub use plugin::{AuthFile, info, load};
pub use plugin_basis::{FileError, replace_file};
pub use stored::Scheme;
pub use users::LineError;
