//! A plugin as its author writes it: small and cold. The hooks are traits of their own.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Host, TimerId};

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
    /// Events that it wants to be told, by bit (`JF_E_*`); 0 with [`crate::Events`]: all.
    pub events: u64,
    /// Prefixes under `$CONTROL/` that it answers for.
    pub control: Vec<String>,
    /// Its hooks may block: they are called on a pool, not on the threads that move messages.
    pub blocking: bool,
    /// Its hooks are called one at a time, on a pool.
    pub serial: bool,
}
