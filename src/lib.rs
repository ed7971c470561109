//! Jackfield, an MQTT broker that plugins can be put into: the crate for programs that have a broker inside.
//!
//! Start with [`Broker::builder`]. What decides about clients and messages is a [`Chain`] of plugins: [built-in
//! ones](builtin), your own [`Plugin`]s, or closures.
#![forbid(unsafe_code)]

#[cfg(feature = "config")]
pub mod assemble;
#[cfg(feature = "config")]
pub mod builtin;
#[cfg(feature = "config")]
pub mod config_file;
#[cfg(feature = "config")]
pub mod reload;
#[cfg(feature = "config")]
pub mod trial;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use broker_core::*;
pub use broker_types as types;
pub use plugin_api::{self, Plugin};
#[cfg(feature = "native")]
pub use plugin_host_native as native;
#[cfg(feature = "wasm")]
pub use plugin_host_wasm as wasm;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So are those of the guide for embedders.
#[cfg(all(doctest, feature = "testkit"))]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
