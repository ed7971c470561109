//! A Session whose client is away: what it costs to queue a QoS 1 message for it, the memory that takes, and what it costs
//! to deliver all of them when the client comes back.

use std::net::TcpStream;

use broker_proto::Connect;
use broker_types::QoS;

use super::handshake::{leave, open, open_as, subscribe_all};
use super::stream::{Publishing, Receiving};
use super::{SMALL_BYTES, UNDER_WAY};
use crate::clients::Clients;
use crate::ledger::{Ledger, Spread};
use crate::packet::Template;
use crate::{Bed, Faults, Figure, LoadError};

/// A Session whose client is away while messages are published.
#[derive(Clone, Copy, Debug)]
pub struct Offline {
    /// How many messages.
    pub count: u64,
}

impl Offline {
    /// Queues them, then lets the client come back and take them.
    ///
    /// # Errors
    /// The broker can't be reached, refuses, or doesn't answer.
    pub fn run(&self, bed: &Bed) -> Result<Vec<Figure>, LoadError> {
        let count = self.count;
        let mut clients = Clients::new()?;
        let topic = bed.login.topic("offline");
        let first = open_as(&mut clients, bed, "away", keep)?;
        let wish = (first, topic.clone());
        subscribe_all(&mut clients, bed, QoS::AtLeastOnce, std::iter::once(wish))?;
        leave(&mut clients, bed, first)?;
        let publisher = open(&mut clients, bed, "pub", 1)?.first;

        let before = bed.resident()?;
        let template = Template::new(bed.login.version, &topic, QoS::AtLeastOnce, false, SMALL_BYTES)?;
        let mut publishing = Publishing::new(publisher, template, count, UNDER_WAY);
        let meter = bed.begin()?;
        publishing.run(&mut clients)?;
        let queueing = meter.end(bed)?;
        let queued = bed.resident()?;

        let mut receiving = Receiving {
            version: bed.login.version,
            ledger: Ledger::new(1, 1, Spread::All),
            count,
        };
        let meter = bed.begin()?;
        let back = clients.add(TcpStream::connect(bed.addr)?)?;
        clients.outs().send(back, &bed.login.connect("away", keep)?);
        receiving.run(&mut clients)?;
        let draining = meter.end(bed)?;

        let mut queue = Figure::new("queue", count, queueing, publishing.faults());
        queue.bytes_each = bed.process.map(|_| (queued - before) / count as f64);
        let received = receiving.ledger.received();
        let faults: Faults = receiving.ledger.faults(count);
        Ok(vec![queue, Figure::new("drain", received, draining, faults)])
    }
}

/// The Session outlives the connection.
fn keep(connect: &mut Connect<'_>) {
    connect.clean_start = false;
    connect.session_expiry = 3600;
}
