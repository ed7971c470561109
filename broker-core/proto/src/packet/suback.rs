//! SUBACK and UNSUBACK (MQTT 5.0 sections 3.9 and 3.11).

use std::borrow::Cow;

use broker_types::{PacketId, ProtocolVersion, QoS, ReasonCode};

use super::AckProperties;
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// The Server's answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One code for each Topic Filter, in order `[MQTT-3.8.4-6]`. 3.1.1 knows one failure, 0x80; 3.1 none at all.
    pub reasons: Cow<'a, [ReasonCode]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

/// The Server's answer to UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One code for each Topic Filter, in order `[MQTT-3.11.3-1]`. 3.1 and 3.1.1 have none: not written, empty when read.
    pub reasons: Cow<'a, [ReasonCode]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> SubAck<'a> {
    pub(crate) fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = body.packet_id()?;
        let properties = match version {
            ProtocolVersion::V5 => AckProperties::decode(body)?,
            ProtocolVersion::V31 | ProtocolVersion::V311 => AckProperties::EMPTY,
        };
        Ok(Self {
            packet_id,
            reasons: reasons(body, |reason| match version {
                ProtocolVersion::V5 => is_suback_v5(reason),
                ProtocolVersion::V31 | ProtocolVersion::V311 => is_suback_v3(reason),
            })?,
            properties,
        })
    }

    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        primitive::put_frame(0x90, out, |out| {
            primitive::put_u16(self.packet_id.get(), out);
            if version.is_v5() {
                primitive::put_prefixed(out, |out| said.put(out))?;
            }
            out.extend(self.reasons.iter().map(|&reason| suback_byte(version, reason)));
            Ok(())
        })
    }
}

impl<'a> UnsubAck<'a> {
    pub(crate) fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = body.packet_id()?;
        if !version.is_v5() {
            return Ok(Self {
                packet_id,
                reasons: Cow::Borrowed(&[]),
                properties: AckProperties::EMPTY,
            });
        }
        let properties = AckProperties::decode(body)?;
        Ok(Self {
            packet_id,
            reasons: reasons(body, is_unsuback)?,
            properties,
        })
    }

    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        primitive::put_frame(0xB0, out, |out| {
            primitive::put_u16(self.packet_id.get(), out);
            if version.is_v5() {
                primitive::put_prefixed(out, |out| said.put(out))?;
                out.extend(self.reasons.iter().map(|reason| reason.byte()));
            }
            Ok(())
        })
    }
}

/// Reads the codes that fill the rest of the packet.
fn reasons<'a>(
    body: &mut Reader<'_>,
    allowed: impl Fn(ReasonCode) -> bool,
) -> Result<Cow<'a, [ReasonCode]>, DecodeError> {
    body.rest()
        .iter()
        .map(|&byte| ReasonCode::from_byte(byte).filter(|&reason| allowed(reason)))
        .collect::<Option<Vec<_>>>()
        .map(Cow::Owned)
        .ok_or(DecodeError::protocol(
            "an acknowledgement has a reason code that is not its own",
        ))
}

/// Says a code as the version can. 3.1 has no failure: a refused subscription looks granted, with QoS 0.
const fn suback_byte(version: ProtocolVersion, reason: ReasonCode) -> u8 {
    match (version, reason.is_error()) {
        (ProtocolVersion::V31, true) => QoS::AtMostOnce.bits(),
        (ProtocolVersion::V311, true) => ReasonCode::UnspecifiedError.byte(),
        _ => reason.byte(),
    }
}

/// `[MQTT-3.9.3-2]` of 3.1.1
const fn is_suback_v3(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success | R::GrantedQoS1 | R::GrantedQoS2 | R::UnspecifiedError
    )
}

/// `[MQTT-3.9.3-2]`
const fn is_suback_v5(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::GrantedQoS1
            | R::GrantedQoS2
            | R::UnspecifiedError
            | R::ImplementationSpecificError
            | R::NotAuthorized
            | R::TopicFilterInvalid
            | R::PacketIdentifierInUse
            | R::QuotaExceeded
            | R::SharedSubscriptionsNotSupported
            | R::SubscriptionIdentifiersNotSupported
            | R::WildcardSubscriptionsNotSupported
    )
}

/// `[MQTT-3.11.3-2]`
const fn is_unsuback(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::NoSubscriptionExisted
            | R::UnspecifiedError
            | R::ImplementationSpecificError
            | R::NotAuthorized
            | R::TopicFilterInvalid
            | R::PacketIdentifierInUse
    )
}
