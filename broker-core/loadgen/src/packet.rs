//! As much of MQTT as a load needs: frames cut at their length, and PUBLISH packets encoded once and patched for each
//! message. Everything else is encoded by the broker's own encoder, once.

use broker_proto::{
    Connect, Disconnect, EncodeError, Packet, Publish, Subscribe, SubscribeFilters, SubscribeOptions,
    UserBlock,
};
use broker_types::{PacketId, ProtocolVersion, QoS, ReasonCode, TopicRef};

use crate::LoadError;

/// Bytes of the stamp that every payload begins with.
pub const STAMP_BYTES: usize = 16;
const MARK: u32 = 0x4a46_4c44;

/// The packet type of CONNACK, as [`Frame::kind`] gives it.
pub const CONNACK: u8 = 0x20;
/// The packet type of PUBLISH, as [`Frame::kind`] gives it.
pub const PUBLISH: u8 = 0x30;
/// The packet type of PUBACK, as [`Frame::kind`] gives it.
pub const PUBACK: u8 = 0x40;
/// The packet type of PUBREC, as [`Frame::kind`] gives it.
pub const PUBREC: u8 = 0x50;
/// The packet type of PUBREL, without its flags, as [`Frame::kind`] gives it.
pub const PUBREL: u8 = 0x60;
/// The packet type of PUBCOMP, as [`Frame::kind`] gives it.
pub const PUBCOMP: u8 = 0x70;
/// The packet type of SUBSCRIBE, without its flags, as [`Frame::kind`] gives it.
pub const SUBSCRIBE: u8 = 0x80;
/// The packet type of SUBACK, as [`Frame::kind`] gives it.
pub const SUBACK: u8 = 0x90;
/// The packet type of PINGREQ, as [`Frame::kind`] gives it.
pub const PINGREQ: u8 = 0xc0;
/// The packet type of PINGRESP, as [`Frame::kind`] gives it.
pub const PINGRESP: u8 = 0xd0;
/// The packet type of DISCONNECT, as [`Frame::kind`] gives it.
pub const DISCONNECT: u8 = 0xe0;
/// The packet type of CONNECT, as [`Frame::kind`] gives it.
pub const CONNECT: u8 = 0x10;

/// A complete packet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    head: usize,
}

/// Cuts the first complete packet off; `None`: its end has not come.
///
/// # Errors
/// It is no packet, or one whose parts don't fit into it.
pub fn cut(bytes: &[u8]) -> Result<Option<Frame<'_>>, LoadError> {
    let Some(after) = bytes.get(1..) else {
        return Ok(None);
    };
    let Some((remaining, head)) = varint(after) else {
        return match after.len() {
            ..4 => Ok(None),
            _ => Err(LoadError::Protocol("a packet's length has no end".to_owned())),
        };
    };
    let head = head + 1;
    let Some(bytes) = bytes.get(..head + remaining) else {
        return Ok(None);
    };
    let frame = Frame { bytes, head };
    match frame.is_whole() {
        true => Ok(Some(frame)),
        false => Err(LoadError::unexpected(&frame)),
    }
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

impl<'a> Frame<'a> {
    /// Tells whether what the accessors below look at is there.
    fn is_whole(&self) -> bool {
        let body = self.body();
        match self.kind() {
            PINGREQ | PINGRESP | DISCONNECT | AUTH => true,
            PUBLISH if body.len() < 2 => false,
            PUBLISH => body.len() >= 2 + self.topic_bytes() + self.id_bytes(),
            _ => body.len() >= 2,
        }
    }

