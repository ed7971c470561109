//! SUBACK and UNSUBACK (MQTT 5.0 sections 3.9 and 3.11).

use std::borrow::Cow;

use broker_types::{PacketId, ReasonCode};

use super::AckProperties;

/// The Server's answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One code for each Topic Filter, in order `[MQTT-3.8.4-6]`. 3.1.1 knows one failure, 0x80; 3.1 none at all.
    pub reasons: Cow<'a, [ReasonCode]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

/// The Server's answer to UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck<'a> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One code for each Topic Filter, in order `[MQTT-3.11.3-1]`. 3.1 and 3.1.1 have none: not written, empty when read.
    pub reasons: Cow<'a, [ReasonCode]>,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}
