//! A minimal MQTT wire toolkit for 3.1, 3.1.1 and 5.0, written from the standard and sharing no code with the broker.
//!
//! Packets are built as bytes, so that every field can be wrong on purpose; what the server sends is parsed strictly,
//! and anything the standard forbids a server to send panics at once, in every test. The [`Client`] blocks, bounded by
//! [`DEADLINE`], and never sleeps: silence is proved by a PINGREQ whose answer comes next.
//!
//! Whatever waits here panics, at the caller's line, when something else comes or nothing: that is how a test fails.

mod act;
mod build;
mod client;
mod connect;
mod expect;
mod frame;
mod parse;
mod property;
mod wishes;

pub use build::{
    Ack, Auth, Disconnect, Pingreq, Publish, Subscribe, Unsubscribe, auth, disconnect, pingreq, puback,
    pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe,
};
pub use client::{Client, DEADLINE};
pub use connect::{Connect, Will, will};
pub use frame::{Frame, varint};
pub use parse::{Acked, Connack, Kind, Packet, Received, Suback};
pub use property::{Property, prop};

/// Bit of the Subscription Options: No Local.
pub const NO_LOCAL: u8 = 0x04;
/// Bit of the Subscription Options: Retain As Published.
pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
/// Subscription Options: Retain Handling 1, send Retained Messages only if the Subscription is new.
pub const RETAIN_IF_NEW: u8 = 0x10;
/// Subscription Options: Retain Handling 2, do not send Retained Messages.
pub const RETAIN_NEVER: u8 = 0x20;

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1, protocol name `MQIsdp`.
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// Returns whether packets have properties and Reason Codes.
    #[must_use]
    pub fn is_v5(self) -> bool {
        self == Self::V5
    }
}

/// Something that can be put on the wire of a connection of some version.
pub trait Wire {
    /// Returns the bytes to send.
    fn wire(&self, version: Version) -> Vec<u8>;
}

impl Wire for [u8] {
    fn wire(&self, _: Version) -> Vec<u8> {
        self.to_vec()
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn wire(&self, _: Version) -> Vec<u8> {
        self.to_vec()
    }
}

impl Wire for Vec<u8> {
    fn wire(&self, _: Version) -> Vec<u8> {
        self.clone()
    }
}

impl<T: Wire + ?Sized> Wire for &T {
    fn wire(&self, version: Version) -> Vec<u8> {
        (**self).wire(version)
    }
}
