//! UNSUBSCRIBE (MQTT 5.0 section 3.10).

use std::borrow::Cow;
use std::fmt;

use broker_types::{PacketId, ProtocolVersion};

use super::UserBlock;
use super::property::{MISPLACED, Property, PropertyReader};
use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError};

/// A Client's request to end subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// The Packet Identifier that the UNSUBACK will name.
    pub packet_id: PacketId,
    /// The User Properties.
    pub user: UserBlock<'a>,
    /// The Topic Filters, at least one.
    pub filters: UnsubscribeFilters<'a>,
}

/// The Topic Filters of an UNSUBSCRIBE: wire form, checked for shape.
#[derive(Clone, PartialEq, Eq)]
pub struct UnsubscribeFilters<'a> {
    wire: Cow<'a, [u8]>,
    count: usize,
}

impl<'a> Unsubscribe<'a> {
    pub(crate) fn decode(body: &mut Reader<'a>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let packet_id = body.packet_id()?;
        let mut user = UserBlock::EMPTY;
        if version.is_v5() {
            let mut reader = PropertyReader::open(body)?;
            user = reader.user();
            while let Some(property) = reader.next()? {
                match property {
                    Property::User(_) => {}
                    _ => return Err(MISPLACED),
                }
            }
        }
        Ok(Self {
            packet_id,
            user,
            filters: UnsubscribeFilters::decode(body)?,
        })
    }

    pub(crate) fn put(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_frame(0xA2, out, |out| {
            primitive::put_u16(self.packet_id.get(), out);
            if version.is_v5() {
                primitive::put_prefixed(out, |out| self.user.put(out))?;
            }
            out.extend_from_slice(&self.filters.wire);
            Ok(())
        })
    }
}

impl<'a> UnsubscribeFilters<'a> {
    fn decode(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let wire = body.0;
        let mut count = 0;
        while !body.is_empty() {
            body.string()?;
            count += 1;
        }
        // [MQTT-3.10.3-2]
        if count == 0 {
            return Err(DecodeError::protocol("UNSUBSCRIBE has no topic filter"));
        }
        Ok(Self {
            wire: Cow::Borrowed(wire),
            count,
        })
    }

    /// Puts a list together, for a client's UNSUBSCRIBE. Costs one allocation.
    ///
    /// # Errors
    /// A filter is longer than 65,535 bytes.
    pub fn collect<'f>(filters: impl IntoIterator<Item = &'f str>) -> Result<Self, EncodeError> {
        let mut wire = Vec::new();
        let mut count = 0;
        for filter in filters {
            primitive::put_binary(filter.as_bytes(), &mut wire)?;
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
        reason = "an UNSUBSCRIBE without filters is refused"
    )]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Walks over them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut reader = Reader(&self.wire);
        std::iter::from_fn(move || reader.string().ok())
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
