//! The CONNECT packet, where to send it, and the three ways it can end: connected, refused, or left open.

use std::net::SocketAddr;

use super::{Client, Frame, Packet, Property, Version, Wire, prop};

/// A CONNECT and the address it goes to. Clean Start is set unless [`Connect::resume`] is called.
#[derive(Clone, Debug)]
pub struct Connect {
    addr: SocketAddr,
    version: Version,
    name: Vec<u8>,
    level: u8,
    flipped: u8,
    clean: bool,
    keep_alive: u16,
    props: Vec<Property>,
    client_id: Vec<u8>,
    will: Option<Will>,
    username: Option<Vec<u8>>,
    password: Option<Vec<u8>>,
}

/// A Will Message.
#[derive(Clone, Debug)]
pub struct Will {
    topic: Vec<u8>,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    props: Vec<Property>,
}

/// Builds a Will Message of QoS 0.
pub fn will(topic: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Will {
    Will {
        topic: topic.as_ref().to_vec(),
        payload: payload.as_ref().to_vec(),
        qos: 0,
        retain: false,
        props: Vec::new(),
    }
}

impl Will {
    /// Sets Will QoS.
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        self
    }

    /// Sets Will Retain.
    #[must_use]
    #[track_caller]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Adds a Will Property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Sets the Will Delay Interval in seconds.
    #[must_use]
    pub fn delay(self, secs: u32) -> Self {
        self.prop(prop::will_delay(secs))
    }
}

impl Connect {
    /// Builds a CONNECT of the version, with a clean Session, no Keep Alive, no Will and no credentials.
    pub fn new(addr: SocketAddr, version: Version, client_id: impl AsRef<[u8]>) -> Self {
        let (name, level) = match version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        Self {
            addr,
            version,
            name: name.into(),
            level,
            flipped: 0,
            clean: true,
            keep_alive: 0,
            props: Vec::new(),
            client_id: client_id.as_ref().to_vec(),
            will: None,
            username: None,
            password: None,
        }
    }

    /// Replaces protocol name and level.
    #[must_use]
    pub fn protocol(mut self, name: impl AsRef<[u8]>, level: u8) -> Self {
        self.name = name.as_ref().to_vec();
        self.level = level;
        self
    }

    /// Inverts bits of the Connect Flags; the payload stays as it is.
    #[must_use]
    pub fn flip(mut self, bits: u8) -> Self {
        self.flipped ^= bits;
        self
    }

    /// Clears Clean Start (Clean Session).
    #[must_use]
    pub fn resume(mut self) -> Self {
        self.clean = false;
        self
    }

    /// Makes the Session outlive the connection: 5.0 by a Session Expiry Interval, else by Clean Session 0.
    #[must_use]
    pub fn durable(self) -> Self {
        match self.version {
            Version::V5 => self.resume().prop(prop::session_expiry(3600)),
            _ => self.resume(),
        }
    }

    /// Sets Keep Alive in seconds.
    #[must_use]
    pub fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive = secs;
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn prop(mut self, prop: Property) -> Self {
        self.props.push(prop);
        self
    }

    /// Sets the Will Message.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Sets the User Name.
    #[must_use]
    pub fn username(mut self, username: impl AsRef<[u8]>) -> Self {
        self.username = Some(username.as_ref().to_vec());
        self
    }

    /// Sets the Password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.password = Some(password.as_ref().to_vec());
        self
    }

    /// Returns where it goes.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| {
            0x04 | will.qos << 3 | if will.retain { 0x20 } else { 0 }
        });
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = will
            | bit(self.clean, 0x02)
            | bit(self.password.is_some(), 0x40)
            | bit(self.username.is_some(), 0x80);
        flags ^ self.flipped
    }

    /// Returns the frame for further harm.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut frame = Frame::new(0x10)
            .text(&self.name)
            .u8(self.level)
            .u8(self.flags())
            .u16(self.keep_alive)
            .props_if(self.version, &self.props)
            .text(&self.client_id);
        if let Some(will) = &self.will {
            frame = frame
                .props_if(self.version, &will.props)
                .text(&will.topic)
                .text(&will.payload);
        }
        for field in [&self.username, &self.password].into_iter().flatten() {
            frame = frame.text(field);
        }
        frame
    }

    /// Opens the Network Connection and sends nothing.
    #[must_use]
    #[track_caller]
    pub fn open(&self) -> Client {
        let mut client = Client::open(self.addr, self.version);
        client.wish(&self.props);
        client
    }

    /// Opens the Network Connection, sends the CONNECT and reads nothing.
    #[must_use]
    #[track_caller]
    pub fn sent(&self) -> Client {
        self.sent_as(self.frame())
    }

    /// Connects and returns the client.
    #[must_use]
    #[track_caller]
    pub fn connect(&self) -> Client {
        let mut client = self.sent();
        client.expect_accepted();
        client
    }

    /// Connects and expects to be refused: a CONNACK with this code and then the end of the connection.
    #[track_caller]
    pub fn refused(&self, code: u8) {
        self.refused_as(self.frame(), code);
    }

    /// Connects and expects the connection to be closed without any packet.
    #[track_caller]
    pub fn closed(&self) {
        self.sent().expect_closed();
    }

    /// Expects what a Malformed Packet or Protocol Error in a CONNECT gets: 5.0 a CONNACK with the code, 3.1.1 a plain
    /// close.
    #[track_caller]
    pub fn invalid(&self, code: u8) {
        self.invalid_as(self.frame(), code);
    }

    /// Like [`Connect::invalid`], with a frame that was harmed further.
    #[track_caller]
    pub fn invalid_as(&self, frame: Frame, code: u8) {
        match self.version {
            Version::V5 => self.refused_as(frame, code),
            _ => self.sent_as(frame).expect_closed(),
        }
    }

    #[track_caller]
    fn refused_as(&self, frame: Frame, code: u8) {
        let mut client = self.sent_as(frame);
        match client.recv() {
            Packet::Connack(connack) => assert_eq!(connack.code, code, "Reason Code of {connack:?}"),
            other => panic!("expected CONNACK {code:#04x}, got {other:?}"),
        }
        client.expect_closed();
    }

    #[track_caller]
    fn sent_as(&self, frame: Frame) -> Client {
        let mut client = self.open();
        client.send(frame);
        client
    }
}

impl Wire for Connect {
    fn wire(&self, _: Version) -> Vec<u8> {
        self.frame().encode()
    }
}
