//! What comes before a load: many connections are opened, many filters subscribed, and every answer is checked.

use std::net::TcpStream;

use broker_proto::{Connect, Decoder, Packet};
use broker_types::{ProtocolVersion, QoS};

use super::{PATIENCE, waited};
use crate::clients::{Clients, Outs, Talk};
use crate::packet::{CONNACK, Frame, SUBACK, disconnect, subscribe};
use crate::{Bed, LoadError};

/// Requests that wait for their answers at a time.
const WAITING: usize = 100;
/// Filters in one SUBSCRIBE.
const FILTERS: usize = 50;

/// Requests, each answered by one packet.
struct Asking<I> {
    requests: I,
    answer: u8,
    version: ProtocolVersion,
    waiting: usize,
    exhausted: bool,
    /// The smallest Receive Maximum of the CONNACKs.
    receive_maximum: u16,
}

type Request = Result<(usize, Vec<u8>), LoadError>;

impl<I: Iterator<Item = Request>> Asking<I> {
    fn fill(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        while self.waiting < WAITING && !self.exhausted {
            match self.requests.next() {
                Some(request) => {
                    let (who, packet) = request?;
                    outs.send(who, &packet);
                    self.waiting += 1;
                }
                None => self.exhausted = true,
            }
        }
        Ok(())
    }
}

impl<I: Iterator<Item = Request>> Talk for Asking<I> {
    fn packet(&mut self, _: &mut Outs, _: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        if frame.kind() != self.answer {
            return Err(LoadError::unexpected(frame));
        }
        let decoder = Decoder::client(self.version, u32::MAX);
        match decoder.decode(frame.bytes()) {
            Ok(Packet::ConnAck(connack)) if !connack.reason.is_error() => {
                self.receive_maximum = self.receive_maximum.min(connack.receive_maximum);
            }
            Ok(Packet::SubAck(suback)) => {
                if let Some(refused) = suback.reasons.iter().find(|reason| reason.is_error()) {
                    return Err(LoadError::NotSubscribed(*refused));
                }
            }
            _ => return Err(LoadError::connack(frame, self.version)),
        }
        self.waiting -= 1;
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        self.fill(outs)
    }

    fn done(&self) -> bool {
        self.exhausted && self.waiting == 0
    }
}

/// Sends requests, not too many at a time, and waits until each has its answer. Returns the Receive Maximum.
fn ask(
    clients: &mut Clients,
    version: ProtocolVersion,
    answer: u8,
    requests: impl Iterator<Item = Request>,
    doing: &'static str,
) -> Result<u16, LoadError> {
    let mut asking = Asking {
        requests,
        answer,
        version,
        waiting: 0,
        exhausted: false,
        receive_maximum: u16::MAX,
    };
    asking.fill(clients.outs())?;
    waited(clients.talk(PATIENCE, &mut asking)?, doing)?;
    Ok(asking.receive_maximum)
}

/// Connections that were opened.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// The number of the first; the others follow.
    pub(super) first: usize,
    /// QoS 1 and 2 messages that the broker allows each to have under way.
    pub(super) receive_maximum: u16,
}

/// Opens `count` connections with clean Sessions, at least one.
pub(super) fn open(clients: &mut Clients, bed: &Bed, name: &str, count: usize) -> Result<Opened, LoadError> {
    let mut first = None;
    let mut receive_maximum = u16::MAX;
    let mut left = count.max(1);
    while left > 0 {
        let together = left.min(WAITING);
        let mut packets = Vec::new();
        for _ in 0..together {
            let who = clients.add(TcpStream::connect(bed.addr)?)?;
            first.get_or_insert(who);
            packets.push(
                bed.login
                    .connect(&format!("{name}-{who}"), |_| {})
                    .map(|packet| (who, packet)),
            );
        }
        let allowed = ask(
            clients,
            bed.login.version,
            CONNACK,
            packets.into_iter(),
            "connecting",
        )?;
        receive_maximum = receive_maximum.min(allowed);
        left -= together;
        bed.progress.stands_at(count.saturating_sub(left) as u64);
    }
    Ok(Opened {
        first: first.expect("at least one was opened"),
        receive_maximum,
    })
}

/// Opens one connection whose CONNECT `change` had its way with.
pub(super) fn open_as(
    clients: &mut Clients,
    bed: &Bed,
    name: &str,
    change: impl FnOnce(&mut Connect<'_>),
) -> Result<usize, LoadError> {
    let who = clients.add(TcpStream::connect(bed.addr)?)?;
    let request = bed.login.connect(name, change).map(|packet| (who, packet));
    ask(
        clients,
        bed.login.version,
        CONNACK,
        std::iter::once(request),
        "connecting",
    )?;
    Ok(who)
}

/// Subscribes clients to filters; those of one client that follow each other go together.
pub(super) fn subscribe_all(
    clients: &mut Clients,
    bed: &Bed,
    qos: QoS,
    wishes: impl Iterator<Item = (usize, String)>,
) -> Result<(), LoadError> {
    let version = bed.login.version;
    let mut wishes = wishes.peekable();
    let requests = std::iter::from_fn(move || {
        let (who, first) = wishes.next()?;
        let mut filters = vec![first];
        while filters.len() < FILTERS
            && let Some((_, filter)) = wishes.next_if(|(next, _)| *next == who)
        {
            filters.push(filter);
        }
        let packet = subscribe(version, qos, filters.iter().map(String::as_str));
        Some(packet.map(|packet| (who, packet)))
    });
    ask(clients, version, SUBACK, requests, "subscribing")?;
    Ok(())
}

/// Disconnects one client and waits until the broker has closed the connection.
pub(super) fn leave(clients: &mut Clients, bed: &Bed, who: usize) -> Result<(), LoadError> {
    clients.outs().send(who, &disconnect(bed.login.version)?);
    waited(clients.talk(PATIENCE, &mut Leaving(false))?, "disconnecting")
}

struct Leaving(bool);

impl Talk for Leaving {
    fn packet(&mut self, _: &mut Outs, _: usize, _: &Frame<'_>) -> Result<(), LoadError> {
        Ok(())
    }

    fn closed(&mut self, _: usize) -> Result<(), LoadError> {
        self.0 = true;
        Ok(())
    }

    fn done(&self) -> bool {
        self.0
    }
}
