//! From CONNECT to CONNACK: what the Client gets of what it asked for, and what it is told. Pure rules. Who the Client
//! is, whether it may connect and whether there is a Session are questions for others, asked between
//! [`Granted::check`] and [`Granted::conn_ack`].

use broker_types::{Limits, ProtocolVersion, QoS, ReasonCode};

use super::inbound::InboundLimits;
use super::outbound::{OutboundLimits, PACKET_SIZE_MAX, Peer};
use super::queue::DropPolicy;
use crate::packet::{AckProperties, ConnAck, Connect, Will};

/// Why a CONNECT is refused by the limits of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The Client Identifier is empty, and the Client didn't ask for a clean Session or speaks 3.1 (3.1.1:
    /// `[MQTT-3.1.3-8]`).
    #[error("the client identifier is empty")]
    ClientIdEmpty,
    /// The Client Identifier is longer than the listener allows.
    #[error("the client identifier has {len} bytes, at most {max} are allowed")]
    ClientIdTooLong {
        /// Its bytes.
        len: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The Will QoS is above the Maximum QoS `[MQTT-3.2.2-12]`.
    #[error("will QoS {0} is above the maximum QoS")]
    WillQoSNotSupported(QoS),
    /// Will Retain is set, and retained messages are not available `[MQTT-3.2.2-13]`.
    #[error("will retain is set, but retained messages are not available")]
    WillRetainNotSupported,
    /// The Will Topic is longer or has more levels than the listener allows.
    #[error("the will topic has too many bytes or levels")]
    WillTopicTooLong,
    /// The Will Payload claims to be UTF-8 and is not.
    #[error("the will payload is not the UTF-8 that it claims to be")]
    WillPayloadNotUtf8,
}

impl Refusal {
    /// Returns the code for CONNACK; 3.1 and 3.1.1 say the nearest Return Code.
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::ClientIdEmpty | Self::ClientIdTooLong { .. } => ReasonCode::ClientIdentifierNotValid,
            Self::WillQoSNotSupported(_) => ReasonCode::QoSNotSupported,
            Self::WillRetainNotSupported => ReasonCode::RetainNotSupported,
            Self::WillTopicTooLong => ReasonCode::TopicNameInvalid,
            Self::WillPayloadNotUtf8 => ReasonCode::PayloadFormatInvalid,
        }
    }
}

/// What a Client gets. Whoever decides about the connection may lower it before CONNACK tells the Client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted<'a> {
    /// Whether the Client left its Client Identifier to us; then [`Self::client_id`] must be set to one that no other
    /// Session has `[MQTT-3.2.2-16]`.
    pub assign_client_id: bool,
    /// The Client Identifier to use from now on.
    pub client_id: &'a str,
    /// The Keep Alive in seconds that holds; 0: none.
    pub keep_alive: u16,
    /// The Session Expiry Interval in seconds that holds.
    pub session_expiry: u32,
    /// Whether the Client continues a Session.
    pub session_present: bool,
    /// Response Information; told only to a Client that asked for it `[MQTT-3.1.2-28]`.
    pub response_information: Option<&'a str>,
    /// The last Authentication Data of enhanced authentication.
    pub auth_data: Option<&'a [u8]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl<'a> Granted<'a> {
    /// Checks a CONNECT against the limits of its listener and returns what the Client gets if nobody objects.
    ///
    /// # Errors
    /// The first limit that is broken; CONNACK tells it and the connection ends.
    pub fn check(connect: &Connect<'a>, limits: &Limits) -> Result<Self, Refusal> {
        let assign_client_id = connect.client_id.is_empty();
        let may_be_empty = match connect.version {
            ProtocolVersion::V31 => false,
            ProtocolVersion::V311 => connect.clean_start,
            ProtocolVersion::V5 => true,
        };
        if assign_client_id && !may_be_empty {
            return Err(Refusal::ClientIdEmpty);
        }
        let (len, max) = (connect.client_id.len(), limits.client_id_bytes_max);
        if len > max {
            return Err(Refusal::ClientIdTooLong { len, max });
        }
        if let Some(will) = &connect.will {
            check_will(will, limits)?;
        }
        Ok(Self {
            assign_client_id,
            client_id: connect.client_id,
            keep_alive: keep_alive(connect, limits),
            session_expiry: connect
                .session_expiry
                .min(limits.session_expiry_max.unwrap_or(u32::MAX)),
            session_present: false,
            response_information: None,
            auth_data: None,
            properties: AckProperties::EMPTY,
        })
    }

    /// Returns the CONNACK that tells the Client what it got: only what differs from what it asked for, or from what silence
    /// means. (The limit of its Maximum Packet Size is kept when it is encoded.)
    #[must_use]
    pub fn conn_ack(&self, connect: &Connect<'a>, limits: &Limits) -> ConnAck<'a> {
        let told = |differs: bool| differs && connect.version.is_v5();
        let size_max = limits.packet_size_max;
        ConnAck {
            session_present: self.session_present,
            session_expiry: told(self.session_expiry != connect.session_expiry)
                .then_some(self.session_expiry),
            receive_maximum: limits.receive_maximum,
            maximum_qos: limits.maximum_qos,
            retain_available: limits.retain_available,
            packet_size_max: told(size_max < PACKET_SIZE_MAX).then_some(size_max),
            assigned_client_id: told(self.client_id != connect.client_id).then_some(self.client_id),
            topic_alias_maximum: limits.topic_alias_maximum,
            wildcard_available: limits.wildcard_available,
            subscription_ids_available: limits.subscription_ids_available,
            shared_available: limits.shared_available,
            server_keep_alive: told(self.keep_alive != connect.keep_alive).then_some(self.keep_alive),
            response_information: self
                .response_information
                .filter(|_| connect.request_response_information),
            auth_method: connect.auth_method,
            auth_data: self.auth_data,
            properties: self.properties,
            ..ConnAck::new(ReasonCode::Success)
        }
    }
}

