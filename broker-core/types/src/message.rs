//! The Application Message.

use bytes::Bytes;

use crate::{Properties, QoS, TopicName};

/// Where an Application Message entered the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A client's PUBLISH.
    #[default]
    Client,
    /// A Will Message that fired.
    Will,
    /// A bridge.
    Bridge,
    /// A plugin that published or emitted it.
    Plugin,
    /// A Retained Message, sent because of a new subscription.
    Retained,
    /// The program that embeds the broker.
    Embedder,
}

/// An Application Message, owned. Cloning is cheap: topic, payload and properties are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic: TopicName,
    /// The Application Message itself, 0 to 268,435,455 bytes.
    pub payload: Bytes,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// What MQTT 5.0 sends along; empty for older publishers.
    pub properties: Properties,
    /// Message Expiry Interval in seconds, as it stood when the message came in.
    pub expiry: Option<u32>,
}

impl Message {
    /// Returns a message for `topic` with QoS 0, not retained, without properties.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
            expiry: None,
        }
    }

    /// Returns the bytes that queues count for it: topic, payload and properties.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + self.properties.as_bytes().len()
    }
}
