//! Connections that do nothing: what they cost to open, and the memory that each takes, without and with a subscription.

use std::io;

use jackfield_tests::wire::Version;

use super::handshake::{open, subscribe_all};
use super::{Bed, Figure};
use crate::clients::Clients;
use crate::ledger::Faults;

/// Connections before those that count, so that what the broker allocates once isn't counted.
const FIRST: usize = 100;

pub(super) fn run(bed: &Bed, row: &str, count: usize) -> io::Result<Vec<Figure>> {
    let version = Version::V311;
    let mut clients = Clients::new()?;
    open(&mut clients, bed.addr, version, "first", FIRST)?;
    let before = bed.resident()?;
    let meter = bed.begin()?;
    open(&mut clients, bed.addr, version, "idle", count)?;
    let opening = meter.end(bed)?;
    let open = bed.resident()?;
    let meter = bed.begin()?;
    let wishes = (0..count).map(|at| (FIRST + at, format!("bench/idle/{at}")));
    subscribe_all(&mut clients, version, 0, wishes)?;
    let subscribing = meter.end(bed)?;
    let subscribed = bed.resident()?;

    let figure = |row: String, spent, bytes: f64| {
        let mut figure = Figure::new(row, count as u64, spent, Faults::default());
        figure.bytes_each = Some(bytes / count as f64);
        figure
    };
    Ok(vec![
        figure(format!("{row}: open"), opening, open - before),
        figure(
            format!("{row}: with a subscription"),
            subscribing,
            subscribed - before,
        ),
    ])
}
