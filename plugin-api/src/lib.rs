//! The verbs of Jackfield: one trait for each decision the broker would otherwise have to make by itself.
//!
//! A [`Plugin`] hands out [`Capabilities`], one trait object for each hook it takes part in. Built-in plugins and an
//! embedder's closures implement these traits directly; native libraries and Wasm components are turned into them by a
//! [`PluginLoader`]. From there on nobody can tell which kind a plugin was.
//!
//! Hooks come in four classes, and the class decides what a chain of them means:
//!
//! | class | hooks | what a chain of them does |
//! |---|---|---|
//! | decision | [`Authenticate`], [`Authorize`] | the first verdict that isn't `Skip` wins |
//! | fold | [`Accept`], [`Connect`], [`Subscribe`], [`Unsubscribe`], [`Publish`], [`Retain`], [`Deliver`], [`Will`] | each sees what the one before it made |
//! | notify | [`Events`] | everybody is told, nobody answers |
//! | provider | [`Exchange`], [`Control`], [`SharePick`], [`SessionStore`], [`Bridge`] | exactly one owner |
//!
//! A hook that fails (panic, trap, timeout, no back end) gives a [`Fault`], never a verdict; what happens then is the
//! operator's choice, written beside the plugin in the chain.
//!
//! This crate has no runtime, no sockets and no opinion; it changes rarely.
#![forbid(unsafe_code)]

mod answer;
mod blocking;
mod client;
mod fault;
mod grants;
mod hooks;
mod host;
mod http;
mod loader;
mod message;
mod plugin;
mod sandbox;
mod verdict;

pub use answer::{Answer, Later};
pub use async_trait::async_trait;
pub use blocking::run_blocking;
pub use broker_types as types;
pub use client::{ClientView, Cx, Peer};
pub use fault::{Fault, FaultKind};
pub use grants::{Folder, Grants};
pub use hooks::accept::{Accept, AcceptVerdict, Incoming};
pub use hooks::authenticate::{AuthRequest, AuthVerdict, Authenticate, Grant};
pub use hooks::authorize::{AclDecision, AclItem, AclRequest, AclVerdict, Action, Authorize};
pub use hooks::bridge::Bridge;
pub use hooks::connect::{Connect, ConnectEdit, ConnectFlow};
pub use hooks::control::{Control, ControlRequest};
pub use hooks::deliver::{Deliver, DeliverFlow};
pub use hooks::events::{Event, EventKind, EventMask, Events};
pub use hooks::exchange::{Exchange, ExchangePhase, ExchangeRequest, ExchangeVerdict};
pub use hooks::publish::{Flow, Publish};
pub use hooks::retain::{Retain, RetainVerdict};
pub use hooks::share_pick::{ShareMember, SharePick};
pub use hooks::store::{Durability, SessionStore, StoreCaps, StoreFault, StoreOp};
pub use hooks::subscribe::{Subscribe, SubscribeEdit, SubscribeFlow};
pub use hooks::unsubscribe::{Unsubscribe, UnsubscribeEdit};
pub use hooks::will::{Will, WillFlow};
pub use host::{ClientInfo, Clients, Host, KeyValue, KvError, Level, NoHost, TimerId};
pub use http::{HttpClient, HttpError, HttpRequest, HttpResponse};
pub use loader::{LoadError, PluginLoader, PluginSource};
pub use message::{MessageEdit, MessageParts, NewMessage, Patch};
pub use plugin::{Capabilities, Needs, Plugin, PluginInfo, Scoped};
pub use sandbox::{Run, Sandbox};
pub use verdict::Denial;
