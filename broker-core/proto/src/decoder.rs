//! From bytes to packets. Knows which packets may come from which side and what a fixed header may say, so that a packet
//! that must not be is refused before its body has arrived. Keeps nothing: what belongs together over several packets is
//! the session's business.
//!
//! Cost: one pass, no allocation for PUBLISH and the acknowledgements, unless the properties of a message are interleaved
//! with those of the hop.

use broker_types::{ProtocolVersion, ReasonCode};

use crate::packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, SubAck, Subscribe,
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
            packet_size_max,
            connect_size_max: 0,
        }
    }

    /// Says what the CONNECT has chosen. From now on another CONNECT is refused `[MQTT-3.1.0-2]`.
    pub const fn set_version(&mut self, version: ProtocolVersion) {
        self.version = Some(version);
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
        let packet_type = self.check_first_byte(first)?;
        let Some((remaining, digits)) = varint::decode(rest)? else {
            return Ok(None);
        };
        self.check_remaining(packet_type, remaining)?;
        let len = 1 + digits;
        Ok(Some(Header {
            packet_type,
            len,
            size: len + remaining as usize,
        }))
    }

    #[inline]
    fn check_first_byte(&self, first: u8) -> Result<PacketType, DecodeError> {
        let packet_type =
            PacketType::from_first_byte(first).ok_or(DecodeError::malformed("packet type 0 is reserved"))?;
        self.check_order(packet_type)?;
        let flags = first & 0x0F;
        // [MQTT-2.1.3-1]
        let right = match packet_type {
            PacketType::Publish => return Publish::check_flags(first).map(|()| packet_type),
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
                // 3.1 sends these with QoS 1, so they may have DUP.
                flags == 0x02 || (flags == 0x0A && self.version == Some(ProtocolVersion::V31))
            }
            _ => flags == 0,
        };
        if !right {
            return Err(DecodeError::malformed(
                "reserved flags of the fixed header are not as they must be",
            ));
        }
        Ok(packet_type)
    }

    /// Refuses what the other side never sends, or not now.
    #[inline]
    fn check_order(&self, packet_type: PacketType) -> Result<(), DecodeError> {
        use PacketType as P;
        match (packet_type, self.version) {
            (P::Connect, None) => Ok(()),
            // [MQTT-3.1.0-1]
            (_, None) => Err(DecodeError::protocol("the first packet is not CONNECT")),
            (P::Publish | P::PubAck | P::PubRec | P::PubRel | P::PubComp, _) => Ok(()),
            (P::Auth, Some(ProtocolVersion::V31 | ProtocolVersion::V311)) => {
                Err(DecodeError::malformed("packet type 15 is reserved"))
            }
            (P::Auth, Some(ProtocolVersion::V5)) => Ok(()),
            (P::Connect, Some(_)) => Err(DecodeError::protocol("there is a second CONNECT")),
            (P::Subscribe | P::Unsubscribe | P::PingReq, _) if self.side == Side::Server => Ok(()),
            (P::ConnAck | P::SubAck | P::UnsubAck | P::PingResp, _) if self.side == Side::Client => Ok(()),
            (P::Disconnect, Some(version)) if self.side == Side::Server || version.is_v5() => Ok(()),
            _ => Err(DecodeError::protocol("this side never sends such a packet")),
        }
    }

    /// Refuses a Remaining Length that is too large for us or impossible for the type.
    #[inline]
    fn check_remaining(&self, packet_type: PacketType, remaining: u32) -> Result<(), DecodeError> {
        let max = match packet_type {
            PacketType::Connect => self.connect_size_max,
            _ => self.packet_size_max,
        };
        if 1 + varint::len(remaining as usize) + remaining as usize > max as usize {
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
