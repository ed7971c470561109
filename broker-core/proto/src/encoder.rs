//! From packets to bytes, and the one place where an answer is cut to what its receiver allows. How each packet looks on
//! the wire stands in its own file; the encodings that are shared between many receivers are in `outgoing.rs`.

use broker_types::ProtocolVersion;

use crate::EncodeError;
use crate::packet::{AckKind, AckProperties, Packet, UserBlock};

/// What the receiver of an answer allows, as its CONNECT said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimits {
    /// Its Maximum Packet Size in bytes.
    pub packet_size_max: u32,
    /// Its Request Problem Information.
    pub problem_information: bool,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self {
            packet_size_max: u32::MAX,
            problem_information: true,
        }
    }
}

impl Packet<'_> {
    /// Appends the packet as `version` writes it. What a version can't say isn't written. (A CONNECT has its own version.)
    /// Whether this side may send it now is not checked: a Server, for example, has no DISCONNECT before 5.0.
    ///
    /// # Errors
    /// A field or the packet is too long, or there is no such packet in this version; nothing was appended.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.put(version, &self.said(), out)
    }

    /// Appends the packet with as much of its Reason String and User Properties as `limits` allow: first the User Properties
    /// are left out, then the Reason String too `[MQTT-3.1.2-29]`, `[MQTT-3.2.2-19]`, `[MQTT-3.4.2-2]` and their like.
    ///
    /// # Errors
    /// The packet is too large even without them, and must not be sent `[MQTT-3.1.2-24]`; otherwise as [`Self::encode`].
    pub fn encode_within(
        &self,
        version: ProtocolVersion,
        limits: &AnswerLimits,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let said = self.said();
        let reason_only = AckProperties {
            user: UserBlock::EMPTY,
            ..said
        };
        // Request Problem Information doesn't concern CONNACK and DISCONNECT.
        let may_say =
            limits.problem_information || matches!(self, Packet::ConnAck(_) | Packet::Disconnect(_));
        if may_say && !said.is_empty() {
            for said in [said, reason_only] {
                if self
                    .put_within(version, &said, limits.packet_size_max, out)
                    .is_ok()
                {
                    return Ok(());
                }
            }
        }
        self.put_within(version, &AckProperties::EMPTY, limits.packet_size_max, out)
    }

    fn put_within(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        max: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        self.put(version, said, out)?;
        let (size, max) = (out.len() - start, max as usize);
        if size > max {
            out.truncate(start);
            return Err(EncodeError::PacketTooLarge { size, max });
        }
        Ok(())
    }

    /// Appends the packet with `said` in place of its own Reason String and User Properties.
    fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.put(out),
            Self::ConnAck(packet) => packet.put(version, said, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(packet) => packet.put(AckKind::PubAck, version, said, out),
            Self::PubRec(packet) => packet.put(AckKind::PubRec, version, said, out),
            Self::PubRel(packet) => packet.put(AckKind::PubRel, version, said, out),
            Self::PubComp(packet) => packet.put(AckKind::PubComp, version, said, out),
            Self::Subscribe(packet) => packet.put(version, out),
            Self::SubAck(packet) => packet.put(version, said, out),
            Self::Unsubscribe(packet) => packet.put(version, out),
            Self::UnsubAck(packet) => packet.put(version, said, out),
            Self::PingReq => {
                out.extend_from_slice(&[0xC0, 0]);
                Ok(())
            }
            Self::PingResp => {
                out.extend_from_slice(&[0xD0, 0]);
                Ok(())
            }
            Self::Disconnect(packet) => packet.put(version, said, out),
            Self::Auth(packet) => packet.put(version, said, out),
        }
    }

    /// Returns the Reason String and the User Properties of a packet that may lose them.
    fn said(&self) -> AckProperties<'_> {
        match self {
            Self::ConnAck(packet) => packet.properties,
            Self::PubAck(packet) | Self::PubRec(packet) | Self::PubRel(packet) | Self::PubComp(packet) => {
                packet.properties
            }
            Self::SubAck(packet) => packet.properties,
            Self::UnsubAck(packet) => packet.properties,
            Self::Disconnect(packet) => packet.properties,
            Self::Auth(packet) => packet.properties,
            Self::Connect(_)
            | Self::Publish(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::PingReq
            | Self::PingResp => AckProperties::EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_types::{PacketId, PropertiesBuilder, ReasonCode};

    use super::*;
    use crate::packet::{Ack, Auth, Connect, Disconnect};

    const V5: ProtocolVersion = ProtocolVersion::V5;

    #[test]
    fn what_does_not_fit_is_left_out_in_order() {
        let user = PropertiesBuilder::new().user("n", "v").build().unwrap();
        let ack = Packet::PubAck(Ack {
            properties: AckProperties {
                reason_string: Some("why"),
                user: (&user).into(),
            },
            ..Ack::new(PacketId::new(1).unwrap(), ReasonCode::NotAuthorized)
        });
        let within = |packet_size_max, problem_information| {
            let mut out = vec![0xEE];
            let limits = AnswerLimits {
                packet_size_max,
                problem_information,
            };
            let result = ack.encode_within(V5, &limits, &mut out);
            result
                .map(|()| out.len() - 1)
                .inspect_err(|_| assert_eq!(out, [0xEE]))
        };
        // 5 bytes bare, 12 with the Reason String, 19 with the User Property too
        let (bare, with_reason, full) = (5, 12, 19);
        assert_eq!(within(u32::MAX, true), Ok(full));
        assert_eq!(within(19, true), Ok(full));
        assert_eq!(within(18, true), Ok(with_reason));
        assert_eq!(within(12, true), Ok(with_reason));
        assert_eq!(within(11, true), Ok(bare));
        assert_eq!(within(5, true), Ok(bare));
        assert_eq!(
            within(4, true),
            Err(EncodeError::PacketTooLarge { size: 5, max: 4 })
        );
        assert_eq!(within(u32::MAX, false), Ok(bare));
    }

    #[test]
    fn problem_information_does_not_concern_disconnect() {
        let limits = AnswerLimits {
            problem_information: false,
            ..AnswerLimits::default()
        };
        let packet = Packet::Disconnect(Disconnect {
            properties: AckProperties {
                reason_string: Some("why"),
                ..AckProperties::EMPTY
            },
            ..Disconnect::new(ReasonCode::ServerBusy)
        });
        let mut out = Vec::new();
        packet.encode_within(V5, &limits, &mut out).unwrap();
        assert_eq!(out, [&[0xE0, 8, 0x89, 6, 0x1F, 0, 3][..], b"why"].concat());
    }

    #[test]
    fn a_reason_string_that_no_packet_can_hold_is_left_out() {
        let long = "x".repeat(65_536);
        let mut ack = Ack::new(PacketId::new(1).unwrap(), ReasonCode::Success);
        ack.properties.reason_string = Some(&long);
        let mut out = Vec::new();
        let packet = Packet::PubAck(ack);
        assert_eq!(
            packet.encode(V5, &mut out),
            Err(EncodeError::FieldTooLong(65_536))
        );
        assert!(out.is_empty());
        packet
            .encode_within(V5, &AnswerLimits::default(), &mut out)
            .unwrap();
        assert_eq!(out, [0x40, 2, 0, 1]);
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing_behind() {
        let long = "x".repeat(65_536);
        let mut out = vec![1, 2, 3];
        let connect = Packet::Connect(Box::new(Connect::new(V5, &long)));
        assert_eq!(
            connect.encode(V5, &mut out),
            Err(EncodeError::FieldTooLong(65_536))
        );
        let auth = Packet::Auth(Auth {
            reason: ReasonCode::Success,
            method: None,
            data: None,
            properties: AckProperties::EMPTY,
        });
        let v311 = ProtocolVersion::V311;
        assert_eq!(auth.encode(v311, &mut out), Err(EncodeError::NotInVersion(v311)));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn long_bodies_get_a_long_length() {
        let id = "x".repeat(20_000);
        let mut out = Vec::new();
        let connect = Packet::Connect(Box::new(Connect::new(V5, &id)));
        connect.encode(V5, &mut out).unwrap();
        // 20,013 = 0x2D + 0x1C·128 + 1·16384
        assert_eq!(out[..4], [0x10, 0xAD, 0x9C, 0x01]);
        assert_eq!(out.len(), 4 + 20_013);
        assert_eq!(out[4..14], *b"\0\x04MQTT\x05\x02\0\0");
    }
}
