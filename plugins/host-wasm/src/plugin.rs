//! A configured Wasm plugin in the broker's eyes: its life, and what it offers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugin_api::{Capabilities, Fault, Host, Plugin, PluginInfo, TimerId, async_trait};

use crate::code::Code;
use crate::guest::Guest;
use crate::hooks::{self, Health, Load, Save};

/// One configured use of a component.
pub(crate) struct WasmPlugin {
    guest: Arc<Guest>,
    /// What it offers, once it is started.
    offered: Mutex<Option<Started>>,
}

struct Started {
    capabilities: Capabilities,
    tick: Option<TimerId>,
}

impl WasmPlugin {
    pub(crate) fn new(guest: Arc<Guest>) -> Self {
        Self {
            guest,
            offered: Mutex::default(),
        }
    }

    fn offered<T>(&self, look: impl FnOnce(&Started) -> T) -> Option<T> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        offered.as_ref().map(look)
    }

    /// Tells whether it has a state that the next generation should have.
    fn has_state(&self) -> bool {
        self.guest.is_single() && self.guest.code.indices.swap.is_some()
    }
}

/// Returns what is known of a component before it runs.
pub(crate) fn info(code: &Code) -> PluginInfo {
    let identity = &code.identity;
    PluginInfo {
        id: identity.id.clone(),
        version: identity.version.clone(),
        config_schema: identity.config_schema.clone(),
        hooks: code.indices.hooks().into_iter().map(str::to_owned).collect(),
    }
}

#[async_trait]
impl Plugin for WasmPlugin {
    fn info(&self) -> PluginInfo {
        info(&self.guest.code)
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        self.guest.services.open(host.clone());
        let wants = self.guest.start().await?;
        let mut capabilities = hooks::capabilities(&self.guest, &wants)?;
        capabilities.session_store = hooks::caps(&self.guest).await?;
        self.health().await?;
        let started = Started {
            capabilities,
            tick: wants.tick.map(|every| host.timer(every, Some(every))),
        };
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.offered(|started| started.capabilities.clone())
            .unwrap_or_default()
    }

    async fn health(&self) -> Result<(), Fault> {
        let health = self.guest.on_crew(Health).get().await?;
        health.map_err(Fault::backend)
    }

    async fn on_timer(&self, timer: TimerId) {
        if self.offered(|started| started.tick) == Some(Some(timer))
            && let Err(fault) = self.guest.tick().await
        {
            tracing::warn!(plugin = &*self.guest.services.name, %fault, "a tick was missed");
        }
    }

    async fn save_state(&self) -> Option<Vec<u8>> {
        if !self.has_state() {
            return None;
        }
        let saved = self.guest.on_crew(Save).get().await;
        saved
            .inspect_err(|fault| {
                tracing::warn!(plugin = &*self.guest.services.name, %fault, "its state was not saved");
            })
            .ok()
    }

    async fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        if !self.has_state() {
            return Ok(());
        }
        let load = Load {
            from_version: from_version.to_owned(),
            state: state.to_vec(),
        };
        self.guest.on_crew(load).get().await?.map_err(Fault::backend)
    }

    async fn stop(&self, _: Duration) {
        let tick = self.offered(|started| started.tick).flatten();
        if let (Some(tick), Some(host)) = (tick, self.guest.services.host()) {
            host.cancel_timer(tick);
        }
    }
}