    /// The packet type, in the upper four bits.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes[0] & 0xf0
    }

    /// Bytes of the whole packet.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The whole packet.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the fixed header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.head..]
    }

    /// The Packet Identifier of an acknowledgement.
    #[must_use]
    pub fn acked(&self) -> [u8; 2] {
        let body = self.body();
        [body[0], body[1]]
    }

    /// The QoS of a PUBLISH.
    #[must_use]
    pub fn qos(&self) -> u8 {
        self.bytes[0] >> 1 & 3
    }

    /// The Topic Name of a PUBLISH.
    #[must_use]
    pub fn topic(&self) -> &'a [u8] {
        &self.body()[2..2 + self.topic_bytes()]
    }

    /// Where in the packet a PUBLISH has its Packet Identifier.
    #[must_use]
    pub fn id_at(&self) -> usize {
        self.head + 2 + self.topic_bytes()
    }

    /// The Packet Identifier of a PUBLISH that has one.
    #[must_use]
    pub fn id(&self) -> [u8; 2] {
        let at = self.id_at();
        [self.bytes[at], self.bytes[at + 1]]
    }

    /// The payload of a PUBLISH.
    #[must_use]
    pub fn payload(&self, version: ProtocolVersion) -> &'a [u8] {
        let rest = &self.bytes[self.id_at() + self.id_bytes()..];
        if !version.is_v5() {
            return rest;
        }
        varint(rest)
            .and_then(|(length, bytes)| rest.get(length + bytes..))
            .unwrap_or_default()
    }

    fn id_bytes(&self) -> usize {
        if self.qos() > 0 { 2 } else { 0 }
    }

    fn topic_bytes(&self) -> usize {
        let body = self.body();
        usize::from(u16::from_be_bytes([body[0], body[1]]))
    }
}

/// Reads who sent the message of this payload and its number: `None` if it isn't one of ours.
#[must_use]
pub fn stamp(payload: &[u8]) -> Option<(usize, u64)> {
    let (mark, rest) = payload.split_first_chunk()?;
    let (publisher, rest) = rest.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    (u32::from_be_bytes(*mark) == MARK).then(|| {
        (
            u32::from_be_bytes(*publisher) as usize,
            u64::from_be_bytes(*number),
        )
    })
}

/// A PUBLISH that was encoded once; Packet Identifier, stamp and topic number are patched.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    topic_at: usize,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// Encodes a PUBLISH whose payload has this many bytes, at least those of the stamp.
    ///
    /// # Errors
    /// The topic is none, or the packet is too large.
    pub fn new(
        version: ProtocolVersion,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload_bytes: usize,
    ) -> Result<Self, LoadError> {
        let payload = vec![b'x'; payload_bytes.max(STAMP_BYTES)];
        let topic = TopicRef::new(topic).map_err(std::io::Error::other)?;
        let bytes = encoded(
            &Packet::Publish(Publish {
                qos,
                retain,
                packet_id: (qos != QoS::AtMostOnce).then_some(FIRST_ID),
                ..Publish::new(topic, &payload)
            }),
            version,
        )?;
        let id_at = cut(&bytes)?
            .filter(|frame| frame.qos() > 0)
            .map(|frame| frame.id_at());
        let topic_at = bytes.len() - payload.len() - if version.is_v5() { 1 } else { 0 };
        let topic_at = topic_at - if id_at.is_some() { 2 } else { 0 } - topic.as_str().len();
        Ok(Self {
            stamp_at: bytes.len() - payload.len(),
            topic_at,
            id_at,
            bytes,
        })
    }

    /// Appends the packet as message `number` of `publisher`.
    pub fn append(&mut self, out: &mut Vec<u8>, publisher: usize, number: u64) {
        if let Some(at) = self.id_at {
            self.bytes[at..at + 2].copy_from_slice(&packet_id(number).to_be_bytes());
        }
        let stamp = &mut self.bytes[self.stamp_at..self.stamp_at + STAMP_BYTES];
        stamp[..4].copy_from_slice(&MARK.to_be_bytes());
        stamp[4..8].copy_from_slice(&(publisher as u32).to_be_bytes());
        stamp[8..].copy_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }

    /// Returns what the packet has before the payload.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.stamp_at]
    }

    /// Writes a number over the digits that the topic has from byte `at` on.
    pub fn number_topic(&mut self, at: usize, number: usize) {
        let at = self.topic_at + at;
        self.bytes[at..at + DIGITS].copy_from_slice(numbered(number).as_bytes());
    }
}

