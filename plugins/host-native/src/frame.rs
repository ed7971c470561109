//! One call into a plugin, as memory: its token's generation, where it stands, its sinks, and what came of it.
//!
//! A frame is made when no other is free and is never freed, so a plugin can't get hold of a dangling one. All steps of
//! its life are steps of one atomic tag (generation and phase); whoever takes the step owns what follows:
//!
//! ```text
//!           ┌────────────── answered at once ──────────────┐
//! Idle ─► Open ─── complete() ─► Done ─── awaited ────────►├─► Idle
//!   │      ▲ └──── nobody waits ─► Abandoned ─ complete() ─┤
//!   └► Queued ──── nobody waits ─► Abandoned ─ job's turn ─┘
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use plugin_abi as abi;
use smallvec::SmallVec;

use crate::sink::{CLOSED, Sink};

/// Sinks that a frame keeps besides its first.
const SINKS_KEPT: usize = 8;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Phase {
    /// There is no call.
    Idle = 0,
    /// It waits for a thread that may block.
    Queued = 1,
    /// The plugin has it.
    Open = 2,
    /// The plugin has answered.
    Done = 3,
    /// Nobody waits for the answer any more.
    Abandoned = 4,
}

const PHASE_BITS: u32 = 3;

/// A verdict as the plugin wrote it, copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawVerdict {
    pub(crate) verdict: u32,
    pub(crate) reason: u8,
    pub(crate) delay_ms: u32,
}

impl RawVerdict {
    pub(crate) const fn of(out: &abi::Out) -> Self {
        Self {
            verdict: out.verdict,
            reason: out.reason,
            delay_ms: out.delay_ms,
        }
    }
}

/// What a call returned.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    /// As many as were asked for, unless the status is below 0 or the plugin got it wrong.
    pub(crate) outs: SmallVec<[RawVerdict; 1]>,
    /// The plugin's text about a failure.
    pub(crate) fault: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Frame {
    /// Its place, part of every token.
    pub(crate) slot: u32,
    tag: AtomicU64,
    first: Sink,
    #[allow(clippy::vec_box, reason = "plugins have pointers to them")]
    more: Mutex<Vec<Box<Sink>>>,
    has_more: AtomicBool,
    end: Mutex<End>,
}

#[derive(Debug, Default)]
struct End {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Frame {
    pub(crate) fn new(slot: u32) -> Self {
        Self {
            slot,
            tag: AtomicU64::new(0),
            first: Sink::default(),
            more: Mutex::default(),
            has_more: AtomicBool::new(false),
            end: Mutex::default(),
        }
    }

    /// Begins a call with `sinks` sinks and returns its generation. Only for the owner of an idle frame.
    pub(crate) fn begin(&self, phase: Phase, sinks: usize, rights: u8) -> u32 {
        let generation = generation(self.tag.load(Ordering::Relaxed))
            .wrapping_add(1)
            .max(1);
        self.first.open(rights);
        if sinks > 1 {
            let mut more = lock(&self.more);
            more.resize_with(sinks - 1, Box::default);
            more.iter().for_each(|sink| sink.open(rights));
            self.has_more.store(true, Ordering::Relaxed);
        }
        self.tag.store(tag(generation, phase), Ordering::Release);
        generation
    }

    /// Takes a step if the call is still the one of `generation` and stands at `from`.
    pub(crate) fn step(&self, generation: u32, from: Phase, to: Phase) -> bool {
        let (from, to) = (tag(generation, from), tag(generation, to));
        self.tag
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Tells whether the call of `generation` stands at `phase`.
    pub(crate) fn is_at(&self, generation: u32, phase: Phase) -> bool {
        self.tag.load(Ordering::Acquire) == tag(generation, phase)
    }

    /// Ends a call that the plugin has. False: it isn't open (any more).
    pub(crate) fn complete(&self, generation: u32, outcome: Outcome) -> bool {
        let waker = {
            let mut end = lock(&self.end);
            if !self.step(generation, Phase::Open, Phase::Done) {
                return false;
            }
            end.outcome = Some(outcome);
            end.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Returns what came of the call, or remembers whom to wake.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome> {
        let mut end = lock(&self.end);
        match end.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                end.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Gets it ready for the next call. Only for whoever took the step to [`Phase::Idle`].
    pub(crate) fn clear(&self) {
        self.clear_unawaited();
        *lock(&self.end) = End::default();
    }

    /// The same after a call that nobody has awaited.
    pub(crate) fn clear_unawaited(&self) {
        self.first.close();
        if self.has_more.swap(false, Ordering::Relaxed) {
            let mut more = lock(&self.more);
            more.iter().for_each(|sink| sink.close());
            more.truncate(SINKS_KEPT);
        }
    }

    /// Returns the sink of the `i`th verdict.
    pub(crate) fn with_sink<T>(&self, i: usize, look: impl FnOnce(&Sink) -> T) -> T {
        match i.checked_sub(1) {
            None => look(&self.first),
            Some(i) => look(&lock(&self.more)[i]),
        }
    }

    /// Tells whether its first sink is closed, for tests.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.first.set_text("") == plugin_abi::values::JF_ESTALE
    }
}

const _: () = assert!(CLOSED == 0, "a new sink is closed");

const fn tag(generation: u32, phase: Phase) -> u64 {
    (generation as u64) << PHASE_BITS | phase as u64
}

fn generation(tag: u64) -> u32 {
    u32::try_from(tag >> PHASE_BITS).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
