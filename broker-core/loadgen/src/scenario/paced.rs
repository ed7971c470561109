//! Messages at a fixed rate, whether or not the broker keeps up: each is due at a moment that was fixed before, and its
//! latency counts from that moment, so that a broker that stalls isn't asked less (no coordinated omission). On request
//! somebody else floods the broker meanwhile.

use std::time::{Duration, Instant};

use broker_types::QoS;

use super::handshake::{open, subscribe_all};
use super::ticker::Ticker;
use super::{PATIENCE, waited};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::{Ledger, Spread};
use crate::packet::{Frame, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Template, answer, stamp};
use crate::{Bed, Figure, Histogram, LoadError, Phase};

/// Messages at a fixed rate, by pairs of a publisher and a receiver in turn.
#[derive(Clone, Copy, Debug)]
pub struct Paced {
    /// How many pairs.
    pub pairs: usize,
    /// Messages a second, all pairs together; at least one.
    pub per_second: u64,
    /// The QoS of the messages and of the subscriptions.
    pub qos: QoS,
    /// Bytes of a payload, at least those of the stamp.
    pub payload_bytes: usize,
    /// Whether one more client publishes QoS 0 to one more receiver, as fast as the broker takes it. What comes of it counts
    /// as delivered; whether all came isn't looked at.
    pub flood: bool,
}

impl Paced {
    /// Lets messages flow.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, speaks no MQTT, takes much less than the rate, or loses so much that nothing
    /// comes any more.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let mut clients = Clients::new()?;
        let publishers = open(&mut clients, bed, "pub", self.pairs)?;
        open(&mut clients, bed, "sub", self.pairs)?;
        let topic = |pair: usize| bed.login.topic(&format!("paced/{pair}"));
        let wishes = (0..self.pairs).map(|pair| (self.pairs + pair, topic(pair)));
        subscribe_all(&mut clients, bed, self.qos, wishes)?;
        let flood = if self.flood {
            Some(self.flood(&mut clients, bed)?)
        } else {
            None
        };

        let every = Duration::from_secs(1) / self.per_second.clamp(1, u64::from(u32::MAX)) as u32;
        // Not more often than a system can, and often enough for a flood.
        let most = if self.flood { FLOOD_EVERY } else { every };
        let ticker = Ticker::new(every.min(most).max(TICK_MIN), &clients)?;
        let template = |pair| {
            Template::new(
                bed.login.version,
                &topic(pair),
                self.qos,
                false,
                self.payload_bytes,
            )
        };
        let mut pace = Pace {
            bed,
            pairs: self.pairs,
            every,
            templates: (0..self.pairs).map(template).collect::<Result<_, _>>()?,
            ticker,
            began: Instant::now(),
            sent: 0,
            last: 0,
            ledger: Ledger::new(self.pairs, self.pairs, Spread::All),
            under_way: vec![0; self.pairs],
            under_way_max: match self.qos {
                QoS::AtMostOnce => u64::MAX,
                _ => publishers.receive_maximum.into(),
            },
            latency: Histogram::new(),
            flood,
        };
        bed.progress.begins(Phase::WarmUp);
        let warm_up = bed.count.map_or(pace.messages_in(bed.warm_up), |_| 0);
        pace.run(&mut clients, warm_up)?;
        pace.latency.clear();
        let flooded = pace.flooded();
        let meter = bed.begin()?;
        let count = bed.count.unwrap_or(pace.messages_in(bed.time));
        pace.run(&mut clients, count)?;
        let spent = meter.end(bed)?;
        let units = count + pace.flooded() - flooded;
        let mut figure = Figure::new("", units, spent, pace.ledger.faults(pace.sent));
        figure.latency = pace.latency.latency();
        Ok(vec![figure])
    }

    /// Opens the two connections of the flood.
    fn flood(&self, clients: &mut Clients, bed: &Bed) -> Result<Flood, LoadError> {
        let topic = bed.login.topic("flood");
        let who = open(clients, bed, "flood-pub", 1)?.first;
        let receiver = open(clients, bed, "flood-sub", 1)?.first;
        subscribe_all(
            clients,
            bed,
            QoS::AtMostOnce,
            std::iter::once((receiver, topic.clone())),
        )?;
        let mut template = Template::new(bed.login.version, &topic, QoS::AtMostOnce, false, FLOOD_BYTES)?;
        let mut block = Vec::new();
        while block.len() < FLOOD_BLOCK_BYTES {
            template.append(&mut block, 0, 0);
        }
        Ok(Flood {
            who,
            receiver,
            block,
            received: 0,
        })
    }
}

