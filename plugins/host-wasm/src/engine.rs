//! What all guests of one loader run on: the engine's settings, and the clock that ends a guest that runs too long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

/// The stack of a guest. Recursion beyond it traps.
const STACK_BYTES_MAX: usize = 512 << 10;
/// How long a tick is. Budgets are counted in ticks.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Ticks without any call after which the clock rests.
const REST_AFTER: u32 = 100;
/// What a memory reserves where addresses are scarce; it moves when it grows beyond.
const SMALL_RESERVATION: u64 = 1 << 20;
const SMALL_GUARD: u64 = 64 << 10;

/// The engine and its clock.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) pulse: Arc<Pulse>,
    clock: Option<JoinHandle<()>>,
}

impl Machine {
    /// Makes the engine. Its clock is a thread that sleeps while no guest runs.
    ///
    /// # Errors
    /// The engine doesn't run here, or there is no thread.
    pub(crate) fn new() -> Result<Self, String> {
        let engine = Engine::new(&settings()).map_err(|error| error.to_string())?;
        let pulse = Arc::new(Pulse::default());
        let (ticking, beat) = (engine.clone(), pulse.clone());
        let clock = std::thread::Builder::new()
            .name("wasm-clock".to_owned())
            .spawn(move || beat.run(&ticking))
            .map_err(|error| error.to_string())?;
        // The thread itself never asks who it is.
        let _ = pulse.thread.set(clock.thread().clone());
        Ok(Self {
            engine,
            pulse,
            clock: Some(clock),
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pulse.stop.store(true, Ordering::SeqCst);
        if let Some(clock) = self.clock.take() {
            clock.thread().unpark();
            // It doesn't panic.
            let _ = clock.join();
        }
    }
}

/// Whether guests run. A call that finds the clock ticking pays one load for it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    active: AtomicBool,
    resting: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Pulse {
    /// Says that a guest runs: before each call, and at each tick that it was seen running.
    #[inline]
    pub(crate) fn beat(&self) {
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::SeqCst);
            if self.resting.load(Ordering::SeqCst)
                && let Some(thread) = self.thread.get()
            {
                thread.unpark();
            }
        }
    }

    /// Ticks until it is told to stop.
    fn run(&self, engine: &Engine) {
        let mut quiet = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.active.swap(false, Ordering::SeqCst) {
                quiet = 0;
            } else {
                quiet += 1;
            }
            if quiet < REST_AFTER {
                std::thread::sleep(TICK);
                engine.increment_epoch();
                continue;
            }
            // Whoever begins a call after this sees that it rests; whoever began before it has left its mark.
            self.resting.store(true, Ordering::SeqCst);
            if !self.active.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.resting.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}

/// Everything that makes compiled code differ. A component that was compiled with other settings isn't loaded from the cache.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // No export of ours is async in the component model's own sense; without it a store is smaller.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        // The same input gives the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        // Lines of the source in the backtrace of a trap, if the guest was built with them.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    // 4 GiB of addresses (not memory) for each instance make bounds checks needless. Where addresses are limited, they are checked.
    if getrlimit(Resource::As).current.is_some() {
        config
            .memory_reservation(SMALL_RESERVATION)
            .memory_reservation_for_growth(SMALL_RESERVATION)
            .memory_guard_size(SMALL_GUARD);
    }
    config
}
