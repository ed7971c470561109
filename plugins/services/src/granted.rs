//! A plugin whose host has what the plugin was granted and nothing else.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{ClientHandle, ReasonCode};
use plugin_api::{
    Capabilities, Clients, Fault, Host, HttpClient, KeyValue, Level, NewMessage, Plugin, PluginInfo, TimerId,
    async_trait,
};

/// Wraps `plugin`: its host gives records only with `kv`, and `http` as its client. Hooks are the plugin's own and cost
/// nothing more.
#[must_use]
pub fn granted(plugin: Arc<dyn Plugin>, kv: bool, http: Option<Arc<dyn HttpClient>>) -> Arc<dyn Plugin> {
    Arc::new(Granted { plugin, kv, http })
}

struct Granted {
    plugin: Arc<dyn Plugin>,
    kv: bool,
    http: Option<Arc<dyn HttpClient>>,
}

#[async_trait]
impl Plugin for Granted {
    fn info(&self) -> PluginInfo {
        self.plugin.info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        let (kv, http) = (self.kv, self.http.clone());
        self.plugin.start(Arc::new(Narrowed { host, kv, http })).await
    }

    fn capabilities(&self) -> Capabilities {
        self.plugin.capabilities()
    }

    async fn health(&self) -> Result<(), Fault> {
        self.plugin.health().await
    }

    async fn reconfigure(&self, options: &str) -> Result<bool, Fault> {
        self.plugin.reconfigure(options).await
    }

    async fn on_timer(&self, timer: TimerId) {
        self.plugin.on_timer(timer).await;
    }

    async fn save_state(&self) -> Option<Vec<u8>> {
        self.plugin.save_state().await
    }

    async fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        self.plugin.load_state(from_version, state).await
    }

    async fn stop(&self, drain: Duration) {
        self.plugin.stop(drain).await;
    }
}

/// The broker's host, as far as it was granted.
struct Narrowed {
    host: Arc<dyn Host>,
    kv: bool,
    http: Option<Arc<dyn HttpClient>>,
}

impl Host for Narrowed {
    fn log(&self, level: Level, text: &str) {
        self.host.log(level, text);
    }

    fn publish(&self, message: NewMessage) -> Result<(), Fault> {
        self.host.publish(message)
    }

    fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool {
        self.host.kick(client, reason, with_will)
    }

    fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
        self.host.timer(first, every)
    }

    fn cancel_timer(&self, timer: TimerId) {
        self.host.cancel_timer(timer);
    }

    fn counter(&self, name: &str, add: u64) {
        self.host.counter(name, add);
    }

    fn gauge(&self, name: &str, value: f64) {
        self.host.gauge(name, value);
    }

    fn invalidate(&self, client: Option<ClientHandle>) {
        self.host.invalidate(client);
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        self.host.spawn_blocking(job)
    }

    fn kv(&self) -> Option<Arc<dyn KeyValue>> {
        self.host.kv().filter(|_| self.kv)
    }

    fn http(&self) -> Option<Arc<dyn HttpClient>> {
        self.http.clone()
    }

    fn clients(&self) -> Option<Arc<dyn Clients>> {
        self.host.clients()
    }
}
