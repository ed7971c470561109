//! One configured use of a component: its instances, its limits, and where its calls run.
//!
//! A call runs where it is made (on the shard, in the middle of a connection's work), if it can be expected to be short: then it
//! costs neither a thread's turn nor a copy. Such a call may run for two ticks. A guest that needs more fails once, and from then on
//! its calls run on threads of its own, with all the time that it was given. Guests that wait, that say that they are slow,
//! or of which there may be only one, run there from the beginning.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugin_api::{Fault, FaultKind, Grants, Later, Level, Run, Sandbox};
use tokio::sync::oneshot;
use wasmtime::component::InstancePre;

use crate::code::Code;
use crate::crew::{Crew, Worker, at_once};
use crate::engine::TICK;
use crate::exports::offered;
use crate::instance::Instance;
use crate::manifest::Wants;
use crate::message::protocol;
use crate::pool::Pool;
use crate::services::Services;
use crate::state::State;
use crate::stop::{self, Stop};
use crate::wasi::Wasi;

/// Ticks that a call may be seen running where connections are served.
const INLINE_TICKS: u32 = 2;
/// The same for making an instance there, which happens once.
const INLINE_BEGIN_TICKS: u32 = 20;
/// Ticks for making an instance on a thread of its own.
const BEGIN_TICKS: u32 = 1000;
/// Calls after which an instance is replaced by a new one, whatever it has leaked.
const CALLS_MAX: u64 = 100_000;
/// What may be used of the memory before an instance is replaced, in quarters.
const MEMORY_QUARTERS: usize = 3;

/// A question to a guest: one function of one interface, with its arguments.
pub(crate) trait Ask: Send + Sync {
    /// What the guest says, in the contract's words.
    type Answer: Send + 'static;

    /// Asks.
    fn put(&self, instance: &mut Instance) -> impl Future<Output = wasmtime::Result<Self::Answer>> + Send;
}

/// A question that lends its arguments, and can make them its own for another thread.
pub(crate) trait Portable: Ask {
    /// The same question with arguments of its own.
    type Owned: Ask<Answer = Self::Answer> + 'static;

    /// Makes the arguments its own.
    fn own(self) -> Self::Owned;
}

/// An answer, now or later.
pub(crate) enum Reply<T> {
    Now(Result<T, Fault>),
    Later(Later<T>),
}

impl<T> Reply<T> {
    /// Waits for it.
    pub(crate) async fn get(self) -> Result<T, Fault> {
        match self {
            Self::Now(answer) => answer,
            Self::Later(later) => later.await,
        }
    }
}

/// Somebody waits for an answer. When that ends, with the answer or before it, the guest may end too.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One configured use of a component.
pub(crate) struct Guest {
    pub(crate) code: Arc<Code>,
    pub(crate) services: Arc<Services>,
    linked: InstancePre<State>,
    options: Box<str>,
    grants: Grants,
    memory_max: usize,
    /// Ticks that a call may be seen running on the crew's threads.
    ticks: u32,
    /// Whether each call has an instance of its own.
    fresh: bool,
    idle: Pool,
    crew: Crew,
    /// Whether calls run on the crew's threads.
    slow: AtomicBool,
    /// Whether the operator wants calls to run where they are made, come what may.
    stays: bool,
    /// Whether there is one instance, which lives as long as it can.
    single: AtomicBool,
    shows_certificates: AtomicBool,
}

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Where it is made.
    Here,
    /// On a thread of the crew.
    Crew,
}

impl Guest {
    /// Makes a use of `code`. No instance is made yet.
    ///
    /// # Errors
    /// The component doesn't fit the services; this was seen before.
    pub(crate) fn new(
        name: &str,
        code: Arc<Code>,
        options: &str,
        sandbox: &Sandbox,
        grants: &Grants,
    ) -> wasmtime::Result<Arc<Self>> {
        // A provider has one instance, and what it stores or carries takes its time.
        let single = code.indices.session_store.is_some() || code.indices.bridge.is_some();
        let threads = if single { 1 } else { sandbox.instances.get() };
        let slow = single || code.imports.is_slow || sandbox.run == Run::Pool;
        Ok(Arc::new(Self {
            linked: code.linked()?,
            services: Arc::new(Services::new(name)),
            options: options.into(),
            grants: grants.clone(),
            memory_max: usize::try_from(sandbox.memory_bytes_max).unwrap_or(usize::MAX),
            ticks: ticks(sandbox.cpu_max),
            fresh: sandbox.fresh && !single,
            idle: Pool::new(),
            crew: Crew::new(name, threads, code.imports.waits),
            slow: AtomicBool::new(slow),
            stays: sandbox.run == Run::Inline,
            single: AtomicBool::new(single),
            shows_certificates: AtomicBool::new(false),
            code,
        }))
    }

