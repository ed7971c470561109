//! MQTT 3.1, 3.1.1 and 5.0 without I/O: bytes and the time go in, packets, events and the next wake-up come out. There is
//! no socket, no clock, no task and no randomness in here.
#![forbid(unsafe_code)]

mod client;
mod decoder;
mod encoder;
mod error;
mod ledger;
mod outgoing;
mod packet;
mod primitive;
#[cfg(test)]
mod round_trip;
mod seldom;
mod session;
mod stored;
mod varint;
mod write_buf;

pub use client::{Client, ClientError, ClientEvent, ClientLimits};
pub use decoder::{Decoder, Side};
pub use encoder::AnswerLimits;
pub use error::{DecodeError, EncodeError};
pub use ledger::Ledger;
pub use outgoing::{Outgoing, OutgoingScratch};
pub use packet::{
    Ack, AckKind, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, PropertyBlock,
    Publish, RetainHandling, SubAck, Subscribe, SubscribeFilters, SubscribeOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, UserBlock, UserIter, Will,
};
pub use seldom::{Empty, Seldom};
pub use session::{
    AckOut, Delivered, Delivery, DropPolicy, DropReason, Granted, InFlight, Inbound, InboundLimits, Incoming,
    IncomingTopic, Outbound, OutboundLimits, OutboundSnapshot, Peer, Phase, Progress, ProtocolError, Pumped,
    Queued, ReceivedIds, Record, Refusal, Terms, Token, keep_alive_limit,
};
pub use stored::{Expired, MessageRef, Payload, Stored, remaining_expiry};
pub use write_buf::{SHARED_BODY_MIN, WriteBuf};
