//! As much of MQTT as a load needs: frames cut at their length, and PUBLISH packets encoded once and patched for each
//! message. Everything else is built by the tests' wire toolkit.

use jackfield_tests::wire::{Version, Wire as _, publish};

/// Bytes of the stamp that every payload begins with.
pub(crate) const STAMP_BYTES: usize = 16;
const MARK: u32 = 0x4a46_4c44;

pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x60;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x80;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const PINGREQ: u8 = 0xc0;
pub(crate) const DISCONNECT: u8 = 0xe0;
pub(crate) const CONNECT: u8 = 0x10;

/// A complete packet.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    bytes: &'a [u8],
    head: usize,
}

/// Cuts the first complete packet off.
pub(crate) fn cut(bytes: &[u8]) -> Option<Frame<'_>> {
    let (remaining, head) = varint(bytes.get(1..)?)?;
    let head = head + 1;
    Some(Frame {
        bytes: bytes.get(..head + remaining)?,
        head,
    })
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
    /// The packet type, in the upper four bits.
    pub(crate) fn kind(&self) -> u8 {
        self.bytes[0] & 0xf0
    }

    /// Bytes of the whole packet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole packet.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the fixed header.
    pub(crate) fn body(&self) -> &'a [u8] {
        &self.bytes[self.head..]
    }

    /// The Packet Identifier of an acknowledgement.
    pub(crate) fn acked(&self) -> [u8; 2] {
        let body = self.body();
        [body[0], body[1]]
    }

    /// The QoS of a PUBLISH.
    pub(crate) fn qos(&self) -> u8 {
        self.bytes[0] >> 1 & 3
    }

    /// The Topic Name of a PUBLISH.
    pub(crate) fn topic(&self) -> &'a [u8] {
        &self.body()[2..2 + self.topic_bytes()]
    }

    /// Where in the packet a PUBLISH has its Packet Identifier.
    pub(crate) fn id_at(&self) -> usize {
        self.head + 2 + self.topic_bytes()
    }

    /// The Packet Identifier of a PUBLISH that has one.
    pub(crate) fn id(&self) -> [u8; 2] {
        let at = self.id_at();
        [self.bytes[at], self.bytes[at + 1]]
    }

    /// The payload of a PUBLISH.
    pub(crate) fn payload(&self, version: Version) -> &'a [u8] {
        let id = if self.qos() > 0 { 2 } else { 0 };
        let rest = &self.bytes[self.id_at() + id..];
        match version.is_v5() {
            false => rest,
            true => varint(rest).map_or(&[], |(length, bytes)| &rest[length + bytes..]),
        }
    }

    fn topic_bytes(&self) -> usize {
        let body = self.body();
        usize::from(u16::from_be_bytes([body[0], body[1]]))
    }
}

/// Reads who sent the message of this payload and its number: `None` if it isn't one of ours.
pub(crate) fn stamp(payload: &[u8]) -> Option<(usize, u64)> {
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
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: Option<usize>,
    stamp_at: usize,
}

impl Template {
    /// Encodes a PUBLISH whose payload has this many bytes.
    pub(crate) fn new(version: Version, topic: &str, qos: u8, retain: bool, payload: usize) -> Self {
        let packet = publish(topic, vec![0x78; payload.max(STAMP_BYTES)]).qos(qos, 1);
        let packet = if retain { packet.retain() } else { packet };
        let bytes = packet.wire(version);
        let frame = cut(&bytes).expect("a packet that was just encoded is complete");
        let id_at = (qos > 0).then(|| frame.id_at());
        let stamp_at = frame.len() - payload.max(STAMP_BYTES);
        Self {
            bytes,
            id_at,
            stamp_at,
        }
    }

    /// Appends the packet as message `number` of `publisher`.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, publisher: usize, number: u64) {
        if let Some(at) = self.id_at {
            self.bytes[at..at + 2].copy_from_slice(&packet_id(number).to_be_bytes());
        }
        let stamp = &mut self.bytes[self.stamp_at..self.stamp_at + STAMP_BYTES];
        stamp[..4].copy_from_slice(&MARK.to_be_bytes());
        stamp[4..8].copy_from_slice(&(publisher as u32).to_be_bytes());
        stamp[8..].copy_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }

    /// Writes a number over the digits that the topic has from byte `at` on.
    pub(crate) fn number_topic(&mut self, at: usize, number: usize) {
        let frame = cut(&self.bytes).expect("a packet that was just encoded is complete");
        let at = frame.len() - frame.body().len() + 2 + at;
        self.bytes[at..at + DIGITS].copy_from_slice(numbered(number).as_bytes());
    }
}

/// Digits of a number in a topic.
pub(crate) const DIGITS: usize = 7;

/// Returns the number as it stands in a topic.
pub(crate) fn numbered(number: usize) -> String {
    format!("{number:0DIGITS$}")
}

/// The Packet Identifier of a message: windows are far smaller than their range.
pub(crate) fn packet_id(number: u64) -> u16 {
    (number % 65_535) as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_who_and_which() {
        for version in [Version::V311, Version::V5] {
            for qos in 0..=2 {
                let mut template = Template::new(version, "a/0000000/b", qos, false, 300);
                let mut out = Vec::new();
                template.number_topic(2, 42);
                template.append(&mut out, 7, 65_535);
                template.append(&mut out, 7, 65_536);
                let first = cut(&out).expect("complete");
                let second = cut(&out[first.len()..]).expect("complete");
                assert_eq!(first.topic(), b"a/0000042/b");
                assert_eq!(stamp(first.payload(version)), Some((7, 65_535)));
                assert_eq!(stamp(second.payload(version)), Some((7, 65_536)));
                assert_eq!(second.payload(version).len(), 300);
                if qos > 0 {
                    assert_eq!((first.id(), second.id()), ([0, 1], [0, 2]));
                }
            }
        }
    }

    #[test]
    fn an_incomplete_packet_is_left() {
        let whole = [0x30, 0x83, 0x00, 0, 1, b'a'];
        for end in 0..whole.len() {
            assert!(cut(&whole[..end]).is_none(), "{end}");
        }
        assert_eq!(cut(&whole).map(|frame| frame.len()), Some(6));
    }

    #[test]
    fn a_payload_of_others_has_no_stamp() {
        assert_eq!(stamp(&[0x78; STAMP_BYTES]), None);
        assert_eq!(stamp(&[]), None);
    }
}
