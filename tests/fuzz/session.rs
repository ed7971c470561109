//! The server's side of a whole connection, without a socket: handshake, both halves of the Session, and a strict client at
//! the other end that must understand every byte of the answers.

use broker_proto::{
    AckProperties, Decoder, Delivery, Granted, Inbound, InboundLimits, Incoming, MessageRef, Outbound,
    OutboundLimits, Outgoing, OutgoingScratch, Packet, Payload, Peer, ReceivedIds, SubAck, WriteBuf,
};
use broker_types::{Limits, ProtocolVersion, QoS, ReasonCode, Timestamp};

/// The largest packet that is taken.
const SIZE_MAX: u32 = 1024;

pub(crate) fn body(data: &[u8]) {
    let mut limits = Limits::default();
    limits.receive_maximum = 4;
    limits.inflight_max = 3;
    limits.topic_alias_maximum = 4;
    limits.queued_messages_max = 5;
    let mut decoder = Decoder::server(SIZE_MAX, SIZE_MAX);
    let mut rest = data;
    let Some(Packet::Connect(connect)) = next(&decoder, &mut rest) else {
        return;
    };
    let version = connect.version;
    decoder.set_version(version);
    let Ok(mut granted) = Granted::check(&connect, &limits) else {
        return;
    };
    if granted.assign_client_id {
        granted.client_id = "assigned";
    }
    let mut out = WriteBuf::new();
    let connack = Packet::ConnAck(Box::new(granted.conn_ack(&connect, &limits)));
    connack.encode(version, out.frames()).expect("a CONNACK");
    let mut server = Server {
        version,
        inbound: Inbound::new(version, InboundLimits::from(&limits), ReceivedIds::default()),
        outbound: Outbound::new(OutboundLimits::from(&limits)),
        out,
        now: Timestamp::from_millis(1),
    };
    let peer = Peer::new(&connect, &limits, granted.session_expiry);
    server.outbound.connect(server.now, &peer, &mut server.out);
    while let Some(packet) = next(&decoder, &mut rest) {
        if server.handle(&packet).is_none() {
            break;
        }
        server.answers();
    }
    understood(version, connect.packet_size_max, server.out.frames());
}

/// Takes the next packet off `rest`; `None`: there is no other, or it ends the connection.
fn next<'a>(decoder: &Decoder, rest: &mut &'a [u8]) -> Option<Packet<'a>> {
    let len = decoder.frame_len(rest).ok()??;
    let (frame, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    decoder.decode(frame).ok()
}

struct Server {
    version: ProtocolVersion,
    inbound: Inbound,
    outbound: Outbound,
    out: WriteBuf,
    now: Timestamp,
}

impl Server {
    /// Does what a broker with one client does; `None`: the connection ends.
    fn handle(&mut self, packet: &Packet<'_>) -> Option<()> {
        self.now = Timestamp::from_millis(self.now.as_millis() + 1);
        match packet {
            Packet::Publish(publish) => match self.inbound.handle_publish(publish).ok()? {
                Incoming::Duplicate => {}
                Incoming::Message { topic, token } => {
                    let message = MessageRef {
                        topic: topic.as_ref(),
                        payload: Payload::Borrowed(publish.payload),
                        properties: publish.properties.as_bytes(),
                        qos: publish.qos,
                        retain: publish.retain,
                        expiry: publish.expiry,
                    };
                    deliver(&mut self.outbound, self.now, message, &mut self.out);
                    if let Some(token) = token {
                        self.inbound.accept(token, ReasonCode::Success);
                        // the second time does nothing
                        self.inbound.accept(token, ReasonCode::NotAuthorized);
                    }
                }
            },
            Packet::PubRel(ack) => {
                if let Some(token) = self.inbound.handle_pubrel(ack.packet_id).ok()? {
                    self.inbound.accept(token, ReasonCode::Success);
                }
            }
            Packet::PubAck(ack) => drop(self.outbound.handle_puback(ack.packet_id).ok()?),
            Packet::PubRec(ack) => {
                self.outbound
                    .handle_pubrec(ack.packet_id, ack.reason, &mut self.out)
                    .ok()?;
            }
            Packet::PubComp(ack) => drop(self.outbound.handle_pubcomp(ack.packet_id).ok()?),
            Packet::Subscribe(subscribe) => {
                let granted = subscribe
                    .filters
                    .iter()
                    .map(|(_, options)| ReasonCode::granted(options.qos));
                self.say(&Packet::SubAck(SubAck {
                    packet_id: subscribe.packet_id,
                    reasons: granted.collect(),
                    properties: AckProperties::EMPTY,
                }));
            }
            Packet::PingReq => self.say(&Packet::PingResp),
            Packet::Disconnect(_) => return None,
            Packet::Unsubscribe(_) | Packet::Auth(_) => {}
            other => panic!("a client can't send {other:?}"),
        }
        Some(())
    }

    fn say(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, self.out.frames()).expect("an answer");
    }

    /// Sends the acknowledgements that may leave, and what waits.
    fn answers(&mut self) {
        while let Some(ack) = self.inbound.poll_ack() {
            ack.encode(self.version, self.out.frames());
        }
        self.outbound.pump(self.now, &mut self.out);
    }
}

/// Whoever publishes gets it back: the client is subscribed to everything.
fn deliver(outbound: &mut Outbound, now: Timestamp, message: MessageRef<'_>, out: &mut WriteBuf) {
    let mut scratch = OutgoingScratch::new();
    let mut outgoing = Outgoing::new(message, now, &mut scratch);
    let how = Delivery {
        qos: QoS::ExactlyOnce,
        retain: false,
        ids: &[],
        shared: false,
    };
    outbound.deliver(now, &mut outgoing, &how, out);
}

/// Reads all that was written as the client does.
fn understood(version: ProtocolVersion, packet_size_max: Option<u32>, mut written: &[u8]) {
    let decoder = Decoder::client(version, u32::MAX);
    while !written.is_empty() {
        let len = decoder
            .frame_len(written)
            .expect("a header")
            .expect("the whole header");
        let (frame, rest) = written.split_at(len);
        let packet = decoder.decode(frame).expect("a packet");
        if let (Packet::Publish(_), Some(max)) = (&packet, packet_size_max) {
            assert!(len <= max as usize, "{len} bytes of {max} [MQTT-3.1.2-24]");
        }
        written = rest;
    }
}
