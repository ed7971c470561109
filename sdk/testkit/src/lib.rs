//! Tests of plugins without a broker: load one, call its hooks, look at what it said and did.
//!
//! ```
//! use plugin_sdk::prelude::*;
//! use plugin_testkit::{Harness, json};
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Options {
//!     /// What separates the fields.
//!     delimiter: String,
//! }
//!
//! /// Counts fields.
//! struct Fields(Options, Host);
//!
//! impl Plugin for Fields {
//!     type Config = Options;
//!     fn create(config: Options, host: Host) -> Result<Self, String> {
//!         Ok(Self(config, host))
//!     }
//! }
//!
//! impl Publish for Fields {
//!     fn publish(&self, _cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
//!         let text = std::str::from_utf8(message.payload())?;
//!         let count = text.split(self.0.delimiter.as_str()).count();
//!         self.1.counter("fields", count as u64);
//!         message.set_payload(count.to_string().as_bytes())?;
//!         Ok(Flow::Continue)
//!     }
//! }
//!
//! plugin_sdk::export_plugin!(Fields: publish);
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plugin = Harness::load::<Fields>(json!({ "delimiter": ";" }))?;
//! let message = plugin.publish("a/b", "1;2;3");
//! assert_eq!((message.flow(), message.text().as_str()), (&plugin_api::Flow::Continue, "3"));
//! assert_eq!(plugin.host().counter_of("fields"), 3);
//!
//! let broken = plugin.publish("a/b", b"\xff".as_slice());
//! assert!(broken.fault().is_some(), "what isn't text is a fault, and nothing was changed");
//!
//! let wrong = Harness::load::<Fields>(json!({ "delimitre": ";" })).unwrap_err();
//! assert!(wrong.to_string().contains("delimitre"));
//! # Ok(())
//! # }
//! ```
//!
//! The calls cross the plugin's ABI as they do in a broker. With `JACKFIELD_PLUGIN=FILE` the same tests run against a
//! built library: `jackfield plugin test` runs them both ways.
//!
//! Beside [`Harness`], for tools: [`Question`] is any call of a hook as a value, [`record`] writes the calls of a plugin
//! in a broker down and puts them again, [`conformance`] asks what a plugin must survive, and [`measure`] tells what a
//! call costs. All of it works on [`plugin_api::Plugin`], so it is the same for built-in plugins, libraries and whatever
//! comes.

mod client;
pub mod conformance;
mod harness;
mod host;
pub mod measure;
mod published;
mod question;
pub mod record;
mod sample;
mod wait;

pub use client::Client;
pub use harness::Harness;
pub use host::TestHost;
pub use plugin_api;
pub use published::{Delivered, Published};
pub use question::{Item, Question, Verdict};
pub use serde_json::json;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code of the guide is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/plugin-guide.md")]
struct Guide;
