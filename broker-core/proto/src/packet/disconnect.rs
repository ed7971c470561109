//! DISCONNECT (MQTT 5.0 section 3.14).

use broker_types::ReasonCode;

use super::AckProperties;

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

impl Disconnect<'_> {
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
}
