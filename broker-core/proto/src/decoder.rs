//! From bytes to packets. Knows which packets may come from which side and what a fixed header may say, so that a packet
//! that must not be is refused before its body has arrived. Keeps nothing: what belongs together over several packets is
//! the session's business.
//!
//! Cost: one pass, no allocation for PUBLISH and the acknowledgements, unless the properties of a message are interleaved
//! with those of the hop.

use broker_types::{ProtocolVersion, ReasonCode};

use crate::packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, QOS_3, SubAck, Subscribe,
    UnsubAck, Unsubscribe,
};
use crate::primitive::Reader;
use crate::{DecodeError, varint};

/// Which end of the connection is decoding. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We are the Server and read what Clients send.
    Server,
    /// We are the Client and read what the Server sends.
    Client,
}

/// Decodes what one Network Connection brings.
#[derive(Clone, Debug)]
pub struct Decoder {
    side: Side,
    version: Option<ProtocolVersion>,
    accepted: &'static Accepted,
    packet_size_max: u32,
    connect_size_max: u32,
}

impl Decoder {
    /// Returns a Server's decoder. It takes one CONNECT of up to `connect_size_max` bytes and nothing else until
    /// [`Self::set_version`] is called, then packets of up to `packet_size_max` bytes. Fixed headers count.
    #[must_use]
    pub const fn server(packet_size_max: u32, connect_size_max: u32) -> Self {
        Self {
            side: Side::Server,
            version: None,
            accepted: &CONNECT_ONLY,
            packet_size_max,
            connect_size_max,
        }
    }

    /// Returns a Client's decoder for packets of up to `packet_size_max` bytes, fixed header included.
    #[must_use]
    pub const fn client(version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self {
            side: Side::Client,
            version: Some(version),
            accepted: table(Side::Client, version),
            packet_size_max,
            connect_size_max: 0,
        }
    }

    /// Says what the CONNECT has chosen. From now on another CONNECT is refused `[MQTT-3.1.0-2]`.
    pub const fn set_version(&mut self, version: ProtocolVersion) {
        self.version = Some(version);
        self.accepted = table(self.side, version);
    }

    /// Returns what the CONNECT has chosen.
    #[must_use]
    pub const fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Returns the total length of the packet that starts `buf`, of which only the fixed header need be there; `None` when
    /// not even that is complete.
    ///
    /// # Errors
    /// Whatever the fixed header tells: too large, a type that must not come from there or then, wrong flags, a length
    /// that this type can't have.
    #[inline]
    pub fn frame_len(&self, buf: &[u8]) -> Result<Option<usize>, DecodeError> {
        Ok(self.header(buf)?.map(|header| header.size))
    }

    /// Decodes one packet; `frame` is exactly as long as [`Self::frame_len`] said.
    ///
    /// # Errors
    /// Says what is wrong with it. The connection can't go on.
    #[inline]
    pub fn decode<'a>(&self, frame: &'a [u8]) -> Result<Packet<'a>, DecodeError> {
        const CUT: DecodeError = DecodeError::malformed("the packet and its remaining length differ");
        let header = self
            .header(frame)?
            .filter(|header| header.size == frame.len())
            .ok_or(CUT)?;
        let mut body = Reader(&frame[header.len..]);
        let packet = self.decode_body(frame[0], header.packet_type, &mut body)?;
        if !body.is_empty() {
            return Err(DecodeError::malformed(
                "there are bytes behind the end of the packet",
            ));
        }
        Ok(packet)
    }

    #[inline]
    fn decode_body<'a>(
        &self,
        first: u8,
        packet_type: PacketType,
        body: &mut Reader<'a>,
    ) -> Result<Packet<'a>, DecodeError> {
        // Before a CONNECT only CONNECT passes the header, and it brings its version itself.
        let version = self.version.unwrap_or(ProtocolVersion::V5);
        Ok(match packet_type {
            PacketType::Publish => Packet::Publish(Publish::decode(first, body, version, self.side)?),
            PacketType::PubAck => Packet::PubAck(Ack::decode(AckKind::PubAck, body)?),
            PacketType::PubRec => Packet::PubRec(Ack::decode(AckKind::PubRec, body)?),
            PacketType::PubRel => Packet::PubRel(Ack::decode(AckKind::PubRel, body)?),
            PacketType::PubComp => Packet::PubComp(Ack::decode(AckKind::PubComp, body)?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Connect => Packet::Connect(Connect::decode(body)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::decode(body, version)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(body, version)?),
            PacketType::SubAck => Packet::SubAck(SubAck::decode(body, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(body, version)?),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(body, version)?),
            PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(body, self.side)?),
            PacketType::Auth => Packet::Auth(Auth::decode(body, self.side)?),
        })
    }

    #[inline]
    fn header(&self, buf: &[u8]) -> Result<Option<Header>, DecodeError> {
        let Some((&first, rest)) = buf.split_first() else {
            return Ok(None);
        };
        if self.accepted[usize::from(first >> 4)] >> (first & 0x0F) & 1 == 0 {
            return Err(refusal(self.side, self.version, first).unwrap_or(RESERVED_TYPE));
        }
        let packet_type = PacketType::from_first_byte(first).ok_or(RESERVED_TYPE)?;
        let Some((remaining, digits)) = varint::decode(rest)? else {
            return Ok(None);
        };
        let len = 1 + digits;
        let size = len + remaining as usize;
        self.check_size(packet_type, remaining, size)?;
        Ok(Some(Header {
            packet_type,
            len,
            size,
        }))
    }

    /// Refuses a packet that is too large for us, or a Remaining Length that is impossible for the type.
    #[inline]
    fn check_size(&self, packet_type: PacketType, remaining: u32, size: usize) -> Result<(), DecodeError> {
        let max = match packet_type {
            PacketType::Connect => self.connect_size_max,
            _ => self.packet_size_max,
        };
        if size > max as usize {
            return Err(DecodeError::new(
                ReasonCode::PacketTooLarge,
                "the packet is too large",
            ));
        }
        let v5 = self.version == Some(ProtocolVersion::V5);
        let possible = match packet_type {
            PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::ConnAck
            | PacketType::UnsubAck => remaining == 2 || (v5 && remaining > 2),
            PacketType::PingReq | PacketType::PingResp => remaining == 0,
            PacketType::Disconnect => v5 || remaining == 0,
            PacketType::Publish
            | PacketType::Connect
            | PacketType::Subscribe
            | PacketType::SubAck
            | PacketType::Unsubscribe
            | PacketType::Auth => true,
        };
        if !possible {
            return Err(DecodeError::malformed(
                "the remaining length is impossible for this packet",
            ));
        }
        Ok(())
    }
}

