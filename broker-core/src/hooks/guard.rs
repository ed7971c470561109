//! One call into a plugin. Whatever goes wrong in there comes out as what the operator wants to happen then; nothing else
//! gets past: no panic, no endless wait.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_types::{TopicFilter, TopicRef};
use plugin_api::{Answer, Fault, FaultKind};
use tokio::time::Instant;

use super::breaker::{Admission, Breaker, Change, Probe};
use super::caught::{Call, Caught, caught};
use super::instance::{AtWork, InUse, Instance, UnderWay};
use super::trace::Tracer;
use super::watchdog::{self, Calling};
use crate::chain::{Hook, OnFault, Use};

/// At most one line about faults in this time for each use; the others are counted in the next.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// A use of a plugin in one chain, at work: its policies, its breaker and what is counted of it.
#[derive(Debug)]
pub(crate) struct UseState {
    name: Arc<str>,
    /// Where it stands in the chain.
    pub(super) position: usize,
    pub(super) topics: Vec<TopicFilter>,
    pub(super) allow_publish: Option<Vec<TopicFilter>>,
    on_error: OnFault,
    on_timeout: OnFault,
    instance: InUse,
    /// What calls may take longer than the operator says.
    patience: Duration,
    breaker: Arc<Breaker>,
    /// By the position in [`FaultKind::ALL`].
    faults: Box<[AtomicU64]>,
    log: Mutex<Log>,
    tracer: Option<Tracer>,
    /// Names it on a shard's desk.
    number: u32,
    stalls: AtomicU64,
}

#[derive(Debug, Default)]
struct Log {
    last: Option<Instant>,
    suppressed: u64,
}

impl UseState {
    pub(super) fn new(used: &Use, instance: &Instance, position: usize) -> Self {
        Self {
            name: used.name.clone(),
            position,
            topics: used.topics.clone(),
            allow_publish: used.allow_publish.clone(),
            on_error: used.on_error,
            on_timeout: used.on_timeout.unwrap_or(used.on_error),
            instance: instance.at_work.hold(),
            patience: instance.patience,
            breaker: Arc::default(),
            faults: FaultKind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            log: Mutex::default(),
            tracer: None,
            number: watchdog::number(),
            stalls: AtomicU64::new(0),
        }
    }

    /// Has faults written down by `tracer` too.
    pub(super) fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// Returns the name of the plugin, as the configuration has it.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns what is counted of its instance, in whatever chains that stands.
    pub(super) const fn at_work(&self) -> &Arc<AtWork> {
        self.instance.at_work()
    }

    /// Returns how often each kind of fault happened.
    pub(super) fn faults(&self) -> impl Iterator<Item = (FaultKind, u64)> {
        let counts = self.faults.iter().map(|count| count.load(Ordering::Relaxed));
        FaultKind::ALL.iter().copied().zip(counts)
    }

    /// Returns its number on a shard's desk.
    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Counts a call that held a shard up.
    pub(super) fn count_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many calls held a shard up.
    pub(super) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Tells whether the plugin isn't asked at present because it failed too often.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Tells whether the use is meant for messages with `topic`.
    pub(super) fn wants(&self, topic: TopicRef<'_>) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|filter| filter.matches(topic))
    }

    fn policy(&self, kind: FaultKind) -> OnFault {
        if kind == FaultKind::Timeout {
            self.on_timeout
        } else {
            self.on_error
        }
    }

