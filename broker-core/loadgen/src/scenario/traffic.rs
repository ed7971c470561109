//! Messages in a closed loop: each publisher has so many under way and sends the next when one has arrived everywhere and
//! was acknowledged. Warm-up and measurement both end when everything has arrived, so that what is paid for is what is
//! counted.

use std::time::{Duration, Instant};

use broker_types::QoS;

use super::PATIENCE;
use super::handshake::{open, subscribe_all};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::{Ledger, Spread};
use crate::packet::{
    Frame, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, STAMP_BYTES, Template, answer, numbered, stamp,
};
use crate::{Bed, Figure, Histogram, LoadError, Phase};

/// Messages in a closed loop.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Who publishes.
    pub publishers: usize,
    /// Who subscribes.
    pub receivers: usize,
    /// Who gets what.
    pub to: To,
    /// Messages that a publisher has under way, at least one.
    pub window: u64,
    /// The QoS of the messages and of the subscriptions.
    pub qos: QoS,
    /// Bytes of a payload, at least those of the stamp.
    pub payload_bytes: usize,
    /// Whether to note how long each delivery takes, for which the clock must be read.
    pub timed: bool,
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every receiver: there is one topic.
    Everybody,
    /// The publisher's own receiver.
    Own,
    /// One of the receivers, as the broker likes.
    Shared,
    /// The one receiver with the matching filter among so many with a wildcard.
    OneOf(usize),
}

impl Traffic {
    /// Lets messages flow.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or speaks no MQTT. That messages don't arrive is told in the figure.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let mut clients = Clients::new()?;
        let publishers = open(&mut clients, bed, "pub", self.publishers)?;
        let receivers = open(&mut clients, bed, "sub", self.receivers)?;
        debug_assert_eq!((publishers.first, receivers.first), (0, self.publishers));
        let mut traffic = *self;
        if self.qos != QoS::AtMostOnce {
            traffic.window = self.window.min(publishers.receive_maximum.into());
        }
        let before = bed.resident()?;
        subscribe_all(&mut clients, bed, self.qos, self.wishes(bed))?;
        let bytes_each = match self.to {
            To::OneOf(filters) if bed.process.is_some() => Some((bed.resident()? - before) / filters as f64),
            _ => None,
        };

        let mut flow = Flow::new(&traffic, bed)?;
        let warm_up = match bed.count {
            None => {
                bed.progress.begins(Phase::WarmUp);
                flow.run(&mut clients, bed.warm_up, u64::MAX)?
            }
            Some(_) => true,
        };
        flow.begins_at = flow.ledger.received();
        flow.latency.clear();
        let meter = bed.begin()?;
        if warm_up {
            flow.run(&mut clients, bed.time, bed.count.unwrap_or(u64::MAX))?;
        }
        let mut figure = Figure::new(
            "",
            flow.ledger.received() - flow.begins_at,
            meter.end(bed)?,
            flow.ledger.faults(flow.due()),
        );
        figure.bytes_each = bytes_each;
        figure.latency = flow.latency.latency();
        Ok(vec![figure])
    }

    /// Receivers of one message.
    fn fan_out(&self) -> u64 {
        match self.to {
            To::Everybody => self.receivers as u64,
            _ => 1,
        }
    }

    fn topic(&self, bed: &Bed, publisher: usize) -> String {
        bed.login.topic(&match self.to {
            To::Everybody => "all".to_owned(),
            To::Own => format!("own/{publisher}"),
            To::Shared => "shared".to_owned(),
            To::OneOf(_) => format!("{}/value", numbered(0)),
        })
    }

    /// The filters, by connection.
    fn wishes(&self, bed: &Bed) -> impl Iterator<Item = (usize, String)> {
        let filters = match self.to {
            To::OneOf(filters) => filters,
            _ => self.receivers,
        };
        let each = filters.div_ceil(self.receivers);
        (0..filters).map(move |at| {
            let filter = match self.to {
                To::Shared => format!("$share/{}/{}", bed.login.name, self.topic(bed, at)),
                To::OneOf(_) => bed.login.topic(&format!("{}/+", numbered(at))),
                To::Everybody | To::Own => self.topic(bed, at),
            };
            (self.publishers + at / each, filter)
        })
    }
}

/// The state of a load.
struct Flow<'a> {
    traffic: &'a Traffic,
    bed: &'a Bed,
    senders: Vec<Sender>,
    /// Publishers that may be able to send, each once.
    ready: Vec<usize>,
    ledger: Ledger,
    until: Instant,
    /// Messages that may still be published.
    left: u64,
    random: u64,
    /// Deliveries before those that count.
    begins_at: u64,
    latency: Histogram,
}

struct Sender {
    template: Template,
    sent: u64,
    acked: u64,
    arrived: u64,
    ready: bool,
    /// When the messages under way were published, by their number modulo the window; empty if nobody asks.
    published: Vec<Instant>,
}

