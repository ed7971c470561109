//! Putting a broker together. Everything that is wrong is reported at once, before a port opens.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use broker_types::Limits;
use plugin_api::{Plugin, SessionStore};

use crate::bridge::BridgeSpec;
use crate::broker::Broker;
use crate::chain::{Chain, address};
use crate::clock::Clock;
use crate::error::StartError;
use crate::listener::{ChainRef, Listener};
use crate::settings::{QueueFull, SharedStrategy};

/// A broker that doesn't run yet.
///
/// ```no_run
/// use broker_core::{Broker, Chain, Listener};
/// use plugin_api::AuthVerdict;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder()
///     .listener(Listener::tcp("127.0.0.1:0").chain("local"))
///     .chain("local", Chain::new().authenticate(|client| match client.password {
///         Some(b"secret") => AuthVerdict::allow(),
///         _ => AuthVerdict::bad_credentials(),
///     }))
///     .start()
///     .await?;
/// println!("listening on {}", broker.addr("listener-0").expect("it has this listener"));
/// broker.shutdown(std::time::Duration::from_secs(5)).await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct BrokerBuilder {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) bridges: Vec<BridgeSpec>,
    pub(crate) limits: Limits,
    pub(crate) clock: Option<Clock>,
    pub(crate) shards: Option<usize>,
    pub(crate) shared_strategy: SharedStrategy,
    pub(crate) queue_full: QueueFull,
    pub(crate) sessions_max: usize,
    pub(crate) retained_max: usize,
    pub(crate) retained_bytes_max: u64,
    pub(crate) memory_max: Option<u64>,
    pub(crate) sys_interval: Option<Duration>,
    pub(crate) store: Option<Store>,
}

/// Where Sessions live.
#[derive(Clone)]
pub(crate) enum Store {
    /// There.
    Given(Arc<dyn SessionStore>),
    /// In what a plugin of this name is.
    Plugin(Arc<str>, Arc<dyn Plugin>),
}

impl Store {
    /// Tells whether a broker that has this one can go on where `other` is wanted. A plugin is known by its name: what is made
    /// of a configuration again is another instance.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Given(one), Self::Given(other)) => Arc::ptr_eq(one, other),
            (Self::Plugin(one, _), Self::Plugin(other, _)) => one == other,
            _ => false,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(store) => store.caps().fmt(f),
            Self::Plugin(name, _) => name.fmt(f),
        }
    }
}

impl Default for BrokerBuilder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            chains: BTreeMap::new(),
            bridges: Vec::new(),
            limits: Limits::default(),
            clock: None,
            shards: None,
            shared_strategy: SharedStrategy::default(),
            queue_full: QueueFull::default(),
            sessions_max: 1_000_000,
            retained_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
            memory_max: None,
            sys_interval: None,
            store: None,
        }
    }
}

impl BrokerBuilder {
    /// Adds a listener; at least one is needed.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Holds `chain` under `name`, for listeners that ask for it.
    pub fn chain(mut self, name: impl Into<String>, chain: Chain) -> Self {
        self.chains.insert(name.into(), chain);
        self
    }

    /// Adds a bridge.
    pub fn bridge(mut self, bridge: BridgeSpec) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Sets the limits of listeners that have none of their own.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the clock; default: the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the number of shards, each a thread; default: one for each core.
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets how shared groups choose a member; default: round robin.
    pub const fn shared_strategy(mut self, strategy: SharedStrategy) -> Self {
        self.shared_strategy = strategy;
        self
    }

    /// Sets what a full queue of a Session does; default: drop the oldest.
    pub const fn queue_full(mut self, policy: QueueFull) -> Self {
        self.queue_full = policy;
        self
    }

    /// Sets how many Sessions there may be; default: 1,000,000. More are refused with 0x97.
    pub const fn sessions_max(mut self, sessions: usize) -> Self {
        self.sessions_max = sessions;
        self
    }

    /// Sets how many Retained Messages there may be, and their bytes; default: 1,000,000 and 1 GiB. More are refused with 0x97.
    pub const fn retained_max(mut self, messages: usize, bytes: u64) -> Self {
        self.retained_max = messages;
        self.retained_bytes_max = bytes;
        self
    }