    /// Makes the first instance, on a thread of the crew, and asks it what it wants.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<Wants, Fault> {
        let wants = self.on_crew(First).get().await??;
        self.shows_certificates
            .store(wants.certificate, Ordering::Relaxed);
        if wants.serial {
            self.single.store(true, Ordering::Relaxed);
            self.crew.shrink();
        }
        if wants.serial || wants.slow {
            self.slow.store(true, Ordering::Relaxed);
        }
        Ok(wants)
    }

    /// Asks, where calls of this guest run. Nothing is copied if that is here.
    pub(crate) fn ask<A: Portable>(self: &Arc<Self>, ask: A) -> Reply<A::Answer> {
        match self.runs_here() {
            true => Reply::Now(self.here(&ask)),
            false => self.on_crew(ask.own()),
        }
    }

    /// Asks with arguments that are the question's own already, and waits for the answer.
    pub(crate) async fn ask_owned<A: Ask + 'static>(self: &Arc<Self>, ask: A) -> Result<A::Answer, Fault> {
        match self.runs_here() {
            true => self.here(&ask),
            false => self.on_crew(ask).get().await,
        }
    }

    /// Tells whether calls run where they are made, so that nothing needs to be copied for them.
    #[inline]
    pub(crate) fn runs_here(&self) -> bool {
        !self.slow.load(Ordering::Relaxed)
    }

    /// Asks where the call is made, wherever others run: for hooks that have no time to wait for another thread.
    pub(crate) fn here<A: Ask>(&self, ask: &A) -> Result<A::Answer, Fault> {
        let asked = at_once(self.attempt(ask, Place::Here, None));
        let answer = asked.unwrap_or_else(|| Err(Stop::Waits.into()));
        answer.map_err(|error| {
            let fault = self.failed(&error);
            if fault.kind == FaultKind::Timeout && !self.stays && !self.slow.swap(true, Ordering::Relaxed) {
                let text = format!("{}; from now on its calls run on threads of its own", fault.text);
                self.services.log(Level::Warn, &text);
            }
            fault
        })
    }

    /// Asks on a thread of the crew.
    pub(crate) fn on_crew<A: Ask + 'static>(self: &Arc<Self>, ask: A) -> Reply<A::Answer> {
        let (mut tell, told) = oneshot::channel();
        let waiting = Waiting(Arc::default());
        let (guest, unwanted) = (self.clone(), waiting.0.clone());
        let job = move |worker: &Worker| {
            if tell.is_closed() {
                return;
            }
            let asked = worker.run(guest.attempt(&ask, Place::Crew, Some(&unwanted)), tell.closed());
            let answer = asked.unwrap_or_else(|| Err(Stop::Waits.into()));
            let answer = answer.map_err(|error| guest.failed(&error));
            // Whoever has the answer finds nothing of the call left.
            drop((ask, guest));
            // Whoever asked may have gone.
            let _ = tell.send(answer);
        };
        match self.crew.submit(Box::new(job)) {
            Err(fault) => Reply::Now(Err(fault)),
            Ok(()) => Reply::Later(Box::pin(async move {
                let _waiting = waiting;
                told.await
                    .unwrap_or_else(|_| Err(Fault::backend("the plugin has ended")))
            })),
        }
    }

    /// Calls `lifecycle.tick` on each instance that nobody uses.
    pub(crate) async fn tick(self: &Arc<Self>) -> Result<(), Fault> {
        self.on_crew(Ticks(self.clone())).get().await
    }

    /// Tells whether there is one instance only, so that it has a state worth handing over.
    pub(crate) fn is_single(&self) -> bool {
        self.single.load(Ordering::Relaxed)
    }

    async fn attempt<A: Ask>(
        &self,
        ask: &A,
        place: Place,
        unwanted: Option<&Arc<AtomicBool>>,
    ) -> wasmtime::Result<A::Answer> {
        let mut instance = self.take(place).await?;
        let ticks = match place {
            Place::Here => INLINE_TICKS,
            Place::Crew => self.ticks,
        };
        instance.caller.arm(ticks, unwanted);
        let answer = ask.put(&mut instance).await?;
        self.give_back(instance, |instance| self.idle.put(instance));
        Ok(answer)
    }

    async fn take(&self, place: Place) -> wasmtime::Result<Box<Instance>> {
        if !self.fresh
            && let Some(instance) = self.idle.take()
        {
            return Ok(instance);
        }
        let ticks = match place {
            Place::Here => INLINE_BEGIN_TICKS,
            Place::Crew => BEGIN_TICKS,
        };
        self.begin(ticks).await
    }

    /// Makes an instance and has it get ready.
    async fn begin(&self, ticks: u32) -> wasmtime::Result<Box<Instance>> {
        let state = State::new(self.services.clone(), self.code.pulse().clone(), self.memory_max);
        let state = match self.code.imports.wasi {
            true => state.with_wasi(Wasi::new(&self.grants, &self.services)?),
            false => state,
        };
        let mut instance = Instance::new(&self.code, &self.linked, state, ticks).await?;
        instance.caller.arm(ticks, None);
        let lifecycle = offered(&instance.exports.lifecycle)?;
        let (ready,) = instance
            .caller
            .call(lifecycle.func_init(), (&*self.options,))
            .await?;
        ready.map_err(|complaint| Unready(complaint.key, complaint.why))?;
        instance.begun(self.shows_certificates.load(Ordering::Relaxed));
        Ok(Box::new(instance))
    }

    /// Keeps an instance for the next call, unless it has served long enough.
    fn give_back(&self, mut instance: Box<Instance>, put: impl FnOnce(Box<Instance>)) {
        instance.calls += 1;
        instance.report();
        let worn =
            instance.calls >= CALLS_MAX || instance.has_grown_to(self.memory_max / 4 * MEMORY_QUARTERS);
        // What a single instance knows would be lost.
        if !self.fresh && (!worn || self.is_single()) {
            put(instance);
        }
    }

    /// Returns what a failed call is, and tells whoever wrote the guest where it was.
    fn failed(&self, error: &wasmtime::Error) -> Fault {
        if let Some(Unready(key, why)) = error.downcast_ref() {
            return Fault::backend(if key.is_empty() {
                why.clone()
            } else {
                format!("option `{key}`: {why}")
            });
        }
        let fault = stop::fault(error);
        if let Some(trace) = stop::backtrace(error) {
            self.services.log(Level::Warn, &format!("{fault}\n{trace}"));
        }
        fault
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest")
            .field("name", &self.services.name)
            .finish_non_exhaustive()
    }
}

