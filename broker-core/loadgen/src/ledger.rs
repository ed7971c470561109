//! What was lost, came twice or came in the wrong order, found by the numbers in the payloads.

use std::collections::BTreeSet;

/// The messages of all publishers at all receivers.
pub(crate) struct Ledger {
    publishers: usize,
    spread: Spread,
    streams: Vec<Stream>,
    /// By receiver and publisher, where messages are spread: one more than the last number seen.
    last: Vec<u64>,
    /// Messages that came for the first time.
    received: u64,
    faults: Faults,
}

/// Who gets the messages of one publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Each receiver of a publisher gets all its messages.
    All,
    /// Each message goes to one receiver; the order holds for what one receiver gets.
    One,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Deliveries that were due and never came.
    pub lost: u64,
    /// Deliveries that had come before.
    pub twice: u64,
    /// Deliveries that came after a later message of the same publisher.
    pub disordered: u64,
    /// Messages that were acknowledged with an error.
    pub refused: u64,
}

impl Faults {
    /// Tells whether nothing went wrong.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Default)]
struct Stream {
    next: u64,
    skipped: BTreeSet<u64>,
}

impl Ledger {
    pub(crate) fn new(receivers: usize, publishers: usize, spread: Spread) -> Self {
        let pairs = receivers * publishers;
        let (streams, last) = match spread {
            Spread::All => (pairs, 0),
            Spread::One => (publishers, pairs),
        };
        Self {
            publishers,
            spread,
            streams: vec![Stream::default(); streams],
            last: vec![0; last],
            received: 0,
            faults: Faults::default(),
        }
    }

    /// Notes a delivery. False: it came before.
    pub(crate) fn note(&mut self, receiver: usize, publisher: usize, number: u64) -> bool {
        let pair = receiver * self.publishers + publisher;
        let stream = match self.spread {
            Spread::All => pair,
            Spread::One => {
                let last = &mut self.last[pair];
                self.faults.disordered += u64::from(number < *last);
                *last = number + 1;
                publisher
            }
        };
        let Stream { next, skipped } = &mut self.streams[stream];
        if number >= *next {
            skipped.extend(*next..number);
            *next = number + 1;
        } else if skipped.remove(&number) {
            self.faults.disordered += u64::from(self.spread == Spread::All);
        } else {
            self.faults.twice += 1;
            return false;
        }
        self.received += 1;
        true
    }

    /// Notes that the broker refused a message.
    pub(crate) fn refused(&mut self) {
        self.faults.refused += 1;
    }

    /// Messages that came, each counted once.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Returns what went wrong if so many deliveries were due.
    pub(crate) fn faults(&self, due: u64) -> Faults {
        Faults {
            lost: due.saturating_sub(self.received),
            ..self.faults
        }
    }
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
        self.disordered += other.disordered;
        self.refused += other.refused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spread: Spread, deliveries: &[(usize, u64)], due: u64, lost: u64, twice: u64, disordered: u64) {
        let mut ledger = Ledger::new(2, 1, spread);
        for &(receiver, number) in deliveries {
            ledger.note(receiver, 0, number);
        }
        let expected = Faults {
            lost,
            twice,
            disordered,
            refused: 0,
        };
        assert_eq!(ledger.faults(due), expected, "{deliveries:?}");
    }

    #[test]
    fn all_get_all() {
        check(Spread::All, &[(0, 0), (0, 1), (1, 0), (1, 1)], 4, 0, 0, 0);
        check(Spread::All, &[(0, 0), (0, 2), (1, 0)], 6, 3, 0, 0);
        check(Spread::All, &[(0, 0), (0, 2), (0, 1)], 3, 0, 0, 1);
        check(Spread::All, &[(0, 0), (0, 0), (0, 1)], 2, 0, 1, 0);
    }

    #[test]
    fn one_gets_each() {
        check(Spread::One, &[(0, 1), (1, 0), (0, 2)], 3, 0, 0, 0);
        check(Spread::One, &[(0, 1), (0, 0)], 2, 0, 0, 1);
        check(Spread::One, &[(0, 0), (1, 0)], 1, 0, 1, 0);
        check(Spread::One, &[(0, 0), (0, 2)], 3, 1, 0, 0);
    }
}
