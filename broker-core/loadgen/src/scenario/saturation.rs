//! Everything is full: publishers send as fast as the broker takes it, to receivers that have stopped reading, while others
//! ping. A good broker keeps its memory bounded, slows the publishers down, and answers the others.

use std::time::{Duration, Instant};

use broker_types::QoS;

use super::handshake::{open, subscribe_all};
use super::ticker::Ticker;
use crate::clients::{Clients, Outs, Talk};
use crate::packet::{Frame, PINGREQ, PINGRESP, Template};
use crate::{Bed, Faults, Figure, Histogram, LoadError};

/// Publishers that flood receivers which have stopped reading, and watchers that ping.
#[derive(Clone, Copy, Debug)]
pub struct Saturation {
    /// Who publishes QoS 0.
    pub publishers: usize,
    /// Who doesn't read.
    pub receivers: usize,
    /// Who pings: one of them every ten milliseconds.
    pub watchers: usize,
    /// Bytes of a payload.
    pub payload_bytes: usize,
}

impl Saturation {
    /// Floods for [`Bed::time`]. The units are answered pings, the latency is theirs; one that had no answer is lost, a
    /// publisher or watcher that was cut off is refused.
    ///
    /// # Errors
    /// The broker can't be reached or refuses.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let mut clients = Clients::new()?;
        let topic = bed.login.topic("full");
        open(&mut clients, bed, "pub", self.publishers)?;
        let watchers = open(&mut clients, bed, "watcher", self.watchers)?.first;
        let receivers = open(&mut clients, bed, "sub", self.receivers)?.first;
        let wishes = (0..self.receivers).map(|at| (receivers + at, topic.clone()));
        subscribe_all(&mut clients, bed, QoS::AtMostOnce, wishes)?;
        (0..self.receivers).for_each(|at| clients.deafen(receivers + at));

        let mut template = Template::new(
            bed.login.version,
            &topic,
            QoS::AtMostOnce,
            false,
            self.payload_bytes,
        )?;
        let mut block = Vec::new();
        while block.len() < BLOCK_BYTES {
            template.append(&mut block, 0, 0);
        }
        let ticker = Ticker::new(PING_EVERY, &clients)?;
        ticker.start()?;
        let meter = bed.begin()?;
        let mut full = Full {
            bed,
            shape: *self,
            watchers,
            receivers,
            block,
            ticker,
            pings: vec![None; self.watchers],
            ping_due: false,
            turn: 0,
            asked: 0,
            answered: 0,
            cut_off: 0,
            latency: Histogram::new(),
            until: Instant::now() + bed.time,
        };
        full.round_ends(clients.outs())?;
        clients.talk(bed.time * 2, &mut full)?;
        let spent = meter.end(bed)?;
        let faults = Faults {
            lost: full.asked - full.answered,
            refused: full.cut_off,
            ..Faults::default()
        };
        let mut figure = Figure::new("", full.answered, spent, faults);
        figure.latency = full.latency.latency();
        Ok(vec![figure])
    }
}

/// Connections are, in this order, publishers, watchers, receivers.
struct Full<'a> {
    bed: &'a Bed,
    shape: Saturation,
    watchers: usize,
    receivers: usize,
    block: Vec<u8>,
    ticker: Ticker,
    /// When each watcher's ping went out that has no answer yet.
    pings: Vec<Option<Instant>>,
    ping_due: bool,
    /// Whose turn to ping it was last.
    turn: usize,
    asked: u64,
    answered: u64,
    cut_off: u64,
    latency: Histogram,
    until: Instant,
}

impl Full<'_> {
    fn over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl Talk for Full<'_> {
    fn packet(&mut self, _: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        let watcher = from.checked_sub(self.watchers);
        let ping = watcher.and_then(|watcher| self.pings.get_mut(watcher)?.take());
        let (PINGRESP, Some(asked)) = (frame.kind(), ping) else {
            return Err(LoadError::unexpected(frame));
        };
        self.answered += 1;
        self.latency.note(asked.elapsed());
        self.bed.progress.stands_at(self.answered);
        Ok(())
    }

    fn closed(&mut self, who: usize) -> Result<(), LoadError> {
        // Who doesn't read may be given up.
        self.cut_off += u64::from(who < self.receivers);
        Ok(())
    }

    fn woken(&mut self) -> Result<(), LoadError> {
        self.ping_due = true;
        self.ticker.read()
    }

    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        if self.over() {
            return Ok(());
        }
        for publisher in 0..self.shape.publishers {
            if outs.waiting(publisher) < BLOCK_BYTES / 2 {
                outs.send(publisher, &self.block);
            }
        }
        // The watchers ask in turn; one that still waits for its answer asks nothing.
        if std::mem::take(&mut self.ping_due) {
            self.turn = (self.turn + 1) % self.pings.len().max(1);
            if let Some(ping @ None) = self.pings.get_mut(self.turn) {
                outs.send(self.watchers + self.turn, &[PINGREQ, 0]);
                *ping = Some(Instant::now());
                self.asked += 1;
            }
        }
        Ok(())
    }

    fn done(&self) -> bool {
        self.over() && (self.asked == self.answered || Instant::now() >= self.until + self.bed.time / 2)
    }
}

/// How often somebody pings.
const PING_EVERY: Duration = Duration::from_millis(10);
/// As much as is written at once.
const BLOCK_BYTES: usize = 1024 * 1024;
