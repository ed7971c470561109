//! PUBLISH (MQTT 5.0 section 3.3): the packet that must be cheap.

use std::borrow::Cow;

use broker_types::{PacketId, QoS, SubscriptionId, TopicRef};

use super::PropertyBlock;

/// An Application Message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP: sent before, perhaps. Never set with QoS 0.
    pub dup: bool,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// The Topic Name; `None` when it is empty on the wire because a Topic Alias stands for it.
    pub topic: Option<TopicRef<'a>>,
    /// The Packet Identifier; there exactly when the QoS is 1 or 2.
    pub packet_id: Option<PacketId>,
    /// The Topic Alias, never 0.
    pub topic_alias: Option<u16>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Subscription Identifiers; only a Server sends them.
    pub subscription_ids: Cow<'a, [SubscriptionId]>,
    /// What travels with the message.
    pub properties: PropertyBlock<'a>,
    /// The Application Message itself.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Returns a PUBLISH with QoS 0, not retained, without properties.
    #[must_use]
    pub const fn new(topic: TopicRef<'a>, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: Some(topic),
            packet_id: None,
            topic_alias: None,
            expiry: None,
            subscription_ids: Cow::Borrowed(&[]),
            properties: PropertyBlock::EMPTY,
            payload,
        }
    }
}
