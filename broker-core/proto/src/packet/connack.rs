//! CONNACK (MQTT 5.0 section 3.2).

use broker_types::{ConnectReturnCode, ProtocolVersion, QoS, ReasonCode};

use super::AckProperties;
use super::property::{MISPLACED, Property};
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// The Server's answer to CONNECT. A property that is not on the wire has the value its absence means, and one that
/// has this value isn't written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the Server still has the Session.
    pub session_present: bool,
    /// How it ended. 3.1 and 3.1.1 say the nearest of their six Return Codes.
    pub reason: ReasonCode,
    /// The Session Expiry Interval in seconds, when it isn't what the Client asked for.
    pub session_expiry: Option<u32>,
    /// PUBLISH packets with QoS 1 and 2 that the Server takes at a time; never 0.
    pub receive_maximum: u16,
    /// The highest QoS that the Server takes.
    pub maximum_qos: QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// The largest packet that the Server takes, in bytes; never 0.
    pub packet_size_max: Option<u32>,
    /// The Client Identifier, when the Server chose it.
    pub assigned_client_id: Option<&'a str>,
    /// The highest Topic Alias that the Server takes.
    pub topic_alias_maximum: u16,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// The Keep Alive in seconds that the Client must use instead of its own.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Another Server to use.
    pub server_reference: Option<&'a str>,
    /// The Authentication Method.
    pub auth_method: Option<&'a str>,
    /// The Authentication Data.
    pub auth_data: Option<&'a [u8]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> ConnAck<'a> {
    /// Returns an answer that carries no property.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            session_expiry: None,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            packet_size_max: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            wildcard_available: true,
            subscription_ids_available: true,
            shared_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            auth_method: None,
            auth_data: None,
            properties: AckProperties::EMPTY,
        }
    }

    pub(crate) fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Box<Self>, DecodeError> {
        let flags = body.byte()?;
        // [MQTT-3.2.2-1]; 3.1 reserves the whole byte without saying what it must be.
        if flags & 0xFE != 0 && version != ProtocolVersion::V31 {
            return Err(DecodeError::malformed("reserved bits of CONNACK are set"));
        }
        let mut connack = Box::new(Self::new(reason(body.byte()?, version)?));
        connack.session_present = flags & 0x01 != 0 && version != ProtocolVersion::V31;
        // [MQTT-3.2.2-6]
        if connack.session_present && connack.reason.is_error() {
            return Err(DecodeError::protocol("a refused connection has a session"));
        }
        if version.is_v5() {
            connack.properties = AckProperties::decode_with(body, |property| connack.take(property))?;
        }
        Ok(connack)
    }

    fn take(&mut self, property: Property<'a>) -> Result<(), DecodeError> {
        match property {
            Property::SessionExpiry(seconds) => self.session_expiry = Some(seconds),
            Property::ReceiveMaximum(count) => self.receive_maximum = count,
            Property::MaximumQoS(one) => {
                self.maximum_qos = if one { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            }
            Property::RetainAvailable(available) => self.retain_available = available,
            Property::PacketSizeMax(bytes) => self.packet_size_max = Some(bytes),
            Property::AssignedClientId(id) => self.assigned_client_id = Some(id),
            Property::TopicAliasMaximum(alias) => self.topic_alias_maximum = alias,
            Property::WildcardAvailable(available) => self.wildcard_available = available,
            Property::SubscriptionIdsAvailable(available) => self.subscription_ids_available = available,
            Property::SharedAvailable(available) => self.shared_available = available,
            Property::ServerKeepAlive(seconds) => self.server_keep_alive = Some(seconds),
            Property::ResponseInformation(text) => self.response_information = Some(text),
            Property::ServerReference(server) => self.server_reference = Some(server),
            Property::AuthMethod(method) => self.auth_method = Some(method),
            Property::AuthData(data) => self.auth_data = Some(data),
            _ => return Err(MISPLACED),
        }
        Ok(())
    }

    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        primitive::put_frame(0x20, out, |out| {
            // 3.1 has no Session Present.
            out.push(u8::from(self.session_present && version != ProtocolVersion::V31));
            if !version.is_v5() {
                out.push(ConnectReturnCode::from(self.reason) as u8);
                return Ok(());
            }
            out.push(self.reason.byte());
            primitive::put_prefixed(out, |out| {
                self.put_properties(out)?;
                said.put(out)
            })
        })
    }

    fn put_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let maximum_qos = match self.maximum_qos {
            QoS::AtMostOnce => Some(false),
            QoS::AtLeastOnce => Some(true),
            QoS::ExactlyOnce => None,
        };
        let unless = |default: bool, property| (!default).then_some(property);
        let properties = [
            self.session_expiry.map(Property::SessionExpiry),
            unless(
                self.receive_maximum == u16::MAX,
                Property::ReceiveMaximum(self.receive_maximum),
            ),
            maximum_qos.map(Property::MaximumQoS),
            unless(self.retain_available, Property::RetainAvailable(false)),
            self.packet_size_max.map(Property::PacketSizeMax),
            self.assigned_client_id.map(Property::AssignedClientId),
            unless(
                self.topic_alias_maximum == 0,
                Property::TopicAliasMaximum(self.topic_alias_maximum),
            ),
            unless(self.wildcard_available, Property::WildcardAvailable(false)),
            unless(
                self.subscription_ids_available,
                Property::SubscriptionIdsAvailable(false),
            ),
            unless(self.shared_available, Property::SharedAvailable(false)),
            self.server_keep_alive.map(Property::ServerKeepAlive),
            self.response_information.map(Property::ResponseInformation),
            self.server_reference.map(Property::ServerReference),
            self.auth_method.map(Property::AuthMethod),
            self.auth_data.map(Property::AuthData),
        ];
        properties
            .iter()
            .flatten()
            .try_for_each(|property| property.put(out))
    }
}

/// Reads a Reason Code that CONNACK may have `[MQTT-3.2.2-8]`, or a Return Code of 3.1 and 3.1.1.
fn reason(byte: u8, version: ProtocolVersion) -> Result<ReasonCode, DecodeError> {
    use ReasonCode as R;
    let reason = match (version, byte) {
        (ProtocolVersion::V5, byte) => R::from_byte(byte).filter(|&reason| is_connack(reason)),
        (_, 0) => Some(R::Success),
        (_, 1) => Some(R::UnsupportedProtocolVersion),
        (_, 2) => Some(R::ClientIdentifierNotValid),
        (_, 3) => Some(R::ServerUnavailable),
        (_, 4) => Some(R::BadUserNameOrPassword),
        (_, 5) => Some(R::NotAuthorized),
        _ => None,
    };
    reason.ok_or(DecodeError::protocol("CONNACK has a code that is not its own"))
}

/// Table 3-1 in section 3.2.2.2.
const fn is_connack(reason: ReasonCode) -> bool {
    use ReasonCode as R;
    matches!(
        reason,
        R::Success
            | R::UnspecifiedError
            | R::MalformedPacket
            | R::ProtocolError
            | R::ImplementationSpecificError
            | R::UnsupportedProtocolVersion
            | R::ClientIdentifierNotValid
            | R::BadUserNameOrPassword
            | R::NotAuthorized
            | R::ServerUnavailable
            | R::ServerBusy
            | R::Banned
            | R::BadAuthenticationMethod
            | R::TopicNameInvalid
            | R::PacketTooLarge
            | R::QuotaExceeded
            | R::PayloadFormatInvalid
            | R::RetainNotSupported
            | R::QoSNotSupported
            | R::UseAnotherServer
            | R::ServerMoved
            | R::ConnectionRateExceeded
    )
}
