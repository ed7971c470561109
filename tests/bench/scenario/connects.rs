//! Connections that come and go: CONNECT, CONNACK, DISCONNECT, and the end as the broker closes.

use std::io;
use std::net::{SocketAddr, TcpStream};

use jackfield_tests::wire::{Connect, Version, Wire as _, disconnect};

use super::{Bed, Figure, PATIENCE, gave_up};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::Faults;
use crate::packet::{CONNACK, Frame};

const TOGETHER: usize = 50;
const COUNT: u64 = 5000;

pub(super) fn run(bed: &Bed, row: &str) -> io::Result<Vec<Figure>> {
    let mut clients = Clients::new()?;
    let count = bed.messages.unwrap_or(COUNT);
    let mut visits = Visits {
        goodbye: disconnect().wire(Version::V311),
        ended: Vec::new(),
        left: count,
        open: 0,
    };
    let meter = bed.begin()?;
    for _ in 0..TOGETHER.min(count as usize) {
        let who = clients.add(TcpStream::connect(bed.addr)?)?;
        visits.greet(&mut clients, bed.addr, who);
    }
    while visits.open > 0 {
        if !clients.talk(PATIENCE, &mut visits)? {
            return Err(gave_up("connecting"));
        }
        for who in std::mem::take(&mut visits.ended) {
            if visits.left > 0 {
                clients.put(who, TcpStream::connect(bed.addr)?)?;
                visits.greet(&mut clients, bed.addr, who);
            }
        }
    }
    let spent = meter.end(bed)?;
    Ok(vec![Figure::new(row, count, spent, Faults::default())])
}

struct Visits {
    goodbye: Vec<u8>,
    /// Connections that the broker closed since they were last looked at.
    ended: Vec<usize>,
    left: u64,
    open: usize,
}

impl Visits {
    fn greet(&mut self, clients: &mut Clients, addr: SocketAddr, who: usize) {
        let id = format!("visitor-{}", self.left);
        let connect = Connect::new(addr, Version::V311, id);
        clients.outs().send(who, &connect.wire(Version::V311));
        self.left -= 1;
        self.open += 1;
    }
}

impl Talk for Visits {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> io::Result<()> {
        if frame.kind() != CONNACK || frame.body()[1] != 0 {
            return Err(io::Error::other(format!("refused: {:02x?}", frame.bytes())));
        }
        outs.send(from, &self.goodbye);
        Ok(())
    }

    fn closed(&mut self, who: usize) -> io::Result<()> {
        self.ended.push(who);
        self.open -= 1;
        Ok(())
    }

    fn done(&self) -> bool {
        !self.ended.is_empty()
    }
}
