//! Messages at a fixed rate, whether or not the broker keeps up: each is due at a moment that was fixed before, and its
//! latency counts from that moment, so that a broker that stalls isn't asked less. Nothing can be batched here.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jackfield_tests::wire::Version;
use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::handshake::{open, subscribe_all};
use super::traffic::answer;
use super::{Bed, Figure, Latency, PATIENCE, gave_up};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::{Ledger, Spread};
use crate::packet::{Frame, PUBACK, PUBLISH, Template, stamp};

const PAIRS: usize = 100;
const PAYLOAD: usize = 256;
/// Between two messages: 1,000 a second.
const EVERY: Duration = Duration::from_millis(1);
/// Messages before those that count.
const WARM_UP: u64 = 200;

pub(super) fn run(bed: &Bed, row: &str, qos: u8) -> io::Result<Vec<Figure>> {
    let version = Version::V311;
    let topic = |pair: usize| format!("bench/rate/{pair}");
    let mut clients = Clients::new()?;
    open(&mut clients, bed.addr, version, "pub", PAIRS)?;
    open(&mut clients, bed.addr, version, "sub", PAIRS)?;
    let wishes = (0..PAIRS).map(|pair| (PAIRS + pair, topic(pair)));
    subscribe_all(&mut clients, version, qos, wishes)?;

    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    clients.watch(&timer)?;
    let mut paced = Paced {
        templates: (0..PAIRS)
            .map(|pair| Template::new(version, &topic(pair), qos, false, PAYLOAD))
            .collect(),
        timer,
        began: Instant::now(),
        due: 0,
        sent: 0,
        last: 0,
        ledger: Ledger::new(PAIRS, PAIRS, Spread::All),
        latencies: Vec::new(),
    };
    let count = bed.messages.unwrap_or_else(|| {
        let at_least_two_seconds = bed.time.max(Duration::from_secs(2));
        (at_least_two_seconds.as_nanos() / EVERY.as_nanos()) as u64
    });
    paced.run(&mut clients, WARM_UP)?;
    let meter = bed.begin()?;
    paced.run(&mut clients, count)?;
    let spent = meter.end(bed)?;
    let mut figure = Figure::new(row, count, spent, paced.ledger.faults(paced.sent));
    figure.latency = Some(Latency::of(&mut paced.latencies));
    Ok(vec![figure])
}

struct Paced {
    templates: Vec<Template>,
    timer: OwnedFd,
    began: Instant,
    /// Messages that should have been sent, and that were, since the pace began.
    due: u64,
    sent: u64,
    last: u64,
    ledger: Ledger,
    latencies: Vec<Duration>,
}

impl Paced {
    /// Sends so many more, each at its time, and waits for the last.
    fn run(&mut self, clients: &mut Clients, count: u64) -> io::Result<()> {
        self.latencies.clear();
        self.last = self.sent + count;
        self.set_timer(EVERY)?;
        // Message `sent` is due one interval after now.
        self.began = Instant::now() - interval(self.sent);
        match clients.talk(PATIENCE, self)? {
            true => Ok(()),
            false => Err(gave_up("messages were due")),
        }
    }

    fn set_timer(&self, every: Duration) -> io::Result<()> {
        let every = Timespec::try_from(every).map_err(io::Error::other)?;
        let pace = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &pace)?;
        Ok(())
    }
}

/// The time from the beginning to the moment before message `number` is due.
fn interval(number: u64) -> Duration {
    EVERY * number as u32
}

impl Talk for Paced {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> io::Result<()> {
        if frame.kind() != PUBLISH {
            return Ok(());
        }
        let (pair, number) = stamp(frame.payload(Version::V311))
            .ok_or_else(|| io::Error::other("a message that nobody sent"))?;
        if frame.qos() > 0 {
            outs.send(from, &answer(PUBACK, frame.id()));
        }
        self.ledger.note(from - PAIRS, pair, number);
        let due = self.began + interval(number * PAIRS as u64 + pair as u64 + 1);
        self.latencies.push(due.elapsed());
        Ok(())
    }

    fn woken(&mut self) -> io::Result<()> {
        let mut ticks = [0; 8];
        rustix::io::read(&self.timer, &mut ticks)?;
        self.due += u64::from_ne_bytes(ticks);
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) {
        self.due = self.due.min(self.last);
        while self.sent < self.due {
            let pair = (self.sent % PAIRS as u64) as usize;
            let number = self.sent / PAIRS as u64;
            outs.send_with(pair, |out| self.templates[pair].append(out, pair, number));
            self.sent += 1;
        }
    }

    fn done(&self) -> bool {
        self.sent == self.last && self.ledger.received() == self.last
    }
}

impl Latency {
    fn of(latencies: &mut [Duration]) -> Self {
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies
                .get(index.min(latencies.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}
