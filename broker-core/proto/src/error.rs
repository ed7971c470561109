//! How decoding and encoding fail.

use broker_types::{ProtocolVersion, ReasonCode};

use crate::varint;

/// A packet that breaks the protocol. The connection it came from must end; a 5.0 peer may be told the Reason Code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({reason})")]
pub struct DecodeError {
    /// The code for DISCONNECT or CONNACK. Unsupported Protocol Version is only ever found in a CONNECT, and a 3.1.1
    /// Client may be told as well (Return Code 1).
    pub reason: ReasonCode,
    /// What is wrong, for a log.
    pub what: &'static str,
}

impl DecodeError {
    pub(crate) const fn new(reason: ReasonCode, what: &'static str) -> Self {
        Self { reason, what }
    }

    /// The bytes are not what the standard says a packet looks like.
    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self::new(ReasonCode::MalformedPacket, what)
    }

    /// The packet is well-formed but says what must not be said.
    pub(crate) const fn protocol(what: &'static str) -> Self {
        Self::new(ReasonCode::ProtocolError, what)
    }
}

/// Why a packet can't be written; nothing of it was. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field is longer than its two bytes of length can say.
    #[error("a field has {0} bytes, at most 65535 are possible")]
    FieldTooLong(usize),
    /// The packet is larger than the receiver takes, or than the protocol can express (268,435,460 bytes).
    #[error("packet has {size} bytes, at most {max} are possible")]
    PacketTooLarge {
        /// Its size, fixed header included.
        size: usize,
        /// The largest that is possible.
        max: usize,
    },
    /// The packet doesn't exist in this version of the protocol (AUTH before 5.0).
    #[error("the packet does not exist in MQTT {0}")]
    NotInVersion(ProtocolVersion),
}

impl EncodeError {
    /// The protocol itself has no room for `remaining` bytes after the fixed header.
    pub(crate) const fn too_large(remaining: usize) -> Self {
        Self::PacketTooLarge {
            size: 5 + remaining,
            max: 5 + varint::MAX,
        }
    }
}
