//! A blocking client for the engine's own tests: as much MQTT as they need, every wait bounded.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker_proto::{Connect, Decoder, Packet, Publish};
use broker_types::{PacketId, ProtocolVersion, QoS, TopicRef};

/// How long what must come may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) const V311: ProtocolVersion = ProtocolVersion::V311;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5;

pub(crate) struct Client {
    stream: TcpStream,
    version: ProtocolVersion,
    decoder: Decoder,
    came: Vec<u8>,
}

impl Client {
    /// Connects and expects to be let in.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr, version: ProtocolVersion, id: &str) -> Self {
        let (client, reason) = Self::try_connect(addr, &Connect::new(version, id));
        assert_eq!(reason, Some(0), "CONNACK for {id}");
        client
    }

    /// Connects with a Session that outlives the connection.
    #[track_caller]
    pub(crate) fn resume(addr: SocketAddr, id: &str) -> Self {
        let connect = Connect {
            clean_start: false,
            session_expiry: 3600,
            ..Connect::new(V5, id)
        };
        let (client, reason) = Self::try_connect(addr, &connect);
        assert_eq!(reason, Some(0), "CONNACK for {id}");
        client
    }

    /// Sends a CONNECT and returns the code of the CONNACK; `None`: the connection was closed.
    #[track_caller]
    pub(crate) fn try_connect(addr: SocketAddr, connect: &Connect<'_>) -> (Self, Option<u8>) {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self {
            stream,
            version: connect.version,
            decoder: Decoder::client(connect.version, u32::MAX),
            came: Vec::new(),
        };
        client.send(&Packet::Connect(Box::new(connect.clone())));
        let reason = client.frame().map(|frame| match client.decoder.decode(&frame) {
            Ok(Packet::ConnAck(ack)) => ack.reason.byte(),
            other => panic!("{other:?} is no CONNACK"),
        });
        (client, reason)
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        self.raw(&bytes);
    }

    /// Sends bytes. What became of them shows when reading.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Returns the next packet; `None`: the connection was closed.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = self.decoder.frame_len(&self.came).unwrap()
                && len <= self.came.len()
            {
                let rest = self.came.split_off(len);
                return Some(std::mem::replace(&mut self.came, rest));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.came.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came for {DEADLINE:?}: {error}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let properties: &[u8] = if self.version.is_v5() { &[0] } else { &[] };
        let mut body = vec![0, 1];
        body.extend_from_slice(properties);
        body.extend_from_slice(&u16::try_from(filter.len()).unwrap().to_be_bytes());
        body.extend_from_slice(filter.as_bytes());
        body.push(qos as u8);
        let mut bytes = vec![0x82, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        self.raw(&bytes);
        let suback = self.frame().unwrap();
        assert_eq!(
            (suback[0] >> 4, suback.last()),
            (9, Some(&(qos as u8))),
            "{suback:?}"
        );
    }

    /// Publishes with QoS 0.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let publish = Publish {
            retain,
            ..Publish::new(TopicRef::new(topic).unwrap(), payload)
        };
        self.send(&Packet::Publish(publish));
    }

    /// Publishes with QoS 1 and returns the code of the PUBACK; `None`: the connection was closed.
    #[track_caller]
    pub(crate) fn publish_qos1(&mut self, topic: &str, payload: &[u8]) -> Option<u8> {
        let publish = Publish {
            qos: QoS::AtLeastOnce,
            packet_id: PacketId::new(1),
            ..Publish::new(TopicRef::new(topic).unwrap(), payload)
        };
        self.send(&Packet::Publish(publish));
        let frame = self.frame()?;
        match self.decoder.decode(&frame).unwrap() {
            Packet::PubAck(ack) => Some(ack.reason.byte()),
            Packet::Disconnect(_) => None,
            other => panic!("{other:?} is no PUBACK"),
        }
    }

    /// Returns the next packet, which must be a PUBLISH: topic, payload and whether RETAIN is set. QoS 1 is acknowledged.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (String, String, bool) {
        let frame = self.frame().expect("the connection stays open");
        let Packet::Publish(publish) = self.decoder.decode(&frame).unwrap() else {
            panic!("{frame:?} is no PUBLISH")
        };
        let topic = publish.topic.unwrap().to_string();
        let payload = String::from_utf8_lossy(publish.payload).into_owned();
        let retain = publish.retain;
        if let Some(id) = publish.packet_id {
            self.raw(&[0x40, 2, id.get().to_be_bytes()[0], id.get().to_be_bytes()[1]]);
        }
        (topic, payload, retain)
    }

    /// Makes sure that the broker has handled all that was sent, and that nothing else came.
    #[track_caller]
    pub(crate) fn sync(&mut self) {
        self.raw(&[0xC0, 0]);
        assert_eq!(
            self.frame().as_deref(),
            Some(&[0xD0, 0][..]),
            "PINGRESP and nothing before it"
        );
    }
}
