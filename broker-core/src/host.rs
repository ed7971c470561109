//! What the broker gives its plugins: the [`Host`] of one plugin, and its timers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use broker_types::{ClientHandle, ReasonCode, Timestamp};
use plugin_api::{ClientInfo, Clients, Fault, FaultKind, Host, KeyValue, Level, NewMessage, Plugin, TimerId};

use crate::engine::core::Core;
use crate::engine::session::Kick;

/// The services for one plugin.
pub(crate) struct PluginHost {
    name: Arc<str>,
    core: Weak<Core>,
    plugin: Weak<dyn Plugin>,
}

impl PluginHost {
    /// Returns the host of `plugin`, which is called `name`.
    pub(crate) fn new(name: Arc<str>, core: &Arc<Core>, plugin: &Arc<dyn Plugin>) -> Arc<Self> {
        Arc::new(Self {
            name,
            core: Arc::downgrade(core),
            plugin: Arc::downgrade(plugin),
        })
    }

    fn core(&self) -> Result<Arc<Core>, Fault> {
        self.core
            .upgrade()
            .ok_or_else(|| Fault::backend("the broker has stopped"))
    }
}

/// Writes a line of `plugin` into the log.
pub(crate) fn log(plugin: &str, level: Level, text: &str) {
    match level {
        Level::Trace => tracing::trace!(plugin, "{text}"),
        Level::Debug => tracing::debug!(plugin, "{text}"),
        Level::Info => tracing::info!(plugin, "{text}"),
        Level::Warn => tracing::warn!(plugin, "{text}"),
        Level::Error => tracing::error!(plugin, "{text}"),
    }
}

impl Host for PluginHost {
    fn log(&self, level: Level, text: &str) {
        log(&self.name, level, text);
    }

    fn publish(&self, message: NewMessage) -> Result<(), Fault> {
        if message.topic.as_ref().as_str().starts_with("$SYS/") {
            return Err(Fault::new(FaultKind::Protocol, "`$SYS` is the broker's own"));
        }
        let job = Box::new(move |shard: &std::rc::Rc<crate::engine::shard::Shard>| {
            shard.publish_own(&message);
        });
        self.core()?
            .any_shard()
            .try_send(job)
            .map_err(|_| Fault::backend("too many messages wait to be published"))
    }

    fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool {
        let Ok(core) = self.core() else { return false };
        core.kick_handle(
            client,
            Kick {
                will: with_will,
                ..Kick::because(reason)
            },
        )
    }

    fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
        match self.core() {
            Ok(core) => core
                .plugin_timers
                .set(core.clock.now() + first, every, self.plugin.clone()),
            Err(_) => TimerId(0),
        }
    }

    fn cancel_timer(&self, timer: TimerId) {
        if let Ok(core) = self.core() {
            core.plugin_timers.cancel(timer);
        }
    }

    fn counter(&self, name: &str, add: u64) {
        if let Ok(core) = self.core() {
            core.plugin_metrics
                .change(&self.name, name, |value| *value += add as f64);
        }
    }

    fn gauge(&self, name: &str, value: f64) {
        if let Ok(core) = self.core() {
            core.plugin_metrics
                .change(&self.name, name, |gauge| *gauge = value);
        }
    }

    fn invalidate(&self, client: Option<ClientHandle>) {
        let (Ok(core), Some(plugin)) = (self.core(), self.plugin.upgrade()) else {
            return;
        };
        match client {
            Some(handle) => {
                if let Some(session) = core.sessions.by_handle(handle) {
                    session.invalidate();
                }
            }
            None => core
                .listeners()
                .iter()
                .for_each(|listener| listener.chain.load_full().invalidate(&plugin)),
        }
    }

    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        self.core()?.blocking.run(job)
    }

    fn kv(&self) -> Option<Arc<dyn KeyValue>> {
        Some(self.core.upgrade()?.plugin_records.of(&self.name))
    }

    fn clients(&self) -> Option<Arc<dyn Clients>> {
        self.core.upgrade().map(|core| core as Arc<dyn Clients>)
    }
}

impl Clients for Core {
    fn get(&self, client_id: &str) -> Option<ClientInfo> {
        Some(self.sessions.get(client_id)?.info())
    }

    fn by_handle(&self, client: ClientHandle) -> Option<ClientInfo> {
        Some(self.sessions.by_handle(client)?.info())
    }

    fn connected(&self) -> usize {
        let listeners = self.listeners();
        listeners.iter().map(|listener| listener.connections()).sum()
    }
}

/// The timers of all plugins.
#[derive(Default)]
pub(crate) struct PluginTimers(Mutex<TimerTable>);

#[derive(Default)]
struct TimerTable {
    due: BTreeMap<(Timestamp, u64), u64>,
    timers: HashMap<u64, PluginTimer>,
    last: u64,
}

#[derive(Clone)]
struct PluginTimer {
    every: Option<Duration>,
    plugin: Weak<dyn Plugin>,
}

/// A timer that is due.
pub(crate) struct DueTimer {
    id: u64,
    timer: PluginTimer,
}

impl PluginTimers {
    fn set(&self, at: Timestamp, every: Option<Duration>, plugin: Weak<dyn Plugin>) -> TimerId {
        let mut table = self.lock();
        table.last += 1;
        let id = table.last;
        table.timers.insert(id, PluginTimer { every, plugin });
        table.due.insert((at, id), id);
        TimerId(id)
    }

    fn cancel(&self, timer: TimerId) {
        self.lock().timers.remove(&timer.0);
    }

    /// Takes the next timer that is due. It runs again only once [`Self::done`] was said.
    pub(crate) fn take_due(&self, now: Timestamp) -> Option<DueTimer> {
        let mut table = self.lock();
        loop {
            let first = table.due.first_entry()?;
            if first.key().0 > now {
                return None;
            }
            let id = first.remove();
            if let Some(timer) = table.timers.get(&id).cloned() {
                return Some(DueTimer { id, timer });
            }
        }
    }

    /// Forgets the timers of a plugin that is stopped.
    pub(crate) fn forget(&self, plugin: &Arc<dyn Plugin>) {
        let gone = Arc::downgrade(plugin);
        self.lock()
            .timers
            .retain(|_, timer| !std::ptr::addr_eq(timer.plugin.as_ptr(), gone.as_ptr()));
    }

    /// The plugin's call has ended.
    pub(crate) fn done(&self, due: &DueTimer, now: Timestamp) {
        let mut table = self.lock();
        match due.timer.every {
            Some(every) if table.timers.contains_key(&due.id) => {
                table.due.insert((now + every, due.id), due.id);
            }
            _ => _ = table.timers.remove(&due.id),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TimerTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DueTimer {
    /// Calls the plugin, if it is still there.
    pub(crate) async fn call(&self) {
        if let Some(plugin) = self.timer.plugin.upgrade() {
            plugin.on_timer(TimerId(self.id)).await;
        }
    }
}

/// Counters and gauges that plugins keep, by plugin and name.
#[derive(Default)]
pub(crate) struct PluginMetrics(Mutex<BTreeMap<(Arc<str>, String), f64>>);

/// Names that one broker's plugins may use in all.
const METRICS_MAX: usize = 4096;

impl PluginMetrics {
    fn change(&self, plugin: &Arc<str>, name: &str, change: impl FnOnce(&mut f64)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (plugin.clone(), name.to_owned());
        if all.len() < METRICS_MAX || all.contains_key(&key) {
            change(all.entry(key).or_default());
        }
    }

    /// Returns all of them: plugin, name, value.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, String, f64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|((plugin, name), value)| (plugin.clone(), name.clone(), *value))
            .collect()
    }
}