/// What a listener's limits say about one connection's receiving half.
impl From<&Limits> for InboundLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            receive_maximum: limits.receive_maximum,
            topic_alias_maximum: limits.topic_alias_maximum,
            maximum_qos: limits.maximum_qos,
            retain_available: limits.retain_available,
        }
    }
}

/// What a listener's limits say about a Session's sending half: all in memory, the oldest dropped, nothing recorded.
impl From<&Limits> for OutboundLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            inflight_max: limits.inflight_max,
            queued_messages_max: limits.queued_messages_max,
            queued_bytes_max: limits.queued_bytes_max,
            window: usize::MAX,
            drop: DropPolicy::Oldest,
            queue_qos0: limits.queue_qos0,
            recorded: false,
        }
    }
}

impl Peer {
    /// Returns what `connect` brings along for a Session with this Session Expiry Interval.
    #[must_use]
    pub fn new(connect: &Connect<'_>, limits: &Limits, session_expiry: u32) -> Self {
        Self {
            version: connect.version,
            receive_maximum: connect.receive_maximum,
            packet_size_max: connect.packet_size_max,
            topic_alias_maximum: connect.topic_alias_maximum.min(limits.topic_alias_out_max),
            outbox_bytes_max: limits.outbox_bytes_max,
            resumable: session_expiry > 0,
        }
    }
}

fn check_will(will: &Will<'_>, limits: &Limits) -> Result<(), Refusal> {
    if will.qos > limits.maximum_qos {
        return Err(Refusal::WillQoSNotSupported(will.qos));
    }
    if will.retain && !limits.retain_available {
        return Err(Refusal::WillRetainNotSupported);
    }
    let topic = will.topic;
    if topic.as_str().len() > limits.topic_bytes_max || topic.levels().count() > limits.topic_levels_max {
        return Err(Refusal::WillTopicTooLong);
    }
    let claims_utf8 = limits.check_payload_format && will.properties.to_properties().payload_is_utf8();
    if claims_utf8 && std::str::from_utf8(will.payload).is_err() {
        return Err(Refusal::WillPayloadNotUtf8);
    }
    Ok(())
}

/// The Keep Alive that holds. Only a 5.0 Client can be told another one than its own `[MQTT-3.2.2-22]`.
fn keep_alive(connect: &Connect<'_>, limits: &Limits) -> u16 {
    match limits.keep_alive_max {
        Some(max) if connect.version.is_v5() && (connect.keep_alive == 0 || connect.keep_alive > max) => max,
        _ => connect.keep_alive,
    }
}

#[cfg(test)]
mod tests {
    use broker_types::{ConnectReturnCode, TopicRef};

    use super::*;
    use crate::packet::PropertyBlock;

    const VERSIONS: [ProtocolVersion; 3] = [ProtocolVersion::V31, ProtocolVersion::V311, ProtocolVersion::V5];

