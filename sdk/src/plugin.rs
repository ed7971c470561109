//! A plugin as its author writes it: small and cold. The hooks are traits of their own.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{EventKind, Host, TimerId};

/// A plugin. One value of it is one instance of the configuration.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Its options. Doc comments become descriptions in the schema that the broker checks the file against; end a struct
    /// with `#[serde(deny_unknown_fields)]`, so that a misspelled key is found.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes an instance. Nothing is opened yet.
    ///
    /// # Errors
    /// Why it can't be, for the operator.
    fn create(config: Self::Config, host: Host) -> Result<Self, String>;

    /// Checks options beyond their schema, without making an instance: for `jackfield check`.
    ///
    /// # Errors
    /// What is wrong.
    fn check(config: &Self::Config) -> Result<(), String> {
        let _ = config;
        Ok(())
    }

    /// Returns which messages and events it wants, and how it wants to be called. Asked once.
    fn interest(&self) -> Interest {
        Interest::default()
    }

    /// Gets ready: opens files, connects to servers. May take its time.
    ///
    /// # Errors
    /// What keeps it from working.
    fn start(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// Tells whether it works.
    ///
    /// # Errors
    /// Why it doesn't.
    fn health(&self) -> Result<(), Fault> {
        Ok(())
    }

    /// A timer of [`Host::timer`] is due.
    fn on_timer(&self, timer: TimerId) {
        let _ = timer;
    }

    /// Takes other options while it runs. False: it can't, and the broker makes a new instance.
    ///
    /// # Errors
    /// They make no sense; the old ones stay.
    fn reconfigure(&self, config: Self::Config) -> Result<bool, Fault> {
        let _ = config;
        Ok(false)
    }

    /// Returns what the next generation should know, after the last call of this one. `None`: nothing.
    fn save_state(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes what the generation before has saved, before its own first call. `from_version` is the version of that one's crate.
    ///
    /// # Errors
    /// It can't; the swap is then given up, and the old generation goes on.
    fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        let _ = (from_version, state);
        Ok(())
    }

    /// Ends within `time`. No hook is called after this.
    fn stop(&self, time: Duration) {
        let _ = time;
    }
}

/// Why a hook gives no verdict: something it depends on failed. What happens then says the operator's `on_error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl<E: core::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// What an instance wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Topic Filters of messages that [`crate::Publish`] wants to see; empty: all.
    pub publish: Vec<String>,
    /// Topic Filters of messages that [`crate::Deliver`] wants to see; empty: all.
    pub deliver: Vec<String>,
    /// Whether it reads properties of messages.
    pub properties: bool,
    /// The largest payload it wants to see; 0: any.
    pub payload_bytes_max: u32,
    /// Events that it wants to be told; empty with [`crate::Events`]: all.
    pub events: Vec<EventKind>,
    /// Whether [`crate::Authorize`] is asked for each message before it goes to a client, too.
    pub receive: bool,
    /// Authentication Methods that [`crate::Exchange`] answers for.
    pub methods: Vec<String>,
    /// Prefixes under `$CONTROL/` that it answers for.
    pub control: Vec<String>,
    /// Its hooks may block: they are called on a pool, not on the threads that move messages.
    pub blocking: bool,
    /// Its hooks are called one at a time, on a pool.
    pub serial: bool,
}
