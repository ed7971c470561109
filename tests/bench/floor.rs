//! The floor: a relay that does nothing a relay could leave out. It cuts frames, looks the exact topic up, copies the
//! frame into each receiver's buffer and writes each buffer once a round. No sessions, wildcards, hooks or limits, and it
//! trusts its clients: what it costs, any broker must cost.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use broker_loadgen::packet::{
    CONNECT, DISCONNECT, Frame, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, answer,
};
use broker_loadgen::{Clients, LoadError, Outs, Talk};
use broker_types::ProtocolVersion;
use foldhash::{HashMap, HashMapExt as _};

struct Relay {
    peers: Vec<Peer>,
    receivers: HashMap<Box<[u8]>, Vec<usize>>,
    somebody_waits: bool,
}

#[derive(Clone, Copy)]
struct Peer {
    version: ProtocolVersion,
    next_id: u16,
}

/// Relays until somebody ends the process.
pub(crate) fn run(port: u16, direct: bool) -> Result<(), LoadError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let clients = Clients::new()?;
    let mut clients = if direct { clients.write_through() } else { clients };
    clients.watch(&listener)?;
    let mut relay = Relay {
        peers: Vec::new(),
        receivers: HashMap::new(),
        somebody_waits: false,
    };
    loop {
        clients.round(FOREVER, &mut relay)?;
        while std::mem::take(&mut relay.somebody_waits) {
            match listener.accept() {
                Ok((stream, _)) => {
                    clients.add(stream)?;
                    relay.peers.push(Peer {
                        version: ProtocolVersion::V311,
                        next_id: 0,
                    });
                    relay.somebody_waits = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Talk for Relay {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        match frame.kind() {
            PUBLISH => self.publish(outs, from, frame),
            PUBREC => outs.send(from, &answer(PUBREL | 2, frame.acked())),
            PUBREL => outs.send(from, &answer(PUBCOMP, frame.acked())),
            CONNECT => self.connect(outs, from, frame),
            SUBSCRIBE => self.subscribe(outs, from, frame),
            PINGREQ => outs.send(from, &[0xd0, 0]),
            DISCONNECT => outs.close(from),
            _ => {}
        }
        Ok(())
    }

    fn closed(&mut self, _: usize) -> Result<(), LoadError> {
        Ok(())
    }

    fn woken(&mut self) -> Result<(), LoadError> {
        self.somebody_waits = true;
        Ok(())
    }
}

impl Relay {
    fn connect(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) {
        let v5 = frame.body()[6] == 5;
        self.peers[from].version = if v5 {
            ProtocolVersion::V5
        } else {
            ProtocolVersion::V311
        };
        let connack: &[u8] = if v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        outs.send(from, connack);
    }

    fn publish(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) {
        let qos = frame.qos();
        for &to in self.receivers.get(frame.topic()).into_iter().flatten() {
            let peer = &mut self.peers[to];
            outs.send_with(to, |buffer| {
                let at = buffer.len();
                buffer.extend_from_slice(frame.bytes());
                if qos > 0 {
                    peer.next_id = peer.next_id.checked_add(1).unwrap_or(1);
                    let at = at + frame.id_at();
                    buffer[at..at + 2].copy_from_slice(&peer.next_id.to_be_bytes());
                }
            });
        }
        match qos {
            0 => {}
            1 => outs.send(from, &answer(PUBACK, frame.id())),
            _ => outs.send(from, &answer(PUBREC, frame.id())),
        }
    }

    /// Takes the first filter for a Topic Name.
    fn subscribe(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) {
        let [high, low] = frame.acked();
        let v5 = self.peers[from].version.is_v5();
        let filter = &frame.body()[if v5 { 3 } else { 2 }..];
        let length = usize::from(u16::from_be_bytes([filter[0], filter[1]]));
        let (topic, options) = filter[2..].split_at(length);
        self.receivers.entry(topic.into()).or_default().push(from);
        let granted = options[0] & 3;
        match v5 {
            false => outs.send(from, &[SUBACK, 3, high, low, granted]),
            true => outs.send(from, &[SUBACK, 4, high, low, 0, granted]),
        }
    }
}

const FOREVER: Duration = Duration::from_secs(3600);