    /// Sets how many bytes Sessions and messages may take; default: 80 % of what the machine or the process' control group
    /// has. Near it new Sessions are refused (from 90 % on), then QoS 0 messages are dropped (from 95 % on), then all
    /// messages are refused: 0x97, or in 3.1 and 3.1.1 the end of the connection without an acknowledgement. A quarter of
    /// it may go to packets that aren't complete. Clients that resume their Session are always let in.
    pub const fn memory_max(mut self, bytes: u64) -> Self {
        self.memory_max = Some(bytes);
        self
    }

    /// Sets where Sessions, queues, Retained and Will Messages live; default: in memory, and they end with the broker.
    /// With a store that survives it, messages larger than an eighth of what the store takes at a time are refused with 0x97.
    pub fn store(mut self, store: Arc<dyn SessionStore>) -> Self {
        self.store = Some(Store::Given(store));
        self
    }

    /// Has `plugin`, which is called `name`, keep Sessions, queues, Retained and Will Messages: it is started before everything
    /// else, asked for its hook `session-store`, and stopped last. Give it to nothing else: it must not be started twice. While it is the
    /// store it gets of [`plugin_api::Host`] the log and threads that may block, and nothing else.
    pub fn store_plugin(mut self, name: &str, plugin: Arc<dyn Plugin>) -> Self {
        self.store = Some(Store::Plugin(name.into(), plugin));
        self
    }

    /// Publishes `$SYS` topics so often; default: never.
    pub const fn sys_interval(mut self, interval: Duration) -> Self {
        self.sys_interval = Some(interval);
        self
    }

    /// Returns how many shards are wanted.
    pub(crate) fn shards_wanted(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.shards.unwrap_or(cores)
    }

    /// Puts the instance `new` wherever `old` stands. False: it stands nowhere.
    pub(crate) fn replace(&mut self, old: &Arc<dyn Plugin>, new: &Arc<dyn Plugin>) -> bool {
        let found = self
            .plugins()
            .iter()
            .any(|(_, plugin)| address(plugin) == address(old));
        self.chains.values_mut().for_each(|chain| chain.replace(old, new));
        for listener in &mut self.listeners {
            if let ChainRef::Inline(chain) = &mut listener.chain {
                chain.replace(old, new);
            }
        }
        for bridge in &mut self.bridges {
            if address(&bridge.plugin) == address(old) {
                bridge.plugin = new.clone();
            }
        }
        found
    }

    /// Returns the plugin instances that listeners and bridges use, each once, with the name of its first use.
    pub(crate) fn plugins(&self) -> Vec<(Arc<str>, Arc<dyn Plugin>)> {
        let of_chain = |chain: Option<&Chain>| -> Vec<(Arc<str>, Arc<dyn Plugin>)> {
            let uses = chain.into_iter().flat_map(Chain::uses);
            uses.map(|used| (used.name.clone(), used.plugin.clone()))
                .collect()
        };
        let mut all: Vec<_> = { self.listeners.iter() }
            .flat_map(|listener| of_chain(self.chain_of(listener)))
            .collect();
        for bridge in &self.bridges {
            all.extend(of_chain(self.chain_of_bridge(bridge)));
            all.push((bridge.name.clone(), bridge.plugin.clone()));
        }
        let mut seen = HashSet::new();
        all.retain(|(_, plugin)| seen.insert(address(plugin)));
        all
    }

    /// Returns the chain of one of its listeners; `None`: it names one that there isn't.
    pub(crate) fn chain_of<'b>(&'b self, listener: &'b Listener) -> Option<&'b Chain> {
        match &listener.chain {
            ChainRef::Inline(chain) => Some(chain),
            ChainRef::Named(name) => self.chains.get(name),
        }
    }

    /// Returns the chain of one of its bridges, if it has one.
    pub(crate) fn chain_of_bridge(&self, bridge: &BridgeSpec) -> Option<&Chain> {
        self.chains.get(bridge.chain.as_ref()?)
    }

    /// Starts plugins, opens the listeners and serves. May be awaited on any runtime; the broker's own work is done by its own
    /// threads.
    ///
    /// # Errors
    /// Everything that is wrong, at once; then nothing of it runs any more and no port is open.
    pub async fn start(self) -> Result<Broker, StartError> {
        crate::start::start(Arc::new(self)).await
    }
}
