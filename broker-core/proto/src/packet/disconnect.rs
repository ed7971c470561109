//! DISCONNECT (MQTT 5.0 section 3.14).

use broker_types::{ProtocolVersion, ReasonCode};

use super::AckProperties;
use super::property::{MISPLACED, Property};
use crate::decoder::Side;
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// The last packet of a connection. In 3.1 and 3.1.1 only a Client sends it, and it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why. 0x00 is Normal disconnection.
    pub reason: ReasonCode,
    /// The Session Expiry Interval in seconds, when a Client changes it.
    pub session_expiry: Option<u32>,
    /// Another Server to use; only a Server says so.
    pub server_reference: Option<&'a str>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Returns one without properties.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            server_reference: None,
            properties: AckProperties::EMPTY,
        }
    }

    /// In 3.1 and 3.1.1 the body is empty, and so it may be in 5.0.
    pub(crate) fn decode(body: &mut Reader<'a>, side: Side) -> Result<Self, DecodeError> {
        let mut disconnect = Self::new(ReasonCode::NORMAL_DISCONNECTION);
        if body.is_empty() {
            return Ok(disconnect);
        }
        disconnect.reason = reason(body.byte()?, side)?;
        if body.is_empty() {
            return Ok(disconnect);
        }
        disconnect.properties = AckProperties::decode_with(body, |property| {
            match (property, side) {
                (Property::SessionExpiry(seconds), Side::Server) => disconnect.session_expiry = Some(seconds),
                (Property::ServerReference(server), Side::Client) => {
                    disconnect.server_reference = Some(server);
                }
                // [MQTT-3.14.2-2]
                (Property::SessionExpiry(_), Side::Client) => {
                    return Err(DecodeError::protocol(
                        "a server sent a session expiry interval in DISCONNECT",
                    ));
                }
                _ => return Err(MISPLACED),
            }
            Ok(())
        })?;
        Ok(disconnect)
    }

    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let bare = self.session_expiry.is_none() && self.server_reference.is_none() && said.is_empty();
        primitive::put_frame(0xE0, out, |out| {
            if !version.is_v5() || (bare && self.reason == ReasonCode::NORMAL_DISCONNECTION) {
                return Ok(());
            }
            out.push(self.reason.byte());
            if bare {
                return Ok(());
            }
            primitive::put_prefixed(out, |out| {
                if let Some(seconds) = self.session_expiry {
                    Property::SessionExpiry(seconds).put(out)?;
                }
                if let Some(server) = self.server_reference {
                    Property::ServerReference(server).put(out)?;
                }
                said.put(out)
            })
        })
    }
}

/// Reads a code that the other side may give for its leaving `[MQTT-3.14.2-1]`.
fn reason(byte: u8, side: Side) -> Result<ReasonCode, DecodeError> {
    use ReasonCode as R;
    let reason = R::from_byte(byte).filter(|reason| match reason {
        R::Success
        | R::UnspecifiedError
        | R::MalformedPacket
        | R::ProtocolError
        | R::ImplementationSpecificError
        | R::TopicNameInvalid
        | R::ReceiveMaximumExceeded
        | R::TopicAliasInvalid
        | R::PacketTooLarge
        | R::MessageRateTooHigh
        | R::QuotaExceeded
        | R::AdministrativeAction
        | R::PayloadFormatInvalid => true,
        R::DisconnectWithWill => side == Side::Server,
        R::NotAuthorized
        | R::ServerBusy
        | R::ServerShuttingDown
        | R::KeepAliveTimeout
        | R::SessionTakenOver
        | R::TopicFilterInvalid
        | R::RetainNotSupported
        | R::QoSNotSupported
        | R::UseAnotherServer
        | R::ServerMoved
        | R::SharedSubscriptionsNotSupported
        | R::ConnectionRateExceeded
        | R::MaximumConnectTime
        | R::SubscriptionIdentifiersNotSupported
        | R::WildcardSubscriptionsNotSupported => side == Side::Client,
        _ => false,
    });
    reason.ok_or(DecodeError::protocol(
        "DISCONNECT has a reason code that is not its own",
    ))
}
