//! The scenarios: what is done to a broker, and the figures that come of it.

mod connects;
mod handshake;
mod idle;
mod offline;
mod rate;
mod retained;
mod stream;
mod traffic;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jackfield_tests::wire::Version;

use crate::ledger::Faults;
use crate::process::Process;

use traffic::{To, Traffic};

/// A broker under load, and how much of it.
pub(crate) struct Bed {
    pub(crate) addr: SocketAddr,
    /// `None`: nobody knows what it costs.
    pub(crate) process: Option<Process>,
    /// How long messages flow.
    pub(crate) time: Duration,
    /// Publish so many messages instead, so that two runs do the same work.
    pub(crate) messages: Option<u64>,
}

/// What a row told of one broker in one run.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) row: String,
    /// Messages delivered, or connections.
    pub(crate) units: u64,
    pub(crate) spent: Spent,
    pub(crate) faults: Faults,
    /// Resident bytes for each thing the row made many of.
    pub(crate) bytes_each: Option<f64>,
    pub(crate) latency: Option<Latency>,
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// CPU time of all threads of the broker.
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

/// From the moment at which a message was due to its arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Takes minutes or gigabytes; only when asked for.
    pub(crate) large: bool,
    scenario: Scenario,
}

enum Scenario {
    Traffic(Traffic),
    Rate { qos: u8 },
    Connects,
    Idle { count: usize },
    Retained { count: usize },
    Offline { count: u64 },
}

/// Messages under way in a closed loop, all publishers together.
const UNDER_WAY: u64 = 1000;

/// Returns all rows, in the order of the table.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, large: bool, scenario: Scenario| {
        rows.push(Row {
            name: name.to_owned(),
            large,
            scenario,
        });
    };
    let flow = |publishers: usize, receivers: usize, to: To, qos: u8, payload: usize| Traffic {
        publishers,
        receivers,
        to,
        window: UNDER_WAY / publishers as u64,
        qos,
        version: Version::V311,
        payload,
    };
    let pairs = |qos: u8, payload: usize| flow(100, 100, To::Own, qos, payload);
    let fan_out = |qos: u8, window: u64| Traffic {
        window,
        ..flow(1, 1000, To::Everybody, qos, 256)
    };
    for qos in [0, 1] {
        let fan_in = flow(100, 1, To::Everybody, qos, 256);
        add(&format!("fan-in-q{qos}"), false, Scenario::Traffic(fan_in));
    }
    add("fan-out-q0-1", false, Scenario::Traffic(fan_out(0, 1)));
    add("fan-out-q0-16", false, Scenario::Traffic(fan_out(0, 16)));
    add("fan-out-q1-16", false, Scenario::Traffic(fan_out(1, 16)));
    let sizes = [(16, "16b"), (256, "256b"), (4096, "4k"), (65_536, "64k")];
    for (qos, (payload, size)) in [0, 1, 2]
        .into_iter()
        .flat_map(|qos| sizes.map(|size| (qos, size)))
    {
        let name = format!("pairs-q{qos}-{size}");
        add(&name, false, Scenario::Traffic(pairs(qos, payload)));
    }
    for qos in [0, 1, 2] {
        let v5 = Traffic {
            version: Version::V5,
            ..pairs(qos, 256)
        };
        add(&format!("pairs-v5-q{qos}-256b"), false, Scenario::Traffic(v5));
    }
    for qos in [0, 1] {
        let shared = flow(100, 100, To::Shared, qos, 256);
        add(&format!("shared-q{qos}"), false, Scenario::Traffic(shared));
    }
    let filters = [
        (100, "100"),
        (10_000, "10k"),
        (100_000, "100k"),
        (1_000_000, "1m"),
    ];
    for (count, name) in filters {
        let one = flow(100, 100, To::OneOf(count), 0, 64);
        add(
            &format!("filters-{name}"),
            count > 100_000,
            Scenario::Traffic(one),
        );
    }
    for qos in [0, 1] {
        add(&format!("rate-q{qos}"), false, Scenario::Rate { qos });
    }
    add("connect", false, Scenario::Connects);
    add("idle-10k", false, Scenario::Idle { count: 10_000 });
    add("retained-100k", false, Scenario::Retained { count: 100_000 });
    add("retained-1m", true, Scenario::Retained { count: 1_000_000 });
    add("offline-100k", false, Scenario::Offline { count: 100_000 });
    rows
}

impl Row {
    /// Runs it once against a broker that has just started.
    pub(crate) fn run(&self, bed: &Bed) -> io::Result<Vec<Figure>> {
        let name = self.name.as_str();
        match &self.scenario {
            Scenario::Traffic(traffic) => traffic::run(bed, name, traffic),
            Scenario::Rate { qos } => rate::run(bed, name, *qos),
            Scenario::Connects => connects::run(bed, name),
            Scenario::Idle { count } => idle::run(bed, name, *count),
            Scenario::Retained { count } => retained::run(bed, name, *count),
            Scenario::Offline { count } => offline::run(bed, name, *count),
        }
    }
}

impl Bed {
    /// Notes where the broker stands.
    fn begin(&self) -> io::Result<Meter> {
        Ok(Meter {
            cpu: self.cpu()?,
            at: Instant::now(),
        })
    }

    fn cpu(&self) -> io::Result<Duration> {
        self.process.map_or(Ok(Duration::ZERO), Process::cpu)
    }

    /// Resident bytes after the broker has had a moment to settle.
    fn resident(&self) -> io::Result<f64> {
        std::thread::sleep(SETTLE);
        Ok(self.process.map_or(Ok(0), Process::resident)? as f64)
    }
}

const SETTLE: Duration = Duration::from_millis(300);
/// Nothing came for so long: it won't.
const PATIENCE: Duration = Duration::from_secs(5);

struct Meter {
    cpu: Duration,
    at: Instant,
}

impl Meter {
    fn end(&self, bed: &Bed) -> io::Result<Spent> {
        Ok(Spent {
            wall: self.at.elapsed(),
            cpu: bed.cpu()?.saturating_sub(self.cpu),
        })
    }
}

impl Figure {
    fn new(row: impl Into<String>, units: u64, spent: Spent, faults: Faults) -> Self {
        Self {
            row: row.into(),
            units,
            spent,
            faults,
            bytes_each: None,
            latency: None,
        }
    }

    /// CPU microseconds of the broker for each unit.
    pub(crate) fn micros(&self) -> f64 {
        self.spent.cpu.as_secs_f64() * 1e6 / self.units.max(1) as f64
    }
}

fn gave_up(what: &str) -> io::Error {
    io::Error::other(format!("nothing came for {PATIENCE:?} while {what}"))
}
