//! Write a plugin for Jackfield in Rust, without pointers: implement [`Plugin`] and a trait for each hook, and say which
//! ones with [`export_plugin!`].
//!
//! ```
//! use plugin_sdk::prelude::*;
//!
//! /// One password for everybody.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Options {
//!     /// The password.
//!     password: String,
//! }
//!
//! struct OneSecret(Options);
//!
//! impl Plugin for OneSecret {
//!     type Config = Options;
//!     fn create(config: Options, _host: Host) -> Result<Self, String> {
//!         Ok(Self(config))
//!     }
//! }
//!
//! impl Authenticate for OneSecret {
//!     fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
//!         Ok(match request.password {
//!             None => AuthVerdict::Skip,
//!             Some(password) if password == self.0.password.as_bytes() => AuthVerdict::allow(),
//!             Some(_) => AuthVerdict::Deny(Denial::new(ReasonCode::BadUserNameOrPassword)),
//!         })
//!     }
//! }
//!
//! plugin_sdk::export_plugin!(OneSecret: authenticate);
//! # fn main() {}
//! ```
//!
//! The derives need `serde` (with `derive`) and `schemars` among the crate's own dependencies. Build it as a `cdylib` and name it in the configuration: `use = "native:libone_secret.so"`.
//!
//! - Hooks run on the broker's threads, several at a time: answer within microseconds, or set [`Interest::blocking`].
//! - A panic is caught here and becomes a fault of that call; the operator's `on_error` says what happens then. The library
//!   must therefore not be built with `panic = "abort"`.
//! - What is lent to a hook is lent for that call.

extern crate alloc;

mod hooks;
mod host;
mod message;
pub mod native;
mod plugin;
mod values;

pub use broker_types as types;
pub use broker_types::{QoS, ReasonCode};
pub use hooks::{
    Accept, AcceptVerdict, AclDecision, AclItem, AclVerdict, Action, AuthRequest, AuthVerdict, Authenticate,
    Authorize, Connect, ConnectEdit, ConnectFlow, Control, Deliver, DeliverFlow, Denial, Event, Events, Flow,
    Grant, Incoming, Publish, Retain, RetainVerdict, Subscribe, SubscribeEdit, SubscribeFlow, Subscription,
    Unsubscribe, Will,
};
pub use host::{Cx, Host};
pub use message::Message;
pub use plugin::{Fault, Interest, Plugin};
pub use values::{ClientHandle, Level, NewMessage, Refused, TimerId};

/// What most plugins use.
pub mod prelude {
    pub use crate::{
        Accept, AcceptVerdict, AclDecision, AclItem, AclVerdict, Action, AuthRequest, AuthVerdict,
        Authenticate, Authorize, Connect, ConnectEdit, ConnectFlow, Control, Cx, Deliver, DeliverFlow,
        Denial, Event, Events, Fault, Flow, Grant, Host, Incoming, Interest, Level, Message, NewMessage,
        Plugin, Publish, QoS, ReasonCode, Retain, RetainVerdict, Subscribe, SubscribeEdit, SubscribeFlow,
        Subscription, TimerId, Unsubscribe, Will,
    };
    pub use schemars::JsonSchema;
    pub use serde::Deserialize;
}
