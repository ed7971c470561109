//! A blocking test client: raw sends, strict receives, every wait bounded.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::parse::parse;
use super::wishes::Wishes;
use super::{
    Acked, Connack, Kind, Packet, Property, Publish, Received, Suback, Subscribe, Version, Wire, disconnect,
    pingreq, puback, pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe,
};

/// How long a client waits for what must come before it fails the test.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// One Network Connection, read and written by the test.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    /// Packets that came while a helper waited for another one.
    early: VecDeque<Packet>,
    next_id: u16,
    wishes: Wishes,
    /// The CONNACK, once it came.
    pub connack: Connack,
}

impl Client {
    /// Opens a Network Connection and sends nothing.
    ///
    /// # Panics
    /// If nobody accepts.
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
    ///
    /// # Panics
    /// If the server does not end the connection.
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
    ///
    /// # Panics
    /// If none comes before the deadline, the connection ends, or the packet breaks the standard.
    #[track_caller]
    pub fn recv(&mut self) -> Packet {
        self.next_packet()
            .expect("a packet, not the end of the connection")
    }

    /// Returns the next packet, or `None` when the server has closed the connection.
    ///
    /// # Panics
    /// If neither happens before the deadline, or the packet breaks the standard.
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

    /// Expects a CONNACK with success and keeps it.
    ///
    /// # Panics
    /// If anything else comes.
    #[track_caller]
    pub fn expect_accepted(&mut self) -> &mut Self {
        match self.recv() {
            Packet::Connack(connack) if connack.code == 0 => self.connack = connack,
            other => panic!("expected to be accepted, got {other:?}"),
        }
        self
    }

    /// Expects that nothing more comes: a PINGREQ is answered next.
    ///
    /// # Panics
    /// If another packet comes first.
    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Self {
        self.send(pingreq());
        assert_eq!(self.recv(), Packet::Pingresp, "expected silence");
        self
    }

    /// Makes sure that the server has handled all that was sent; packets that come meanwhile are kept for later.
    #[track_caller]
    pub fn sync(&mut self) -> &mut Self {
        self.send(pingreq());
        self.wait_for(|packet| matches!(packet, Packet::Pingresp).then_some(()));
        self
    }

    /// Takes the messages that came while a helper waited, acknowledged at QoS 1, and returns their payloads as text.
    ///
    /// # Panics
    /// If there is another packet among them.
    #[track_caller]
    pub fn pending(&mut self) -> Vec<String> {
        let mut payloads = Vec::new();
        while let Some(packet) = self.early.pop_front() {
            let Packet::Publish(received) = packet else {
                panic!("expected a PUBLISH, got {packet:?}")
            };
            if received.qos == 1 {
                self.send(puback(received.id));
            }
            payloads.push(lossy(&received.payload));
        }
        payloads
    }

    /// Returns what `choose` makes of the first packet it takes; the others stay for later.
    #[track_caller]
    fn wait_for<T>(&mut self, choose: impl Fn(&Packet) -> Option<T>) -> T {
        loop {
            let packet = self.read_packet().expect("the connection stays open");
            match choose(&packet) {
                Some(chosen) => return chosen,
                None => self.early.push_back(packet),
            }
        }
    }

