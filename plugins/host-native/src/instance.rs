//! One instance of a plugin: its functions, what it wants, and the calls of its life.

use std::sync::{Arc, Mutex, PoisonError};

use plugin_api::Fault;

use crate::interest::Interest;
use crate::library::{Library, Refusal};
use crate::serial::Serial;
use crate::side::{Side, Table};

pub(crate) struct Instance {
    pub(crate) side: &'static Side,
    pub(crate) table: Table,
    pub(crate) interest: Interest,
    /// Held while a [control] function runs.
    control: Mutex<()>,
    serial: Arc<Serial>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.side.name)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// Has the library make one.
    pub(crate) fn create(library: &Library, name: &str, options: &str) -> Result<Arc<Self>, Refusal> {
        let side = Side::new(name);
        let table = library.create(side, options)?;
        // SAFETY: the table of an instance that was just made; it is immutable until it is destroyed.
        let interest = unsafe { Interest::read(&table.0, library.hooks) };
        let interest = match interest {
            Ok(interest) => interest,
            Err(why) => {
                destroy(side, &table);
                return Err(Refusal {
                    key: String::new(),
                    why,
                });
            }
        };
        Ok(Arc::new(Self {
            side,
            table,
            interest,
            control: Mutex::default(),
            serial: Arc::default(),
        }))
    }

    /// Makes a call that never overlaps another one of its kind. May block: not for workers.
    pub(crate) fn control<T>(&self, call: impl FnOnce(&Table) -> T) -> T {
        let _alone = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        call(&self.table)
    }

    /// Runs a job on the broker's pool, after the others if they must not meet.
    pub(crate) fn spawn(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        let host = self
            .side
            .host()
            .ok_or_else(|| Fault::backend("the plugin isn't started"))?;
        if self.interest.serial {
            self.serial.run(&*host, job)
        } else {
            host.spawn_blocking(job)
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        destroy(self.side, &self.table);
        let stale = self.side.calls.stale_completions();
        if stale > 0 {
            tracing::debug!(
                plugin = &*self.side.name,
                stale,
                "completions that named no open call"
            );
        }
    }
}

/// Ends an instance that nobody calls any more. Its services do nothing from here on.
fn destroy(side: &'static Side, table: &Table) {
    if let Some(destroy) = table.0.destroy {
        // SAFETY: a function of the instance with its own `self`; whoever had a call or another reference has gone.
        unsafe { destroy(table.0.self_) };
    }
    side.close();
}