impl<'a> Flow<'a> {
    fn new(traffic: &'a Traffic, bed: &'a Bed) -> Result<Self, LoadError> {
        let timed = if traffic.timed { traffic.window as usize } else { 0 };
        let sender = |publisher| {
            Ok(Sender {
                template: Template::new(
                    bed.login.version,
                    &traffic.topic(bed, publisher),
                    traffic.qos,
                    false,
                    traffic.payload_bytes.max(STAMP_BYTES),
                )?,
                sent: 0,
                acked: 0,
                arrived: 0,
                ready: false,
                published: vec![Instant::now(); timed],
            })
        };
        let spread = match traffic.to {
            To::Everybody | To::Own => Spread::All,
            To::Shared | To::OneOf(_) => Spread::One,
        };
        Ok(Self {
            traffic,
            bed,
            senders: (0..traffic.publishers)
                .map(sender)
                .collect::<Result<_, LoadError>>()?,
            ready: Vec::new(),
            ledger: Ledger::new(traffic.receivers, traffic.publishers, spread),
            until: Instant::now(),
            left: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            begins_at: 0,
            latency: Histogram::new(),
        })
    }

    /// Lets messages flow for so long or so many, and waits for the last. False: something never arrived.
    fn run(&mut self, clients: &mut Clients, time: Duration, messages: u64) -> Result<bool, LoadError> {
        self.left = messages;
        self.until = match messages {
            u64::MAX => Instant::now() + time,
            _ => Instant::now() + COUNTED_MAX,
        };
        (0..self.senders.len()).for_each(|publisher| self.wake(publisher));
        self.round_ends(clients.outs())?;
        clients.talk(PATIENCE, self)
    }

    /// Deliveries that the published messages call for.
    fn due(&self) -> u64 {
        self.senders.iter().map(|sender| sender.sent).sum::<u64>() * self.traffic.fan_out()
    }

    fn wake(&mut self, publisher: usize) {
        let sender = &mut self.senders[publisher];
        if !std::mem::replace(&mut sender.ready, true) {
            self.ready.push(publisher);
        }
    }

    fn publish(&mut self, outs: &mut Outs, publisher: usize) {
        let (fan_out, window) = (self.traffic.fan_out(), self.traffic.window);
        let random = &mut self.random;
        let topic_number_at = self.bed.login.name.len() + 1;
        let sender = &mut self.senders[publisher];
        sender.ready = false;
        let acked = if self.traffic.qos != QoS::AtMostOnce {
            sender.acked
        } else {
            sender.sent
        };
        let complete = acked.min(sender.arrived / fan_out);
        let count = (window - (sender.sent - complete)).min(self.left);
        self.left -= count;
        if count == 0 {
            return;
        }
        outs.send_with(publisher, |out| {
            for number in sender.sent..sender.sent + count {
                if let To::OneOf(filters) = self.traffic.to {
                    let topic = (next_random(random) % filters as u64) as usize;
                    sender.template.number_topic(topic_number_at, topic);
                }
                sender.template.append(out, publisher, number);
            }
        });
        if self.traffic.timed {
            let now = Instant::now();
            for number in sender.sent..sender.sent + count {
                sender.published[(number % window) as usize] = now;
            }
        }
        sender.sent += count;
    }

    fn delivery(&mut self, outs: &mut Outs, to: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        let known = stamp(frame.payload(self.bed.login.version)).filter(|_| to >= self.traffic.publishers);
        let (publisher, number) = known
            .filter(|&(publisher, number)| {
                self.senders
                    .get(publisher)
                    .is_some_and(|sender| number < sender.sent)
            })
            .ok_or_else(|| LoadError::unexpected(frame))?;
        match frame.qos() {
            0 => {}
            1 => outs.send(to, &answer(PUBACK, frame.id())),
            _ => outs.send(to, &answer(PUBREC, frame.id())),
        }
        if self.ledger.note(to - self.traffic.publishers, publisher, number) {
            let sender = &mut self.senders[publisher];
            sender.arrived += 1;
            if self.traffic.timed {
                let published = sender.published[(number % self.traffic.window) as usize];
                self.latency.note(published.elapsed());
            }
            self.wake(publisher);
        }
        Ok(())
    }

    fn acked(&mut self, publisher: usize, frame: &Frame<'_>) {
        if frame.body().get(2).is_some_and(|&code| code >= 0x80) {
            self.ledger.refused();
        }
        self.senders[publisher].acked += 1;
        self.wake(publisher);
    }
}

impl Talk for Flow<'_> {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        match frame.kind() {
            PUBLISH => return self.delivery(outs, from, frame),
            PUBACK | PUBCOMP if from < self.senders.len() => self.acked(from, frame),
            PUBREC => outs.send(from, &answer(PUBREL | 2, frame.acked())),
            PUBREL => outs.send(from, &answer(PUBCOMP, frame.acked())),
            _ => return Err(LoadError::unexpected(frame)),
        }
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        if self.left > 0 && Instant::now() >= self.until {
            self.left = 0;
        }
        while let Some(publisher) = self.ready.pop() {
            self.publish(outs, publisher);
        }
        self.bed
            .progress
            .stands_at(self.ledger.received() - self.begins_at);
        Ok(())
    }

    fn done(&self) -> bool {
        let qos = self.traffic.qos;
        self.left == 0
            && self.senders.iter().all(|sender| {
                sender.arrived == sender.sent * self.traffic.fan_out()
                    && (qos == QoS::AtMostOnce || sender.acked == sender.sent)
            })
    }
}

fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A counted load may take so long at most.
const COUNTED_MAX: Duration = Duration::from_secs(3600);
