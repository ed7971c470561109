//! Keep Alives of one shard: a coarse wheel. A connection only notes when it was last heard; the wheel looks at it when
//! the moment it was put down for comes, and puts it down again if it was heard since. So a packet costs one store, and
//! an idle connection one look for each Keep Alive.

use std::num::NonZeroU32;
use std::time::Duration;

use broker_types::Timestamp;
use slab::Slab;

/// Slots of one second; what is due later is looked at once a round.
const SLOTS: u64 = 64;

/// Something that must be heard of again and again.
#[derive(Debug)]
struct Beat<T> {
    last: Timestamp,
    what: T,
    within_millis: u32,
    number: NonZeroU32,
}

impl<T> Beat<T> {
    fn due(&self) -> Timestamp {
        self.last + Duration::from_millis(self.within_millis.into())
    }
}

/// The beats of a shard.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    beats: Slab<Beat<T>>,
    slots: Vec<Vec<BeatKey>>,
    numbers: u32,
    /// The second that was looked at last.
    done: u64,
}

/// Names a beat in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeatKey {
    /// Its place in the slab.
    place: u32,
    /// Tells it from others that have or had its place.
    number: NonZeroU32,
}

impl<T: Clone> Wheel<T> {
    /// Returns an empty wheel.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            beats: Slab::new(),
            slots: vec![Vec::new(); SLOTS as usize],
            numbers: 0,
            done: second(now),
        }
    }

    /// Watches `what`, which must be heard of within `within`, again and again.
    pub(crate) fn watch(&mut self, now: Timestamp, within: Duration, what: T) -> BeatKey {
        self.numbers = self.numbers.wrapping_add(1);
        let number = NonZeroU32::new(self.numbers).unwrap_or(NonZeroU32::MIN);
        let place = self.beats.insert(Beat {
            last: now,
            what,
            within_millis: u32::try_from(within.as_millis()).unwrap_or(u32::MAX),
            number,
        });
        let key = BeatKey {
            place: u32::try_from(place).expect("there are fewer sockets than that"),
            number,
        };
        self.put(now, key);
        key
    }

    /// Notes that it was heard of.
    #[inline]
    pub(crate) fn heard(&mut self, key: BeatKey, now: Timestamp) {
        self.beats[key.place as usize].last = now;
    }

    /// Watches it no longer.
    pub(crate) fn forget(&mut self, key: BeatKey) {
        // Its entry in a slot stays until the slot's turn comes, and is dropped then even if another has its place.
        self.beats.remove(key.place as usize);
    }

    /// Hands everything that wasn't heard of in time to `late`; each is handed out again after another `within` unless it is forgotten.
    pub(crate) fn turn(&mut self, now: Timestamp, mut late: impl FnMut(&T)) {
        let until = second(now);
        // After a long pause one round looks at every slot; more would look at them again.
        let from = (self.done + 1).max(until.saturating_sub(SLOTS - 1));
        for at in from..=until {
            for key in std::mem::take(&mut self.slots[(at % SLOTS) as usize]) {
                let beat = self.beats.get_mut(key.place as usize);
                let Some(beat) = beat.filter(|beat| beat.number == key.number) else {
                    continue;
                };
                if beat.due() <= now {
                    late(&beat.what);
                    beat.last = now;
                }
                self.put(now, key);
            }
        }
        self.done = self.done.max(until);
    }

    fn put(&mut self, now: Timestamp, key: BeatKey) {
        let due = second(self.beats[key.place as usize].due()) + 1;
        let at = due.clamp(second(now) + 1, second(now) + SLOTS - 1);
        self.slots[(at % SLOTS) as usize].push(key);
    }
}

fn second(at: Timestamp) -> u64 {
    at.as_millis() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn late(wheel: &mut Wheel<char>, now: Timestamp) -> String {
        let mut late = String::new();
        wheel.turn(now, |c| late.push(*c));
        late
    }

    #[test]
    fn what_is_silent_is_found_and_what_is_heard_is_not() {
        let mut wheel = Wheel::new(at(0));
        let a = wheel.watch(at(0), Duration::from_secs(15), 'a');
        wheel.watch(at(0), Duration::from_secs(15), 'b');
        wheel.heard(a, at(10));
        assert_eq!(late(&mut wheel, at(14)), "");
        assert_eq!(late(&mut wheel, at(16)), "b");
        assert_eq!(late(&mut wheel, at(24)), "");
        assert_eq!(late(&mut wheel, at(26)), "a");
    }

    #[test]
    fn long_intervals_go_round_the_wheel() {
        let mut wheel = Wheel::new(at(0));
        wheel.watch(at(0), Duration::from_secs(1000), 'a');
        let found = (1..=1002).find(|s| !late(&mut wheel, at(*s)).is_empty());
        assert_eq!(found, Some(1001));
    }

    #[test]
    fn a_leap_of_the_clock_loses_nobody() {
        let mut wheel = Wheel::new(at(0));
        wheel.watch(at(0), Duration::from_millis(1500), 'a');
        wheel.watch(at(0), Duration::from_secs(3600), 'b');
        assert_eq!(late(&mut wheel, at(1800)), "a");
        assert_eq!(late(&mut wheel, at(1000)), "");
        assert!(late(&mut wheel, at(7200)).contains('b'));
    }

    /// Each connection that came and went left an entry behind, for as long as some other had its place.
    #[test]
    fn coming_and_going_leaves_nothing_behind() {
        let mut wheel = Wheel::new(at(0));
        for now in 0..1000 {
            let key = wheel.watch(at(now), Duration::from_secs(30), 'a');
            wheel.forget(key);
            wheel.watch(at(now), Duration::from_secs(3000), 'b');
            wheel.turn(at(now), |_| ());
        }
        let entries: usize = wheel.slots.iter().map(Vec::len).sum();
        assert!(entries < 1000 + 2 * SLOTS as usize, "{entries}");
    }

    #[test]
    fn the_forgotten_is_never_found() {
        let mut wheel = Wheel::new(at(0));
        let a = wheel.watch(at(0), Duration::from_secs(2), 'a');
        wheel.forget(a);
        wheel.watch(at(0), Duration::from_secs(100), 'b');
        assert_eq!(late(&mut wheel, at(10)), "");
    }
}
