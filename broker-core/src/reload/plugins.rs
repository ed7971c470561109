//! Starting, asking and stopping plugin instances. A plugin that panics or takes too long has failed, and nobody else has.

use std::sync::Arc;
use std::time::Duration;

use plugin_api::{Fault, FaultKind, Plugin};

use crate::engine::core::Core;
use crate::hooks::{Instance, caught_call};
use crate::host::PluginHost;

/// How long a plugin may take to start.
pub(super) const START_MAX: Duration = Duration::from_secs(30);
/// How long it may take to say whether it works.
const HEALTH_MAX: Duration = Duration::from_secs(5);
/// Bytes of state that one instance may give to the next.
const STATE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A plugin instance that runs.
#[derive(Clone)]
pub(super) struct Member {
    /// The name of its first use.
    pub(super) name: Arc<str>,
    pub(super) instance: Arc<Instance>,
}

impl Member {
    /// Starts a plugin, and asks what it offers and whether it works. One that doesn't is stopped.
    pub(super) async fn start(
        core: &Arc<Core>,
        name: Arc<str>,
        plugin: Arc<dyn Plugin>,
        most: Duration,
    ) -> Result<Self, Fault> {
        let host = PluginHost::new(name.clone(), core, &plugin);
        let begin = async {
            caught_call(|| plugin.start(host)).await?;
            let offered = caught_call(|| Box::pin(async { Ok(plugin.capabilities()) })).await?;
            health(&plugin).await?;
            Ok(offered)
        };
        let begun = within(most, "it didn't start", begin).await;
        match begun {
            Ok(offered) => Ok(Self {
                name,
                instance: Instance::new(plugin, offered),
            }),
            Err(fault) => {
                stop(core, &plugin, HEALTH_MAX).await;
                Err(fault)
            }
        }
    }

    /// Returns what tells instances apart.
    pub(super) fn is(&self, plugin: &Arc<dyn Plugin>) -> bool {
        crate::chain::address(&self.instance.plugin) == crate::chain::address(plugin)
    }

    /// Waits until nobody uses it any more, at most so long, and stops it.
    pub(super) async fn retire(self, core: Arc<Core>, drain: Duration) {
        let unused = self.instance.at_work.unused();
        if tokio::time::timeout(drain, unused).await.is_err() {
            tracing::warn!(plugin = %self.name, ?drain, "plugin is stopped though it is still being called");
        }
        stop(&core, &self.instance.plugin, drain).await;
    }
}

/// Asks a plugin whether it works.
pub(super) async fn health(plugin: &Arc<dyn Plugin>) -> Result<(), Fault> {
    within(
        HEALTH_MAX,
        "it didn't say whether it works",
        caught_call(|| plugin.health()),
    )
    .await
}

/// Asks for the state that the next generation should have; `None`: there is none.
pub(super) async fn save(plugin: &Arc<dyn Plugin>, most: Duration) -> Result<Option<Vec<u8>>, Fault> {
    let saved = caught_call(|| Box::pin(async { Ok(plugin.save_state().await) }));
    let state = within(most, "it didn't save its state", saved).await?;
    if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        let text = format!("its state is longer than {STATE_BYTES_MAX} bytes");
        return Err(Fault::new(FaultKind::Memory, text));
    }
    Ok(state)
}

/// Gives a plugin the state of the generation before.
pub(super) async fn load(
    plugin: &Arc<dyn Plugin>,
    before: &Arc<dyn Plugin>,
    state: &[u8],
    most: Duration,
) -> Result<(), Fault> {
    let version = caught_call(|| Box::pin(async { Ok(before.info().version) })).await?;
    let loaded = caught_call(|| plugin.load_state(&version, state));
    within(most, "it didn't load the state of the one before", loaded).await
}

/// Stops a plugin, and forgets its timers. False: it didn't stop.
pub(super) async fn stop(core: &Core, plugin: &Arc<dyn Plugin>, most: Duration) -> bool {
    let stopped = caught_call(|| {
        Box::pin(async {
            plugin.stop(most).await;
            Ok(())
        })
    });
    let stopped = within(most, "it didn't stop", stopped).await;
    if let Err(fault) = &stopped {
        tracing::warn!(fault = fault.kind.as_str(), "stopping a plugin: {}", fault.text);
    }
    core.plugin_timers.forget(plugin);
    stopped.is_ok()
}

/// Gives a call a deadline.
async fn within<T>(
    most: Duration,
    what: &str,
    call: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(most, call).await {
        Ok(result) => result,
        Err(_) => Err(Fault::new(FaultKind::Timeout, format!("{what} within {most:?}"))),
    }
}
