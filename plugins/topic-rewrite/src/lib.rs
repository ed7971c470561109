#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod mapping;
mod options;
mod plugin;
mod rule;
mod shape;

pub use options::{On, Options, RuleOptions};
pub use plugin::{TopicRewrite, info, load};
pub use rule::RuleError;
