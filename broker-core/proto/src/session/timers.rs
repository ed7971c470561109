//! The moments at which something must happen to a connection or a Session if nothing else happens before: a named
//! table, and the rules for what stands in it. Whoever drives it arms one real timer for [`Timers::next`].

use broker_types::Timestamp;
use std::time::Duration;

/// The timers by name. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Timer {
    /// CONNECT must be complete, enhanced authentication too.
    Connect,
    /// The next packet of the Client is due.
    KeepAlive,
    /// The Client must have taken something of what waits for it.
    WriteStall,
}

impl Timer {
    /// Every timer.
    pub const ALL: [Self; 3] = [Self::Connect, Self::KeepAlive, Self::WriteStall];
}

/// What is due when. One that is not set is never due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    at: [Timestamp; Timer::ALL.len()],
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// Returns a table in which nothing is set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            at: [Timestamp::NEVER; Timer::ALL.len()],
        }
    }

    /// Sets a timer, whatever it was before.
    pub const fn set(&mut self, timer: Timer, at: Timestamp) {
        self.at[timer as usize] = at;
    }

    /// Sets a timer unless it is set.
    pub fn start(&mut self, timer: Timer, at: Timestamp) {
        if self.at[timer as usize] == Timestamp::NEVER {
            self.set(timer, at);
        }
    }

    /// Stops a timer.
    pub const fn stop(&mut self, timer: Timer) {
        self.set(timer, Timestamp::NEVER);
    }

    /// Returns when the next one is due; [`Timestamp::NEVER`] if none is set.
    #[must_use]
    pub fn next(&self) -> Timestamp {
        self.at.iter().copied().min().unwrap_or(Timestamp::NEVER)
    }

    /// Returns one that is due, and stops it.
    pub fn poll(&mut self, now: Timestamp) -> Option<Timer> {
        let due =
            |timer: &Timer| self.at[*timer as usize] <= now && self.at[*timer as usize] != Timestamp::NEVER;
        let timer = Timer::ALL.into_iter().find(due)?;
        self.stop(timer);
        Some(timer)
    }
}

/// Returns until when a Client with this Keep Alive must have sent a packet, after the one that came at `last`: one and a
/// half times the interval `[MQTT-3.1.2-22]`. 0 seconds: never.
#[must_use]
pub fn keep_alive_deadline(last: Timestamp, keep_alive_secs: u16) -> Timestamp {
    match keep_alive_secs {
        0 => Timestamp::NEVER,
        secs => last + Duration::from_millis(u64::from(secs) * 1500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn timers_come_due_in_time_and_once() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), Timestamp::NEVER);
        assert_eq!(timers.poll(Timestamp::NEVER), None);
        timers.set(Timer::KeepAlive, at(15));
        timers.start(Timer::WriteStall, at(10));
        timers.start(Timer::WriteStall, at(30));
        assert_eq!(timers.next(), at(10));
        assert_eq!(timers.poll(at(9)), None);
        assert_eq!(timers.poll(at(10)), Some(Timer::WriteStall));
        assert_eq!(timers.poll(at(10)), None);
        timers.stop(Timer::KeepAlive);
        assert_eq!(timers.next(), Timestamp::NEVER);
    }

    #[test]
    fn v5_3_1_2_22_keep_alive_is_one_and_a_half_times_the_interval() {
        assert_eq!(keep_alive_deadline(at(100), 10), at(15_100));
        assert_eq!(keep_alive_deadline(at(100), 1), at(1_600));
        assert_eq!(keep_alive_deadline(at(100), 0), Timestamp::NEVER);
        assert_eq!(keep_alive_deadline(at(0), u16::MAX), at(98_302_500));
    }
}
