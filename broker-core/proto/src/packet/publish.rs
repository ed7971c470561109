//! PUBLISH (MQTT 5.0 section 3.3): the packet that must be cheap.

use std::borrow::Cow;

use broker_types::{PacketId, ProtocolVersion, QoS, ReasonCode, SubscriptionId, TopicNameError, TopicRef};

use super::PropertyBlock;
use super::property::{MISPLACED, Property, PropertyReader};
use crate::decoder::Side;
use crate::primitive::{self, NULL, Reader};
use crate::{DecodeError, EncodeError, varint};

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

    #[inline]
    pub(crate) fn decode(
        first: u8,
        body: &mut Reader<'a>,
        version: ProtocolVersion,
        side: Side,
    ) -> Result<Self, DecodeError> {
        let topic = body.utf8()?;
        let qos = QoS::from_bits(first >> 1 & 0x03).ok_or(QOS_3)?;
        let mut publish = Self {
            dup: first & 0x08 != 0,
            qos,
            retain: first & 0x01 != 0,
            topic: None,
            packet_id: match qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id()?),
            },
            topic_alias: None,
            expiry: None,
            subscription_ids: Cow::Borrowed(&[]),
            properties: PropertyBlock::EMPTY,
            payload: &[],
        };
        if version.is_v5() {
            publish.decode_properties(body, side)?;
        }
        if !topic.is_empty() {
            publish.topic = Some(TopicRef::new(topic).map_err(|error| topic_error(&error))?);
        } else if publish.topic_alias.is_none() {
            return Err(DecodeError::protocol(
                "the topic name is empty and there is no topic alias",
            ));
        }
        publish.payload = body.rest();
        Ok(publish)
    }

    #[inline]
    fn decode_properties(&mut self, body: &mut Reader<'a>, side: Side) -> Result<(), DecodeError> {
        let reader = PropertyReader::open(body)?;
        (self.properties, self.expiry) = reader.read_message(|property| {
            match property {
                Property::TopicAlias(alias) => self.topic_alias = Some(alias),
                // [MQTT-3.3.4-6]
                Property::SubscriptionId(_) if side == Side::Server => {
                    return Err(DecodeError::protocol(
                        "a client sent a subscription identifier in PUBLISH",
                    ));
                }
                Property::SubscriptionId(id) => self.subscription_ids.to_mut().push(id),
                _ => return Err(MISPLACED),
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Returns the size of the whole packet in bytes, fixed header included.
    #[must_use]
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let remaining = self.remaining_len(version);
        1 + varint::len(remaining) + remaining
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// It is larger than the protocol can express.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.reserve(self.encoded_len(version));
        self.encode_head(version, out)?;
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Appends the packet without its payload, for a payload that is sent from where it lies or a frame that is sent to
    /// many. Returns where in `out` the two bytes of the Packet Identifier are.
    ///
    /// # Errors
    /// The packet is larger than the protocol can express.
    pub fn encode_head(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, EncodeError> {
        let remaining = self.remaining_len(version);
        if remaining > varint::MAX {
            return Err(EncodeError::too_large(remaining));
        }
        out.push(0x30 | u8::from(self.dup) << 3 | self.qos.bits() << 1 | u8::from(self.retain));
        varint::put(remaining, out);
        primitive::put_binary(self.topic_bytes(), out)?;
        let packet_id_at = self.packet_id.map(|id| {
            primitive::put_u16(id.get(), out);
            out.len() - 2
        });
        if version.is_v5() {
            self.put_properties(out)?;
        }
        Ok(packet_id_at)
    }

    fn put_properties(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        varint::put(self.properties_len(), out);
        if let Some(alias) = self.topic_alias {
            Property::TopicAlias(alias).put(out)?;
        }
        if let Some(seconds) = self.expiry {
            Property::MessageExpiry(seconds).put(out)?;
        }
        for &id in self.subscription_ids.iter() {
            Property::SubscriptionId(id).put(out)?;
        }
        out.extend_from_slice(self.properties.as_bytes());
        Ok(())
    }

    fn remaining_len(&self, version: ProtocolVersion) -> usize {
        let properties = match version {
            ProtocolVersion::V5 => {
                let len = self.properties_len();
                varint::len(len) + len
            }
            ProtocolVersion::V31 | ProtocolVersion::V311 => 0,
        };
        let packet_id = if self.packet_id.is_some() { 2 } else { 0 };
        2 + self.topic_bytes().len() + packet_id + properties + self.payload.len()
    }

    fn properties_len(&self) -> usize {
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let expiry = if self.expiry.is_some() { 5 } else { 0 };
        let ids: usize = self
            .subscription_ids
            .iter()
            .map(|id| 1 + varint::len(id.get() as usize))
            .sum();
        alias + expiry + ids + self.properties.as_bytes().len()
    }

    fn topic_bytes(&self) -> &[u8] {
        self.topic.map_or(&[], |topic| topic.as_str().as_bytes())
    }
}

/// `[MQTT-3.3.1-4]`
pub(crate) const QOS_3: DecodeError = DecodeError::malformed("a PUBLISH has QoS 3");

/// `[MQTT-3.3.2-2]` and `[MQTT-4.7.3-2]`.
#[cold]
fn topic_error(error: &TopicNameError) -> DecodeError {
    match error {
        TopicNameError::Null => NULL,
        _ => DecodeError::new(ReasonCode::TopicNameInvalid, "the topic name contains a wildcard"),
    }
}
