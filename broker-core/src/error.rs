//! Why a broker doesn't start, and why the handle refuses.

use plugin_api::Fault;

use crate::hooks::ChainError;

/// Everything that is wrong with a broker that is to start, or to be reloaded, at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct StartError {
    /// At least one.
    pub problems: Vec<StartProblem>,
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartProblem {
    /// The address of a listener makes no sense.
    #[error("listener `{listener}`: {why}")]
    Address {
        /// The listener.
        listener: String,
        /// What is wrong.
        why: String,
    },
    /// The address can't be bound: in use, not ours, not allowed.
    #[error("listener `{listener}`: cannot listen on {bind}: {source}")]
    Bind {
        /// The listener.
        listener: String,
        /// Where it should listen.
        bind: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Two listeners have the same name.
    #[error("two listeners are called `{0}`")]
    TwiceNamed(String),
    /// A listener names a chain that there isn't.
    #[error("listener `{listener}`: there is no chain `{chain}`")]
    UnknownChain {
        /// The listener.
        listener: String,
        /// The name.
        chain: String,
    },
    /// A chain can't be put together.
    #[error("listener `{listener}`: {source}")]
    Chain {
        /// The listener.
        listener: String,
        /// Why.
        source: ChainError,
    },
    /// A listener would refuse everybody: nobody decides who may connect, and anonymous clients aren't let in.
    #[error("listener `{0}` has no authenticator in its chain; add one, or set `anonymous = true`")]
    NoAuthenticator(String),
    /// A mount isn't a prefix that topics may have.
    #[error("listener `{listener}`: mount `{mount}`: {why}")]
    Mount {
        /// The listener.
        listener: String,
        /// The prefix.
        mount: String,
        /// What is wrong.
        why: String,
    },
    /// A plugin that is needed doesn't start.
    #[error("plugin `{plugin}`: {source}")]
    Plugin {
        /// The plugin.
        plugin: String,
        /// Why.
        source: Fault,
    },
    /// A bridge can't be put together.
    #[error("bridge `{bridge}`: {why}")]
    Bridge {
        /// The bridge.
        bridge: String,
        /// What is wrong.
        why: String,
    },
    /// A number makes no sense.
    #[error("{what}: {why}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What would be accepted.
        why: String,
    },
    /// The system refuses a thread or a runtime.
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
    /// There is no listener at all.
    #[error("there is no listener")]
    NoListener,
    /// A listener wants more than the store can promise.
    #[error("listener `{listener}`: durability {wanted:?} is more than the store promises, {strongest:?}")]
    Durability {
        /// The listener.
        listener: String,
        /// What it wants.
        wanted: plugin_api::Durability,
        /// What the store promises.
        strongest: plugin_api::Durability,
    },
    /// It can't be changed while the broker runs.
    #[error("{what} can't be changed while the broker runs; restart it")]
    Restart {
        /// What was to be changed.
        what: &'static str,
    },
    /// An instance can't take the place of another.
    #[error("plugin `{plugin}` can't be swapped: {why}")]
    Swap {
        /// The plugin.
        plugin: String,
        /// Why not.
        why: String,
    },
    /// The store can't be read.
    #[error("session store: {0}")]
    Store(plugin_api::StoreFault),
}

impl StartProblem {
    /// A thread of the broker has ended though it shouldn't have.
    pub(crate) fn worker_gone() -> Self {
        Self::Worker(std::io::Error::other("a worker has ended"))
    }
}

impl From<StartProblem> for StartError {
    fn from(problem: StartProblem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

/// Why the handle couldn't do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The broker has stopped or is stopping.
    #[error("the broker has stopped")]
    Stopped,
    /// The store takes nothing any more: it isn't known to be safe.
    #[error("the session store has failed")]
    Store,
    /// No listener has this name.
    #[error("there is no listener `{0}`")]
    NoListener(String),
    /// The broker is full: `what` says of what.
    #[error("limit reached: {0}")]
    Limit(&'static str),
}
