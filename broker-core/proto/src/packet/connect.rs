//! CONNECT (MQTT 5.0 section 3.1).

use broker_types::{ProtocolVersion, QoS, TopicRef};

use super::{PropertyBlock, UserBlock};

/// A Client's request for a connection. What 3.1 and 3.1.1 can't say holds the value they imply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version that the connection will speak.
    pub version: ProtocolVersion,
    /// Clean Start; Clean Session in 3.1 and 3.1.1.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0: none.
    pub keep_alive: u16,
    /// The Client Identifier; may be empty. Whether it may is decided by the handshake.
    pub client_id: &'a str,
    /// The Will Message.
    pub will: Option<Will<'a>>,
    /// The User Name.
    pub username: Option<&'a str>,
    /// The Password.
    pub password: Option<&'a [u8]>,
    /// The Session Expiry Interval in seconds. 3.1 and 3.1.1: 0 with Clean Session, else `u32::MAX` (never).
    pub session_expiry: u32,
    /// PUBLISH packets with QoS 1 and 2 that the Client takes at a time; never 0.
    pub receive_maximum: u16,
    /// The largest packet that the Client takes, in bytes; never 0.
    pub packet_size_max: Option<u32>,
    /// The highest Topic Alias that the Client takes.
    pub topic_alias_maximum: u16,
    /// Whether the Client asks for Response Information.
    pub request_response_information: bool,
    /// Whether the Client wants Reason Strings and User Properties with failures.
    pub request_problem_information: bool,
    /// The User Properties.
    pub user: UserBlock<'a>,
    /// The Authentication Method of enhanced authentication.
    pub auth_method: Option<&'a str>,
    /// The Authentication Data; only with a method.
    pub auth_data: Option<&'a [u8]>,
}

impl<'a> Connect<'a> {
    /// Returns a CONNECT with Clean Start, without Keep Alive, Will Message and credentials.
    #[must_use]
    pub const fn new(version: ProtocolVersion, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            session_expiry: 0,
            receive_maximum: u16::MAX,
            packet_size_max: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            user: UserBlock::EMPTY,
            auth_method: None,
            auth_data: None,
        }
    }
}

/// The Will Message of a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The Will Topic.
    pub topic: TopicRef<'a>,
    /// The Will Payload.
    pub payload: &'a [u8],
    /// The Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// The Will Delay Interval in seconds.
    pub delay: u32,
    /// The Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// What travels with the message.
    pub properties: PropertyBlock<'a>,
}
