//! The nouns of MQTT, spelled as the standard spells them.
//!
//! Everything here is plain data that cannot be wrong once it exists: a [`TopicName`] has no wildcard, a
//! [`TopicFilter`] has them only where they may stand, a [`PacketId`] is never zero. There is no I/O, no protocol
//! state and no opinion about who may do what. Builds without `std`.
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod ids;
mod limits;
mod message;
mod properties;
mod qos;
mod reason;
mod time;
mod topic;
mod version;

pub use ids::{ClientHandle, ClientId, PacketId, SubscriptionId};
pub use limits::Limits;
pub use message::{Message, Source};
pub use properties::{Properties, PropertiesBuilder, PropertyError, UserProperties, UserProperty};
pub use qos::QoS;
pub use reason::{ConnectReturnCode, ReasonCode};
pub use time::Timestamp;
pub use topic::{
    FilterError, ShareName, SubscriptionFilter, TOPIC_LENGTH_MAX, TopicFilter, TopicName, TopicNameError,
    TopicRef, levels,
};
pub use version::ProtocolVersion;
