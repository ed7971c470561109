//! What a Session does, without I/O. Its halves are separate because different tasks own them: [`Inbound`] belongs to
//! the task that reads the connection, [`Outbound`] to everybody who has a message for the Client, under the Session's
//! lock. Neither knows subscriptions, the store or the hooks; both are told the time and never wait.

mod handshake;
mod inbound;
mod inflight;
mod outbound;
mod queue;
mod received;
mod snapshot;
mod timers;
mod topic_alias;

use broker_types::{PacketId, QoS, ReasonCode};

pub use handshake::{Granted, Refusal};
pub use inbound::{AckOut, Inbound, InboundLimits, Incoming, IncomingTopic, Token};
pub use inflight::Phase;
pub use outbound::{
    Delivered, Delivery, DropReason, Outbound, OutboundLimits, Peer, Progress, Pumped, Record,
};
pub use queue::{DropPolicy, Queued, Terms};
pub use received::ReceivedIds;
pub use snapshot::{InFlight, OutboundSnapshot};
pub use timers::keep_alive_limit;

use crate::AckKind;

/// A packet that was well-formed but breaks the rules of the Session at this moment. The connection ends; 5.0: with the
/// Reason Code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A PUBLISH with a QoS above the Maximum QoS.
    #[error("{0} is above the Maximum QoS")]
    QoSNotSupported(QoS),
    /// A PUBLISH with RETAIN while retained messages are not available.
    #[error("retained messages are not available")]
    RetainNotSupported,
    /// More PUBLISH packets with QoS 1 and 2 under way than the Receive Maximum `[MQTT-3.3.4-7]`.
    #[error("more than the Receive Maximum of {0} PUBLISH packets under way")]
    ReceiveMaximumExceeded(u16),
    /// A Topic Alias above the Topic Alias Maximum `[MQTT-3.3.2-9]`.
    #[error("topic alias {alias} is above the maximum of {maximum}")]
    TopicAliasInvalid {
        /// What the Client sent.
        alias: u16,
        /// What it was told.
        maximum: u16,
    },
    /// A Topic Alias without Topic Name that stands for nothing on this connection.
    #[error("topic alias {0} is not known")]
    TopicAliasUnknown(u16),
    /// A PUBLISH with neither Topic Name nor Topic Alias.
    #[error("a PUBLISH has neither topic name nor topic alias")]
    TopicMissing,
    /// An answer that doesn't fit what the Packet Identifier stands for: PUBACK for QoS 2, PUBCOMP before PUBREC.
    #[error("{kind:?} for packet identifier {packet_id} is not the answer that is due")]
    AckUnexpected {
        /// The packet that came.
        kind: AckKind,
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
}

impl ProtocolError {
    /// Returns the code for DISCONNECT.
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::QoSNotSupported(_) => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            Self::ReceiveMaximumExceeded(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid { .. } => ReasonCode::TopicAliasInvalid,
            Self::TopicAliasUnknown(_) | Self::TopicMissing | Self::AckUnexpected { .. } => {
                ReasonCode::ProtocolError
            }
        }
    }
}
