//! What a server sends, parsed strictly: whatever the standard forbids it to send is an error here, in every test.

use super::property::take_varint;
use super::{Property, Version};

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    Connack(Connack),
    /// PUBLISH.
    Publish(Received),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(Acked),
    /// SUBACK or UNSUBACK.
    Suback(Suback),
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT.
    Disconnect(Reasoned),
    /// AUTH.
    Auth(Reasoned),
}

/// A CONNACK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connack {
    /// Session Present.
    pub session_present: bool,
    /// Reason Code, or the return code of 3.1.1.
    pub code: u8,
    /// The properties in order.
    pub props: Vec<Property>,
}

/// A PUBLISH that was received.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The DUP flag.
    pub dup: bool,
    /// The QoS.
    pub qos: u8,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name; empty where an alias stands for it.
    pub topic: String,
    /// The Packet Identifier; 0 at QoS 0.
    pub id: u16,
    /// The properties in order.
    pub props: Vec<Property>,
    /// The payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Received {
    /// The payload as text, or its length where it is long.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let payload = match self.payload.len() {
            0..=200 => String::from_utf8_lossy(&self.payload).into_owned(),
            length => format!("{length} bytes"),
        };
        f.debug_struct("PUBLISH")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic.get(..200).unwrap_or(&self.topic))
            .field("id", &self.id)
            .field("props", &self.props)
            .field("payload", &payload)
            .finish()
    }
}

/// Which acknowledgement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PUBACK.
    Puback = 4,
    /// PUBREC.
    Pubrec = 5,
    /// PUBREL.
    Pubrel = 6,
    /// PUBCOMP.
    Pubcomp = 7,
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acked {
    /// Which of the four.
    pub kind: Kind,
    /// The Packet Identifier.
    pub id: u16,
    /// The Reason Code; 0 where none was sent.
    pub code: u8,
    /// The properties in order.
    pub props: Vec<Property>,
}

/// A SUBACK or UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suback {
    /// True if it is an UNSUBACK.
    pub un: bool,
    /// The Packet Identifier.
    pub id: u16,
    /// One Reason Code per filter; none in an UNSUBACK of 3.1.1.
    pub codes: Vec<u8>,
    /// The properties in order.
    pub props: Vec<Property>,
}

/// A DISCONNECT or AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoned {
    /// The Reason Code.
    pub code: u8,
    /// The properties in order.
    pub props: Vec<Property>,
}

/// Takes one packet from the front of `buffer`; `Ok(None)` if it is not complete yet.
///
/// # Errors
/// Names the rule that the server broke.
pub(super) fn parse(buffer: &[u8], version: Version) -> Result<Option<(Packet, usize)>, String> {
    let Some((&first, mut rest)) = buffer.split_first() else {
        return Ok(None);
    };
    let length = match take_varint(&mut rest) {
        Some(length) => length,
        None if buffer.len() < 5 => return Ok(None),
        None => return Err("the Remaining Length is not a minimal Variable Byte Integer".into()),
    };
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let mut body = Body { rest: body, version };
    let packet = body.packet(first)?;
    if !body.rest.is_empty() {
        return Err(format!("{} bytes after the end of {packet:?}", body.rest.len()));
    }
    Ok(Some((packet, buffer.len() - rest.len() + length)))
}

struct Body<'a> {
    rest: &'a [u8],
    version: Version,
}

type Parsed<T> = Result<T, String>;