/// An instance found fault with its options.
#[derive(Debug, thiserror::Error)]
#[error("option `{0}`: {1}")]
struct Unready(String, String);

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX)
}

/// What the first instance wants, after it has got ready.
struct First;

impl Ask for First {
    type Answer = Result<Wants, Fault>;
    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let describe = offered(&instance.exports.describe)?;
        let (manifest,) = instance.caller.call(describe.func_get(), ()).await?;
        Ok(Wants::read(&manifest).map_err(protocol))
    }
}

/// Ticks of every instance that nobody uses, the one at hand among them.
struct Ticks(Arc<Guest>);

impl Ask for Ticks {
    type Answer = ();
    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<()> {
        let guest = &self.0;
        tick(instance).await?;
        for at in Pool::places() {
            let Some(mut other) = guest.idle.take_at(at) else {
                continue;
            };
            other.caller.arm(guest.ticks, None);
            match tick(&mut other).await {
                Ok(()) => guest.give_back(other, |other| guest.idle.put_at(at, other)),
                // It goes; the others have done nothing wrong.
                Err(error) => drop(guest.failed(&error)),
            }
        }
        Ok(())
    }
}

async fn tick(instance: &mut Instance) -> wasmtime::Result<()> {
    let lifecycle = offered(&instance.exports.lifecycle)?;
    instance.caller.call(lifecycle.func_tick(), ()).await
}
