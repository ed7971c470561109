//! Who holds a shard up. A plugin that computes inside a hook can't be interrupted, and every client of its shard waits; so at least
//! its name is told.
//!
//! Each shard has a [`Desk`], on which lies the number of the use that it is calling at present, and a count: two relaxed stores for each
//! call, and no clock. A thread of the broker's looks at the desks ten times a second; what lies there twice hasn't changed for
//! at least that long.

use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::core::Core;

/// How often the desks are looked at.
const PERIOD: Duration = Duration::from_millis(100);

/// What a shard is calling: a use's number and which of its calls it is, or 0.
#[derive(Debug, Default)]
pub(crate) struct Desk(AtomicU64);

thread_local! {
    static DESK: OnceCell<Arc<Desk>> = const { OnceCell::new() };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Returns a number for one more use.
pub(super) fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

/// Takes a desk for this thread.
pub(crate) fn take(desk: Arc<Desk>) {
    // A thread is one shard's for its life.
    let _ = DESK.try_with(|mine| mine.set(desk));
}

/// A call is under way on this thread, until this is dropped, also by a panic.
pub(super) struct Calling(());

impl Calling {
    pub(super) fn of(number: u32) -> Self {
        let call = CALLS.try_with(|calls| {
            calls.set(calls.get().wrapping_add(1));
            calls.get()
        });
        put(u64::from(number) << 32 | u64::from(call.unwrap_or(0)));
        Self(())
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        put(0);
    }
}

fn put(call: u64) {
    // Not every thread that calls plugins is a shard's.
    let _ = DESK.try_with(|mine| {
        if let Some(desk) = mine.get() {
            desk.0.store(call, Ordering::Relaxed);
        }
    });
}

/// Somebody holds a shard up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stall {
    shard: usize,
    use_number: u32,
    /// How long at least.
    held: Duration,
    /// Whether it hadn't been seen before.
    is_new: bool,
}

/// Looks at desks.
struct Watch {
    desks: Vec<Arc<Desk>>,
    /// For each: what lay there, and how often it lay there again.
    seen: Vec<(u64, u32)>,
}

impl Watch {
    fn new(desks: Vec<Arc<Desk>>) -> Self {
        let seen = vec![(0, 0); desks.len()];
        Self { desks, seen }
    }

    /// Returns who is to be told of: a call that has been seen twice, and then each time that its time has doubled.
    fn look(&mut self) -> Vec<Stall> {
        let mut stalls = Vec::new();
        for (shard, (desk, seen)) in self.desks.iter().zip(&mut self.seen).enumerate() {
            let call = desk.0.load(Ordering::Relaxed);
            *seen = match *seen {
                (before, times) if call != 0 && before == call => (call, times + 1),
                _ => (call, 0),
            };
            if seen.1.is_power_of_two() {
                stalls.push(Stall {
                    shard,
                    use_number: u32::try_from(call >> 32).unwrap_or(0),
                    held: PERIOD * seen.1,
                    is_new: seen.1 == 1,
                });
            }
        }
        stalls
    }
}

/// Starts the thread that looks at `desks`. It ends when the result is dropped.
pub(crate) fn start(core: Weak<Core>, desks: Vec<Arc<Desk>>) -> std::io::Result<Sender<()>> {
    let (alive, over) = channel();
    let mut watch = Watch::new(desks);
    std::thread::Builder::new()
        .name("jackfield-watchdog".to_owned())
        .spawn(move || {
            while over.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                for stall in watch.look() {
                    let Some(core) = core.upgrade() else { return };
                    tell(&core, stall);
                }
            }
        })?;
    Ok(alive)
}

fn tell(core: &Core, stall: Stall) {
    let listeners = core.listeners();
    let chains = { listeners.iter() }.map(|listener| listener.chain.load_full());
    let plugin = chains.into_iter().find_map(|chain| {
        let used = { chain.uses().iter() }.find(|used| used.number() == stall.use_number)?;
        if stall.is_new {
            used.count_stall();
        }
        Some(used.name().clone())
    });
    let plugin = plugin
        .as_deref()
        .unwrap_or("one of a bridge or of a listener that is gone");
    let (shard, held) = (stall.shard, stall.held);
    tracing::warn!(
        plugin,
        shard,
        ?held,
        "a plugin computes inside a hook, and all clients of this shard wait for it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_lies_there_twice_is_told_and_then_ever_less_often() {
        let (busy, idle) = (Arc::new(Desk::default()), Arc::new(Desk::default()));
        let mut watch = Watch::new(vec![busy.clone(), idle]);
        take(busy);
        assert_eq!(watch.look(), []);
        for _ in 0..5 {
            // Each look meets another call: nobody holds anything up.
            let calling = Calling::of(7);
            assert_eq!(watch.look(), []);
            drop(calling);
        }
        let calling = Calling::of(7);
        let told: Vec<usize> = (0..20).filter(|_| !watch.look().is_empty()).collect();
        assert_eq!(told, [1, 2, 4, 8, 16]);
        drop(calling);
        assert_eq!(watch.look(), []);
        let stuck = std::panic::catch_unwind(|| {
            let _calling = Calling::of(8);
            panic!("inside");
        });
        assert!(stuck.is_err());
        assert_eq!(
            (watch.look(), watch.look()),
            (vec![], vec![]),
            "a panic has ended it"
        );
    }

    #[test]
    fn it_is_known_who_and_for_how_long() {
        let desk = Arc::new(Desk::default());
        let mut watch = Watch::new(vec![Arc::default(), desk.clone()]);
        desk.0.store(9 << 32 | 1, Ordering::Relaxed);
        watch.look();
        let stall = Stall {
            shard: 1,
            use_number: 9,
            held: PERIOD,
            is_new: true,
        };
        assert_eq!(watch.look(), [stall]);
    }
}
