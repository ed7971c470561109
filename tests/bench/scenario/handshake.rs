//! What comes before a load: many connections are opened, many filters subscribed, and every answer is checked.

use std::io;
use std::net::{SocketAddr, TcpStream};

use jackfield_tests::wire::{Connect, Version, Wire as _, disconnect, subscribe};

use super::{PATIENCE, gave_up};
use crate::clients::{Clients, Outs, Talk};
use crate::packet::{CONNACK, Frame, SUBACK};

/// Requests that wait for their answers at a time.
const WAITING: usize = 100;
/// Filters in one SUBSCRIBE.
const FILTERS: usize = 50;

/// Requests, each answered by one packet.
struct Asking<I> {
    requests: I,
    answer: u8,
    waiting: usize,
    exhausted: bool,
}

impl<I: Iterator<Item = (usize, Vec<u8>)>> Asking<I> {
    fn fill(&mut self, outs: &mut Outs) {
        while self.waiting < WAITING && !self.exhausted {
            match self.requests.next() {
                Some((who, packet)) => {
                    outs.send(who, &packet);
                    self.waiting += 1;
                }
                None => self.exhausted = true,
            }
        }
    }
}

impl<I: Iterator<Item = (usize, Vec<u8>)>> Talk for Asking<I> {
    fn packet(&mut self, _: &mut Outs, _: usize, frame: &Frame<'_>) -> io::Result<()> {
        let code = match self.answer {
            CONNACK => frame.body()[1],
            _ => frame.body().last().copied().unwrap_or(0x80),
        };
        if frame.kind() != self.answer || code >= 0x80 || (self.answer == CONNACK && code != 0) {
            return Err(io::Error::other(format!("refused: {:02x?}", frame.bytes())));
        }
        self.waiting -= 1;
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) {
        self.fill(outs);
    }

    fn done(&self) -> bool {
        self.exhausted && self.waiting == 0
    }
}

/// Sends requests, not too many at a time, and waits until each has its answer.
fn ask(
    clients: &mut Clients,
    answer: u8,
    requests: impl Iterator<Item = (usize, Vec<u8>)>,
    what: &str,
) -> io::Result<()> {
    let mut asking = Asking {
        requests,
        answer,
        waiting: 0,
        exhausted: false,
    };
    asking.fill(clients.outs());
    match clients.talk(PATIENCE, &mut asking)? {
        true => Ok(()),
        false => Err(gave_up(what)),
    }
}

/// Opens `count` connections with clean Sessions; returns the number of the first.
pub(super) fn open(
    clients: &mut Clients,
    addr: SocketAddr,
    version: Version,
    name: &str,
    count: usize,
) -> io::Result<usize> {
    let mut first = None;
    let mut left = count;
    while left > 0 {
        let together = left.min(WAITING);
        let mut packets = Vec::new();
        for _ in 0..together {
            let who = clients.add(TcpStream::connect(addr)?)?;
            first.get_or_insert(who);
            let id = format!("{name}-{who}");
            packets.push((who, Connect::new(addr, version, id).keep_alive(600).wire(version)));
        }
        ask(clients, CONNACK, packets.into_iter(), "connecting")?;
        left -= together;
    }
    first.ok_or_else(|| io::Error::other("no connections"))
}

/// Opens one connection as described.
pub(super) fn open_as(
    clients: &mut Clients,
    addr: SocketAddr,
    version: Version,
    connect: &Connect,
) -> io::Result<usize> {
    let who = clients.add(TcpStream::connect(addr)?)?;
    let packet = connect.wire(version);
    ask(clients, CONNACK, std::iter::once((who, packet)), "connecting")?;
    Ok(who)
}

/// Subscribes clients to filters; those of one client that follow each other go together.
pub(super) fn subscribe_all(
    clients: &mut Clients,
    version: Version,
    qos: u8,
    wishes: impl Iterator<Item = (usize, String)>,
) -> io::Result<()> {
    let mut wishes = wishes.peekable();
    let requests = std::iter::from_fn(move || {
        let (who, first) = wishes.next()?;
        let mut packet = subscribe(1).filter(first, qos);
        for _ in 1..FILTERS {
            match wishes.next_if(|(next, _)| *next == who) {
                Some((_, filter)) => packet = packet.filter(filter, qos),
                None => break,
            }
        }
        Some((who, packet.wire(version)))
    });
    ask(clients, SUBACK, requests, "subscribing")
}

/// Disconnects one client and waits until the broker has closed the connection.
pub(super) fn leave(clients: &mut Clients, version: Version, who: usize) -> io::Result<()> {
    clients.outs().send(who, &disconnect().wire(version));
    let mut leaving = Leaving(false);
    match clients.talk(PATIENCE, &mut leaving)? {
        true => Ok(()),
        false => Err(gave_up("disconnecting")),
    }
}

struct Leaving(bool);

impl Talk for Leaving {
    fn packet(&mut self, _: &mut Outs, _: usize, _: &Frame<'_>) -> io::Result<()> {
        Ok(())
    }

    fn closed(&mut self, _: usize) -> io::Result<()> {
        self.0 = true;
        Ok(())
    }

    fn done(&self) -> bool {
        self.0
    }
}
