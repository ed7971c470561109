//! Jackfield's engine: sockets, Sessions, routing, and the chains of hooks that decide everything else. It has never heard
//! of a plugin, a configuration file or a password.
//!
//! Start with [`Broker::builder`]. Each broker runs on threads of its own; nothing here is global, so a program may have
//! several.
#![forbid(unsafe_code)]

mod blocking;
mod bridge;
mod broker;
mod builder;
mod chain;
mod clock;
mod connection;
mod engine;
mod error;
mod hooks;
mod host;
mod link;
mod listener;
mod metrics;
#[cfg(test)]
mod micro;
mod net;
mod rehearsal;
mod reload;
mod retained;
mod routing;
mod settings;
mod start;
mod stop;
mod store;
mod sys;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

/// What a subscription may ask for, see [`LinkSender::subscribe_with`].
pub use broker_proto::{RetainHandling, SubscribeOptions};

pub use bridge::{BridgeCounts, BridgeRule, BridgeSpec, RuleError};
pub use broker::{Broker, Gauges, Handle};
pub use builder::BrokerBuilder;
pub use chain::{Boxed, Chain, Condition, Filters, Hook, HookSet, Moment, OnFault, Use};
pub use clock::Clock;
pub use connection::PeerInfo;
pub use engine::memory::memory_total;
pub use error::{HandleError, StartError, StartProblem};
pub use hooks::{ChainError, Change, PluginCounts, Said, Turn};
pub use link::{Link, LinkBuilder, LinkError, LinkSender, Received};
pub use listener::{Bind, Listener};
pub use metrics::{ByPacket, Counts};
pub use net::LocalStream;
pub use rehearsal::{Act, Actor, Delivery, Explained, Fate, Outcome, Rehearsal, RehearsalError};
pub use reload::connections_possible;
pub use reload::{Altered, PluginInUse, Reauthorize, Reload, ReloadCounts, ReloadError, Reloaded};
pub use settings::{QueueFull, SharedStrategy};
pub use stop::Shutdown;
pub use store::MemoryStore;
