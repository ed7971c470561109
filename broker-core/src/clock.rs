//! The broker's only source of time. Everything that lasts (Keep Alive, expiry, delays) is measured with it, so that a
//! test can let an hour pass by saying so. Deadlines of plugin calls and of single reads are real time, not this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_types::Timestamp;
use tokio::sync::watch;

/// How often timers are looked at: what is due happens at most this much later.
const TICK: Duration = Duration::from_millis(250);

/// A clock: the system's, or one that stands still until it is advanced. Cloning gives the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    System {
        start: Instant,
    },
    Manual {
        now: AtomicU64,
        advanced: watch::Sender<()>,
        start: SystemTime,
    },
}

impl Clock {
    /// The system's monotonic clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Inner::System {
            start: Instant::now(),
        }))
    }

    /// A clock that stands still until [`Self::advance`] is called: for tests.
    #[must_use]
    pub fn manual() -> Self {
        let (advanced, _) = watch::channel(());
        Self(Arc::new(Inner::Manual {
            now: AtomicU64::new(1),
            advanced,
            start: SystemTime::now(),
        }))
    }

    /// Lets `time` pass on a manual clock and wakes whatever waits for it.
    ///
    /// # Panics
    /// On the system's clock, which nobody can advance.
    pub fn advance(&self, time: Duration) {
        match &*self.0 {
            Inner::System { .. } => panic!("only a manual clock can be advanced"),
            Inner::Manual { now, advanced, .. } => {
                now.fetch_add(
                    u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
                    Ordering::SeqCst,
                );
                advanced.send_replace(());
            }
        }
    }

    /// Returns the present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Inner::System { start } => {
                Timestamp::from_millis(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
            }
            Inner::Manual { now, .. } => Timestamp::from_millis(now.load(Ordering::SeqCst)),
        }
    }

    /// Returns the wall-clock time in milliseconds since 1970: for what is stored and shown, never for measuring.
    #[must_use]
    pub fn wall_millis(&self) -> u64 {
        let wall = match &*self.0 {
            Inner::System { .. } => SystemTime::now(),
            Inner::Manual { now, start, .. } => *start + Duration::from_millis(now.load(Ordering::SeqCst)),
        };
        wall.duration_since(UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    /// Tells whether it is the same clock.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Starts a row of ticks.
    pub(crate) fn ticks(&self) -> Ticks {
        Ticks(match &*self.0 {
            Inner::System { .. } => {
                let mut interval = tokio::time::interval(TICK);
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                Source::Interval(interval)
            }
            Inner::Manual { advanced, .. } => Source::Advanced(advanced.subscribe()),
        })
    }
}

/// Moments at which timers are looked at.
pub(crate) struct Ticks(Source);

enum Source {
    Interval(tokio::time::Interval),
    Advanced(watch::Receiver<()>),
}

impl Ticks {
    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Source::Interval(interval) => {
                interval.tick().await;
            }
            Source::Advanced(receiver) => {
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
