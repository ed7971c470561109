//! The fifteen MQTT Control Packets: one struct each, whatever the version. What 3.1 and 3.1.1 lack is simply absent
//! (empty, `None`, Success). A decoded packet borrows the frame it came from. How a packet looks on the wire stands in
//! its own file, both ways; which packets may come when is `decoder.rs`.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod property;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

pub use ack::{Ack, AckKind, AckProperties};
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use property::{PropertyBlock, UserBlock, UserIter};
pub use publish::Publish;
pub(crate) use publish::QOS_3;
pub use suback::{SubAck, UnsubAck};
pub use subscribe::{RetainHandling, Subscribe, SubscribeFilters, SubscribeOptions};
pub use unsubscribe::{Unsubscribe, UnsubscribeFilters};

/// One MQTT Control Packet. The list is complete.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// A Client requests a connection.
    Connect(Box<Connect<'a>>),
    /// The Server answers it.
    ConnAck(Box<ConnAck<'a>>),
    /// An Application Message.
    Publish(Publish<'a>),
    /// QoS 1 PUBLISH is acknowledged.
    PubAck(Ack<'a>),
    /// QoS 2 PUBLISH is received.
    PubRec(Ack<'a>),
    /// QoS 2 PUBLISH is released.
    PubRel(Ack<'a>),
    /// QoS 2 PUBLISH is complete.
    PubComp(Ack<'a>),
    /// A Client subscribes.
    Subscribe(Subscribe<'a>),
    /// The Server answers it.
    SubAck(SubAck<'a>),
    /// A Client unsubscribes.
    Unsubscribe(Unsubscribe<'a>),
    /// The Server answers it.
    UnsubAck(UnsubAck<'a>),
    /// A Client shows that it is alive.
    PingReq,
    /// The Server answers it.
    PingResp,
    /// The last packet of a connection; 5.0: from either side.
    Disconnect(Disconnect<'a>),
    /// Enhanced authentication, 5.0 only.
    Auth(Auth<'a>),
}

/// The type of an MQTT Control Packet (MQTT 5.0 section 2.1.2). The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// CONNECT
    Connect = 1,
    /// CONNACK
    ConnAck,
    /// PUBLISH
    Publish,
    /// PUBACK
    PubAck,
    /// PUBREC
    PubRec,
    /// PUBREL
    PubRel,
    /// PUBCOMP
    PubComp,
    /// SUBSCRIBE
    Subscribe,
    /// SUBACK
    SubAck,
    /// UNSUBSCRIBE
    Unsubscribe,
    /// UNSUBACK
    UnsubAck,
    /// PINGREQ
    PingReq,
    /// PINGRESP
    PingResp,
    /// DISCONNECT
    Disconnect,
    /// AUTH
    Auth,
}

impl PacketType {
    /// Returns the type that the first byte of a frame names in its upper four bits; `None` for the reserved 0.
    #[must_use]
    pub const fn from_first_byte(first: u8) -> Option<Self> {
        Some(match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }
}

impl Packet<'_> {
    /// Returns the type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}
