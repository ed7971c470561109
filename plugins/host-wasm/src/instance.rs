//! One instance of a guest: a store of its own, which nothing else is in. After a call that failed in any way it is never
//! called again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use plugin_api::ClientView;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower, TypedFunc};

use crate::code::Code;
use crate::exports::Exports;
use crate::state::{More, State};

/// An instance, ready to be called.
pub(crate) struct Instance {
    pub(crate) caller: Caller,
    pub(crate) exports: Exports,
    /// Calls made so far.
    pub(crate) calls: u64,
    /// Bytes of memory when it was ready.
    memory_at_first: usize,
    /// Bytes of memory that are counted for the plugin.
    memory_counted: usize,
}

/// Makes the calls.
pub(crate) struct Caller {
    store: Store<State>,
    /// Whether what the guest imports may wait: then each call has a stack of its own that can be put aside.
    waits: bool,
}

impl Instance {
    /// Makes an instance of `code` that has at most `ticks` for beginning. `init` is not called yet.
    ///
    /// # Errors
    /// It trapped or ran out of something, or isn't what the contract says.
    pub(crate) async fn new(
        code: &Code,
        component: &InstancePre<State>,
        state: State,
        ticks: u32,
    ) -> wasmtime::Result<Self> {
        // What a guest hands over in one call is no more than it may hold: lists that repeat one text many times would be.
        let hand_over_max = state.memory_max();
        let mut store = Store::new(component.engine(), state);
        store.limiter(|state| state);
        store.epoch_deadline_callback(State::tick);
        store.set_hostcall_fuel(hand_over_max);
        let mut caller = Caller {
            store,
            waits: code.imports.waits,
        };
        caller.arm(ticks, None);
        let instance = match caller.waits {
            true => component.instantiate_async(&mut caller.store).await?,
            false => component.instantiate(&mut caller.store)?,
        };
        let exports = code.indices.load(&mut caller.store, &instance)?;
        Ok(Self {
            caller,
            exports,
            calls: 0,
            memory_at_first: 0,
            memory_counted: 0,
        })
    }

    /// Says that it is ready.
    pub(crate) fn begun(&mut self, shows_certificates: bool) {
        self.caller.store.data_mut().shows_certificates = shows_certificates;
        self.memory_at_first = self.memory();
        self.report();
    }

    /// Counts its memory for the plugin, if that has changed.
    pub(crate) fn report(&mut self) {
        let memory = self.memory();
        if memory != self.memory_counted {
            let before = std::mem::replace(&mut self.memory_counted, memory);
            self.caller.store.data().services.count_memory(before, memory);
        }
    }

    /// Tells whether it has grown to so many bytes; one that began there hasn't.
    pub(crate) fn has_grown_to(&self, bytes: usize) -> bool {
        self.memory() > bytes.max(self.memory_at_first)
    }

    fn memory(&self) -> usize {
        self.caller.store.data().memory()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.caller
            .store
            .data()
            .services
            .count_memory(self.memory_counted, 0);
    }
}

impl Caller {
    /// Gives the next call its time, and what says that nobody waits for it any more.
    pub(crate) fn arm(&mut self, ticks: u32, unwanted: Option<&Arc<AtomicBool>>) {
        let state = self.store.data_mut();
        state.arm(ticks, unwanted);
        if let Some(wasi) = &state.wasi {
            wasi.set_clock();
        }
        self.store.set_epoch_deadline(1);
    }

    /// Lends the next call a client and what its message has besides.
    pub(crate) fn lend(&mut self, client: Option<&Arc<ClientView>>, more: More) {
        let state = self.store.data_mut();
        state.client = client.cloned();
        state.more = more;
    }

    /// Tells whether client certificates are shown.
    pub(crate) fn shows_certificates(&self) -> bool {
        self.store.data().shows_certificates
    }

    /// Makes one call.
    ///
    /// # Errors
    /// The guest trapped, was ended, or gave something that can't be read.
    pub(crate) async fn call<P, R>(&mut self, function: TypedFunc<P, R>, params: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        match self.waits {
            true => function.call_async(&mut self.store, params).await,
            false => function.call(&mut self.store, params),
        }
    }
}
