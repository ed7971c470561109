//! The calls that an instance has at present: frames that are used again and again, and the tokens that name them.
//!
//! A token is a slot and a generation. Whoever completes with one that isn't open (late, twice, made up) gets
//! `JF_ESTALE` and changes nothing. Free frames lie in stripes, so that threads seldom meet at one lock: a call that is
//! answered at once takes two uncontended locks and allocates nothing.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use plugin_abi::Token;
use plugin_abi::values::*;
use plugin_api::{Fault, FaultKind};

use crate::frame::{Frame, Outcome, Phase};

const STRIPES: usize = 8;
const STRIPE_BITS: u32 = STRIPES.trailing_zeros();
/// Calls that may be open at once.
const CALLS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Calls {
    stripes: [Mutex<Stripe>; STRIPES],
    stale: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe {
    // Frames are never freed: a plugin may hold a pointer into one longer than it should.
    frames: Vec<&'static Frame>,
    free: Vec<u32>,
}

/// A call that has begun. Dropped, it gives its frame back or, if the plugin still has the call, abandons it.
#[derive(Debug)]
pub(crate) struct Call {
    calls: &'static Calls,
    frame: &'static Frame,
    generation: u32,
    /// Whether it was answered at once, so that nobody has waited and nothing but its sinks needs clearing.
    at_once: bool,
}

/// What becomes of an abandoned call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The plugin has answered or was never asked.
    Nothing,
    /// The plugin has the call and should be told that nobody waits.
    Open,
}

impl Calls {
    /// Begins a call: one that is made now, or one that waits for its turn.
    ///
    /// # Errors
    /// Too many calls are open.
    pub(crate) fn begin(&'static self, phase: Phase, sinks: usize, rights: u8) -> Result<Call, Fault> {
        let home = home();
        let stripes = (0..STRIPES).map(|i| (home + i) % STRIPES);
        let frame = stripes
            .into_iter()
            .find_map(|at| self.take(at))
            .ok_or_else(|| Fault::new(FaultKind::Memory, format!("{CALLS_MAX} calls wait for an answer")))?;
        Ok(Call {
            calls: self,
            frame,
            generation: frame.begin(phase, sinks, rights),
            at_once: false,
        })
    }

    /// Ends the call that `token` names.
    pub(crate) fn complete(&self, token: Token, outcome: Outcome) -> i32 {
        let Some((frame, generation)) = self.find(token) else {
            return self.stale();
        };
        if frame.complete(generation, outcome) {
            return JF_OK;
        }
        if frame.step(generation, Phase::Abandoned, Phase::Idle) {
            self.give_back(frame);
        }
        self.stale()
    }

