//! The versions of the protocol.

/// The version of MQTT a Network Connection speaks, chosen by its CONNECT. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1, Protocol Name `MQIsdp`, Protocol Version 3.
    V31 = 3,
    /// MQTT 3.1.1, Protocol Name `MQTT`, Protocol Version 4.
    V311 = 4,
    /// MQTT 5.0, Protocol Name `MQTT`, Protocol Version 5.
    V5 = 5,
}

impl ProtocolVersion {
    /// Tells whether packets of this version carry properties and Reason Codes.
    #[must_use]
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }

    /// Returns the Protocol Name this version has in CONNECT.
    #[must_use]
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::V31 => "MQIsdp",
            Self::V311 | Self::V5 => "MQTT",
        }
    }

    /// Returns the Protocol Version byte.
    #[must_use]
    pub const fn level(self) -> u8 {
        self as u8
    }
}

impl core::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}
