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
//! Built for `wasm32-unknown-unknown`, the same source is a plugin in Wasm: `use = "wasm:one_secret.wasm"`. There it is to say
//! `#![cfg_attr(target_family = "wasm", no_std)]`, or to set the feature `std`; what it needs of `alloc` is in the prelude, and
//! collections are in `plugin_sdk::alloc`.
//!
//! - Hooks run on the broker's threads, several at a time: answer within microseconds, or set [`Interest::blocking`].
//! - A panic is caught here and becomes a fault of that call; the operator's `on_error` says what happens then. The library
//!   must therefore not be built with `panic = "abort"`. In Wasm it ends the instance, and the next call has a new one.
//! - What is lent to a hook is lent for that call.

#![cfg_attr(target_family = "wasm", no_std)]

pub extern crate alloc;

mod hooks;
#[cfg(not(target_family = "wasm"))]
pub mod native;
mod options;
mod plugin;
mod services;
mod values;
#[cfg(target_family = "wasm")]
pub mod wasm;

pub use broker_types as types;
pub use broker_types::{QoS, ReasonCode};
pub use hooks::{
    Accept, AcceptVerdict, AclDecision, AclItem, AclVerdict, Action, AsyncAuthenticate, AsyncAuthorize,
    AsyncConnect, AsyncControl, AsyncDeliver, AsyncExchange, AsyncPublish, AsyncSubscribe, AsyncUnsubscribe,
    AsyncWill, AuthRequest, AuthVerdict, Authenticate, Authorize, Bridge, Connect, ConnectEdit, ConnectFlow,
    Control, Deliver, DeliverFlow, Denial, Durability, Event, EventKind, Events, Exchange, ExchangePhase,
    ExchangeRequest, ExchangeVerdict, Flow, Grant, Incoming, Publish, Record, Retain, RetainVerdict,
    SessionStore, ShareMember, SharePick, StoreCaps, StoreFault, StoreOp, Subscribe, SubscribeEdit,
    SubscribeFlow, Subscription, Unsubscribe, Will,
};
#[cfg(not(target_family = "wasm"))]
pub use native::{Cx, Host, Http, Kv, Message, block_on};
pub use plugin::{Fault, Interest, Plugin};
pub use services::{HttpError, HttpRequest, HttpResponse, KvError, Records};
pub use values::{
    ClientHandle, ClientInfo, Level, NewMessage, OwnedMessage, Properties, Property, PropertyName, Refused,
    Source, TimerId,
};
#[cfg(target_family = "wasm")]
pub use wasm::{Cx, Host, Http, Kv, Message, block_on};

/// `Send` natively, where an answer that takes time goes to another thread; anything in Wasm, where there is only one.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send> MaybeSend for T {}

/// `Send` natively, where an answer that takes time goes to another thread; anything in Wasm, where there is only one.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T> MaybeSend for T {}

/// What most plugins use.
pub mod prelude {
    pub use crate::{
        Accept, AcceptVerdict, AclDecision, AclItem, AclVerdict, Action, AsyncAuthenticate, AsyncAuthorize,
        AsyncConnect, AsyncControl, AsyncDeliver, AsyncExchange, AsyncPublish, AsyncSubscribe,
        AsyncUnsubscribe, AsyncWill, AuthRequest, AuthVerdict, Authenticate, Authorize, Bridge, ClientHandle,
        ClientInfo, Connect, ConnectEdit, ConnectFlow, Control, Cx, Deliver, DeliverFlow, Denial, Durability,
        Event, EventKind, Events, Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict, Fault, Flow,
        Grant, Host, HttpError, HttpRequest, HttpResponse, Incoming, Interest, KvError, Level, Message,
        NewMessage, OwnedMessage, Plugin, Properties, Property, PropertyName, Publish, QoS, ReasonCode,
        Record, Refused, Retain, RetainVerdict, SessionStore, ShareMember, SharePick, Source, StoreCaps,
        StoreFault, StoreOp, Subscribe, SubscribeEdit, SubscribeFlow, Subscription, TimerId, Unsubscribe,
        Will,
    };
    // What a guest without `std` would miss most; elsewhere it is there already.
    pub use alloc::borrow::ToOwned;
    pub use alloc::boxed::Box;
    pub use alloc::string::{String, ToString};
    pub use alloc::vec::Vec;
    pub use alloc::{format, vec};
    pub use schemars::JsonSchema;
    pub use serde::Deserialize;
}
