//! CONNACK (MQTT 5.0 section 3.2).

use broker_types::{QoS, ReasonCode};

use super::AckProperties;

/// The Server's answer to CONNECT. A property that is not on the wire has the value its absence means, and one that
/// has this value isn't written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the Server still has the Session.
    pub session_present: bool,
    /// How it ended. 3.1 and 3.1.1 say the nearest of their six Return Codes.
    pub reason: ReasonCode,
    /// The Session Expiry Interval in seconds, when it isn't what the Client asked for.
    pub session_expiry: Option<u32>,
    /// PUBLISH packets with QoS 1 and 2 that the Server takes at a time; never 0.
    pub receive_maximum: u16,
    /// The highest QoS that the Server takes.
    pub maximum_qos: QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// The largest packet that the Server takes, in bytes; never 0.
    pub packet_size_max: Option<u32>,
    /// The Client Identifier, when the Server chose it.
    pub assigned_client_id: Option<&'a str>,
    /// The highest Topic Alias that the Server takes.
    pub topic_alias_maximum: u16,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// The Keep Alive in seconds that the Client must use instead of its own.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Another Server to use.
    pub server_reference: Option<&'a str>,
    /// The Authentication Method.
    pub auth_method: Option<&'a str>,
    /// The Authentication Data.
    pub auth_data: Option<&'a [u8]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl ConnAck<'_> {
    /// Returns an answer that carries no property.
    #[must_use]
    pub const fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            session_expiry: None,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            packet_size_max: None,
            assigned_client_id: None,
            topic_alias_maximum: 0,
            wildcard_available: true,
            subscription_ids_available: true,
            shared_available: true,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            auth_method: None,
            auth_data: None,
            properties: AckProperties::EMPTY,
        }
    }
}
