//! Messages in a closed loop: each publisher has so many under way and sends the next when one has arrived everywhere and
//! was acknowledged. Warm-up and measurement both end when everything has arrived, so that what is paid for is what is
//! counted.

use std::io;
use std::time::{Duration, Instant};

use jackfield_tests::wire::Version;

use super::handshake::{open, subscribe_all};
use super::{Bed, Figure, PATIENCE};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::{Ledger, Spread};
use crate::packet::{
    Frame, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, STAMP_BYTES, Template, numbered, stamp,
};

/// A load.
pub(super) struct Traffic {
    pub(super) publishers: usize,
    pub(super) receivers: usize,
    pub(super) to: To,
    /// Messages that a publisher has under way.
    pub(super) window: u64,
    pub(super) qos: u8,
    pub(super) version: Version,
    pub(super) payload: usize,
}

/// Who gets a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Every receiver: there is one topic.
    Everybody,
    /// The publisher's own receiver.
    Own,
    /// One of the receivers, as the broker likes.
    Shared,
    /// The one receiver with the matching filter among so many with a wildcard.
    OneOf(usize),
}

pub(super) fn run(bed: &Bed, row: &str, traffic: &Traffic) -> io::Result<Vec<Figure>> {
    let mut clients = Clients::new()?;
    let version = traffic.version;
    let first = open(&mut clients, bed.addr, version, "pub", traffic.publishers)?;
    let receivers = open(&mut clients, bed.addr, version, "sub", traffic.receivers)?;
    debug_assert_eq!((first, receivers), (0, traffic.publishers));
    let before = bed.resident()?;
    subscribe_all(&mut clients, version, traffic.qos, traffic.wishes())?;
    let bytes_each = match traffic.to {
        To::OneOf(filters) => Some((bed.resident()? - before) / filters as f64),
        _ => None,
    };

    let mut flow = Flow::new(traffic);
    let warm_up = match bed.messages {
        None => flow.run(&mut clients, bed.time / 5, u64::MAX)?,
        Some(_) => true,
    };
    let received = flow.ledger.received();
    let meter = bed.begin()?;
    if warm_up {
        flow.run(&mut clients, bed.time, bed.messages.unwrap_or(u64::MAX))?;
    }
    let mut figure = Figure::new(
        row,
        flow.ledger.received() - received,
        meter.end(bed)?,
        flow.ledger.faults(flow.due()),
    );
    figure.bytes_each = bytes_each;
    Ok(vec![figure])
}

impl Traffic {
    /// Receivers of one message.
    fn fan_out(&self) -> u64 {
        match self.to {
            To::Everybody => self.receivers as u64,
            _ => 1,
        }
    }

    fn topic(&self, publisher: usize) -> String {
        match self.to {
            To::Everybody => "bench/all".to_owned(),
            To::Own => format!("bench/own/{publisher}"),
            To::Shared => "bench/shared".to_owned(),
            To::OneOf(_) => format!("bench/{}/value", numbered(0)),
        }
    }

    /// The filters, by connection.
    fn wishes(&self) -> impl Iterator<Item = (usize, String)> {
        let filters = match self.to {
            To::OneOf(filters) => filters,
            _ => self.receivers,
        };
        let each = filters.div_ceil(self.receivers);
        (0..filters).map(move |at| {
            let filter = match self.to {
                To::Shared => "$share/group/bench/shared".to_owned(),
                To::OneOf(_) => format!("bench/{}/+", numbered(at)),
                To::Everybody | To::Own => self.topic(at),
            };
            (self.publishers + at / each, filter)
        })
    }
}

/// The state of a load.
struct Flow<'a> {
    traffic: &'a Traffic,
    senders: Vec<Sender>,
    /// Publishers that may be able to send, each once.
    ready: Vec<usize>,
    ledger: Ledger,
    until: Instant,
    /// Messages that may still be published.
    left: u64,
    random: u64,
}

struct Sender {
    template: Template,
    sent: u64,
    acked: u64,
    arrived: u64,
    ready: bool,
}

impl<'a> Flow<'a> {
    fn new(traffic: &'a Traffic) -> Self {
        let senders = (0..traffic.publishers).map(|publisher| Sender {
            template: Template::new(
                traffic.version,
                &traffic.topic(publisher),
                traffic.qos,
                false,
                traffic.payload.max(STAMP_BYTES),
            ),
            sent: 0,
            acked: 0,
            arrived: 0,
            ready: false,
        });
        let spread = match traffic.to {
            To::Everybody | To::Own => Spread::All,
            To::Shared | To::OneOf(_) => Spread::One,
        };
        Self {
            traffic,
            senders: senders.collect(),
            ready: Vec::new(),
            ledger: Ledger::new(traffic.receivers, traffic.publishers, spread),
            until: Instant::now(),
            left: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Lets messages flow for so long or so many, and waits for the last. False: something never arrived.
    fn run(&mut self, clients: &mut Clients, time: Duration, messages: u64) -> io::Result<bool> {
        self.left = messages;
        self.until = match messages {
            u64::MAX => Instant::now() + time,
            _ => Instant::now() + COUNTED_MAX,
        };
        (0..self.senders.len()).for_each(|publisher| self.wake(publisher));
        self.round_ends(clients.outs());
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
        let sender = &mut self.senders[publisher];
        sender.ready = false;
        let acked = if self.traffic.qos > 0 {
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
                    sender.template.number_topic(TOPIC_NUMBER_AT, topic);
                }
                sender.template.append(out, publisher, number);
            }
        });
        sender.sent += count;
    }

    fn delivery(&mut self, outs: &mut Outs, to: usize, frame: &Frame<'_>) -> io::Result<()> {
        let known = stamp(frame.payload(self.traffic.version));
        let (publisher, number) = known
            .filter(|&(publisher, number)| {
                self.senders
                    .get(publisher)
                    .is_some_and(|sender| number < sender.sent)
            })
            .ok_or_else(|| io::Error::other("a message that nobody sent"))?;
        match frame.qos() {
            0 => {}
            1 => outs.send(to, &answer(PUBACK, frame.id())),
            _ => outs.send(to, &answer(PUBREC, frame.id())),
        }
        if self.ledger.note(to - self.traffic.publishers, publisher, number) {
            self.senders[publisher].arrived += 1;
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
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> io::Result<()> {
        match frame.kind() {
            PUBLISH => return self.delivery(outs, from, frame),
            PUBACK | PUBCOMP if from < self.senders.len() => self.acked(from, frame),
            PUBREC => outs.send(from, &answer(PUBREL | 2, frame.acked())),
            PUBREL => outs.send(from, &answer(PUBCOMP, frame.acked())),
            _ => return Err(io::Error::other(format!("unexpected {:02x?}", frame.bytes()))),
        }
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) {
        if self.left > 0 && Instant::now() >= self.until {
            self.left = 0;
        }
        while let Some(publisher) = self.ready.pop() {
            self.publish(outs, publisher);
        }
    }

    fn done(&self) -> bool {
        let qos = self.traffic.qos;
        self.left == 0
            && self.senders.iter().all(|sender| {
                sender.arrived == sender.sent * self.traffic.fan_out()
                    && (qos == 0 || sender.acked == sender.sent)
            })
    }
}

/// Returns an acknowledgement with a Packet Identifier.
pub(super) fn answer(kind: u8, [high, low]: [u8; 2]) -> [u8; 4] {
    [kind, 2, high, low]
}

fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Where the number stands in the topic of a filter scenario.
const TOPIC_NUMBER_AT: usize = "bench/".len();
/// A counted load may take so long at most.
const COUNTED_MAX: Duration = Duration::from_secs(3600);
