//! AUTH (MQTT 5.0 section 3.15): enhanced authentication.

use broker_types::{ProtocolVersion, ReasonCode};

use super::AckProperties;
use super::property::{MISPLACED, Property};
use crate::decoder::Side;
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// One step of enhanced authentication. 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// The Authentication Method. Absent only in a Server's AUTH without any property; whether it is the one of the CONNECT
    /// is not checked here.
    pub method: Option<&'a str>,
    /// The Authentication Data.
    pub data: Option<&'a [u8]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> Auth<'a> {
    pub(crate) fn decode(body: &mut Reader<'a>, side: Side) -> Result<Self, DecodeError> {
        let mut auth = Self {
            reason: ReasonCode::Success,
            method: None,
            data: None,
            properties: AckProperties::EMPTY,
        };
        if !body.is_empty() {
            auth.reason = reason(body.byte()?)?;
            auth.properties = AckProperties::decode_with(body, |property| {
                match property {
                    Property::AuthMethod(method) => auth.method = Some(method),
                    Property::AuthData(data) => auth.data = Some(data),
                    _ => return Err(MISPLACED),
                }
                Ok(())
            })?;
            if auth.method.is_none() {
                return Err(DecodeError::protocol("AUTH has no authentication method"));
            }
        }
        match (side, auth.reason) {
            (Side::Server, ReasonCode::Success) => {
                Err(DecodeError::protocol("a client sent AUTH with success"))
            }
            (Side::Client, ReasonCode::ReAuthenticate) => {
                Err(DecodeError::protocol("a server asked for re-authentication"))
            }
            _ => Ok(auth),
        }
    }

    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        said: &AckProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !version.is_v5() {
            return Err(EncodeError::NotInVersion(version));
        }
        let bare = self.method.is_none() && self.data.is_none() && said.is_empty();
        primitive::put_frame(0xF0, out, |out| {
            // Section 3.15.2.1: success without properties is an empty packet.
            if bare && self.reason == ReasonCode::Success {
                return Ok(());
            }
            out.push(self.reason.byte());
            primitive::put_prefixed(out, |out| {
                if let Some(method) = self.method {
                    Property::AuthMethod(method).put(out)?;
                }
                if let Some(data) = self.data {
                    Property::AuthData(data).put(out)?;
                }
                said.put(out)
            })
        })
    }
}

/// `[MQTT-3.15.2-1]`
fn reason(byte: u8) -> Result<ReasonCode, DecodeError> {
    use ReasonCode as R;
    R::from_byte(byte)
        .filter(|reason| matches!(reason, R::Success | R::ContinueAuthentication | R::ReAuthenticate))
        .ok_or(DecodeError::protocol(
            "AUTH has a reason code that is not its own",
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoder, Packet};

    /// What was read could not be written so that it is read again: success alone was written with its byte, and an AUTH
    /// that isn't empty must name its method.
    #[test]
    fn success_alone_is_an_empty_packet() {
        let decoder = Decoder::client(ProtocolVersion::V5, 100);
        let packet = decoder.decode(&[0xF0, 0]).unwrap();
        let mut out = Vec::new();
        packet.encode(ProtocolVersion::V5, &mut out).unwrap();
        assert_eq!(out, [0xF0, 0]);
        assert!(matches!(
            packet,
            Packet::Auth(Auth {
                reason: ReasonCode::Success,
                method: None,
                ..
            })
        ));
    }
}
