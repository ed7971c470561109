//! A blocking test client: raw sends, strict receives, every wait bounded.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::parse::parse;
use super::wishes::Wishes;
use super::{Connack, Packet, Property, Version, Wire};

/// How long a client waits for what must come before it fails the test.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// One Network Connection, read and written by the test.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    pub(super) version: Version,
    buffer: Vec<u8>,
    /// Packets that came while a helper waited for another one.
    pub(super) early: VecDeque<Packet>,
    next_id: u16,
    wishes: Wishes,
    /// The CONNACK, once it came.
    pub connack: Connack,
}

impl Client {
    /// Opens a Network Connection and sends nothing.
    #[must_use]
    #[track_caller]
    pub fn open(addr: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("the broker accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a write timeout can be set");
        Self {
            stream,
            version,
            buffer: Vec::new(),
            early: VecDeque::new(),
            next_id: 0,
            wishes: Wishes::default(),
            connack: Connack::default(),
        }
    }

    /// Holds the server to what the properties of a CONNECT ask for.
    pub(super) fn wish(&mut self, props: &[Property]) {
        self.wishes = Wishes::new(props);
    }

    /// Sends a packet or raw bytes. An error is not reported: what the server did shows when reading.
    #[track_caller]
    pub fn send(&mut self, packet: impl Wire) -> &mut Self {
        let bytes = packet.wire(self.version);
        match self.stream.write_all(&bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server read nothing for {DEADLINE:?}")
            }
            _ => self,
        }
    }

    /// Returns the socket, for what a test does below MQTT.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns an unused Packet Identifier.
    pub fn id(&mut self) -> u16 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    /// Closes the Network Connection without DISCONNECT.
    pub fn abort(self) {
        drop(self);
    }

    /// Loses the Network Connection, without DISCONNECT, and waits until the server has noticed.
    #[track_caller]
    pub fn lose(&mut self) {
        self.half_close().drain();
    }

    /// Ends our half of the stream: the server reads the end of it, we can still read.
    pub fn half_close(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Returns the next packet.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        self.next_packet()
            .expect("a packet, not the end of the connection")
    }

    /// Returns the next packet, or `None` when the server has closed the connection.
    #[track_caller]
    pub fn next_packet(&mut self) -> Option<Packet> {
        match self.early.pop_front() {
            Some(packet) => Some(packet),
            None => self.read_packet(),
        }
    }

    #[track_caller]
    fn read_packet(&mut self) -> Option<Packet> {
        let until = Instant::now() + DEADLINE;
        loop {
            match parse(&self.buffer, self.version) {
                Ok(Some((packet, length))) => {
                    self.buffer.drain(..length);
                    self.wishes.check(&packet, length);
                    return Some(packet);
                }
                Ok(None) => {}
                Err(rule) => panic!("the server broke a rule: {rule}: {:02x?}", head(&self.buffer)),
            }
            if !self.read_some(until) {
                assert!(
                    self.buffer.is_empty(),
                    "cut off within a packet: {:02x?}",
                    head(&self.buffer)
                );
                return None;
            }
        }
    }

    /// Reads what is there; false at the end of the stream.
    fn read_some(&mut self, until: Instant) -> bool {
        let left = until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(left))
            .expect("a read timeout can be set");
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => false,
                ErrorKind::Interrupted => true,
                _ => panic!(
                    "nothing came for {DEADLINE:?}; so far {:02x?}",
                    head(&self.buffer)
                ),
            },
        }
    }

    /// Returns what `choose` makes of the first packet it takes; the others stay for later.
    #[track_caller]
    pub(super) fn wait_for<T>(&mut self, choose: impl Fn(&Packet) -> Option<T>) -> T {
        loop {
            let packet = self.read_packet().expect("the connection stays open");
            match choose(&packet) {
                Some(chosen) => return chosen,
                None => self.early.push_back(packet),
            }
        }
    }

    /// Expects the connection to end, whatever comes before.
    #[track_caller]
    pub fn drain(&mut self) {
        while self.next_packet().is_some() {}
    }

    /// Returns what the server sends until it closes, as bytes: for answers whose version is not known.
    #[track_caller]
    pub fn drain_raw(&mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        while self.read_some(until) {}
        std::mem::take(&mut self.buffer)
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}