    /// Expects the server to close the connection without another packet.
    ///
    /// # Panics
    /// If a packet comes first, or nothing before the deadline.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        if let Some(packet) = self.next_packet() {
            panic!("expected the end of the connection, got {packet:?}");
        }
    }

    /// Expects the end of a connection whose client erred: 5.0 a DISCONNECT with the code first, 3.1.1 a plain close.
    ///
    /// # Panics
    /// If anything else happens.
    #[track_caller]
    pub fn expect_error(&mut self, code: u8) {
        if self.version.is_v5() {
            self.expect_disconnect(code);
        }
        self.expect_closed();
    }

    /// Expects a DISCONNECT with the code and returns its properties.
    ///
    /// # Panics
    /// If anything else comes.
    #[track_caller]
    pub fn expect_disconnect(&mut self, code: u8) -> Vec<Property> {
        match self.next_packet() {
            Some(Packet::Disconnect(reasoned)) if reasoned.code == code => reasoned.props,
            other => panic!("expected DISCONNECT {code:#04x}, got {other:?}"),
        }
    }

    /// Expects the connection to end, whatever comes before.
    ///
    /// # Panics
    /// If it stays open.
    #[track_caller]
    pub fn drain(&mut self) {
        while self.next_packet().is_some() {}
    }

    /// Returns what the server sends until it closes, as bytes: for answers whose version is not known.
    ///
    /// # Panics
    /// If it stays open.
    #[track_caller]
    pub fn drain_raw(&mut self) -> Vec<u8> {
        let until = Instant::now() + DEADLINE;
        while self.read_some(until) {}
        std::mem::take(&mut self.buffer)
    }

    /// Expects a PUBLISH and returns it unacknowledged.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_any_publish(&mut self) -> Received {
        match self.recv() {
            Packet::Publish(received) => received,
            other => panic!("expected a PUBLISH, got {other:?}"),
        }
    }

    /// Expects a PUBLISH of this topic and payload and returns it unacknowledged.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Received {
        let received = self.expect_any_publish();
        let same = received.topic == topic && received.payload == payload.as_ref();
        assert!(
            same,
            "expected {topic:?} {:?}, got {received:?}",
            lossy(payload.as_ref())
        );
        received
    }

    /// Expects a PUBLISH of this topic and payload and completes its QoS exchange.
    ///
    /// # Panics
    /// If anything else happens.
    #[track_caller]
    pub fn take(&mut self, topic: &str, payload: impl AsRef<[u8]>) -> Received {
        let received = self.expect_publish(topic, payload);
        self.acknowledge(&received);
        received
    }

    /// Completes the QoS exchange of a PUBLISH that was received.
    ///
    /// # Panics
    /// If the server does not do its part.
    #[track_caller]
    pub fn acknowledge(&mut self, received: &Received) {
        match received.qos {
            0 => {}
            1 => {
                self.send(puback(received.id));
            }
            _ => {
                self.send(pubrec(received.id));
                self.wait_ack(Kind::Pubrel, received.id, 0);
                self.send(pubcomp(received.id));
            }
        }
    }

    /// Expects an acknowledgement with this identifier and code next.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_ack(&mut self, kind: Kind, id: u16, code: u8) -> Acked {
        match self.recv() {
            Packet::Ack(acked) if (acked.kind, acked.id, acked.code) == (kind, id, code) => acked,
            other => panic!("expected {kind:?} {id} {code:#04x}, got {other:?}"),
        }
    }

    /// Expects an acknowledgement with this identifier next, be there subscribers or not.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_some_ack(&mut self, kind: Kind, id: u16) -> Acked {
        match self.recv() {
            Packet::Ack(acked) if acked.kind == kind && acked.id == id && matches!(acked.code, 0 | 0x10) => {
                acked
            }
            other => panic!("expected {kind:?} {id}, got {other:?}"),
        }
    }

    /// Expects PUBACK or PUBREC or … with this identifier, success; other packets that come before are kept.
    #[track_caller]
    fn wait_ack(&mut self, kind: Kind, id: u16, code: u8) {
        let acked = self.wait_for(|packet| match packet {
            Packet::Ack(acked) if acked.kind == kind && acked.id == id => Some(acked.clone()),
            Packet::Disconnect(reasoned) => panic!("waiting for {kind:?} {id}, got {reasoned:?}"),
            _ => None,
        });
        // 0x10 says that nobody was subscribed, which most tests don't care about.
        assert!(acked.code == code || acked.code == 0x10, "{acked:?}");
    }

    /// Publishes and completes the QoS exchange; when it returns, the message has been routed.
    ///
    /// # Panics
    /// If the server does not do its part.
    #[track_caller]
    pub fn publish(&mut self, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) -> &mut Self {
        self.publish_packet(publish(topic, payload), qos)
    }

    /// Publishes with RETAIN set.
    ///
    /// # Panics
    /// If the server does not do its part.
    #[track_caller]
    pub fn retain(&mut self, topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, qos: u8) -> &mut Self {
        self.publish_packet(publish(topic, payload).retain(), qos)
    }

    /// Publishes a prepared packet at some QoS, under a fresh Packet Identifier, and completes the exchange.
    ///
    /// # Panics
    /// If the server does not do its part.
    #[track_caller]
    pub fn publish_packet(&mut self, packet: Publish, qos: u8) -> &mut Self {
        if qos == 0 {
            return self.send(packet).sync();
        }
        let id = self.id();
        self.send(packet.qos(qos, id));
        if qos == 1 {
            self.wait_ack(Kind::Puback, id, 0);
        } else {
            self.wait_ack(Kind::Pubrec, id, 0);
            self.send(pubrel(id));
            self.wait_ack(Kind::Pubcomp, id, 0);
        }
        self
    }

    /// Subscribes to one filter and expects it to be granted as asked. Messages that come before the SUBACK are kept.
    ///
    /// # Panics
    /// If it is not granted.
    #[track_caller]
    pub fn subscribe(&mut self, filter: impl AsRef<[u8]>, options: u8) -> &mut Self {
        let id = self.id();
        let suback = self.suback(subscribe(id).filter(filter, options));
        assert_eq!(suback.codes, [options & 3], "granted");
        self
    }

    /// Sends a SUBSCRIBE and returns its SUBACK. Messages that come before it are kept.
    ///
    /// # Panics
    /// If no SUBACK comes.
    #[track_caller]
    pub fn suback(&mut self, packet: Subscribe) -> Suback {
        self.send(packet);
        self.wait_suback(false)
    }

    /// Unsubscribes from one filter and expects success. Messages that come before the UNSUBACK are kept.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn unsubscribe(&mut self, filter: impl AsRef<[u8]>) -> &mut Self {
        let id = self.id();
        self.send(unsubscribe(id).filter(filter));
        let unsuback = self.wait_suback(true);
        assert!(
            unsuback.id == id && unsuback.codes.iter().all(|code| *code == 0),
            "{unsuback:?}"
        );
        self
    }

    /// Unsubscribes from a filter that is not held and expects to be told so.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn unsubscribe_missing(&mut self, filter: impl AsRef<[u8]>) -> &mut Self {
        let id = self.id();
        self.send(unsubscribe(id).filter(filter));
        let unsuback = self.wait_suback(true);
        assert!(
            unsuback.id == id && unsuback.codes.iter().all(|code| *code == 0x11),
            "{unsuback:?}"
        );
        self
    }

    #[track_caller]
    fn wait_suback(&mut self, un: bool) -> Suback {
        self.wait_for(|packet| match packet {
            Packet::Suback(suback) if suback.un == un => Some(suback.clone()),
            Packet::Disconnect(reasoned) => panic!("waiting for a SUBACK, got {reasoned:?}"),
            _ => None,
        })
    }

    /// Expects a SUBACK next.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_suback(&mut self, id: u16, codes: &[u8]) -> Suback {
        self.expect_sub_or_unsuback(false, id, codes)
    }

    /// Expects an UNSUBACK next; 3.1.1: without codes.
    ///
    /// # Panics
    /// If another packet comes.
    #[track_caller]
    pub fn expect_unsuback(&mut self, id: u16, codes: &[u8]) -> Suback {
        self.expect_sub_or_unsuback(true, id, codes)
    }

    #[track_caller]
    fn expect_sub_or_unsuback(&mut self, un: bool, id: u16, codes: &[u8]) -> Suback {
        match self.recv() {
            Packet::Suback(suback) if suback.un == un && suback.id == id => {
                assert_eq!(suback.codes, codes, "codes of {suback:?}");
                suback
            }
            other => panic!("expected the answer to {id}, got {other:?}"),
        }
    }

    /// Disconnects in good order and waits until the server has closed.
    ///
    /// # Panics
    /// If the server sends anything or stays.
    #[track_caller]
    pub fn disconnect(&mut self) {
        self.send(disconnect());
        self.expect_closed();
    }
}

impl Received {
    /// Returns whether the property is there.
    #[must_use]
    pub fn has(&self, prop: &Property) -> bool {
        self.props.contains(prop)
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}

fn lossy(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=200 => String::from_utf8_lossy(bytes).into_owned(),
        length => format!("{length} bytes"),
    }
}
