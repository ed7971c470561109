//! AUTH (MQTT 5.0 section 3.15): enhanced authentication.

use broker_types::ReasonCode;

use super::AckProperties;

/// One step of enhanced authentication. 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// The Authentication Method. Must be there; whether it is the one of the CONNECT is for its reader to see.
    pub method: Option<&'a str>,
    /// The Authentication Data.
    pub data: Option<&'a [u8]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}