    /// Returns the frame of an open call, also of an abandoned one: its sinks are still there.
    pub(crate) fn open(&self, token: Token) -> Option<&'static Frame> {
        let (frame, generation) = self.find(token)?;
        let open = frame.is_at(generation, Phase::Open) || frame.is_at(generation, Phase::Abandoned);
        open.then_some(frame)
    }

    /// Returns how many completions named no open call.
    pub(crate) fn stale_completions(&self) -> u64 {
        self.stale.load(Ordering::Relaxed)
    }

    fn stale(&self) -> i32 {
        self.stale.fetch_add(1, Ordering::Relaxed);
        JF_ESTALE
    }

    fn find(&self, token: Token) -> Option<(&'static Frame, u32)> {
        let (slot, generation) = (token as u32, (token >> 32) as u32);
        let stripe = self.stripe(slot as usize % STRIPES);
        let frame = stripe.frames.get((slot >> STRIPE_BITS) as usize)?;
        Some((frame, generation))
    }

    fn take(&self, at: usize) -> Option<&'static Frame> {
        let mut stripe = self.stripe(at);
        if let Some(index) = stripe.free.pop() {
            return Some(stripe.frames[index as usize]);
        }
        if stripe.frames.len() >= CALLS_MAX / STRIPES {
            return None;
        }
        let index = u32::try_from(stripe.frames.len()).ok()?;
        let slot = index << STRIPE_BITS | u32::try_from(at).ok()?;
        let frame: &'static Frame = Box::leak(Box::new(Frame::new(slot)));
        stripe.frames.push(frame);
        // So that giving it back never allocates.
        let room = stripe.frames.len() - stripe.free.len();
        stripe.free.reserve(room);
        Some(frame)
    }

    fn give_back(&self, frame: &'static Frame) {
        frame.clear();
        self.free(frame);
    }

    fn free(&self, frame: &'static Frame) {
        let mut stripe = self.stripe(frame.slot as usize % STRIPES);
        stripe.free.push(frame.slot >> STRIPE_BITS);
    }

    fn stripe(&self, at: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Returns its token.
    pub(crate) fn token(&self) -> Token {
        token(self.frame, self.generation)
    }

    /// Returns its frame.
    pub(crate) fn frame(&self) -> &'static Frame {
        self.frame
    }

    /// Says that it was answered at once. False: the plugin has also completed it.
    pub(crate) fn answered(&mut self) -> bool {
        // It keeps its frame until it is dropped, so the phase after this is nobody else's.
        self.at_once = self.frame.step(self.generation, Phase::Open, Phase::Done);
        self.at_once
    }

    /// Lets go of it; who calls this tells the plugin, if it has to be told.
    pub(crate) fn abandon(&self) -> Left {
        let from = |phase| self.frame.step(self.generation, phase, Phase::Abandoned);
        if from(Phase::Queued) {
            Left::Nothing
        } else if from(Phase::Open) {
            Left::Open
        } else {
            Left::Nothing
        }
    }

    /// Returns a second handle for the thread that makes a queued call.
    pub(crate) fn turn(&self) -> Turn {
        Turn {
            calls: self.calls,
            frame: self.frame,
            generation: self.generation,
            at: TurnAt::Waiting,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.at_once {
            if self.frame.step(self.generation, Phase::Done, Phase::Idle) {
                self.frame.clear_unawaited();
                self.calls.free(self.frame);
            }
        } else if self.abandon() == Left::Nothing
            && self.frame.step(self.generation, Phase::Done, Phase::Idle)
        {
            self.calls.give_back(self.frame);
        }
    }
}

/// The turn of a queued call on a thread that may block. Dropped before its end, it ends the call with a failure.
#[derive(Debug)]
pub(crate) struct Turn {
    calls: &'static Calls,
    frame: &'static Frame,
    generation: u32,
    at: TurnAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnAt {
    Waiting,
    Begun,
    Over,
}

impl Turn {
    /// Takes the turn. False: nobody waits any more, and nothing is left to do.
    pub(crate) fn begin(&mut self) -> bool {
        if self.frame.step(self.generation, Phase::Queued, Phase::Open) {
            self.at = TurnAt::Begun;
            return true;
        }
        self.at = TurnAt::Over;
        self.free_if_abandoned();
        false
    }

    /// Ends the turn: with an outcome, or without one if the plugin will complete the call.
    pub(crate) fn end(mut self, outcome: Option<Outcome>) {
        self.at = TurnAt::Over;
        if let Some(outcome) = outcome {
            self.finish(outcome);
        }
    }

    /// Returns its frame.
    pub(crate) fn frame(&self) -> &'static Frame {
        self.frame
    }

    /// Returns its token.
    pub(crate) fn token(&self) -> Token {
        token(self.frame, self.generation)
    }

    fn finish(&self, outcome: Outcome) {
        if !self.frame.complete(self.generation, outcome) {
            self.free_if_abandoned();
        }
    }

