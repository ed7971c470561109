//! Timers over the one tick that the broker gives an instance: it ticks as often as the shortest of them wants, and each counts
//! down by that. A timer is never early, and at most one tick late.

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;

use super::single::Single;
use crate::TimerId;

/// Timers of an instance.
#[derive(Debug)]
pub(crate) struct Timers {
    running: RefCell<Vec<Timer>>,
    made: Cell<u64>,
    tick_ms: Cell<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    id: TimerId,
    left_ms: u64,
    every_ms: Option<u64>,
}

static TIMERS: Single<Timers> = Single(Timers {
    running: RefCell::new(Vec::new()),
    made: Cell::new(0),
    tick_ms: Cell::new(0),
});

/// Returns the timers of this instance.
pub(crate) fn timers() -> &'static Timers {
    &TIMERS.0
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Timers {
    pub(crate) fn start(&self, first: Duration, every: Option<Duration>) -> TimerId {
        let id = TimerId(self.made.get() + 1);
        self.made.set(id.0);
        self.running.borrow_mut().push(Timer {
            id,
            left_ms: millis(first),
            every_ms: every.map(millis),
        });
        id
    }

    pub(crate) fn stop(&self, timer: TimerId) {
        self.running.borrow_mut().retain(|running| running.id != timer);
    }

    /// Decides how often the broker is to tick; `None`: nobody has started a timer.
    pub(crate) fn settle(&self) -> Option<u32> {
        let running = self.running.borrow();
        let wanted = running
            .iter()
            .map(|timer| timer.left_ms.min(timer.every_ms.unwrap_or(u64::MAX)));
        let tick = wanted.min()?;
        self.tick_ms.set(tick);
        Some(u32::try_from(tick).unwrap_or(u32::MAX))
    }

    /// Returns the timers that are due after one more tick.
    pub(crate) fn tick(&self) -> Vec<TimerId> {
        let mut due = Vec::new();
        self.running.borrow_mut().retain_mut(|timer| {
            timer.left_ms = timer.left_ms.saturating_sub(self.tick_ms.get());
            if timer.left_ms > 0 {
                return true;
            }
            due.push(timer.id);
            timer.left_ms = timer.every_ms.unwrap_or(0);
            timer.every_ms.is_some()
        });
        due
    }
}
