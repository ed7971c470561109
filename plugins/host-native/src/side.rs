//! The broker's side of one instance: what its `jf_host` leads to. Lives as long as the process, so that a plugin that
//! calls after its end is told so; what it held of the broker it has then let go of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use plugin_abi::{self as abi, Token};
use plugin_api::{Fault, Host, Level};

use crate::calls::{Call, Calls, Left};
use crate::frame::Phase;
use crate::granted::Granted;
use crate::services;

const MAGIC: u64 = 0x7473_6f68_2d66_6a21;

/// The function table of an instance, copied when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table(pub(crate) abi::Plugin);

// SAFETY: functions and pointers that this side hands back to the plugin and never looks behind. The header (R4) lets
// [any] functions be called from any thread; [control] functions are called by one thread at a time, see `instance.rs`.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// The services as the plugin gets them.
#[derive(Debug)]
struct HostTable(abi::Host);

// SAFETY: immutable, and its functions may be called from any thread.
unsafe impl Send for HostTable {}
// SAFETY: as above.
unsafe impl Sync for HostTable {}

pub(crate) struct Side {
    magic: u64,
    /// The instance's name in the configuration.
    pub(crate) name: Box<str>,
    pub(crate) calls: Calls,
    /// When `mono_ns` was 0.
    pub(crate) epoch: Instant,
    host: RwLock<Option<Arc<dyn Host>>>,
    closed: AtomicBool,
    services: OnceLock<HostTable>,
    granted: OnceLock<Granted>,
    table: OnceLock<Table>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Side {
    /// Makes the side of an instance that will be called `name`.
    pub(crate) fn new(name: &str) -> &'static Self {
        let side: &'static Self = Box::leak(Box::new(Self {
            magic: MAGIC,
            name: name.into(),
            calls: Calls::default(),
            epoch: Instant::now(),
            host: RwLock::default(),
            closed: AtomicBool::new(false),
            services: OnceLock::new(),
            granted: OnceLock::new(),
            table: OnceLock::new(),
        }));
        side.services
            .get_or_init(|| HostTable(services::table(side.pointer())));
        side
    }

    /// Returns what the plugin gets as its host.
    pub(crate) fn host_table(&'static self) -> *const abi::Host {
        self.services
            .get()
            .map_or(std::ptr::null(), |table| &raw const table.0)
    }

    /// Returns the tables of services that are granted by name.
    pub(crate) fn granted(&'static self) -> &'static Granted {
        self.granted.get_or_init(|| Granted::new(self.pointer()))
    }

    fn pointer(&'static self) -> *mut std::ffi::c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// Returns the side behind a `ctx` that a plugin gave back.
    ///
    /// # Safety
    /// `ctx` must be null or the `ctx` of a host table.
    pub(crate) unsafe fn at(ctx: *mut std::ffi::c_void) -> Option<&'static Self> {
        // SAFETY: the caller's promise; sides live for ever.
        let side = unsafe { ctx.cast::<Self>().as_ref() }?;
        (side.magic == MAGIC && !side.closed.load(Ordering::Acquire)).then_some(side)
    }

    /// Keeps the instance's functions.
    pub(crate) fn bind(&self, table: Table) {
        // A second instance has a side of its own.
        let _ = self.table.set(table);
    }

    /// Returns the broker's services, once the plugin is started.
    pub(crate) fn host(&self) -> Option<Arc<dyn Host>> {
        self.host.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the broker's services.
    pub(crate) fn open(&self, host: Arc<dyn Host>) {
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = Some(host);
    }

    /// Lets go of the broker: from here on services do nothing.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.host.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Begins a call.
    pub(crate) fn begin(&'static self, phase: Phase, sinks: usize, rights: u8) -> Result<Call, Fault> {
        self.calls.begin(phase, sinks, rights)
    }

    /// Lets go of a call and tells the plugin if it still has it.
    pub(crate) fn abandon(&self, call: &Call) {
        if call.abandon() == Left::Open {
            self.cancel(call.token());
        }
    }

    fn cancel(&self, token: Token) {
        if let Some(table) = self.table.get()
            && let Some(cancel) = table.0.cancel
        {
            // SAFETY: a function of this instance with its own `self`, [any]; who abandons a call keeps the instance.
            unsafe { cancel(table.0.self_, token) };
        }
    }

    /// Writes a log line under the instance's name.
    pub(crate) fn log(&self, level: Level, text: &str) {
        if let Some(host) = self.host() {
            return host.log(level, text);
        }
        let plugin = &*self.name;
        match level {
            Level::Trace => tracing::trace!(plugin, "{text}"),
            Level::Debug => tracing::debug!(plugin, "{text}"),
            Level::Info => tracing::info!(plugin, "{text}"),
            Level::Warn => tracing::warn!(plugin, "{text}"),
            Level::Error => tracing::error!(plugin, "{text}"),
        }
    }
}