    fn will(qos: QoS, retain: bool) -> Will<'static> {
        Will {
            topic: TopicRef::new("will/topic").unwrap(),
            payload: &[0xFF],
            qos,
            retain,
            delay: 0,
            expiry: None,
            properties: PropertyBlock::EMPTY,
        }
    }

    #[test]
    fn an_empty_client_identifier_is_assigned_where_the_version_allows_it() {
        for (version, clean_start, expected) in [
            (ProtocolVersion::V31, true, false),
            (ProtocolVersion::V311, true, true),
            (ProtocolVersion::V311, false, false),
            (ProtocolVersion::V5, true, true),
            (ProtocolVersion::V5, false, true),
        ] {
            let mut connect = Connect::new(version, "");
            connect.clean_start = clean_start;
            let granted = Granted::check(&connect, &Limits::default());
            assert_eq!(
                granted.is_ok_and(|granted| granted.assign_client_id),
                expected,
                "{version}"
            );
        }
        let refused =
            Granted::check(&Connect::new(ProtocolVersion::V31, ""), &Limits::default()).unwrap_err();
        assert_eq!(
            ConnectReturnCode::from(refused.reason()),
            ConnectReturnCode::IdentifierRejected
        );
    }

    #[test]
    fn v5_3_1_3_7_an_assigned_client_identifier_is_told() {
        let (connect, limits) = (Connect::new(ProtocolVersion::V5, ""), Limits::default());
        let mut granted = Granted::check(&connect, &limits).unwrap();
        granted.client_id = "made-up";
        assert_eq!(
            granted.conn_ack(&connect, &limits).assigned_client_id,
            Some("made-up")
        );
    }

    #[test]
    fn limits_are_kept_to_the_byte() {
        let mut limits = Limits::default();
        limits.client_id_bytes_max = 3;
        limits.topic_bytes_max = "will/topic".len();
        limits.topic_levels_max = 2;
        for version in VERSIONS {
            let mut connect = Connect::new(version, "abc");
            connect.will = Some(will(QoS::ExactlyOnce, true));
            assert!(Granted::check(&connect, &limits).is_ok());
            connect.client_id = "abcd";
            assert_eq!(
                Granted::check(&connect, &limits),
                Err(Refusal::ClientIdTooLong { len: 4, max: 3 })
            );
        }
        let mut connect = Connect::new(ProtocolVersion::V5, "abc");
        connect.will = Some(will(QoS::AtMostOnce, false));
        limits.topic_levels_max = 1;
        assert_eq!(Granted::check(&connect, &limits), Err(Refusal::WillTopicTooLong));
        limits.topic_levels_max = 2;
        limits.topic_bytes_max -= 1;
        assert_eq!(Granted::check(&connect, &limits), Err(Refusal::WillTopicTooLong));
    }

    #[test]
    fn v5_3_2_2_12_and_13_a_will_beyond_what_is_offered_is_refused() {
        let mut limits = Limits::default();
        limits.maximum_qos = QoS::AtLeastOnce;
        limits.retain_available = false;
        let mut connect = Connect::new(ProtocolVersion::V5, "c");
        for (qos, retain, expected) in [
            (QoS::AtLeastOnce, false, None),
            (QoS::ExactlyOnce, false, Some(ReasonCode::QoSNotSupported)),
            (QoS::AtMostOnce, true, Some(ReasonCode::RetainNotSupported)),
        ] {
            connect.will = Some(will(qos, retain));
            assert_eq!(
                Granted::check(&connect, &limits)
                    .err()
                    .map(|refused| refused.reason()),
                expected
            );
        }
    }

    #[test]
    fn a_will_that_claims_to_be_utf8_is_checked_if_wanted() {
        let mut limits = Limits::default();
        let mut connect = Connect::new(ProtocolVersion::V5, "c");
        let properties = broker_types::PropertiesBuilder::new()
            .payload_is_utf8(true)
            .build()
            .unwrap();
        connect.will = Some(Will {
            properties: (&properties).into(),
            ..will(QoS::AtMostOnce, false)
        });
        assert!(Granted::check(&connect, &limits).is_ok());
        limits.check_payload_format = true;
        assert_eq!(
            Granted::check(&connect, &limits),
            Err(Refusal::WillPayloadNotUtf8)
        );
    }

    #[test]
    fn only_a_5_0_client_gets_another_keep_alive_and_is_told() {
        let mut limits = Limits::default();
        limits.keep_alive_max = Some(60);
        for (version, asked, holds, told) in [
            (ProtocolVersion::V5, 0, 60, Some(60)),
            (ProtocolVersion::V5, 61, 60, Some(60)),
            (ProtocolVersion::V5, 60, 60, None),
            (ProtocolVersion::V311, 61, 61, None),
            (ProtocolVersion::V311, 0, 0, None),
        ] {
            let mut connect = Connect::new(version, "c");
            connect.keep_alive = asked;
            let granted = Granted::check(&connect, &limits).unwrap();
            assert_eq!(granted.keep_alive, holds);
            assert_eq!(granted.conn_ack(&connect, &limits).server_keep_alive, told);
        }
    }

    #[test]
    fn a_session_expiry_interval_is_lowered_and_told() {
        let mut limits = Limits::default();
        limits.session_expiry_max = Some(100);
        for (asked, holds, told) in [
            (0, 0, None),
            (100, 100, None),
            (101, 100, Some(100)),
            (u32::MAX, 100, Some(100)),
        ] {
            let mut connect = Connect::new(ProtocolVersion::V5, "c");
            connect.session_expiry = asked;
            let granted = Granted::check(&connect, &limits).unwrap();
            assert_eq!(granted.session_expiry, holds);
            assert_eq!(granted.conn_ack(&connect, &limits).session_expiry, told);
            assert_eq!(Peer::new(&connect, &limits, holds).resumable, holds > 0);
        }
    }

    #[test]
    fn what_nobody_asked_for_is_not_told() {
        let mut limits = Limits::default();
        limits.packet_size_max = u32::MAX;
        let mut connect = Connect::new(ProtocolVersion::V5, "c");
        let mut granted = Granted::check(&connect, &limits).unwrap();
        granted.response_information = Some("re/ply");
        let ack = granted.conn_ack(&connect, &limits);
        assert_eq!((ack.response_information, ack.packet_size_max), (None, None));
        connect.request_response_information = true;
        assert_eq!(
            granted.conn_ack(&connect, &limits).response_information,
            Some("re/ply")
        );
    }
}
