//! Instances that nobody uses at present: one place for each thread, as long as there aren't more of these than places. A call on
//! a thread gets the instance that it had last time, and two threads seldom meet at one lock.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::instance::Instance;

const PLACES: usize = 64;
/// Idle instances of one plugin.
pub(crate) struct Pool {
    places: [Mutex<Option<Box<Instance>>>; PLACES],
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Takes an instance: this thread's own, or else the first that lies somewhere.
    #[inline]
    pub(crate) fn take(&self) -> Option<Box<Instance>> {
        let home = home();
        (0..PLACES).find_map(|i| self.take_at(home + i))
    }

    /// Puts an instance back. A thread that has one already drops it.
    #[inline]
    pub(crate) fn put(&self, instance: Box<Instance>) {
        self.put_at(home(), instance);
    }

    /// Takes the instance that lies in one place.
    pub(crate) fn take_at(&self, at: usize) -> Option<Box<Instance>> {
        self.place(at).take()
    }

    /// Puts an instance where it was taken.
    pub(crate) fn put_at(&self, at: usize, instance: Box<Instance>) {
        let surplus = self.place(at).replace(instance);
        // Freeing its memory is a system call, so not under the lock.
        drop(surplus);
    }

    /// Returns all places.
    pub(crate) fn places() -> std::ops::Range<usize> {
        0..PLACES
    }

    fn place(&self, at: usize) -> MutexGuard<'_, Option<Box<Instance>>> {
        self.places[at % PLACES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the place of this thread.
fn home() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static HOME: Cell<usize> = const { Cell::new(usize::MAX) });
    HOME.try_with(|home| {
        if home.get() == usize::MAX {
            home.set(NEXT.fetch_add(1, Ordering::Relaxed) % PLACES);
        }
        home.get()
    })
    .unwrap_or(0)
}
