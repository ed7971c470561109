//! What a listener lets its clients do at most.

use core::time::Duration;

/// The bounds on everything a client can make grow. Defaults are the ones of the configuration reference; each is
/// told to MQTT 5.0 clients where the protocol has a property for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Network Connections of the listener at a time; more are refused before CONNECT. `None`: as many as the process
    /// may have file descriptors, less 100.
    pub connections_max: Option<usize>,
    /// From accept to a complete CONNECT; then the connection is closed.
    pub connect_timeout: Duration,
    /// The largest packet in bytes, fixed header included. A larger one is refused from its fixed header with 0x95.
    pub packet_size_max: u32,
    /// Largest CONNECT in bytes, whatever `packet_size_max` says.
    pub connect_size_max: u32,
    /// Receive Maximum: unacknowledged QoS 1 and QoS 2 PUBLISH packets a client may have under way towards us.
    pub receive_maximum: u16,
    /// Unacknowledged PUBLISH packets under way towards a client; the client's own Receive Maximum wins when lower.
    pub inflight_max: u16,
    /// Messages waiting for a Session.
    pub queued_messages_max: usize,
    /// Bytes of topic, payload and properties waiting for a Session.
    pub queued_bytes_max: usize,
    /// Bytes waiting to be written to one connection, acknowledgements and PINGRESP included.
    pub outbox_bytes_max: usize,
    /// A connection that takes nothing of its outbox for this long is closed.
    pub write_stall_max: Duration,
    /// Subscriptions of one Session.
    pub subscriptions_max: usize,
    /// Levels of a Topic Name or Topic Filter.
    pub topic_levels_max: usize,
    /// Bytes of a Topic Name or Topic Filter.
    pub topic_bytes_max: usize,
    /// Bytes of a Client Identifier.
    pub client_id_bytes_max: usize,
    /// Topic Aliases a client may use towards us.
    pub topic_alias_maximum: u16,
    /// Topic Aliases we use towards a client that offers some.
    pub topic_alias_out_max: u16,
    /// The longest Session Expiry Interval in seconds; `None`: as long as the client wants. A longer wish is lowered and
    /// told in CONNACK.
    pub session_expiry_max: Option<u32>,
    /// The longest Keep Alive in seconds; `None`: what the client wants, also none at all. A longer wish is lowered with
    /// Server Keep Alive.
    pub keep_alive_max: Option<u16>,
    /// The highest QoS offered.
    pub maximum_qos: crate::QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifiers Available.
    pub subscription_ids_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// Refuse payloads that claim to be UTF-8 (Payload Format Indicator 1) and are not.
    pub check_payload_format: bool,
    /// Keep QoS 0 messages for offline Sessions too.
    pub queue_qos0: bool,
    /// Messages a second that one client may publish before its reading is slowed; `None`: no limit.
    pub rate_messages: Option<u32>,
    /// Bytes a second that one client may send before its reading is slowed; `None`: no limit.
    pub rate_bytes: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            connect_timeout: Duration::from_secs(10),
            packet_size_max: 1024 * 1024,
            connect_size_max: 64 * 1024,
            receive_maximum: 1024,
            inflight_max: 1024,
            queued_messages_max: 10_000,
            queued_bytes_max: 64 * 1024 * 1024,
            outbox_bytes_max: 4 * 1024 * 1024,
            write_stall_max: Duration::from_secs(30),
            subscriptions_max: 10_000,
            topic_levels_max: 200,
            topic_bytes_max: 65_535,
            client_id_bytes_max: 65_535,
            topic_alias_maximum: 64,
            topic_alias_out_max: 64,
            session_expiry_max: None,
            keep_alive_max: None,
            maximum_qos: crate::QoS::ExactlyOnce,
            retain_available: true,
            wildcard_available: true,
            subscription_ids_available: true,
            shared_available: true,
            check_payload_format: false,
            queue_qos0: false,
            rate_messages: None,
            rate_bytes: None,
        }
    }
}
