//! A plugin: small and cold. The hooks are what it hands out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_types::TopicFilter;

use crate::{
    Accept, Authenticate, Authorize, Bridge, Connect, Control, Deliver, EventMask, Events, Exchange, Fault,
    Host, Publish, Retain, SessionStore, SharePick, Subscribe, TimerId, Unsubscribe, Will,
};

/// Facts about a plugin that are known before it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginInfo {
    /// What it is, like `auth-file`.
    pub id: String,
    /// Its version, like `1.2.0`.
    pub version: String,
    /// The JSON Schema of its options; `None`: it has none.
    pub config_schema: Option<String>,
    /// The hooks it offers, by the names of the configuration (`authenticate`, `publish` …).
    pub hooks: Vec<String>,
}

/// The one form that built-in, native and Wasm plugins and an embedder's closures all have.
///
/// Life: made by a [`crate::PluginLoader`] or the embedder, [`start`](Self::start)ed once, asked for its
/// [`capabilities`](Self::capabilities) once, used in any number of chains, [`stop`](Self::stop)ped once.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Returns what it is.
    fn info(&self) -> PluginInfo;

    /// Gets ready: opens files, connects to servers. The broker opens no port before every required plugin is ready.
    /// Deadline: 30 s.
    ///
    /// # Errors
    /// Whatever keeps it from working; the broker then doesn't start, or says so and goes on if the plugin isn't required.
    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        let _ = host;
        Ok(())
    }

    /// Returns the hooks it takes part in. Asked once, after `start`.
    fn capabilities(&self) -> Capabilities;

    /// Tells whether it works. Asked after `start`, before a swap goes live, and by health checks.
    ///
    /// # Errors
    /// Why it doesn't.
    async fn health(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Takes other options (a JSON object) while running. False: it can't; the broker makes a new instance.
    ///
    /// # Errors
    /// The options are wrong; the old ones stay.
    async fn reconfigure(&self, options: &str) -> Result<bool, Fault> {
        let _ = options;
        Ok(false)
    }

    /// Is called when a timer started with [`Host::timer`] is due. One call at a time for each timer.
    async fn on_timer(&self, timer: TimerId) {
        let _ = timer;
    }

    /// Returns state that the next generation should have.
    async fn save_state(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes the state of the generation before.
    ///
    /// # Errors
    /// It can't; the swap is then given up.
    async fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        let _ = (from_version, state);
        Ok(())
    }

    /// Ends within `drain`. No hook is called after this.
    async fn stop(&self, drain: Duration) {
        let _ = drain;
    }
}

/// What of a message a hook reads. What it doesn't need isn't built for it; decisive across a border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The payload.
    pub payload: bool,
    /// The properties.
    pub properties: bool,
    /// The largest payload in bytes it wants to see; larger messages pass it by.
    pub payload_bytes_max: usize,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            payload: true,
            properties: true,
            payload_bytes_max: usize::MAX,
        }
    }
}

/// A message hook with the topics it is interested in: traffic elsewhere never reaches it and pays nothing for it.
pub struct Scoped<H: ?Sized> {
    /// The hook.
    pub hook: Arc<H>,
    /// The Topic Filters of its interest; empty: every topic.
    pub filters: Vec<TopicFilter>,
    /// What it reads.
    pub needs: Needs,
}

impl<H: ?Sized> Scoped<H> {
    /// A hook that sees every topic.
    pub fn everywhere(hook: Arc<H>) -> Self {
        Self {
            hook,
            filters: Vec::new(),
            needs: Needs::default(),
        }
    }
}

impl<H: ?Sized> Clone for Scoped<H> {
    fn clone(&self) -> Self {
        Self {
            hook: self.hook.clone(),
            filters: self.filters.clone(),
            needs: self.needs,
        }
    }
}

/// What a plugin offers. An absent hook is never called; chains are built from this, per listener, at start.
#[derive(Clone, Default)]
pub struct Capabilities {
    /// Before any MQTT byte.
    pub accept: Option<Arc<dyn Accept>>,
    /// Before authentication; may change what CONNECT says.
    pub connect: Option<Arc<dyn Connect>>,
    /// Who may connect.
    pub authenticate: Option<Arc<dyn Authenticate>>,
    /// Enhanced authentication, with the methods it owns.
    pub exchange: Option<(Vec<String>, Arc<dyn Exchange>)>,
    /// Who may publish, subscribe and receive.
    pub authorize: Option<Arc<dyn Authorize>>,
    /// Whether [`Authorize`] wants to be asked at delivery too, for every message that goes to a client.
    pub authorize_receive: bool,
    /// May change a subscription.
    pub subscribe: Option<Arc<dyn Subscribe>>,
    /// Must change an unsubscription as it changed the subscription.
    pub unsubscribe: Option<Arc<dyn Unsubscribe>>,
    /// What happens to a message that comes in.
    pub publish: Option<Scoped<dyn Publish>>,
    /// Whether a message is retained.
    pub retain: Option<Arc<dyn Retain>>,
    /// What happens to a message that goes out, once per subscriber class.
    pub deliver: Option<Scoped<dyn Deliver>>,
    /// What happens to a Will Message when it fires.
    pub will: Option<Arc<dyn Will>>,
    /// What it wants to be told, and by whom.
    pub events: Option<(EventMask, Arc<dyn Events>)>,
    /// Requests under `$CONTROL/<prefix>/`, with the prefixes it owns.
    pub control: Option<(Vec<String>, Arc<dyn Control>)>,
    /// Which member of a shared group gets a message.
    pub share_pick: Option<Arc<dyn SharePick>>,
    /// Where Sessions, queues, Retained and Will Messages live.
    pub session_store: Option<Arc<dyn SessionStore>>,
    /// Where messages go next, and come from.
    pub bridge: Option<Arc<dyn Bridge>>,
}

impl std::fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Capabilities {
    /// Returns the names of the hooks that are there, as the configuration writes them.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        [
            ("accept", self.accept.is_some()),
            ("connect", self.connect.is_some()),
            ("authenticate", self.authenticate.is_some()),
            ("exchange", self.exchange.is_some()),
            ("authorize", self.authorize.is_some()),
            ("subscribe", self.subscribe.is_some()),
            ("unsubscribe", self.unsubscribe.is_some()),
            ("publish", self.publish.is_some()),
            ("retain", self.retain.is_some()),
            ("deliver", self.deliver.is_some()),
            ("will", self.will.is_some()),
            ("events", self.events.is_some()),
            ("control", self.control.is_some()),
            ("share-pick", self.share_pick.is_some()),
            ("session-store", self.session_store.is_some()),
            ("bridge", self.bridge.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
    }
}
