#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod identity;
mod mosquitto;
mod options;
mod pattern;
mod plugin;
mod rule;
mod rule_set;
mod shape;

pub use options::{Format, Options};
pub use plugin::{AclFile, info, load};
pub use plugin_basis::FileError;