    fn free_if_abandoned(&self) {
        if self.frame.step(self.generation, Phase::Abandoned, Phase::Idle) {
            self.calls.give_back(self.frame);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (status, why) = match self.at {
            TurnAt::Over => return,
            TurnAt::Waiting => (JF_EUNAVAIL, "the broker is stopping"),
            TurnAt::Begun => (JF_FAULT, "the call was given up"),
        };
        if self.at == TurnAt::Waiting && !self.begin() {
            return;
        }
        self.finish(Outcome {
            status,
            fault: Some(why.to_owned()),
            ..Outcome::default()
        });
    }
}

fn token(frame: &Frame, generation: u32) -> Token {
    u64::from(generation) << 32 | u64::from(frame.slot)
}

/// Returns the stripe of this thread.
fn home() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static HOME: Cell<usize> = const { Cell::new(usize::MAX) });
    HOME.try_with(|home| {
        if home.get() == usize::MAX {
            home.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        home.get()
    })
    .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::task::{Poll, Waker};

    use super::*;
    use crate::sink::OPEN;

    fn calls() -> &'static Calls {
        Box::leak(Box::default())
    }

    fn ok() -> Outcome {
        Outcome::default()
    }

    #[test]
    fn a_call_is_completed_once_and_only_while_it_is_open() {
        let calls = calls();
        let call = calls.begin(Phase::Open, 1, OPEN).unwrap();
        let token = call.token();
        assert!(call.frame().poll(Waker::noop()).is_pending());
        assert_eq!(calls.complete(token, ok()), JF_OK);
        assert_eq!(calls.complete(token, ok()), JF_ESTALE);
        assert!(matches!(call.frame().poll(Waker::noop()), Poll::Ready(_)));
        let frame = call.frame();
        drop(call);
        assert!(frame.is_closed());
        assert_eq!(calls.complete(token, ok()), JF_ESTALE);
        let next = calls.begin(Phase::Open, 1, OPEN).unwrap();
        assert_eq!(next.frame().slot, frame.slot, "the frame is used again");
        assert_ne!(next.token(), token);
        assert_eq!(
            calls.complete(token, ok()),
            JF_ESTALE,
            "an old token of the same frame"
        );
        assert_eq!(calls.stale_completions(), 3);
    }

    #[test]
    fn made_up_tokens_are_nobody() {
        let calls = calls();
        let call = calls.begin(Phase::Open, 1, OPEN).unwrap();
        for token in [0, 1, u64::MAX, call.token() + (1 << 32), call.token() + 8] {
            assert_eq!(calls.complete(token, ok()), JF_ESTALE, "{token:x}");
        }
        assert!(call.frame().poll(Waker::noop()).is_pending());
    }

    #[test]
    fn an_abandoned_frame_comes_back_with_its_completion() {
        let calls = calls();
        let call = calls.begin(Phase::Open, 1, OPEN).unwrap();
        let (token, frame) = (call.token(), call.frame());
        drop(call);
        assert!(!frame.is_closed(), "a late writer still has a sink");
        assert!(calls.open(token).is_some());
        assert_eq!(calls.complete(token, ok()), JF_ESTALE);
        assert!(frame.is_closed());
        assert!(calls.open(token).is_none());
    }

    #[test]
    fn no_more_calls_than_the_bound() {
        let calls = calls();
        let mut open: Vec<_> = (0..CALLS_MAX)
            .map(|_| calls.begin(Phase::Open, 1, OPEN).unwrap())
            .collect();
        assert_eq!(
            calls.begin(Phase::Open, 1, OPEN).unwrap_err().kind,
            FaultKind::Memory
        );
        open.iter_mut().for_each(|call| assert!(call.answered()));
        drop(open);
        assert!(calls.begin(Phase::Open, 1, OPEN).is_ok());
    }

    #[test]
    fn a_queued_call_that_nobody_waits_for_is_not_made() {
        let calls = calls();
        let call = calls.begin(Phase::Queued, 1, OPEN).unwrap();
        let (frame, mut turn) = (call.frame(), call.turn());
        drop(call);
        assert!(!turn.begin());
        assert!(frame.is_closed());
        let call = calls.begin(Phase::Queued, 1, OPEN).unwrap();
        drop(call.turn());
        let Poll::Ready(outcome) = call.frame().poll(Waker::noop()) else {
            panic!("a job that was thrown away leaves its call open");
        };
        assert_eq!(outcome.status, JF_EUNAVAIL);
    }

    /// Eight threads complete the same tokens while the calls are abandoned: each frame comes back exactly once.
    #[test]
    fn completions_that_race_with_the_end_of_waiting_free_a_frame_once() {
        let calls = calls();
        for _ in 0..200 {
            let call = calls.begin(Phase::Open, 1, OPEN).unwrap();
            let token = call.token();
            let taken: usize = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..8)
                    .map(|_| scope.spawn(move || usize::from(calls.complete(token, ok()) == JF_OK)))
                    .collect();
                drop(call);
                racers.into_iter().map(|racer| racer.join().unwrap()).sum()
            });
            assert!(taken <= 1);
        }
        let frames: usize = calls
            .stripes
            .iter()
            .map(|stripe| stripe.lock().unwrap().frames.len())
            .sum();
        let free: usize = calls
            .stripes
            .iter()
            .map(|stripe| stripe.lock().unwrap().free.len())
            .sum();
        assert_eq!((frames, free), (1, 1));
    }
}
