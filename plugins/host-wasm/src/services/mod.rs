//! What guests may ask the broker for. One file for each kind; which of them a guest finds is decided by what it was granted
//! ([`crate::imports`]).

mod broker;
mod http;
mod kv;
mod lent;
mod log;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use plugin_api::Host;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::imported;
use crate::imports::Service;
use crate::state::State;

pub(crate) use broker::unix_ms;
use log::LogBudget;

/// Names of metrics that one plugin may have.
const METRICS_MAX: usize = 64;
/// The longest name of a metric.
const METRIC_NAME_MAX: usize = 64;

/// A client as a guest holds it: a number that means "the one of this call".
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings export it as if somebody saw them")]
pub enum Client {}

/// What doesn't travel with a message, as a guest holds it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "as above")]
pub enum MessageView {}

/// The broker's side of one configured plugin, shared by its instances.
pub(crate) struct Services {
    /// The plugin's name in the configuration.
    pub(crate) name: Box<str>,
    /// When `monotonic-ns` was 0.
    epoch: Instant,
    host: OnceLock<Arc<dyn Host>>,
    log_budget: LogBudget,
    metrics: Mutex<HashSet<Box<str>>>,
    /// Bytes that the memories of all instances have.
    memory: AtomicUsize,
}

impl Services {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            epoch: Instant::now(),
            host: OnceLock::new(),
            log_budget: LogBudget::default(),
            metrics: Mutex::default(),
            memory: AtomicUsize::new(0),
        }
    }

    /// Keeps the broker's services: from here on a guest's calls lead somewhere.
    pub(crate) fn open(&self, host: Arc<dyn Host>) {
        // A plugin is started once.
        let _ = self.host.set(host);
    }

    /// Returns the broker, once the plugin is started.
    pub(crate) fn host(&self) -> Option<&Arc<dyn Host>> {
        self.host.get()
    }

    /// Counts `after` bytes for an instance that had `before`, and shows the sum.
    pub(crate) fn count_memory(&self, before: usize, after: usize) {
        if before == after {
            return;
        }
        self.memory.fetch_add(after, Ordering::Relaxed);
        let sum = self.memory.fetch_sub(before, Ordering::Relaxed) - before;
        if let Some(host) = self.host() {
            host.gauge("memory_bytes", sum as f64);
        }
    }

    /// Tells whether a guest may have a metric of this name: names are few, short and plain.
    fn has_metric(&self, name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > METRIC_NAME_MAX || !name.bytes().all(plain) {
            return false;
        }
        let mut known = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(name) || (known.len() < METRICS_MAX && known.insert(name.into()))
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Makes a service available to whoever is linked with `linker`.
pub(crate) fn link(linker: &mut Linker<State>, service: Service) -> wasmtime::Result<()> {
    match service {
        Service::Types => imported::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Log => imported::log::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Metrics => imported::metrics::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Decisions => imported::decisions::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Clock => imported::clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Random => imported::random::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Kv => imported::kv::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Publish => imported::publish::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Http => imported::http::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
        Service::Clients => imported::clients::add_to_linker::<_, HasSelf<State>>(linker, |state| state),
    }
}
