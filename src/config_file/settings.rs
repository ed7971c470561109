//! What the configuration means: checked, defaults filled in, real units, chains flattened. `assemble.rs` makes a broker
//! of it; nothing of it is run-time state.

use std::time::Duration;

use broker_core::{BridgeRule, QueueFull, SharedStrategy};
use broker_types::{Limits, ProtocolVersion, TopicFilter};
use plugin_api::PluginSource;

use super::quantity::MemorySize;
use super::shape::{LogFormat, LogLevel};
use super::text::Bind;
use super::trials::Trial;
use super::when::Expression;

/// A configuration that can be assembled.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads that serve connections; `None`: one for each processor.
    pub worker_threads: Option<usize>,
    /// What is logged.
    pub log: LogSettings,
    /// Bounds of the broker as a whole.
    pub broker_limits: BrokerLimits,
    /// Which member of a Shared Subscription gets a message.
    pub shared_strategy: SharedStrategy,
    /// How often the figures under `$SYS/` are published; `None`: never.
    pub sys_interval: Option<Duration>,
    /// The plugins that listeners use, each to be started once.
    pub instances: Vec<Instance>,
    /// The listeners, by name.
    pub listeners: Vec<ListenerSettings>,
    /// The bridges, in the order of the file.
    pub bridges: Vec<BridgeSettings>,
    /// The plugin that keeps what must survive the broker; `None`: memory.
    pub store: Option<Instance>,
    /// What the chains are to do, in the order of the file.
    pub tests: Vec<Trial>,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level.
    pub level: LogLevel,
    /// How it looks.
    pub format: LogFormat,
    /// Other levels, by target.
    pub targets: Vec<(String, LogLevel)>,
}

/// Bounds that hold for all listeners together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// Sessions.
    pub sessions_max: usize,
    /// Retained Messages.
    pub retained_max: usize,
    /// Bytes of all Retained Messages.
    pub retained_bytes_max: u64,
    /// What Sessions and messages may take of the memory.
    pub memory_max: MemorySize,
    /// What a Session does when more waits for it than may.
    pub queue_full: QueueFull,
}

/// A plugin with its options. Two uses with different options are two instances.
#[derive(Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name in the file; with a number when a use brings options of its own.
    pub name: String,
    /// What stands before the colon of `use`.
    pub loader: String,
    /// What stands behind it.
    pub source: PluginSource,
    /// The options, a JSON object.
    pub options: String,
}

/// Where clients connect, and what they pass.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its name in the file.
    pub name: String,
    /// Where.
    pub bind: Bind,
    /// What its clients pass, flattened.
    pub chain: ChainSettings,
    /// The versions it speaks, at least one.
    pub protocols: Vec<ProtocolVersion>,
    /// What goes before the topics of its clients.
    pub mount: Option<String>,
    /// Whether clients without credentials come in.
    pub anonymous: bool,
    /// Whether any identity may take over a Session by its Client Identifier.
    pub shared_sessions: bool,
    /// What its clients may do.
    pub limits: Limits,
}

/// A way to another system.
#[derive(Clone, Debug)]
pub struct BridgeSettings {
    /// Its name in the file.
    pub name: String,
    /// Which of [`Settings::instances`] carries.
    pub instance: usize,
    /// What incoming messages pass, flattened.
    pub chain: Option<ChainSettings>,
    /// What is carried out.
    pub outgoing: Vec<BridgeRule>,
    /// What is taken in.
    pub incoming: Vec<BridgeRule>,
    /// Messages that may wait to be carried out.
    pub queued_messages_max: usize,
    /// Bytes of them.
    pub queued_bytes_max: usize,
}

/// A chain without chains in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainSettings {
    /// Its name in the file; empty when it stands in the listener, or when there is none.
    pub name: String,
    /// The plugins in order.
    pub uses: Vec<UseSettings>,
    /// Whether every authenticator must allow, not only the first that has a verdict.
    pub authenticate_all: bool,
    /// Whether every authorizer must allow, not only the first that has a verdict.
    pub authorize_all: bool,
}

/// One place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseSettings {
    /// Which of [`Settings::instances`].
    pub instance: usize,
    /// The hooks it takes part in, by name.
    pub hooks: Vec<String>,
    /// Whether these are fewer than the plugin has.
    pub narrowed: bool,
    /// The topics it sees; empty: every topic.
    pub topics: Vec<TopicFilter>,
    /// The moments in which it is asked; `None`: always.
    pub when: Option<Expression>,
    /// The topics it may publish to; `None`: every topic.
    pub allow_publish: Option<Vec<TopicFilter>>,
    /// Time for one call; `None`: the hook's own.
    pub timeout: Option<Duration>,
    /// What a failed call means.
    pub on_error: FaultPolicy,
    /// What a call that took too long means.
    pub on_timeout: FaultPolicy,
}

pub use super::shape::OnFault as FaultPolicy;

impl std::fmt::Debug for Instance {
    /// Leaves the options out: there may be secrets in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .field("loader", &self.loader)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// Tells whether it is the instance `name` of the file, perhaps with other options.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name.split('#').next() == Some(name)
    }
}

impl ChainSettings {
    /// Tells whether a plugin of it takes part in `hook`.
    #[must_use]
    pub fn has(&self, hook: &str) -> bool {
        self.uses
            .iter()
            .any(|entry| entry.hooks.iter().any(|h| h == hook))
    }
}
