//! SUBSCRIBE (MQTT 5.0 section 3.8).

use std::borrow::Cow;
use std::fmt;

use broker_types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

use super::UserBlock;
use super::property::{MISPLACED, Property, PropertyReader};
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// A Client's request for subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The Packet Identifier that the SUBACK will name.
    pub packet_id: PacketId,
    /// The Subscription Identifier of all of them.
    pub subscription_id: Option<SubscriptionId>,
    /// The User Properties.
    pub user: UserBlock<'a>,
    /// What is subscribed to, at least one.
    pub filters: SubscribeFilters<'a>,
}

/// How a subscription wants its messages (section 3.8.3.1). 3.1 and 3.1.1 only have the QoS; the defaults are what they imply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local: not what the subscriber itself publishes.
    pub no_local: bool,
    /// Retain As Published: RETAIN as the publisher set it.
    pub retain_as_published: bool,
    /// Whether Retained Messages are sent now.
    pub retain_handling: RetainHandling,
}

/// Whether a new subscription gets Retained Messages. The list is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Sends them at each SUBSCRIBE.
    #[default]
    SendAlways = 0,
    /// Sends them when the subscription wasn't there before.
    SendIfNew = 1,
    /// Doesn't send them.
    DoNotSend = 2,
}

/// The Topic Filters of a SUBSCRIBE with their options: wire form, checked for shape. Whether a text is a valid filter
/// is not: that has an answer of its own in SUBACK, 0x8F.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscribeFilters<'a> {
    wire: Cow<'a, [u8]>,
    count: usize,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = body.packet_id()?;
        let mut subscription_id = None;
        let mut user = UserBlock::EMPTY;
        if version.is_v5() {
            let mut reader = PropertyReader::open(body)?;
            user = reader.user();
            while let Some(property) = reader.next()? {
                match property {
                    Property::SubscriptionId(_) if subscription_id.is_some() => {
                        return Err(DecodeError::protocol(
                            "SUBSCRIBE has two subscription identifiers",
                        ));
                    }
                    Property::SubscriptionId(id) => subscription_id = Some(id),
                    Property::User(_) => {}
                    _ => return Err(MISPLACED),
                }
            }
        }
        Ok(Self {
            packet_id,
            subscription_id,
            user,
            filters: SubscribeFilters::decode(body, version)?,
        })
    }

    pub(crate) fn put(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_frame(0x82, out, |out| {
            primitive::put_u16(self.packet_id.get(), out);
            if version.is_v5() {
                primitive::put_prefixed(out, |out| {
                    if let Some(id) = self.subscription_id {
                        Property::SubscriptionId(id).put(out)?;
                    }
                    self.user.put(out)
                })?;
                out.extend_from_slice(&self.filters.wire);
                return Ok(());
            }
            for (filter, options) in self.filters.iter() {
                primitive::put_binary(filter.as_bytes(), out)?;
                out.push(options.qos.bits());
            }
            Ok(())
        })
    }
}

impl<'a> SubscribeFilters<'a> {
    fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let wire = body.0;
        let mut count = 0;
        while !body.is_empty() {
            let filter = body.string()?;
            let byte = body.byte()?;
            if !version.is_v5() && byte > 0x03 {
                // [MQTT-3.8.3-4] of 3.1.1
                return Err(DecodeError::malformed(
                    "reserved bits of the requested QoS are set",
                ));
            }
            let options = SubscribeOptions::from_byte(byte)?;
            // [MQTT-3.8.3-4]
            if options.no_local && filter.starts_with("$share/") {
                return Err(DecodeError::protocol("no local on a shared subscription"));
            }
            count += 1;
        }
        // [MQTT-3.8.3-2]
        if count == 0 {
            return Err(DecodeError::protocol("SUBSCRIBE has no topic filter"));
        }
        Ok(Self {
            wire: Cow::Borrowed(wire),
            count,
        })
    }

    /// Puts a list together, for a client's SUBSCRIBE. Costs one allocation.
    ///
    /// # Errors
    /// A filter is longer than 65,535 bytes.
    pub fn collect<'f>(
        filters: impl IntoIterator<Item = (&'f str, SubscribeOptions)>,
    ) -> Result<Self, EncodeError> {
        let mut wire = Vec::new();
        let mut count = 0;
        for (filter, options) in filters {
            primitive::put_binary(filter.as_bytes(), &mut wire)?;
            wire.push(options.to_byte());
            count += 1;
        }
        Ok(Self {
            wire: Cow::Owned(wire),
            count,
        })
    }

    /// Returns how many there are.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a SUBSCRIBE without filters is refused"
    )]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Walks over them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, SubscribeOptions)> {
        let mut reader = Reader(&self.wire);
        std::iter::from_fn(move || {
            let filter = reader.string().ok()?;
            let options = SubscribeOptions::from_byte(reader.byte().ok()?).ok()?;
            Some((filter, options))
        })
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl SubscribeOptions {
    /// Reads the options byte of 5.0, of which the one of 3.1 and 3.1.1 is a part.
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        // [MQTT-3.8.3-5]
        if byte & 0xC0 != 0 {
            return Err(DecodeError::malformed(
                "reserved bits of the subscription options are set",
            ));
        }
        Ok(Self {
            qos: QoS::from_bits(byte & 0x03).ok_or(DecodeError::protocol("a subscription asks for QoS 3"))?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::SendAlways,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::protocol("retain handling is 3")),
            },
        })
    }

    const fn to_byte(self) -> u8 {
        self.qos.bits()
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}
