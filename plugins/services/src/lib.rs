//! Services that plugins are granted in the configuration (`allow = { … }`), the same for every kind of plugin.
//!
//! - [`granted`] wraps a plugin so that its [`plugin_api::Host`] has what was granted and nothing else. A loader needs nothing of
//!   this: it uses the host that [`plugin_api::Plugin::start`] gets, where `kv()` and `http()` are there or aren't.
//! - [`HttpClients`] makes clients for HTTP: one small pool of threads and kept connections for all of them, and for each
//!   plugin the URLs it may ask ([`Allowed`]).
#![forbid(unsafe_code)]

mod granted;
mod http;

pub use granted::granted;
pub use http::{Allowed, AllowedError, HttpClients};