/// For each packet type, a bit for each value of the flags beside it that is right.
type Accepted = [u16; 16];

/// What a Server takes before there is a version.
static CONNECT_ONLY: Accepted = accepted(Side::Server, None);
static BY_SERVER: [Accepted; 3] = [
    accepted(Side::Server, Some(ProtocolVersion::V31)),
    accepted(Side::Server, Some(ProtocolVersion::V311)),
    accepted(Side::Server, Some(ProtocolVersion::V5)),
];
static BY_CLIENT: [Accepted; 3] = [
    accepted(Side::Client, Some(ProtocolVersion::V31)),
    accepted(Side::Client, Some(ProtocolVersion::V311)),
    accepted(Side::Client, Some(ProtocolVersion::V5)),
];

const fn table(side: Side, version: ProtocolVersion) -> &'static Accepted {
    let tables = match side {
        Side::Server => &BY_SERVER,
        Side::Client => &BY_CLIENT,
    };
    match version {
        ProtocolVersion::V31 => &tables[0],
        ProtocolVersion::V311 => &tables[1],
        ProtocolVersion::V5 => &tables[2],
    }
}

const fn accepted(side: Side, version: Option<ProtocolVersion>) -> Accepted {
    let mut table = [0; 16];
    let mut first = 0u8;
    loop {
        if refusal(side, version, first).is_none() {
            table[(first >> 4) as usize] |= 1 << (first & 0x0F);
        }
        if first == u8::MAX {
            return table;
        }
        first += 1;
    }
}

/// Says why a packet that begins with `first` is refused, if it is: its type, its flags, or because the other side never
/// sends it, or not now. Packets aren't checked with this but with the tables made from it.
const fn refusal(side: Side, version: Option<ProtocolVersion>, first: u8) -> Option<DecodeError> {
    use PacketType as P;
    let Some(packet_type) = P::from_first_byte(first) else {
        return Some(RESERVED_TYPE);
    };
    let Some(version) = version else {
        // [MQTT-3.1.0-1]
        return match packet_type {
            P::Connect if first == 0x10 => None,
            P::Connect => Some(RESERVED_FLAGS),
            _ => Some(DecodeError::protocol("the first packet is not CONNECT")),
        };
    };
    let sends = match packet_type {
        P::Publish | P::PubAck | P::PubRec | P::PubRel | P::PubComp => true,
        // [MQTT-3.1.0-2]
        P::Connect => false,
        P::Subscribe | P::Unsubscribe | P::PingReq => matches!(side, Side::Server),
        P::ConnAck | P::SubAck | P::UnsubAck | P::PingResp => matches!(side, Side::Client),
        P::Disconnect => matches!(side, Side::Server) || version.is_v5(),
        P::Auth if version.is_v5() => true,
        P::Auth => return Some(RESERVED_TYPE),
    };
    if !sends {
        return Some(DecodeError::protocol(
            "the other side must not send this packet, or not again",
        ));
    }
    // [MQTT-2.1.3-1]
    match (packet_type, first & 0x0F) {
        (P::Publish, 0x06 | 0x07 | 0x0E | 0x0F) => Some(QOS_3),
        // [MQTT-3.3.1-2]
        (P::Publish, 0x08 | 0x09) => Some(DecodeError::malformed("a PUBLISH with QoS 0 has the DUP flag")),
        (P::Publish, _) | (P::PubRel | P::Subscribe | P::Unsubscribe, 0x02) => None,
        // 3.1 sends these with QoS 1, so they may have DUP.
        (P::PubRel | P::Subscribe | P::Unsubscribe, 0x0A) if matches!(version, ProtocolVersion::V31) => None,
        (P::PubRel | P::Subscribe | P::Unsubscribe, _) => Some(RESERVED_FLAGS),
        (_, 0) => None,
        _ => Some(RESERVED_FLAGS),
    }
}

const RESERVED_TYPE: DecodeError = DecodeError::malformed("the packet type is reserved");
const RESERVED_FLAGS: DecodeError =
    DecodeError::malformed("reserved flags of the fixed header are not as they must be");

/// What a fixed header says.
struct Header {
    packet_type: PacketType,
    /// Bytes of the fixed header itself.
    len: usize,
    /// Bytes of the whole packet.
    size: usize,
}

#[cfg(test)]
mod tests;