struct Pace<'a> {
    bed: &'a Bed,
    pairs: usize,
    /// Between two messages.
    every: Duration,
    templates: Vec<Template>,
    ticker: Ticker,
    began: Instant,
    sent: u64,
    last: u64,
    ledger: Ledger,
    /// Messages without acknowledgement, by publisher, and how many there may be.
    under_way: Vec<u64>,
    under_way_max: u64,
    latency: Histogram,
    flood: Option<Flood>,
}

/// Somebody who publishes as fast as the broker takes it.
struct Flood {
    who: usize,
    receiver: usize,
    block: Vec<u8>,
    received: u64,
}

impl Pace<'_> {
    fn messages_in(&self, time: Duration) -> u64 {
        (time.as_nanos() / self.every.as_nanos()) as u64
    }

    fn flooded(&self) -> u64 {
        self.flood.as_ref().map_or(0, |flood| flood.received)
    }

    /// Sends so many more, each at its time, and waits for the last.
    fn run(&mut self, clients: &mut Clients, count: u64) -> Result<(), LoadError> {
        self.last = self.sent + count;
        // Message `sent` is due one interval after now, just before the ticker fires.
        self.began = Instant::now() - self.interval(self.sent);
        self.ticker.start()?;
        waited(clients.talk(PATIENCE, self)?, "messages were due")
    }

    /// The time from the beginning to the moment before message `number` is due.
    fn interval(&self, number: u64) -> Duration {
        Duration::from_nanos(self.every.as_nanos() as u64 * number)
    }

    fn delivery(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        if let Some(flood) = &mut self.flood
            && from == flood.receiver
        {
            flood.received += 1;
            return Ok(());
        }
        let (pair, number) = stamp(frame.payload(self.bed.login.version))
            .filter(|&(pair, number)| pair + self.pairs == from && number <= self.sent / self.pairs as u64)
            .ok_or_else(|| LoadError::unexpected(frame))?;
        match frame.qos() {
            0 => {}
            1 => outs.send(from, &answer(PUBACK, frame.id())),
            _ => outs.send(from, &answer(PUBREC, frame.id())),
        }
        if self.ledger.note(pair, pair, number) {
            let due = self.began + self.interval(number * self.pairs as u64 + pair as u64 + 1);
            self.latency.note(due.elapsed());
        }
        Ok(())
    }
}

impl Talk for Pace<'_> {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        match frame.kind() {
            PUBLISH => return self.delivery(outs, from, frame),
            PUBACK | PUBCOMP => {
                if let Some(count) = self.under_way.get_mut(from) {
                    *count = count.saturating_sub(1);
                }
                if frame.body().get(2).is_some_and(|&code| code >= 0x80) {
                    self.ledger.refused();
                }
            }
            PUBREC => outs.send(from, &answer(PUBREL | 2, frame.acked())),
            PUBREL => outs.send(from, &answer(PUBCOMP, frame.acked())),
            _ => return Err(LoadError::unexpected(frame)),
        }
        Ok(())
    }

    fn woken(&mut self) -> Result<(), LoadError> {
        self.ticker.read()
    }

    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        let due = self.messages_in(self.began.elapsed()).min(self.last);
        while self.sent < due {
            let pair = (self.sent % self.pairs as u64) as usize;
            let number = self.sent / self.pairs as u64;
            if self.under_way[pair] == self.under_way_max {
                break;
            }
            self.under_way[pair] += 1;
            outs.send_with(pair, |out| self.templates[pair].append(out, pair, number));
            self.sent += 1;
            if outs.waiting(pair) > BACKLOG_BYTES_MAX {
                return Err(LoadError::TooSlow(outs.waiting(pair)));
            }
        }
        if let Some(flood) = &self.flood
            && self.sent < self.last
            && outs.waiting(flood.who) < FLOOD_BLOCK_BYTES / 2
        {
            outs.send(flood.who, &flood.block);
        }
        self.bed
            .progress
            .stands_at(self.ledger.received() + self.flooded());
        Ok(())
    }

    fn done(&self) -> bool {
        self.sent == self.last && self.ledger.received() == self.last
    }
}

/// Payload bytes of a flood's messages.
const FLOOD_BYTES: usize = 256;
/// As much of a flood as is written at once: more than a socket usually takes.
const FLOOD_BLOCK_BYTES: usize = 1024 * 1024;
/// How often a flood is looked after.
const FLOOD_EVERY: Duration = Duration::from_micros(500);
/// A timer that fires more often costs more than it brings; what is due is sent together.
const TICK_MIN: Duration = Duration::from_micros(20);
/// More than this waits on a connection: the broker can't follow.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;
