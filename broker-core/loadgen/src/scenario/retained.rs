//! Many Retained Messages: what it costs to keep one, the memory it takes, and what it costs to return all of them to a
//! new subscription with a wildcard.

use broker_types::QoS;

use super::handshake::open;
use super::stream::{Publishing, Receiving};
use super::{SMALL_BYTES, UNDER_WAY};
use crate::clients::Clients;
use crate::ledger::{Ledger, Spread};
use crate::packet::{Template, numbered, subscribe};
use crate::{Bed, Faults, Figure, LoadError};

/// Many Retained Messages, each with a topic of its own. They stay on the broker.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    /// How many.
    pub count: usize,
}

impl Retained {
    /// Stores them, then subscribes to all of them.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or doesn't answer.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let count = self.count as u64;
        let version = bed.login.version;
        let mut clients = Clients::new()?;
        let publisher = open(&mut clients, bed, "pub", 1)?.first;
        let folder = bed.login.topic("retained/");
        let topic = format!("{folder}{}", numbered(0));
        let template = Template::new(version, &topic, QoS::AtLeastOnce, true, SMALL_BYTES)?;
        let mut publishing = Publishing::new(publisher, template, count, UNDER_WAY);
        publishing.topic_number_at = Some(folder.len());

        let before = bed.resident()?;
        let meter = bed.begin()?;
        publishing.run(&mut clients)?;
        let storing = meter.end(bed)?;
        let stored = bed.resident()?;

        let receiver = open(&mut clients, bed, "sub", 1)?.first;
        let mut receiving = Receiving {
            version,
            ledger: Ledger::new(1, 1, Spread::All),
            count,
        };
        let packet = subscribe(version, QoS::AtMostOnce, [format!("{folder}#").as_str()])?;
        let meter = bed.begin()?;
        clients.outs().send(receiver, &packet);
        receiving.run(&mut clients)?;
        let returning = meter.end(bed)?;

        // The order of Retained Messages is the broker's.
        let returned_faults = Faults {
            disordered: 0,
            ..receiving.ledger.faults(count)
        };
        let mut store = Figure::new("store", count, storing, publishing.faults());
        store.bytes_each = bed.process.map(|_| (stored - before) / count as f64);
        let received = receiving.ledger.received();
        Ok(vec![
            store,
            Figure::new("return", received, returning, returned_faults),
        ])
    }
}
