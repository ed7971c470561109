#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod line;
mod options;
mod plugin;
mod sink;

pub use options::{EventName, Options};
pub use plugin::{EventLog, info, load};
