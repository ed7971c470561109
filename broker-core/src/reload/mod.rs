//! Changing a broker that runs: listeners, chains, plugins, bridges, limits. Whoever wants a change says how the broker is to
//! be from now on, with a [`BrokerBuilder`], and the difference is worked out here.
//!
//! | file | subject |
//! |---|---|
//! | `check` | what can be wrong with a builder before anything runs |
//! | `steward` | the one task that carries changes out, one after the other, and watches those on trial |
//! | `plan` | from a builder to everything that is to be: made and checked while the present goes on |
//! | `commit` | exchanging the present for what was planned |
//! | `plugins` | starting, asking and stopping plugin instances |
//! | `hand_over` | an instance gives its state to the one that takes its place |
//! | `reauthorize` | asking again whether subscriptions that were made may be |
//!
//! A change is made in two halves. Whatever can fail is done first, beside what runs, and undone if something does. Then the
//! chains, the listeners and the limits are exchanged, each by one pointer, and what is no longer needed ends behind.

mod check;
mod commit;
mod hand_over;
mod plan;
mod plugins;
mod reauthorize;
mod steward;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plugin_api::Plugin;
use tokio::sync::oneshot;

use crate::broker::Handle;
use crate::builder::BrokerBuilder;
use crate::error::StartError;

pub use check::connections_possible;
pub(crate) use check::{Checked, settings};
pub(crate) use steward::{Steward, accept_at};

/// Orders that may wait for the steward.
pub(crate) const ORDERS: usize = 64;

/// How a broker that runs is to be from now on, and how it gets there.
///
/// What the builder says is the whole of it, as for a broker that starts: a listener that it doesn't name is closed. Plugins
/// are told apart by their `Arc`: the same one goes on as it is. What isn't set on the builder and can't change while the
/// broker runs (clock, shards, store) stays.
///
/// ```no_run
/// use std::time::Duration;
/// use broker_core::{Broker, Chain, Listener, Reload};
/// use plugin_api::Flow;
///
/// # async fn run(broker: Broker) -> Result<(), Box<dyn std::error::Error>> {
/// let upper = Chain::new().on_publish("raw/#", |_cx, message| {
///     message.set_payload(message.payload().to_ascii_uppercase());
///     Flow::Continue
/// });
/// let wanted = Broker::builder().listener(Listener::tcp("127.0.0.1:1883").anonymous(true).with_chain(upper));
/// let done = broker.handle().reload(Reload::from(wanted).drain(Duration::from_secs(5))).await?;
/// println!("{done}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing changes before it is given to `Handle::reload`"]
pub struct Reload {
    pub(crate) builder: Arc<BrokerBuilder>,
    pub(crate) options: Options,
}

/// How a change is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) drop_clients: bool,
    pub(crate) reauthorize: Reauthorize,
    pub(crate) swap_pause: Duration,
    pub(crate) drain: Duration,
    pub(crate) start_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            drop_clients: false,
            reauthorize: Reauthorize::Lazy,
            swap_pause: Duration::from_millis(500),
            drain: Duration::from_secs(30),
            start_max: plugins::START_MAX,
        }
    }
}

/// When clients that are connected feel that their chain authorizes otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reauthorize {
    /// With the next message or subscription. What they are subscribed to already stays.
    #[default]
    Lazy,
    /// At once: subscriptions that they may no longer have are given up, and 5.0 clients that lose one are told by a
    /// DISCONNECT with 0x87. What the authorizers can't say at the moment stays as it is.
    Now,
}

impl From<BrokerBuilder> for Reload {
    fn from(builder: BrokerBuilder) -> Self {
        Self {
            builder: Arc::new(builder),
            options: Options::default(),
        }
    }
}

impl Reload {
    /// Ends the connections of listeners that are closed, with 0x98. Default: they stay, with the chain they have.
    pub const fn drop_clients(mut self, drop: bool) -> Self {
        self.options.drop_clients = drop;
        self
    }

    /// Sets when connected clients feel that their chain authorizes otherwise. Default: [`Reauthorize::Lazy`].
    pub const fn reauthorize(mut self, when: Reauthorize) -> Self {
        self.options.reauthorize = when;
        self
    }

    /// Sets how long clients may be held up while a plugin gives its state to the one that takes its place; default: 500 ms.
    /// If that isn't enough, the change is given up.
    pub const fn swap_pause(mut self, most: Duration) -> Self {
        self.options.swap_pause = most;
        self
    }

    /// Sets how long calls may take to end in plugins that are no longer used, before these are stopped; default: 30 s.
    /// Nobody waits for that.
    pub const fn drain(mut self, most: Duration) -> Self {
        self.options.drain = most;
        self
    }

    /// Sets how long each new plugin may take to start; default: 30 s.
    pub const fn start_max(mut self, most: Duration) -> Self {
        self.options.start_max = most;
        self
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Listeners, by name; one may have changed in several ways.
    pub listeners: Vec<(String, Altered)>,
    /// Plugins, by the name of their first use.
    pub plugins: Vec<(String, Altered)>,
    /// Bridges, by name.
    pub bridges: Vec<(String, Altered)>,
    /// Limits of the whole broker have changed.
    pub limits: bool,
    /// Connections that were ended because their listener was closed.
    pub clients_dropped: usize,
    /// Subscriptions that were given up because they are no longer allowed.
    pub subscriptions_dropped: usize,
}

/// How something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Altered {
    /// It wasn't there before.
    Added,
    /// It isn't there any more.
    Removed,
    /// It has other terms; those of a listener are for connections to come.
    Changed,
    /// A listener or bridge has another chain, from the next packet on.
    Chain,
    /// A listener listens elsewhere.
    Moved,
    /// Another instance has taken a plugin's place.
    Swapped,
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Chain => "has another chain",
            Self::Moved => "listens elsewhere",
            Self::Swapped => "swapped",
        })
    }
}

