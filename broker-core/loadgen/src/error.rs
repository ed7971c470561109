//! Why a load could not be put on a broker.

use std::io;
use std::time::Duration;

use broker_proto::{Decoder, Packet};
use broker_types::{ProtocolVersion, ReasonCode};

use crate::packet::Frame;

/// Why a scenario ended before its time. What became of single messages is no error but a [`Faults`](crate::Faults).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A socket, a timer or `/proc`.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The broker refused a CONNECT.
    #[error("the broker refused the connection: {reason}")]
    Refused {
        /// The code as it came, which depends on the version.
        code: u8,
        /// What it means.
        reason: ReasonCode,
    },
    /// The broker refused a SUBSCRIBE.
    #[error("the broker refused a subscription: {0}")]
    NotSubscribed(ReasonCode),
    /// The broker closed a connection.
    #[error("the broker closed connection {0}")]
    Closed(usize),
    /// The broker closed a connection and said why (only 5.0 can).
    #[error("the broker closed a connection: {0}")]
    Disconnected(ReasonCode),
    /// Nothing came for so long.
    #[error("nothing came for {waited:?} while {doing}")]
    Silence {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        waited: Duration,
    },
    /// A packet that is no MQTT, or that nobody asked for.
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
    /// The broker takes less than is due, and what waits here has become too much.
    #[error("the broker takes less than the rate: {0} bytes wait to be sent on one connection")]
    TooSlow(usize),
}

impl LoadError {
    /// What a packet says that is no CONNACK of success, where one is due.
    pub(crate) fn connack(frame: &Frame<'_>, version: ProtocolVersion) -> Self {
        match Decoder::client(version, u32::MAX).decode(frame.bytes()) {
            Ok(Packet::ConnAck(connack)) => Self::Refused {
                code: frame.body().get(1).copied().unwrap_or_default(),
                reason: connack.reason,
            },
            _ => Self::unexpected(frame),
        }
    }

    /// A packet that nobody asked for.
    pub(crate) fn unexpected(frame: &Frame<'_>) -> Self {
        if let Ok(Packet::Disconnect(disconnect)) =
            Decoder::client(ProtocolVersion::V5, u32::MAX).decode(frame.bytes())
        {
            return Self::Disconnected(disconnect.reason);
        }
        let shown = &frame.bytes()[..frame.size().min(SHOWN_BYTES)];
        Self::Protocol(format!("unexpected packet {shown:02x?}"))
    }
}

impl From<rustix::io::Errno> for LoadError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

/// As much of a packet as a message shows.
const SHOWN_BYTES: usize = 32;