    fn count(&self, kind: FaultKind) {
        if let Some(at) = FaultKind::ALL.iter().position(|known| *known == kind) {
            self.faults[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a fault to the log unless one has just been written.
    fn tell(&self, hook: Hook, fault: &Fault) {
        let now = Instant::now();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.last.is_some_and(|last| now.duration_since(last) < LOG_PAUSE) {
            log.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut log.suppressed);
        log.last = Some(now);
        drop(log);
        tracing::warn!(plugin = %self.name, hook = %hook, fault = fault.kind.as_str(), suppressed, "{}", fault.text);
    }
}

/// One hook of one use.
#[derive(Debug)]
pub(crate) struct Guard {
    hook: Hook,
    budget: Duration,
    state: Arc<UseState>,
    calls: Calls,
}

/// What a hook that may answer later said.
pub(super) enum Asked<N, L: 'static> {
    /// Its verdict, or what its fault does.
    Now(Result<N, OnFault>),
    /// It needs time.
    Later(Waiting<L>),
}

/// A call that has begun and has to be awaited with [`Guard::finish`].
pub(super) struct Waiting<L> {
    ticket: Ticket,
    call: Caught<'static, L>,
    under_way: UnderWay,
}

/// The permission for one call.
struct Ticket(Option<Probe>);

impl Guard {
    pub(super) fn new(hook: Hook, used: &Use, state: Arc<UseState>) -> Self {
        let budget = used.timeout.or(hook.deadline()).unwrap_or(Duration::MAX);
        Self {
            hook,
            budget: budget.saturating_add(state.patience),
            state,
            calls: Calls::default(),
        }
    }

    /// Returns the hook.
    pub(super) const fn hook(&self) -> Hook {
        self.hook
    }

    /// Returns the use it belongs to.
    pub(super) const fn state(&self) -> &Arc<UseState> {
        &self.state
    }

    /// Returns how often the plugin was called.
    pub(super) fn calls(&self) -> u64 {
        self.calls.sum()
    }

    /// Returns the wall time a call may take.
    pub(super) const fn budget(&self) -> Duration {
        self.budget
    }

    /// Makes a call that answers at once.
    pub(super) fn call<T>(&self, call: impl FnOnce() -> Result<T, Fault>) -> Result<T, OnFault> {
        let ticket = self.admit()?;
        let result = self.caught(call);
        self.settle(ticket, result.and_then(|result| result))
    }

    /// Makes a call that answers at once or later.
    pub(super) fn ask<N, L>(&self, call: impl FnOnce() -> Answer<N, L>) -> Asked<N, L> {
        let ticket = match self.admit() {
            Ok(ticket) => ticket,
            Err(action) => return Asked::Now(Err(action)),
        };
        match self.caught(call) {
            Ok(Answer::Now(result)) => Asked::Now(self.settle(ticket, result)),
            Ok(Answer::Later(call)) => Asked::Later(Waiting {
                ticket,
                call: Caught::new(call),
                under_way: self.state.at_work().call(),
            }),
            Err(fault) => Asked::Now(self.settle(ticket, Err(fault))),
        }
    }

    /// Awaits a call under the use's deadline. `check` may still find that the answer makes no sense.
    pub(super) async fn finish<L>(
        &self,
        waiting: Waiting<L>,
        check: impl FnOnce(&L) -> Result<(), Fault>,
    ) -> Result<L, OnFault> {
        let Waiting {
            ticket,
            call,
            under_way,
        } = waiting;
        let result = self.within_budget(call).await;
        drop(under_way);
        self.settle(ticket, checked(result, check))
    }

    /// Makes a call that has to be awaited, under the use's deadline.
    pub(super) async fn run<'a, T>(
        &self,
        start: impl FnOnce() -> Call<'a, T>,
        check: impl FnOnce(&T) -> Result<(), Fault>,
    ) -> Result<T, OnFault> {
        let ticket = self.admit()?;
        let under_way = self.state.at_work().call();
        let result = match self.caught(start) {
            Ok(call) => self.within_budget(Caught::new(call)).await,
            Err(fault) => Err(fault),
        };
        drop(under_way);
        self.settle(ticket, checked(result, check))
    }

    /// Counts a call that was well until its result was looked at, and says what its fault does.
    pub(super) fn blame(&self, fault: &Fault) -> OnFault {
        self.fault(Ticket(None), fault)
    }

    /// Calls the plugin on this thread.
    fn caught<T>(&self, call: impl FnOnce() -> T) -> Result<T, Fault> {
        let _calling = Calling::of(self.state.number);
        caught(call)
    }

    async fn within_budget<T>(&self, mut call: Caught<'_, T>) -> Result<T, Fault> {
        let polled = poll_fn(|cx| {
            let _calling = Calling::of(self.state.number);
            Pin::new(&mut call).poll(cx)
        });
        match tokio::time::timeout(self.budget, polled).await {
            Ok(result) => result,
            Err(_) => Err(Fault::new(
                FaultKind::Timeout,
                format!("no answer within {:?}", self.budget),
            )),
        }
    }

    fn admit(&self) -> Result<Ticket, OnFault> {
        let probe = match self.state.breaker.admit() {
            Admission::Go => None,
            Admission::Probe(probe) => Some(probe),
            Admission::Refused { by_timeout } => {
                self.state.count(FaultKind::CircuitOpen);
                // A breaker that timeouts opened answers as a timeout would: the plugin is as slow as it was.
                let action = if by_timeout {
                    self.state.on_timeout
                } else {
                    self.state.on_error
                };
                if let Some(tracer) = &self.state.tracer {
                    let fault = Fault::new(FaultKind::CircuitOpen, "it failed too often");
                    tracer.fault(self.hook, &fault, action);
                }
                return Err(action);
            }
        };
        self.calls.add();
        Ok(Ticket(probe))
    }

    fn settle<T>(&self, ticket: Ticket, result: Result<T, Fault>) -> Result<T, OnFault> {
        match result {
            Ok(value) => {
                if let Some(probe) = ticket.0 {
                    probe.succeed();
                    tracing::info!(plugin = %self.state.name, hook = %self.hook, "plugin works again");
                }
                Ok(value)
            }
            Err(fault) => Err(self.fault(ticket, &fault)),
        }
    }

    #[cold]
    fn fault(&self, ticket: Ticket, fault: &Fault) -> OnFault {
        let state = &*self.state;
        state.count(fault.kind);
        state.tell(self.hook, fault);
        state.at_work().fault(self.hook, fault, self.calls());
        let by_timeout = fault.kind == FaultKind::Timeout;
        let change = match ticket.0 {
            Some(probe) => probe.fail(by_timeout),
            None => state.breaker.fault(by_timeout),
        };
        if let Change::Opened(pause) = change {
            tracing::warn!(plugin = %state.name, hook = %self.hook, ?pause, "plugin keeps failing and isn't asked for a while");
        }
        let policy = state.policy(fault.kind);
        if let Some(tracer) = &state.tracer {
            tracer.fault(self.hook, fault, policy);
        }
        policy
    }
}

fn checked<T>(result: Result<T, Fault>, check: impl FnOnce(&T) -> Result<(), Fault>) -> Result<T, Fault> {
    let value = result?;
    check(&value)?;
    Ok(value)
}

/// For answers that can't be wrong.
pub(super) const fn unchecked<T>(_: &T) -> Result<(), Fault> {
    Ok(())
}

/// Counts calls. All shards call the same plugins, and one counter for all of them would move its cache line from core to
/// core with every message; so each thread has its own, as far as they go.
#[derive(Debug, Default)]
struct Calls([Stripe; 8]);

/// A counter that shares its cache line with no other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Calls {
    fn add(&self) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
        let mine = MINE.try_with(|mine| *mine).unwrap_or(0);
        self.0[mine % self.0.len()].0.fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}
