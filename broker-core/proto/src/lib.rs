//! MQTT 3.1, 3.1.1 and 5.0 without I/O: bytes and the time go in, packets, events and the next wake-up come out. There is
//! no socket, no clock, no task and no randomness in here.
#![forbid(unsafe_code)]

mod decoder;
mod encoder;
mod error;
mod packet;
mod primitive;
#[cfg(test)]
mod round_trip;
mod varint;

pub use decoder::{Decoder, Side};
pub use encoder::AnswerLimits;
pub use error::{DecodeError, EncodeError};
pub use packet::{
    Ack, AckKind, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, PropertyBlock,
    Publish, RetainHandling, SubAck, Subscribe, SubscribeFilters, SubscribeOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, UserBlock, UserIter, Will,
};
