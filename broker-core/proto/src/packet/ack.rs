//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0 sections 3.4 to 3.7): four packets of one shape.

use broker_types::{PacketId, ReasonCode};

use super::UserBlock;

/// Which of the four packets an [`Ack`] is. The list is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// Answers a QoS 1 PUBLISH.
    PubAck,
    /// Answers a QoS 2 PUBLISH.
    PubRec,
    /// Answers a PUBREC.
    PubRel,
    /// Answers a PUBREL.
    PubComp,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// How it ended. Always Success in 3.1 and 3.1.1.
    pub reason: ReasonCode,
    /// What is said besides.
    pub properties: AckProperties<'a>,
}

impl Ack<'_> {
    /// Returns one without properties.
    #[must_use]
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            properties: AckProperties::EMPTY,
        }
    }
}

/// The two properties that nearly every answer may carry for a human reader. They are the first to be left out when
/// the receiver has no room for them or doesn't want them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckProperties<'a> {
    /// The Reason String.
    pub reason_string: Option<&'a str>,
    /// The User Properties.
    pub user: UserBlock<'a>,
}

impl AckProperties<'_> {
    /// Says nothing.
    pub const EMPTY: Self = Self {
        reason_string: None,
        user: UserBlock::EMPTY,
    };
}
