//! A plugin that is the store. Nothing of the broker is there when it starts, and nothing when it stops: what it gets of a
//! [`Host`] is a log and threads that may block.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{ClientHandle, ReasonCode};
use plugin_api::{Fault, FaultKind, Host, Level, NewMessage, Plugin, SessionStore, TimerId};

use crate::blocking::BlockingPool;
use crate::error::StartProblem;

/// Threads on which the store may block.
const THREADS: usize = 2;

/// The plugin, while it is the store.
pub(crate) struct Keeper {
    name: Arc<str>,
    plugin: Arc<dyn Plugin>,
}

impl Keeper {
    /// Starts the plugin and returns the store that it is.
    pub(crate) async fn start(
        name: &Arc<str>,
        plugin: &Arc<dyn Plugin>,
    ) -> Result<(Self, Arc<dyn SessionStore>), StartProblem> {
        let problem = |source: Fault| StartProblem::Plugin {
            plugin: name.to_string(),
            source,
        };
        let host = KeeperHost {
            name: name.clone(),
            blocking: BlockingPool::start(THREADS).map_err(StartProblem::Worker)?,
        };
        plugin.start(Arc::new(host)).await.map_err(problem)?;
        let keeper = Self {
            name: name.clone(),
            plugin: plugin.clone(),
        };
        match plugin.capabilities().session_store {
            Some(store) => Ok((keeper, store)),
            None => {
                keeper.stop(Duration::ZERO).await;
                Err(problem(Fault::new(FaultKind::Protocol, "it is no session store")))
            }
        }
    }

    /// Returns the plugin's name.
    pub(crate) fn name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// Stops the plugin.
    pub(crate) async fn stop(self, drain: Duration) {
        self.plugin.stop(drain).await;
    }
}

struct KeeperHost {
    name: Arc<str>,
    blocking: BlockingPool,
}

impl Host for KeeperHost {
    fn log(&self, level: Level, text: &str) {
        crate::host::log(&self.name, level, text);
    }

    fn publish(&self, _message: NewMessage) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Protocol, "the store publishes nothing"))
    }

    fn kick(&self, _client: ClientHandle, _reason: ReasonCode, _with_will: bool) -> bool {
        false
    }

    fn timer(&self, _first: Duration, _every: Option<Duration>) -> TimerId {
        TimerId(0)
    }

    fn cancel_timer(&self, _timer: TimerId) {}

    fn counter(&self, _name: &str, _add: u64) {}

    fn gauge(&self, _name: &str, _value: f64) {}

    fn invalidate(&self, _client: Option<ClientHandle>) {}

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        self.blocking.run(job)
    }
}
