//! UNSUBSCRIBE (MQTT 5.0 section 3.10).

use std::borrow::Cow;
use std::fmt;

use broker_types::PacketId;

use super::UserBlock;
use crate::EncodeError;
use crate::primitive::{self, Reader};

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

impl<'a> UnsubscribeFilters<'a> {
    /// Puts a list together, for a client's UNSUBSCRIBE. Costs one allocation.
    ///
    /// # Errors
    /// A filter is longer than 65,535 bytes.
    pub fn collect<'f>(
        filters: impl IntoIterator<Item = &'f str>,
    ) -> Result<UnsubscribeFilters<'static>, EncodeError> {
        let mut wire = Vec::new();
        let mut count = 0;
        for filter in filters {
            primitive::put_binary(filter.as_bytes(), &mut wire)?;
            count += 1;
        }
        Ok(UnsubscribeFilters {
            wire: Cow::Owned(wire),
            count,
        })
    }

    /// Returns how many there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // reason: an UNSUBSCRIBE without filters is refused when it is decoded
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
