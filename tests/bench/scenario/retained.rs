//! Many Retained Messages: what it costs to keep one, the memory it takes, and what it costs to return all of them to a
//! new subscription with a wildcard.

use std::io;

use jackfield_tests::wire::{Version, Wire as _, subscribe};

use super::handshake::open;
use super::stream::{Publishing, Receiving};
use super::{Bed, Figure, UNDER_WAY};
use crate::clients::Clients;
use crate::ledger::{Faults, Ledger, Spread};
use crate::packet::{Template, numbered};

const PAYLOAD: usize = 64;

pub(super) fn run(bed: &Bed, row: &str, count: usize) -> io::Result<Vec<Figure>> {
    let version = Version::V311;
    let mut clients = Clients::new()?;
    let publisher = open(&mut clients, bed.addr, version, "pub", 1)?;
    let topic = format!("bench/retained/{}", numbered(0));
    let template = Template::new(version, &topic, 1, true, PAYLOAD);
    let mut publishing = Publishing::new(publisher, template, count as u64, UNDER_WAY);
    publishing.topic_number_at = Some("bench/retained/".len());

    let before = bed.resident()?;
    let meter = bed.begin()?;
    publishing.run(&mut clients)?;
    let storing = meter.end(bed)?;
    let stored = bed.resident()?;

    let receiver = open(&mut clients, bed.addr, version, "sub", 1)?;
    let mut receiving = Receiving {
        // The order of Retained Messages is the broker's.
        ledger: Ledger::new(1, 1, Spread::All),
        count: count as u64,
    };
    let meter = bed.begin()?;
    let packet = subscribe(1).filter("bench/retained/#", 0).wire(version);
    clients.outs().send(receiver, &packet);
    receiving.run(&mut clients)?;
    let returning = meter.end(bed)?;

    let stored_faults = Faults {
        refused: publishing.refused,
        ..Faults::default()
    };
    let returned_faults = Faults {
        disordered: 0,
        ..receiving.ledger.faults(count as u64)
    };
    let mut store = Figure::new(format!("{row}: store"), count as u64, storing, stored_faults);
    store.bytes_each = Some((stored - before) / count as f64);
    let received = receiving.ledger.received();
    let returned = Figure::new(format!("{row}: return"), received, returning, returned_faults);
    Ok(vec![store, returned])
}
