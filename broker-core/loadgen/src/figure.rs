//! What a scenario tells of one broker in one run.

use std::time::Duration;

use crate::Faults;

/// What a scenario, or a part of it, told.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Which part of the scenario; empty if it has only one.
    pub part: &'static str,
    /// Messages delivered, or connections.
    pub units: u64,
    /// What they took.
    pub spent: Spent,
    /// What went wrong.
    pub faults: Faults,
    /// Resident bytes for each thing the scenario made many of.
    pub bytes_each: Option<f64>,
    /// How long it took until a message arrived, if that was looked at.
    pub latency: Option<Latency>,
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// CPU time of all threads of the broker; zero if nobody knows its process.
    pub cpu: Duration,
    /// Time on the clock.
    pub wall: Duration,
}

/// Percentiles of some durations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50: Duration,
    /// 90 of 100 are at most this.
    pub p90: Duration,
    /// 99 of 100 are at most this.
    pub p99: Duration,
    /// 999 of 1,000 are at most this.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

impl Figure {
    pub(crate) fn new(part: &'static str, units: u64, spent: Spent, faults: Faults) -> Self {
        Self {
            part,
            units,
            spent,
            faults,
            bytes_each: None,
            latency: None,
        }
    }

    /// CPU microseconds of the broker for each unit.
    #[must_use]
    pub fn micros(&self) -> f64 {
        self.spent.cpu.as_secs_f64() * 1e6 / self.units.max(1) as f64
    }

    /// Units a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.units as f64 / self.spent.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
