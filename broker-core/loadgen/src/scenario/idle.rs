//! Connections that do nothing: what they cost to open, and the memory that each takes, without and with a subscription.

use std::time::Instant;

use broker_types::QoS;

use super::handshake::{open, subscribe_all};
use crate::clients::{Clients, Outs, Talk};
use crate::packet::Frame;
use crate::{Bed, Faults, Figure, LoadError};

/// Connections that do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// How many.
    pub count: usize,
    /// Whether they stay for [`Bed::time`] after that; how many were closed is told as lost.
    pub stay: bool,
}

/// Connections before those that count, so that what the broker allocates once isn't counted.
const FIRST: usize = 100;

impl Idle {
    /// Opens them, then subscribes each to a topic of its own.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or doesn't answer.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let count = self.count;
        let mut clients = Clients::new()?;
        let first = open(&mut clients, bed, "first", FIRST)?.first + FIRST;
        let before = bed.resident()?;
        let meter = bed.begin()?;
        open(&mut clients, bed, "idle", count)?;
        let opening = meter.end(bed)?;
        let open = bed.resident()?;
        let meter = bed.begin()?;
        let wishes = (0..count).map(|at| (first + at, bed.login.topic(&format!("idle/{at}"))));
        subscribe_all(&mut clients, bed, QoS::AtMostOnce, wishes)?;
        let subscribing = meter.end(bed)?;
        let subscribed = bed.resident()?;
        let mut staying = Staying {
            until: Instant::now() + bed.time,
            closed: 0,
        };
        if self.stay {
            bed.progress.stands_at(count as u64);
            clients.talk(bed.time, &mut staying)?;
        }

        let figure = |part, spent, bytes: f64, lost| {
            let faults = Faults {
                lost,
                ..Faults::default()
            };
            let mut figure = Figure::new(part, count as u64, spent, faults);
            figure.bytes_each = bed.process.map(|_| bytes / count as f64);
            figure
        };
        Ok(vec![
            figure("open", opening, open - before, 0),
            figure(
                "with a subscription",
                subscribing,
                subscribed - before,
                staying.closed,
            ),
        ])
    }
}

/// Waits, and counts connections that the broker closes.
struct Staying {
    until: Instant,
    closed: u64,
}

impl Talk for Staying {
    fn packet(&mut self, _: &mut Outs, _: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        Err(LoadError::unexpected(frame))
    }

    fn closed(&mut self, _: usize) -> Result<(), LoadError> {
        self.closed += 1;
        Ok(())
    }

    fn done(&self) -> bool {
        Instant::now() >= self.until
    }
}
