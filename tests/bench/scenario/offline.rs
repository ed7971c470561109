//! A Session whose client is away: what it costs to queue a QoS 1 message for it, the memory that takes, and what it costs
//! to deliver all of them when the client comes back.

use std::io;
use std::net::TcpStream;

use jackfield_tests::wire::{Connect, Version, Wire as _};

use super::handshake::{leave, open, open_as, subscribe_all};
use super::stream::{Publishing, Receiving};
use super::{Bed, Figure, UNDER_WAY};
use crate::clients::Clients;
use crate::ledger::{Faults, Ledger, Spread};
use crate::packet::Template;

const PAYLOAD: usize = 64;
const TOPIC: &str = "bench/offline";

pub(super) fn run(bed: &Bed, row: &str, count: u64) -> io::Result<Vec<Figure>> {
    let version = Version::V311;
    let mut clients = Clients::new()?;
    let away = Connect::new(bed.addr, version, "away").durable();
    let first = open_as(&mut clients, bed.addr, version, &away)?;
    let wish = (first, TOPIC.to_owned());
    subscribe_all(&mut clients, version, 1, std::iter::once(wish))?;
    leave(&mut clients, version, first)?;
    let publisher = open(&mut clients, bed.addr, version, "pub", 1)?;

    let before = bed.resident()?;
    let template = Template::new(version, TOPIC, 1, false, PAYLOAD);
    let mut publishing = Publishing::new(publisher, template, count, UNDER_WAY);
    let meter = bed.begin()?;
    publishing.run(&mut clients)?;
    let queueing = meter.end(bed)?;
    let queued = bed.resident()?;

    let mut receiving = Receiving {
        ledger: Ledger::new(1, 1, Spread::All),
        count,
    };
    let meter = bed.begin()?;
    let back = clients.add(TcpStream::connect(bed.addr)?)?;
    clients.outs().send(back, &away.wire(version));
    receiving.run(&mut clients)?;
    let draining = meter.end(bed)?;

    let refused = Faults {
        refused: publishing.refused,
        ..Faults::default()
    };
    let mut queue = Figure::new(format!("{row}: queue"), count, queueing, refused);
    queue.bytes_each = Some((queued - before) / count as f64);
    let received = receiving.ledger.received();
    let faults = receiving.ledger.faults(count);
    let drain = Figure::new(format!("{row}: drain"), received, draining, faults);
    Ok(vec![queue, drain])
}