impl Body<'_> {
    fn packet(&mut self, first: u8) -> Parsed<Packet> {
        let flags = first & 0x0f;
        let packet_type = first >> 4;
        let reserved = if packet_type == 6 { 2 } else { 0 };
        ensure(
            packet_type == 3 || flags == reserved,
            "reserved flag bits [MQTT-2.1.3-1]",
        )?;
        match packet_type {
            2 => self.connack().map(Packet::Connack),
            3 => self.publish(flags).map(Packet::Publish),
            4 => self.ack(Kind::Puback, PUBACK_CODES).map(Packet::Ack),
            5 => self.ack(Kind::Pubrec, PUBACK_CODES).map(Packet::Ack),
            6 => self.ack(Kind::Pubrel, PUBREL_CODES).map(Packet::Ack),
            7 => self.ack(Kind::Pubcomp, PUBREL_CODES).map(Packet::Ack),
            9 => self.suback(false).map(Packet::Suback),
            11 => self.suback(true).map(Packet::Suback),
            13 => Ok(Packet::Pingresp),
            14 if self.version.is_v5() => self
                .reasoned(DISCONNECT_CODES, &[0x1c, 0x1f, 0x26])
                .map(Packet::Disconnect),
            15 if self.version.is_v5() => self
                .reasoned(&[0x00, 0x18, 0x19], &[0x15, 0x16, 0x1f, 0x26])
                .map(Packet::Auth),
            _ => Err(format!("a server must not send packets of type {packet_type}")),
        }
    }

    fn connack(&mut self) -> Parsed<Connack> {
        let [flags, code] = self.array()?;
        ensure(
            flags & !1 == 0,
            "reserved Connect Acknowledge Flags [MQTT-3.2.2-1]",
        )?;
        let session_present = flags == 1;
        ensure(
            !session_present || code == 0,
            "Session Present in a refusal [MQTT-3.2.2-6]",
        )?;
        let codes = if self.version.is_v5() {
            CONNECT_CODES
        } else {
            &[0, 1, 2, 3, 4, 5]
        };
        ensure(codes.contains(&code), "not a Connect Reason Code [MQTT-3.2.2-8]")?;
        let props = self.props(CONNACK_PROPS)?;
        Ok(Connack {
            session_present,
            code,
            props,
        })
    }

    fn publish(&mut self, flags: u8) -> Parsed<Received> {
        let (dup, qos, retain) = (flags & 8 != 0, flags >> 1 & 3, flags & 1 != 0);
        ensure(qos < 3, "both QoS bits set [MQTT-3.3.1-4]")?;
        ensure(qos > 0 || !dup, "DUP at QoS 0 [MQTT-3.3.1-2]")?;
        let topic = self.text()?;
        ensure(
            !topic.contains(['#', '+']),
            "wildcard in a Topic Name [MQTT-3.3.2-2]",
        )?;
        let id = if qos > 0 { self.id()? } else { 0 };
        let props = self.props(PUBLISH_PROPS)?;
        let aliased = props.iter().any(|prop| matches!(prop, Property::TopicAlias(1..)));
        ensure(aliased || !topic.is_empty(), "no Topic Name [MQTT-4.7.3-1]")?;
        ensure(
            !props.contains(&Property::TopicAlias(0)),
            "Topic Alias 0 [MQTT-3.3.2-8]",
        )?;
        let payload = std::mem::take(&mut self.rest).to_vec();
        Ok(Received {
            dup,
            qos,
            retain,
            topic,
            id,
            props,
            payload,
        })
    }

    fn ack(&mut self, kind: Kind, codes: &[u8]) -> Parsed<Acked> {
        let id = self.id()?;
        let Reasoned { code, props } = self.reasoned(codes, &[0x1f, 0x26])?;
        Ok(Acked {
            kind,
            id,
            code,
            props,
        })
    }

    fn suback(&mut self, un: bool) -> Parsed<Suback> {
        let id = self.id()?;
        let props = self.props(&[0x1f, 0x26])?;
        let codes = std::mem::take(&mut self.rest).to_vec();
        let allowed = match (self.version.is_v5(), un) {
            (true, false) => SUBACK_CODES,
            (true, true) => UNSUBACK_CODES,
            (false, false) => &[0, 1, 2, 0x80],
            (false, true) => &[],
        };
        ensure(
            codes.iter().all(|code| allowed.contains(code)),
            "not a code of this packet",
        )?;
        Ok(Suback { un, id, codes, props })
    }

    /// Reason Code and properties, each of which may be left out from the end.
    fn reasoned(&mut self, codes: &[u8], props: &[u8]) -> Parsed<Reasoned> {
        let code = if self.rest.is_empty() {
            0
        } else {
            self.array::<1>()?[0]
        };
        ensure(codes.contains(&code), "not a Reason Code of this packet")?;
        let props = if self.rest.is_empty() {
            Vec::new()
        } else {
            self.props(props)?
        };
        Ok(Reasoned { code, props })
    }

    fn props(&mut self, allowed: &[u8]) -> Parsed<Vec<Property>> {
        if !self.version.is_v5() {
            return Ok(Vec::new());
        }
        let length = take_varint(&mut self.rest).ok_or("no Property Length [MQTT-2.2.2-1]")?;
        let (mut block, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("the Property Length lies")?;
        self.rest = rest;
        let mut props: Vec<Property> = Vec::new();
        while !block.is_empty() {
            let prop = Property::decode(&mut block).ok_or("a property is malformed")?;
            let id = prop.id();
            ensure(
                allowed.contains(&id),
                &format!("property {prop:?} is not allowed in this packet"),
            )?;
            let repeatable = matches!(prop, Property::User(_) | Property::SubscriptionId(_));
            ensure(
                repeatable || props.iter().all(|seen| seen.id() != id),
                "a property came twice",
            )?;
            props.push(prop);
        }
        Ok(props)
    }

    fn text(&mut self) -> Parsed<String> {
        let length = u16::from_be_bytes(self.array()?);
        let (text, rest) = self
            .rest
            .split_at_checked(length.into())
            .ok_or("a string is cut off")?;
        self.rest = rest;
        let text = String::from_utf8(text.to_vec()).map_err(|_| "a string is not UTF-8 [MQTT-1.5.4-1]")?;
        ensure(!text.contains('\0'), "U+0000 in a string [MQTT-1.5.4-2]")?;
        Ok(text)
    }

    fn id(&mut self) -> Parsed<u16> {
        let id = u16::from_be_bytes(self.array()?);
        ensure(id != 0, "Packet Identifier 0 [MQTT-2.2.1-4]")?;
        Ok(id)
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or("the packet is cut off")?;
        self.rest = rest;
        Ok(*head)
    }
}

fn ensure(holds: bool, rule: &str) -> Parsed<()> {
    if holds { Ok(()) } else { Err(rule.into()) }
}

const CONNECT_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99,
    0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
];
const PUBACK_CODES: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBREL_CODES: &[u8] = &[0x00, 0x92];
const SUBACK_CODES: &[u8] = &[
    0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2,
];
const UNSUBACK_CODES: &[u8] = &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91];
/// Those a server may send: 0x04 is the client's.
const DISCONNECT_CODES: &[u8] = &[
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
    0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
];
const CONNACK_PROPS: &[u8] = &[
    0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a,
];
const PUBLISH_PROPS: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26];
