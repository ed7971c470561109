//! SUBSCRIBE (MQTT 5.0 section 3.8).

use std::borrow::Cow;
use std::fmt;

use broker_types::{PacketId, QoS, SubscriptionId};

use super::UserBlock;
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

impl<'a> SubscribeFilters<'a> {
    /// Puts a list together, for a client's SUBSCRIBE. Costs one allocation.
    ///
    /// # Errors
    /// A filter is longer than 65,535 bytes.
    pub fn collect<'f>(
        filters: impl IntoIterator<Item = (&'f str, SubscribeOptions)>,
    ) -> Result<SubscribeFilters<'static>, EncodeError> {
        let mut wire = Vec::new();
        let mut count = 0;
        for (filter, options) in filters {
            primitive::put_binary(filter.as_bytes(), &mut wire)?;
            wire.push(options.to_byte());
            count += 1;
        }
        Ok(SubscribeFilters {
            wire: Cow::Owned(wire),
            count,
        })
    }

    /// Returns how many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // reason: a SUBSCRIBE without filters is refused when it is decoded
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
        // [MQTT-3.8.3-5] in 5.0, [MQTT-3-8.3-4] in 3.1.1
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
