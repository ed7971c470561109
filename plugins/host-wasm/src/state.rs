//! What belongs to one instance on the broker's side: its limits, what it has used of them, and the client and message that the
//! call at hand lends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker_types::{Properties, Source};
use plugin_api::{ClientView, MessageEdit};
use wasmtime::{ResourceLimiter, Result, StoreContextMut, UpdateDeadline};

use crate::engine::Pulse;
use crate::services::Services;
use crate::stop::Stop;
use crate::wasi::Wasi;

/// Elements of all tables of an instance.
const TABLE_ELEMENTS_MAX: usize = 100_000;
/// Core instances, tables and memories that a component is made of. Adapters take a few of each.
const PARTS_MAX: usize = 64;

/// The data of a store.
pub(crate) struct State {
    pub(crate) services: Arc<Services>,
    pulse: Arc<Pulse>,
    /// Ticks that the call at hand was seen running, and how many it may.
    ticks: u32,
    ticks_max: u32,
    /// Says that nobody waits for the call at hand any more.
    unwanted: Option<Arc<AtomicBool>>,
    memory: usize,
    memory_max: usize,
    table_elements: usize,
    /// The client of the call at hand.
    pub(crate) client: Option<Arc<ClientView>>,
    /// Whether client certificates are shown.
    pub(crate) shows_certificates: bool,
    /// What doesn't travel with the message of the call at hand.
    pub(crate) more: More,
    /// For guests that link WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
}

/// What a message has besides topic, payload, QoS and RETAIN.
#[derive(Clone, Debug)]
pub(crate) struct More {
    pub(crate) source: Source,
    pub(crate) dup: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) properties: Properties,
}

impl More {
    /// Nothing: for calls without a message.
    pub(crate) const NONE: Self = Self {
        source: Source::Client,
        dup: false,
        expiry: None,
        properties: Properties::EMPTY,
    };

    /// Returns what `message` has; copies nothing if there are no properties.
    pub(crate) fn of(message: &MessageEdit<'_>) -> Self {
        let unchanged = message.parts().properties.is_empty() && message.kept().is_none();
        Self {
            source: message.source(),
            dup: message.dup(),
            expiry: message.expiry(),
            properties: if unchanged {
                Properties::EMPTY
            } else {
                message.properties().clone()
            },
        }
    }
}

impl State {
    pub(crate) fn new(services: Arc<Services>, pulse: Arc<Pulse>, memory_max: usize) -> Self {
        Self {
            services,
            pulse,
            ticks: 0,
            ticks_max: 0,
            unwanted: None,
            memory: 0,
            memory_max,
            table_elements: 0,
            client: None,
            shows_certificates: false,
            more: More::NONE,
            wasi: None,
        }
    }

    /// Adds the world that a guest which links WASI sees.
    pub(crate) fn with_wasi(mut self, wasi: Wasi) -> Self {
        self.wasi = Some(Box::new(wasi));
        self
    }

    /// Gives the next call its time, and what says that nobody waits for it any more.
    pub(crate) fn arm(&mut self, ticks_max: u32, unwanted: Option<&Arc<AtomicBool>>) {
        self.pulse.beat();
        self.unwanted = unwanted.cloned();
        self.ticks = 0;
        self.ticks_max = ticks_max;
    }

    /// Returns the bytes of all its memories.
    pub(crate) const fn memory(&self) -> usize {
        self.memory
    }

    /// Returns how many bytes they may have.
    pub(crate) const fn memory_max(&self) -> usize {
        self.memory_max
    }

    /// Counts a tick that the guest was seen running in, and ends it if there were enough. Ticks of the wall would end
    /// the innocent whose thread had to wait.
    pub(crate) fn tick(mut cx: StoreContextMut<'_, Self>) -> Result<UpdateDeadline> {
        let state = cx.data_mut();
        state.pulse.beat();
        if state
            .unwanted
            .as_ref()
            .is_some_and(|unwanted| unwanted.load(Ordering::Relaxed))
        {
            return Err(Stop::Unwanted.into());
        }
        state.ticks += 1;
        if state.ticks > state.ticks_max {
            return Err(Stop::Cpu(state.ticks_max).into());
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

/// A guest that wants too much is ended: told that there is no more memory, most of them fall over in ways that look like a
/// mistake of their own.
impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let memory = self.memory + desired.saturating_sub(current);
        if memory > self.memory_max {
            return Err(Stop::Memory(self.memory_max).into());
        }
        self.memory = memory;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        Err(Stop::Memory(self.memory).into())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let elements = self.table_elements + desired.saturating_sub(current);
        if elements > TABLE_ELEMENTS_MAX {
            return Err(Stop::Table(TABLE_ELEMENTS_MAX).into());
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> Result<()> {
        Err(Stop::Table(self.table_elements).into())
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
