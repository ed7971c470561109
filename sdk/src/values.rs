//! What plugins and the broker's services say to each other, whatever lies between the two.

use alloc::string::String;
use alloc::vec::Vec;

use broker_types::QoS;

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace = 0,
    /// What a developer wants to see.
    Debug = 1,
    /// What an operator wants to see.
    Info = 2,
    /// Something is odd but goes on.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

/// Names a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId(pub u64);

/// Names a Network Connection; keep it to act on the client later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientHandle(pub u64);

/// Why the broker didn't do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// A value makes no sense: a topic with a wildcard, a text with U+0000.
    Invalid,
    /// The plugin may not.
    Denied,
    /// It is too large.
    TooLarge,
    /// There is too much of it already.
    Quota,
    /// What was named isn't there.
    NotFound,
    /// The broker can't now: it is starting or stopping.
    Unavailable,
    /// This broker, or this hook, doesn't have it.
    Unsupported,
    /// Nobody waits for it any more.
    TooLate,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Invalid => "a value makes no sense",
            Self::Denied => "not permitted",
            Self::TooLarge => "too large",
            Self::Quota => "too many",
            Self::NotFound => "there is no such thing",
            Self::Unavailable => "the broker can't now",
            Self::Unsupported => "the broker doesn't have this here",
            Self::TooLate => "too late",
        })
    }
}

impl core::error::Error for Refused {}

/// Where a message entered the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A client published it.
    #[default]
    Client,
    /// It is a Will Message.
    Will,
    /// A bridge brought it.
    Bridge,
    /// A plugin published it.
    Plugin,
    /// It was retained.
    Retained,
    /// The embedding program published it.
    Embedder,
}

/// The properties of an Application Message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Payload Format Indicator: the payload is UTF-8.
    pub payload_is_utf8: bool,
    /// Message Expiry Interval, in seconds.
    pub expiry: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
    /// User Properties, in order.
    pub user: Vec<(String, String)>,
}

/// One property to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Property<'a> {
    /// Payload Format Indicator: the payload is UTF-8.
    PayloadIsUtf8(bool),
    /// Message Expiry Interval, in seconds.
    Expiry(u32),
    /// Content Type.
    ContentType(&'a str),
    /// Response Topic.
    ResponseTopic(&'a str),
    /// Correlation Data.
    CorrelationData(&'a [u8]),
    /// One more User Property.
    User(&'a str, &'a str),
}

/// A property, by its name: to take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyName {
    /// Payload Format Indicator.
    PayloadFormat,
    /// Message Expiry Interval.
    Expiry,
    /// Content Type.
    ContentType,
    /// Response Topic.
    ResponseTopic,
    /// Correlation Data.
    CorrelationData,
    /// All User Properties.
    User,
}

impl Properties {
    /// Returns each of them, as a property to set.
    pub fn each(&self) -> impl Iterator<Item = Property<'_>> {
        let texts = [
            self.content_type.as_deref().map(Property::ContentType),
            self.response_topic.as_deref().map(Property::ResponseTopic),
            self.correlation_data.as_deref().map(Property::CorrelationData),
            self.expiry.map(Property::Expiry),
            self.payload_is_utf8.then_some(Property::PayloadIsUtf8(true)),
        ];
        let user = self.user.iter().map(|(name, value)| Property::User(name, value));
        texts.into_iter().flatten().chain(user)
    }
}

/// A message to publish.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewMessage<'a> {
    /// The Topic Name.
    pub topic: &'a str,
    /// The payload.
    pub payload: &'a [u8],
    /// The QoS.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The properties; `None`: none.
    pub properties: Option<&'a Properties>,
}

/// A message of one's own: what bridges carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedMessage {
    /// The Topic Name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The QoS.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The properties; empty unless [`crate::Interest::properties`] is set.
    pub properties: Properties,
}

impl OwnedMessage {
    /// Lends it, to publish it.
    #[must_use]
    pub fn lend(&self) -> NewMessage<'_> {
        NewMessage {
            topic: &self.topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: Some(&self.properties),
        }
    }
}

/// What a look-up tells about a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The Client Identifier.
    pub client_id: String,
    /// The user name it was let in with.
    pub username: Option<String>,
    /// The listener it came through.
    pub listener: String,
    /// The other end, like `192.0.2.1:40000`.
    pub peer: String,
    /// The version of MQTT: `3.1`, `3.1.1` or `5.0`.
    pub protocol: String,
}