/// Digits of a number in a topic.
pub const DIGITS: usize = 7;

/// Returns the number as it stands in a topic.
#[must_use]
pub fn numbered(number: usize) -> String {
    format!("{number:0DIGITS$}")
}

/// The Packet Identifier of a message: windows are far smaller than their range.
#[must_use]
pub fn packet_id(number: u64) -> u16 {
    (number % 65_535) as u16 + 1
}

/// Returns an acknowledgement with a Packet Identifier.
#[must_use]
pub fn answer(kind: u8, [high, low]: [u8; 2]) -> [u8; 4] {
    [kind, 2, high, low]
}

/// Encodes a packet.
fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).map_err(not_encoded)?;
    Ok(bytes)
}

fn not_encoded(error: EncodeError) -> LoadError {
    std::io::Error::other(error).into()
}

/// Encodes a CONNECT.
///
/// # Errors
/// A field is too long.
pub fn connect(connect: Connect<'_>) -> Result<Vec<u8>, LoadError> {
    let version = connect.version;
    encoded(&Packet::Connect(Box::new(connect)), version)
}

/// Encodes a SUBSCRIBE to several filters with one QoS.
///
/// # Errors
/// A filter or the packet is too long.
pub fn subscribe<'f>(
    version: ProtocolVersion,
    qos: QoS,
    filters: impl IntoIterator<Item = &'f str>,
) -> Result<Vec<u8>, LoadError> {
    let options = SubscribeOptions {
        qos,
        ..SubscribeOptions::default()
    };
    let filters = filters.into_iter().map(|filter| (filter, options));
    let packet = Packet::Subscribe(Subscribe {
        packet_id: FIRST_ID,
        subscription_id: None,
        user: UserBlock::EMPTY,
        filters: SubscribeFilters::collect(filters).map_err(not_encoded)?,
    });
    encoded(&packet, version)
}

/// Encodes a DISCONNECT.
///
/// # Errors
/// None that is known: the packet has no fields.
pub fn disconnect(version: ProtocolVersion) -> Result<Vec<u8>, LoadError> {
    encoded(
        &Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)),
        version,
    )
}

/// The packet type of AUTH.
const AUTH: u8 = 0xf0;

/// The Packet Identifier where any will do.
const FIRST_ID: PacketId = PacketId::new(1).expect("1 is not 0");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_who_and_which() {
        for version in [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let mut template = Template::new(version, "a/0000000/b", qos, false, 300).unwrap();
                let mut out = Vec::new();
                template.number_topic(2, 42);
                template.append(&mut out, 7, 65_535);
                template.append(&mut out, 7, 65_536);
                let first = cut(&out).unwrap().unwrap();
                let second = cut(&out[first.size()..]).unwrap().unwrap();
                assert_eq!(first.topic(), b"a/0000042/b");
                assert_eq!(stamp(first.payload(version)), Some((7, 65_535)));
                assert_eq!(stamp(second.payload(version)), Some((7, 65_536)));
                assert_eq!(second.payload(version).len(), 300);
                if qos != QoS::AtMostOnce {
                    assert_eq!((first.id(), second.id()), ([0, 1], [0, 2]));
                }
            }
        }
    }

    #[test]
    fn an_incomplete_packet_is_left() {
        let whole = [0x30, 0x83, 0x00, 0, 1, b'a'];
        for end in 0..whole.len() {
            assert!(cut(&whole[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(cut(&whole).unwrap().map(|frame| frame.size()), Some(6));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for bad in [
            &[0x30, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0x30, 1, 0],
            &[0x30, 3, 0, 2, b'a'],
            &[0x32, 3, 0, 1, b'a'],
            &[0x20, 1, 0],
        ] {
            assert!(matches!(cut(bad), Err(LoadError::Protocol(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_payload_of_others_has_no_stamp() {
        assert_eq!(stamp(&[0x78; STAMP_BYTES]), None);
        assert_eq!(stamp(&[]), None);
    }
}
