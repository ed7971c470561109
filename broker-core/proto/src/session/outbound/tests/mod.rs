//! The sending half against a Client that is only a decoder, on a clock that is only a number.

mod leaving;
mod model;
mod resuming;
mod waiting;

use std::collections::HashMap;

use broker_types::{ProtocolVersion, ReasonCode, SubscriptionId, TopicRef};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::packet::{Ack, Packet};
use crate::session::ProtocolError;
use crate::stored::{MessageRef, Payload};
use crate::{AckKind, Decoder, OutgoingScratch};

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;
const QOS0: QoS = QoS::AtMostOnce;
const QOS1: QoS = QoS::AtLeastOnce;
const QOS2: QoS = QoS::ExactlyOnce;

const LIMITS: OutboundLimits = OutboundLimits {
    inflight_max: 10,
    queued_messages_max: 10,
    queued_bytes_max: 1000,
    window: usize::MAX,
    drop: DropPolicy::Oldest,
    queue_qos0: false,
    recorded: false,
};

const fn peer(version: ProtocolVersion) -> Peer {
    Peer {
        version,
        receive_maximum: u16::MAX,
        packet_size_max: None,
        topic_alias_maximum: 0,
        outbox_bytes_max: 1 << 20,
        resumable: true,
    }
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// A Session and the Client at its other end.
struct Rig {
    outbound: Outbound,
    out: WriteBuf,
    scratch: OutgoingScratch,
    version: ProtocolVersion,
    aliases: HashMap<u16, String>,
    now: Timestamp,
}

/// A message to be delivered, and how.
#[derive(Clone, Copy)]
struct Given<'a> {
    topic: &'a str,
    payload: Payload<'a>,
    published: QoS,
    granted: QoS,
    expiry: Option<u32>,
    properties: &'a [u8],
    retain: bool,
    ids: &'a [SubscriptionId],
    shared: bool,
}

fn given(qos: QoS, payload: &str) -> Given<'_> {
    Given {
        topic: "t",
        payload: Payload::Borrowed(payload.as_bytes()),
        published: QOS2,
        granted: qos,
        expiry: None,
        properties: &[],
        retain: false,
        ids: &[],
        shared: false,
    }
}

impl Rig {
    fn offline(limits: OutboundLimits) -> Self {
        Self {
            outbound: Outbound::new(limits),
            out: WriteBuf::new(),
            scratch: OutgoingScratch::new(),
            version: V5,
            aliases: HashMap::new(),
            now: Timestamp::from_millis(1_000_000),
        }
    }

    fn connected(limits: OutboundLimits, peer: &Peer) -> Self {
        let mut rig = Self::offline(limits);
        rig.connect(peer);
        rig
    }

    fn connect(&mut self, peer: &Peer) -> Pumped {
        self.version = peer.version;
        self.aliases.clear();
        self.out.clear();
        self.outbound.connect(self.now, peer, &mut self.out)
    }

    fn deliver(&mut self, given: Given<'_>) -> Delivered {
        let message = MessageRef {
            topic: TopicRef::new(given.topic).unwrap(),
            payload: given.payload,
            qos: given.published,
            retain: given.retain,
            properties: given.properties,
            expiry: given.expiry,
        };
        let mut outgoing = Outgoing::new(message, self.now, &mut self.scratch);
        let how = Delivery {
            qos: given.granted,
            retain: given.retain,
            ids: given.ids,
            shared: given.shared,
        };
        self.outbound
            .deliver(self.now, &mut outgoing, &how, &mut self.out)
    }

    fn send(&mut self, qos: QoS, payload: &str) -> Delivered {
        self.deliver(given(qos, payload))
    }

    fn wait(&mut self, millis: u64) {
        self.now = Timestamp::from_millis(self.now.as_millis() + millis);
    }

    fn pump(&mut self) -> Pumped {
        self.outbound.pump(self.now, &mut self.out)
    }

    fn pubrec(&mut self, packet_id: u16, reason: ReasonCode) -> Result<Progress, ProtocolError> {
        self.outbound.handle_pubrec(id(packet_id), reason, &mut self.out)
    }

    /// Reads everything that was sent, each packet as a line.
    fn seen(&mut self) -> Vec<String> {
        let bytes = written(&mut self.out);
        let decoder = Decoder::client(self.version, u32::MAX);
        let mut rest = &bytes[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let len = decoder.frame_len(rest).unwrap().unwrap();
            seen.push(self.line(&decoder.decode(&rest[..len]).unwrap()));
            rest = &rest[len..];
        }
        seen
    }

    fn line(&mut self, packet: &Packet<'_>) -> String {
        let publish = match packet {
            Packet::PubRel(Ack {
                packet_id, reason, ..
            }) if reason.is_error() => {
                return format!("pubrel #{packet_id} 0x{:02X}", reason.byte());
            }
            Packet::PubRel(Ack { packet_id, .. }) => return format!("pubrel #{packet_id}"),
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        };
        let mut line = format!("q{}", publish.qos);
        if let Some(packet_id) = publish.packet_id {
            line += &format!(" #{packet_id}");
        }
        if let Some(alias) = publish.topic_alias {
            line += &format!(" @{alias}");
            if let Some(topic) = publish.topic {
                self.aliases.insert(alias, topic.to_string());
                line += "!";
            }
        }
        for (set, text) in [(publish.dup, " dup"), (publish.retain, " retain")] {
            line += if set { text } else { "" };
        }
        if let Some(expiry) = publish.expiry {
            line += &format!(" {expiry}s");
        }
        for id in publish.subscription_ids.iter() {
            line += &format!(" ${}", id.get());
        }
        if !publish.properties.is_empty() {
            line += &format!(" +{}", publish.properties.as_bytes().len());
        }
        let alias = || self.aliases[&publish.topic_alias.unwrap()].clone();
        let topic = publish.topic.map_or_else(alias, |topic| topic.to_string());
        let payload = String::from_utf8_lossy(publish.payload);
        match topic.as_str() {
            "t" => line + " " + &payload,
            topic => format!("{line} {topic}={payload}"),
        }
    }
}

fn written(out: &mut WriteBuf) -> Vec<u8> {
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let used = out.io_slices(&mut slices);
    let bytes: Vec<u8> = slices[..used]
        .iter()
        .flat_map(|slice| slice.iter().copied())
        .collect();
    assert_eq!(bytes.len(), out.len());
    out.clear();
    bytes
}
