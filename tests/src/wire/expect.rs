//! What must come next: each of these fails the test, at the caller's line, if anything else comes.

use super::{Acked, Client, Kind, Packet, Property, Received, Suback, pingreq};

impl Client {
    /// Expects a CONNACK with success and keeps it.
    #[track_caller]
    pub fn expect_accepted(&mut self) -> &mut Self {
        match self.recv() {
            Packet::Connack(connack) if connack.code == 0 => self.connack = connack,
            other => panic!("expected to be accepted, got {other:?}"),
        }
        self
    }

    /// Expects that nothing more comes: a PINGREQ is answered next.
    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Self {
        self.send(pingreq());
        assert_eq!(self.recv(), Packet::Pingresp, "expected silence");
        self
    }

    /// Expects the server to close the connection without another packet.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        if let Some(packet) = self.next_packet() {
            panic!("expected the end of the connection, got {packet:?}");
        }
    }

    /// Expects the end of a connection whose client erred: 5.0 a DISCONNECT with the code first, 3.1.1 a plain close.
    #[track_caller]
    pub fn expect_error(&mut self, code: u8) {
        if self.version.is_v5() {
            self.expect_disconnect(code);
        }
        self.expect_closed();
    }

    /// Expects a DISCONNECT with the code and returns its properties.
    #[track_caller]
    pub fn expect_disconnect(&mut self, code: u8) -> Vec<Property> {
        match self.next_packet() {
            Some(Packet::Disconnect(reasoned)) if reasoned.code == code => reasoned.props,
            other => panic!("expected DISCONNECT {code:#04x}, got {other:?}"),
        }
    }

    /// Expects a PUBLISH and returns it unacknowledged.
    #[track_caller]
    pub fn expect_any_publish(&mut self) -> Received {
        match self.recv() {
            Packet::Publish(received) => received,
            other => panic!("expected a PUBLISH, got {other:?}"),
        }
    }

    /// Expects a PUBLISH of this topic and payload and returns it unacknowledged.
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

    /// Expects an acknowledgement with this identifier and code next.
    #[track_caller]
    pub fn expect_ack(&mut self, kind: Kind, id: u16, code: u8) -> Acked {
        match self.recv() {
            Packet::Ack(acked) if (acked.kind, acked.id, acked.code) == (kind, id, code) => acked,
            other => panic!("expected {kind:?} {id} {code:#04x}, got {other:?}"),
        }
    }

    /// Expects an acknowledgement with this identifier next, be there subscribers or not.
    #[track_caller]
    pub fn expect_some_ack(&mut self, kind: Kind, id: u16) -> Acked {
        match self.recv() {
            Packet::Ack(acked) if acked.kind == kind && acked.id == id && matches!(acked.code, 0 | 0x10) => {
                acked
            }
            other => panic!("expected {kind:?} {id}, got {other:?}"),
        }
    }

    /// Expects a SUBACK next.
    #[track_caller]
    pub fn expect_suback(&mut self, id: u16, codes: &[u8]) -> Suback {
        self.expect_sub_or_unsuback(false, id, codes)
    }

    /// Expects an UNSUBACK next; 3.1.1: without codes.
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
}

impl Received {
    /// Returns whether the property is there.
    #[must_use]
    pub fn has(&self, prop: &Property) -> bool {
        self.props.contains(prop)
    }
}

fn lossy(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=200 => String::from_utf8_lossy(bytes).into_owned(),
        length => format!("{length} bytes"),
    }
}
