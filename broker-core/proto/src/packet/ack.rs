//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 sections 3.4 to 3.7): four packets of one shape.

use broker_types::{PacketId, ProtocolVersion, ReasonCode};

use super::UserBlock;
use super::property::{MISPLACED, Property, PropertyReader};
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// Which of the four packets an [`Ack`] is. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// Answers a QoS 1 PUBLISH.
    PubAck,
    /// Answers a QoS 2 PUBLISH.
    PubRec,
    /// Answers a PUBREC.
    PubRel,
    /// Answers a PUBREL.
    PubComp,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// How it ended. Always Success in 3.1 and 3.1.1.
    pub reason: ReasonCode,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> Ack<'a> {
    /// Returns one without properties.
    #[must_use]
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: AckProperties::EMPTY,
        }
    }

    /// Reason Code and properties are left out at the end when they say nothing: two bytes are the common case.
    #[inline]
    pub(crate) fn decode(kind: AckKind, body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut ack = Self::new(body.packet_id()?, ReasonCode::Success);
        if !body.is_empty() {
            ack.reason = kind.reason(body.byte()?)?;
            if !body.is_empty() {
                ack.properties = AckProperties::decode(body)?;
            }
        }
        Ok(ack)
    }

    pub(crate) fn put(
        &self,
        kind: AckKind,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !version.is_v5() || said.is_empty() {
            kind.encode(version, self.packet_id, self.reason, out);
            return Ok(());
        }
        primitive::put_frame(kind.first_byte(), out, |out| {
            primitive::put_u16(self.packet_id.get(), out);
            out.push(self.reason.byte());
            primitive::put_prefixed(out, |out| said.put(out))
        })
    }
}

impl AckKind {
    /// Appends an acknowledgement without properties: 4 or 5 bytes. What 3.1 and 3.1.1 can't say isn't written.
    #[inline]
    pub fn encode(
        self,
        version: ProtocolVersion,
        packet_id: PacketId,
        reason: ReasonCode,
        out: &mut Vec<u8>,
    ) {
        let [high, low] = packet_id.get().to_be_bytes();
        if !version.is_v5() || reason == ReasonCode::Success {
            out.extend_from_slice(&[self.first_byte(), 2, high, low]);
        } else {
            out.extend_from_slice(&[self.first_byte(), 3, high, low, reason.byte()]);
        }
    }

    const fn first_byte(self) -> u8 {
        match self {
            Self::PubAck => 0x40,
            Self::PubRec => 0x50,
            Self::PubRel => 0x62,
            Self::PubComp => 0x70,
        }
    }

    /// Reads a Reason Code that this packet may have `[MQTT-3.4.2-1]`, `[MQTT-3.5.2-1]`, `[MQTT-3.6.2-1]`,
    /// `[MQTT-3.7.2-1]`.
    fn reason(self, byte: u8) -> Result<ReasonCode, DecodeError> {
        use ReasonCode as R;
        let reason = R::from_byte(byte).filter(|reason| match self {
            Self::PubAck | Self::PubRec => matches!(
                reason,
                R::Success
                    | R::NoMatchingSubscribers
                    | R::UnspecifiedError
                    | R::ImplementationSpecificError
                    | R::NotAuthorized
                    | R::TopicNameInvalid
                    | R::PacketIdentifierInUse
                    | R::QuotaExceeded
                    | R::PayloadFormatInvalid
            ),
            Self::PubRel | Self::PubComp => matches!(reason, R::Success | R::PacketIdentifierNotFound),
        });
        reason.ok_or(DecodeError::protocol(
            "an acknowledgement has a reason code that is not its own",
        ))
    }
}

/// The two properties that nearly every answer may carry for a human reader. They are the first to be left out when
/// the receiver has no room for them or doesn't want them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckProperties<'a> {
    /// The Reason String.
    pub reason_string: Option<&'a str>,
    /// The User Properties.
    pub user: UserBlock<'a>,
}

impl<'a> AckProperties<'a> {
    /// Says nothing.
    pub const EMPTY: Self = Self {
        reason_string: None,
        user: UserBlock::EMPTY,
    };

    /// Tells whether there is neither a Reason String nor a User Property.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user.iter().next().is_none()
    }

    /// Reads the properties of a packet that may have no others.
    pub(super) fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::decode_with(body, |_| Err(MISPLACED))
    }

    /// Reads the properties of a packet whose others go to `other`.
    pub(super) fn decode_with(
        body: &mut Reader<'a>,
        mut other: impl FnMut(Property<'a>) -> Result<(), DecodeError>,
    ) -> Result<Self, DecodeError> {
        let mut reader = PropertyReader::open(body)?;
        let mut said = Self {
            reason_string: None,
            user: reader.user(),
        };
        while let Some(property) = reader.next()? {
            match property {
                Property::ReasonString(text) => said.reason_string = Some(text),
                Property::User(_) => {}
                property => other(property)?,
            }
        }
        Ok(said)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if let Some(text) = self.reason_string {
            Property::ReasonString(text).put(out)?;
        }
        self.user.put(out)
    }
}