impl Reloaded {
    /// Tells whether nothing has changed.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("listener", &self.listeners),
            ("plugin", &self.plugins),
            ("bridge", &self.bridges),
        ];
        let all = { lists.iter() }.flat_map(|(what, list)| list.iter().map(move |one| (what, one)));
        let mut texts: Vec<_> = all
            .map(|(what, (name, change))| format!("{what} `{name}` {change}"))
            .collect();
        if self.limits {
            texts.push("limits changed".to_owned());
        }
        if self.clients_dropped > 0 {
            texts.push(format!("{} clients dropped", self.clients_dropped));
        }
        if self.subscriptions_dropped > 0 {
            texts.push(format!("{} subscriptions dropped", self.subscriptions_dropped));
        }
        match texts.is_empty() {
            true => f.write_str("nothing changed"),
            false => f.write_str(&texts.join(", ")),
        }
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Everything that is wrong, at once. The broker goes on as it was.
    #[error(transparent)]
    Refused(#[from] StartError),
    /// The broker has stopped or is stopping.
    #[error("the broker has stopped")]
    Stopped,
}

/// What reloads and swaps did since the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadCounts {
    /// Reloads and swaps that were carried out.
    pub done: u64,
    /// Those that were refused or given up.
    pub refused: u64,
    /// Plugin instances that took the place of others.
    pub swaps: u64,
    /// Instances that failed their trial, so that the one before was put back.
    pub swaps_back: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Reloads {
    done: AtomicU64,
    refused: AtomicU64,
    swaps: AtomicU64,
    swaps_back: AtomicU64,
}

impl Reloads {
    /// Returns what was counted.
    pub(crate) fn counts(&self) -> ReloadCounts {
        ReloadCounts {
            done: self.done.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            swaps: self.swaps.load(Ordering::Relaxed),
            swaps_back: self.swaps_back.load(Ordering::Relaxed),
        }
    }
}

/// A plugin instance that a broker has.
#[derive(Clone)]
#[non_exhaustive]
pub struct PluginInUse {
    /// The name of its first use.
    pub name: Arc<str>,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// It took another's place and hasn't yet been called often enough to be trusted; the other one waits.
    pub on_trial: bool,
}

impl fmt::Debug for PluginInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginInUse")
            .field("name", &self.name)
            .field("on_trial", &self.on_trial)
            .finish_non_exhaustive()
    }
}

/// What the steward is told to do.
pub(crate) enum Order {
    /// Make the broker as this says.
    Reload(Reload, Answer<Result<Reloaded, ReloadError>>),
    /// Put one instance in the place of another.
    Swap([Arc<dyn Plugin>; 2], Answer<Result<Reloaded, ReloadError>>),
    /// Say which plugins there are.
    Plugins(Answer<Vec<PluginInUse>>),
    /// Stop all plugins within this time, and end. The answer: those that didn't stop.
    Stop(Duration, Answer<Vec<Arc<str>>>),
}

type Answer<T> = oneshot::Sender<T>;

impl Handle {
    /// Makes the running broker as a builder says. Everything is checked, started and opened beside what runs; if something
    /// is wrong, all of it is told and nothing has changed. Clients stay connected and lose nothing; a packet that a plugin
    /// has at the moment is finished by the chain it began with, and the next one is for the new.
    ///
    /// An instance that takes the place of another of the same name is asked for its health first. If the old one has state
    /// ([`Plugin::save_state`]), calls wait while that is handed on. A new one that fails in its first 100 calls of a hook,
    /// or fails its health check, is swapped back by itself; the old one stays ready until then.
    ///
    /// Dropping the returned future doesn't take the change back.
    ///
    /// # Errors
    /// Everything that is wrong, or the broker has stopped.
    pub async fn reload(&self, reload: impl Into<Reload>) -> Result<Reloaded, ReloadError> {
        let (done, changed) = oneshot::channel();
        self.order(Order::Reload(reload.into(), done)).await?;
        changed.await.map_err(|_| ReloadError::Stopped)?
    }

    /// Puts `new` wherever `old` stands, in all chains and bridges, as a [`Self::reload`] would.
    ///
    /// # Errors
    /// Everything that is wrong, `old` isn't used, or the broker has stopped.
    pub async fn swap(&self, old: &Arc<dyn Plugin>, new: Arc<dyn Plugin>) -> Result<Reloaded, ReloadError> {
        let (done, changed) = oneshot::channel();
        self.order(Order::Swap([old.clone(), new], done)).await?;
        changed.await.map_err(|_| ReloadError::Stopped)?
    }

    /// Returns the plugin instances that are in use. One that was swapped back isn't among them. Empty when the broker has
    /// stopped.
    pub async fn plugins(&self) -> Vec<PluginInUse> {
        let (done, plugins) = oneshot::channel();
        if self.order(Order::Plugins(done)).await.is_err() {
            return Vec::new();
        }
        plugins.await.unwrap_or_default()
    }

    /// Returns what reloads and swaps did since the broker started.
    #[must_use]
    pub fn reloads(&self) -> ReloadCounts {
        self.core.reloads.counts()
    }

    async fn order(&self, order: Order) -> Result<(), ReloadError> {
        if *self.core.end.borrow() || self.core.is_stopping() {
            return Err(ReloadError::Stopped);
        }
        self.core
            .orders
            .send(order)
            .await
            .map_err(|_| ReloadError::Stopped)
    }
}
