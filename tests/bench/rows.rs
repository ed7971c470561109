//! The rows of the tables: each a scenario of the load generator with its numbers.

use broker_loadgen::scenario::{Connects, Idle, Large, Offline, Paced, Retained, Saturation, To, Traffic};
use broker_loadgen::{Bed, Figure, LoadError};
use broker_types::{ProtocolVersion, QoS};

/// A row of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) table: Table,
    /// Takes minutes or gigabytes; only when asked for.
    pub(crate) large: bool,
    version: ProtocolVersion,
    scenario: Scenario,
}

/// Rows and brokers of one table meet each other only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Table {
    /// Brokers side by side.
    #[default]
    Brokers,
    /// One broker with several chains of plugins.
    Plugins,
}

#[derive(Clone, Copy, Debug)]
enum Scenario {
    Traffic(Traffic),
    Paced(Paced),
    Connects(Connects, u64),
    Idle(Idle),
    Retained(Retained),
    Offline(Offline),
    Large(Large),
    Saturation(Saturation),
}

/// Messages under way in a closed loop, all publishers together.
const UNDER_WAY: u64 = 1000;

/// Visits of the row `connect`.
const VISITS: u64 = 5000;

/// The largest payload that fits into a packet of MQTT with any of our topics, in whole KiB.
const LARGEST: usize = 256 * 1024 * 1024 - 1024;

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Returns all rows, in the order of the tables.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(ALL_QOS[..2].iter().map(|&qos| {
        let fan_in = flow(100, 1, To::Everybody, qos, 256);
        row(format!("fan-in-q{}", qos.bits()), Scenario::Traffic(fan_in))
    }));
    for (qos, window) in [
        (QoS::AtMostOnce, 1),
        (QoS::AtMostOnce, 16),
        (QoS::AtLeastOnce, 16),
    ] {
        let fan_out = Traffic {
            window,
            ..flow(1, 1000, To::Everybody, qos, 256)
        };
        let name = format!("fan-out-q{}-{window}", qos.bits());
        rows.push(row(name, Scenario::Traffic(fan_out)));
    }
    let sizes = [(16, "16b"), (256, "256b"), (4096, "4k"), (65_536, "64k")];
    for qos in ALL_QOS {
        rows.extend(sizes.map(|(bytes, size)| pairs(&format!("pairs-q{}-{size}", qos.bits()), qos, bytes)));
    }
    for qos in ALL_QOS {
        let name = format!("pairs-v5-q{}-256b", qos.bits());
        rows.push(Row {
            version: ProtocolVersion::V5,
            ..pairs(&name, qos, 256)
        });
    }
    rows.extend(ALL_QOS[..2].iter().map(|&qos| {
        let shared = flow(100, 100, To::Shared, qos, 256);
        row(format!("shared-q{}", qos.bits()), Scenario::Traffic(shared))
    }));
    let filters = [
        (100, "100"),
        (10_000, "10k"),
        (100_000, "100k"),
        (1_000_000, "1m"),
    ];
    for (count, name) in filters {
        let one = flow(100, 100, To::OneOf(count), QoS::AtMostOnce, 64);
        rows.push(Row {
            large: count > 100_000,
            ..row(format!("filters-{name}"), Scenario::Traffic(one))
        });
    }
    rows.extend(ALL_QOS[..2].iter().map(|&qos| {
        let steady = paced(100, 1000, qos, false);
        row(format!("rate-q{}", qos.bits()), steady)
    }));
    rows.push(row("trickle-alone", paced(1, 100, QoS::AtMostOnce, false)));
    rows.push(row("trickle-flood", paced(1, 100, QoS::AtMostOnce, true)));
    rows.push(row("saturated", Scenario::Saturation(SATURATION)));
    rows.push(row(
        "connect",
        Scenario::Connects(Connects { together: 50 }, VISITS),
    ));
    let idle = Idle {
        count: 10_000,
        stay: false,
    };
    rows.push(row("idle-10k", Scenario::Idle(idle)));
    for (count, name) in [(100_000, "retained-100k"), (1_000_000, "retained-1m")] {
        rows.push(Row {
            large: count > 100_000,
            ..row(name, Scenario::Retained(Retained { count }))
        });
    }
    rows.push(row("offline-100k", Scenario::Offline(Offline { count: 100_000 })));
    for receivers in [1, 4] {
        let large = Large {
            receivers,
            payload_bytes: LARGEST,
        };
        rows.push(row(format!("payload-256m-{receivers}"), Scenario::Large(large)));
    }
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        rows.push(Row {
            table: Table::Plugins,
            ..pairs(&format!("hooks-q{}", qos.bits()), qos, 256)
        });
    }
    rows
}

const SATURATION: Saturation = Saturation {
    publishers: 20,
    receivers: 20,
    watchers: 50,
    payload_bytes: 1024,
};

fn row(name: impl Into<String>, scenario: Scenario) -> Row {
    Row {
        name: name.into(),
        table: Table::Brokers,
        large: false,
        version: ProtocolVersion::V311,
        scenario,
    }
}

fn pairs(name: &str, qos: QoS, payload_bytes: usize) -> Row {
    row(
        name,
        Scenario::Traffic(flow(100, 100, To::Own, qos, payload_bytes)),
    )
}

fn flow(publishers: usize, receivers: usize, to: To, qos: QoS, payload_bytes: usize) -> Traffic {
    Traffic {
        publishers,
        receivers,
        to,
        window: UNDER_WAY / publishers as u64,
        qos,
        payload_bytes,
        timed: false,
    }
}

fn paced(pairs: usize, per_second: u64, qos: QoS, flood: bool) -> Scenario {
    Scenario::Paced(Paced {
        pairs,
        per_second,
        qos,
        payload_bytes: 256,
        flood,
    })
}

impl Row {
    /// Runs it once against a broker that has just started.
    pub(crate) fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let mut bed = bed.clone();
        bed.login.version = self.version;
        match &self.scenario {
            Scenario::Traffic(traffic) => traffic.run(&bed),
            Scenario::Paced(paced) => {
                // A percentile of a few messages says nothing.
                bed.time = bed.time.max(PACED_MIN);
                paced.run(&bed)
            }
            Scenario::Connects(connects, count) => {
                bed.count.get_or_insert(*count);
                connects.run(&bed)
            }
            Scenario::Idle(idle) => idle.run(&bed),
            Scenario::Retained(retained) => retained.run(&bed),
            Scenario::Offline(offline) => offline.run(&bed),
            Scenario::Large(large) => large.run(&bed),
            Scenario::Saturation(saturation) => {
                bed.time = bed.time.max(PACED_MIN);
                saturation.run(&bed)
            }
        }
    }
}

/// What is told in percentiles takes so long at least.
const PACED_MIN: std::time::Duration = std::time::Duration::from_secs(2);
