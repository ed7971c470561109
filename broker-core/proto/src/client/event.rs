//! What a driver says to a Client and hears from it: bounds, events, errors.

use broker_types::ReasonCode;

use super::requests::REQUESTS_MAX;
use crate::packet::{Auth, ConnAck, Disconnect, PacketType, Publish, SubAck, UnsubAck};
use crate::{DecodeError, DropPolicy, EncodeError, IncomingTopic, OutboundLimits, ProtocolError, Token};

/// Bounds of a Client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLimits {
    /// PUBLISH packets with QoS 1 and 2 under way at a time, at most 28,672; the Server's Receive Maximum wins when lower.
    pub inflight_max: u16,
    /// Messages that wait at most.
    pub queued_messages_max: usize,
    /// Bytes of topic, payload and properties that wait at most.
    pub queued_bytes_max: usize,
    /// What happens when that is reached.
    pub drop: DropPolicy,
    /// Whether QoS 0 messages wait for a connection.
    pub queue_qos0: bool,
    /// Topic Aliases used towards the Server.
    pub topic_alias_out_max: u16,
    /// Bytes in the output from which on messages wait.
    pub outbox_bytes_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            inflight_max: 1024,
            queued_messages_max: 10_000,
            queued_bytes_max: 64 * 1024 * 1024,
            drop: DropPolicy::Newest,
            queue_qos0: false,
            topic_alias_out_max: 0,
            outbox_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl ClientLimits {
    /// Everything waits in memory, and what is dropped is told.
    pub(super) const fn outbound(&self) -> OutboundLimits {
        OutboundLimits {
            inflight_max: if self.inflight_max > INFLIGHT_MAX {
                INFLIGHT_MAX
            } else {
                self.inflight_max
            },
            queued_messages_max: self.queued_messages_max,
            queued_bytes_max: self.queued_bytes_max,
            window: usize::MAX,
            drop: self.drop,
            queue_qos0: self.queue_qos0,
            recorded: true,
        }
    }
}

/// What happened to a Client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent<'a> {
    /// The Server accepted the connection.
    Connected(Box<ConnAck<'a>>),
    /// The Server refused the connection, which must be closed.
    Refused(Box<ConnAck<'a>>),
    /// A message came.
    Message {
        /// Its Topic Name, also when a Topic Alias stood for it.
        topic: IncomingTopic<'a>,
        /// The packet.
        publish: Publish<'a>,
        /// To be given to [`Client::accept`](super::Client::accept) when the message is taken care of; `None` with QoS 0.
        token: Option<Token>,
    },
    /// The Server is done with a QoS 1 or 2 message; a code of 0x80 and above says that it refused it.
    Published {
        /// The number that [`Client::publish`](super::Client::publish) gave it.
        seq: u64,
        /// The Server's code; Success before 5.0.
        reason: ReasonCode,
    },
    /// A message that waited will not be sent: it expired, is too large for the Server, or made room for another.
    Dropped {
        /// The number that [`Client::publish`](super::Client::publish) gave it.
        seq: u64,
    },
    /// The Server answered a SUBSCRIBE.
    Subscribed(SubAck<'a>),
    /// The Server answered an UNSUBSCRIBE.
    Unsubscribed(UnsubAck<'a>),
    /// The Server goes on with enhanced authentication.
    Auth(Auth<'a>),
    /// The Server is alive.
    Pong,
    /// The Server ends the connection, which must be closed.
    Disconnected(Disconnect<'a>),
}

/// Why a Client can't go on, or not do what was asked. The list is complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The Server sent a packet that breaks the protocol.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The Server sent a packet that doesn't fit the Session.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The Server sent a packet that is not due.
    #[error("the server sent {0:?} when it was not due")]
    Unexpected(PacketType),
    /// The Server has a Session that was to be new `[MQTT-3.2.2-2]`.
    #[error("the server resumes a session that was to be new")]
    SessionUnexpected,
    /// The Server didn't answer PINGREQ.
    #[error("the server is silent")]
    ServerSilent,
    /// What was asked can't be encoded; nothing happened.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What was asked needs a connection; nothing happened.
    #[error("not connected")]
    NotConnected,
    /// Too many SUBSCRIBE and UNSUBSCRIBE packets have no answer yet; nothing happened.
    #[error("{REQUESTS_MAX} requests have no answer yet")]
    TooManyRequests,
}

impl ClientError {
    /// Returns the code with which to disconnect, if the connection must end.
    #[must_use]
    pub const fn reason(&self) -> Option<ReasonCode> {
        match self {
            Self::Decode(error) => Some(error.reason),
            Self::Protocol(error) => Some(error.reason()),
            Self::Unexpected(_) | Self::SessionUnexpected => Some(ReasonCode::ProtocolError),
            Self::ServerSilent => Some(ReasonCode::UnspecifiedError),
            Self::Encode(_) | Self::NotConnected | Self::TooManyRequests => None,
        }
    }
}

/// So that a free Packet Identifier for PUBLISH is always near.
const INFLIGHT_MAX: u16 = 0x7000;
