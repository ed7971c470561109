//! Many durations in little memory: counts in buckets that grow with the value, so that every percentile is right to
//! within one and a half percent, however many values there are.

use std::time::Duration;

use crate::Latency;

/// Counts of durations.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Buckets that have been needed so far.
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

/// Buckets for each doubling, as a power of two.
const FINE_BITS: u32 = 6;

impl Histogram {
    /// Makes an empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: Vec::new(),
            total: 0,
            max: Duration::ZERO,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.total = 0;
        self.max = Duration::ZERO;
    }

    /// Counts `value` once.
    pub fn note(&mut self, value: Duration) {
        let at = bucket(nanos(value));
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Returns the value that this share of all values doesn't exceed; zero if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(highest(at)).min(self.max);
            }
        }
        self.max
    }

    /// Returns the percentiles that reports show; `None` if there are no values.
    #[must_use]
    pub fn latency(&self) -> Option<Latency> {
        (self.total > 0).then(|| Latency {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.max,
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of a value: below 2^`FINE_BITS` one for each, then so many for each doubling.
fn bucket(value: u64) -> usize {
    let doubling = value.checked_ilog2().unwrap_or(0).saturating_sub(FINE_BITS);
    ((u64::from(doubling) << FINE_BITS) + (value >> doubling)) as usize
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let fine = 1 << FINE_BITS;
    if bucket < 2 * fine {
        return bucket;
    }
    let doubling = (bucket >> FINE_BITS) - 1;
    let lowest = (bucket - (doubling << FINE_BITS)) << doubling;
    lowest + ((1 << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bucket() {
        let mut last = 0;
        for value in (0..10_000).chain((0..57).map(|shift| 127 << shift)) {
            let at = bucket(value);
            assert!(at >= last || value == 127, "{value}");
            last = at;
            let highest = highest(at);
            assert!(value <= highest, "{value} {highest}");
            assert!(highest as f64 <= value as f64 * 1.016 + 1.0, "{value} {highest}");
            assert_eq!(bucket(highest), at, "{value}");
        }
        assert!(bucket(u64::MAX) < 4096);
    }

    #[test]
    fn percentiles() {
        let mut all = Histogram::new();
        assert!(all.latency().is_none());
        (1..=1000).for_each(|micros| all.note(Duration::from_micros(micros)));
        let latency = all.latency().unwrap();
        for (told, micros) in [(latency.p50, 500.0), (latency.p90, 900.0), (latency.p99, 990.0)] {
            let told = told.as_secs_f64() * 1e6;
            assert!((micros..micros * 1.016).contains(&told), "{told} is not {micros}");
        }
        assert_eq!(latency.max, Duration::from_micros(1000));
        all.clear();
        assert!(all.latency().is_none());
    }
}
