//! What the broker does later: Sessions that expire, Will Messages that are due. Coarse, and rarely many at a time, so
//! one ordered map behind a lock serves all shards. Retained Messages know their own expiry.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use broker_types::Timestamp;

use super::session::Session;

/// What is to be done for a Session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its Session Expiry Interval has passed.
    SessionExpiry,
    /// Its Will Delay Interval has passed.
    Will,
}

/// Names a timer that was set, for taking it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Timestamp, NonZeroU64);

impl TimerKey {
    /// Tells whether its moment has come.
    pub(crate) fn is_due(self, now: Timestamp) -> bool {
        self.0 <= now
    }
}

/// All timers of the broker. A Session keeps the keys of its own and takes back what no longer holds, so there are never
/// more than two for each.
#[derive(Debug, Default)]
pub(crate) struct Timers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: BTreeMap<TimerKey, (Arc<Session>, Due)>,
    next: u64,
}

impl Timers {
    /// Does `due` for `session` at `at`.
    pub(crate) fn set(&self, at: Timestamp, session: &Arc<Session>, due: Due) -> TimerKey {
        let mut inner = self.lock();
        inner.next += 1;
        let number = NonZeroU64::new(inner.next).expect("no broker sets so many timers");
        let key = TimerKey(at, number);
        inner.queue.insert(key, (session.clone(), due));
        key
    }

    /// Takes a timer back; one that was handed out already is no error.
    pub(crate) fn cancel(&self, key: TimerKey) {
        self.lock().queue.remove(&key);
    }

    /// Takes the next thing that is due at `now`.
    pub(crate) fn take_due(&self, now: Timestamp) -> Option<(Arc<Session>, Due)> {
        let mut inner = self.lock();
        let first = inner.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        // What is dropped may be a Session's last reference; not under the lock.
        drop(std::mem::take(&mut self.lock().queue));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
