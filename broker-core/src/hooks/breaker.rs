//! The circuit breaker of a use: a plugin that keeps failing isn't asked for a while, then with one call at a time until it
//! works again. While closed it costs one relaxed load for each call; the clock is read only when something failed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// This many faults …
const FAULTS: usize = 5;
/// … within this time open it.
const WINDOW: Duration = Duration::from_secs(10);
/// How long it stays open the first time; doubled by each probe that fails …
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Mirrors `State::open` so that a call needs no lock.
    open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the latest faults happened, oldest first. Empty while open.
    recent: VecDeque<Instant>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// A call is under way that will tell whether the plugin works again.
    probing: bool,
    /// The fault that opened it, or failed the last probe, was a timeout.
    by_timeout: bool,
}

/// What the breaker says before a call.
pub(super) enum Admission {
    /// Call, and tell [`Breaker::fault`] if it fails.
    Go,
    /// Call, and tell the probe how it went.
    Probe(Probe),
    /// Don't call.
    Refused {
        /// Whether it was a timeout that opened it.
        by_timeout: bool,
    },
}

/// What a fault or a probe did to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Same,
    /// It opened, for this long.
    Opened(Duration),
}

impl Breaker {
    /// Asks whether a call may go ahead.
    pub(super) fn admit(self: &Arc<Self>) -> Admission {
        if !self.is_open() {
            return Admission::Go;
        }
        let mut state = self.lock();
        let Some(open) = &mut state.open else {
            return Admission::Go;
        };
        if open.probing || Instant::now() < open.until {
            return Admission::Refused {
                by_timeout: open.by_timeout,
            };
        }
        open.probing = true;
        Admission::Probe(Probe(Some(self.clone())))
    }

    /// Notes a fault of a call that was no probe. One that began before the breaker opened changes nothing more.
    pub(super) fn fault(&self, by_timeout: bool) -> Change {
        let now = Instant::now();
        let mut state = self.lock();
        if state.open.is_some() {
            return Change::Same;
        }
        if state.recent.len() == FAULTS {
            state.recent.pop_front();
        }
        state.recent.push_back(now);
        if state.recent.len() < FAULTS || now.duration_since(state.recent[0]) > WINDOW {
            return Change::Same;
        }
        self.open(&mut state, now, PAUSE_MIN, by_timeout)
    }

    /// Tells whether it is open or being probed.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn open(&self, state: &mut State, now: Instant, pause: Duration, by_timeout: bool) -> Change {
        state.recent.clear();
        state.open = Some(Open {
            until: now + pause,
            pause,
            probing: false,
            by_timeout,
        });
        self.open.store(true, Ordering::Relaxed);
        Change::Opened(pause)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one call that goes through an open breaker. Dropped without a word (its client went), it decides nothing, and the
/// next call is the probe.
pub(super) struct Probe(Option<Arc<Breaker>>);

impl Probe {
    /// The plugin works again.
    pub(super) fn succeed(mut self) {
        if let Some(breaker) = self.0.take() {
            breaker.lock().open = None;
            breaker.open.store(false, Ordering::Relaxed);
        }
    }

    /// It doesn't: wait longer.
    pub(super) fn fail(mut self, by_timeout: bool) -> Change {
        let Some(breaker) = self.0.take() else {
            return Change::Same;
        };
        let now = Instant::now();
        let mut state = breaker.lock();
        let before = state.open.as_ref().map_or(PAUSE_MIN, |open| open.pause);
        breaker.open(&mut state, now, (before * 2).min(PAUSE_MAX), by_timeout)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(breaker) = self.0.take()
            && let Some(open) = &mut breaker.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn advance(by: Duration) {
        tokio::time::advance(by).await;
    }

    fn opened(breaker: &Breaker) {
        for _ in 1..FAULTS {
            assert_eq!(breaker.fault(false), Change::Same);
        }
        assert_eq!(breaker.fault(false), Change::Opened(PAUSE_MIN));
    }

    fn probe(breaker: &Arc<Breaker>) -> Probe {
        match breaker.admit() {
            Admission::Probe(probe) => probe,
            Admission::Go | Admission::Refused { .. } => panic!("no probe"),
        }
    }

    fn refused(breaker: &Arc<Breaker>) -> bool {
        matches!(breaker.admit(), Admission::Refused { .. })
    }

    #[tokio::test(start_paused = true)]
    async fn five_faults_in_ten_seconds_open_it() {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..20 {
            assert_eq!(breaker.fault(false), Change::Same);
            advance(WINDOW / 4 + Duration::from_millis(1)).await;
        }
        assert!(matches!(breaker.admit(), Admission::Go));
        advance(WINDOW).await;
        opened(&breaker);
        assert!(refused(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn probes_go_one_at_a_time_and_back_off() {
        let breaker = Arc::new(Breaker::default());
        opened(&breaker);
        let mut pause = PAUSE_MIN;
        for _ in 0..8 {
            assert!(refused(&breaker));
            advance(pause).await;
            let one = probe(&breaker);
            assert!(refused(&breaker), "a second probe");
            pause = (pause * 2).min(PAUSE_MAX);
            assert_eq!(one.fail(false), Change::Opened(pause));
        }
        advance(pause).await;
        probe(&breaker).succeed();
        assert!(matches!(breaker.admit(), Admission::Go));
        assert!(!breaker.is_open());
        opened(&breaker);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_client_went_decides_nothing() {
        let breaker = Arc::new(Breaker::default());
        opened(&breaker);
        advance(PAUSE_MIN).await;
        drop(probe(&breaker));
        assert!(breaker.is_open());
        probe(&breaker).succeed();
    }
}
