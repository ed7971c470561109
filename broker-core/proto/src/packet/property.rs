//! Properties on the wire (MQTT 5.0 section 2.2.2): the one place that knows their identifiers and types. Which property
//! may stand in which packet is each packet's `match`.

use std::borrow::Cow;
use std::fmt;

use broker_types::{Properties, UserProperty};
use bytes::Bytes;

use crate::DecodeError;
use crate::primitive::Reader;
use crate::varint;

/// The properties of an Application Message as a packet carries them: wire form, checked, without those of one hop
/// (Topic Alias, Subscription Identifier) and without the Message Expiry Interval, which stands beside it. Borrowed
/// from the frame whenever they stood together in there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PropertyBlock<'a>(pub(super) Cow<'a, [u8]>);

impl PropertyBlock<'_> {
    /// Holds no property.
    pub const EMPTY: Self = Self(Cow::Borrowed(&[]));

    /// Returns the wire form, without its length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether there is no property.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes an owned copy. Costs one allocation, none when empty.
    #[must_use]
    pub fn to_properties(&self) -> Properties {
        if self.is_empty() {
            return Properties::EMPTY;
        }
        Properties::from_checked(Bytes::copy_from_slice(&self.0))
    }
}

impl<'a> From<&'a Properties> for PropertyBlock<'a> {
    fn from(properties: &'a Properties) -> Self {
        Self(Cow::Borrowed(properties.as_bytes()))
    }
}

impl fmt::Debug for PropertyBlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_properties(), f)
    }
}

/// The User Properties of a packet that is not a message's: a checked block in wire form in which they stand, perhaps
/// among other properties. Equal when the User Properties are.
#[derive(Clone, Copy, Default)]
pub struct UserBlock<'a>(pub(super) &'a [u8]);

impl<'a> UserBlock<'a> {
    /// Holds none.
    pub const EMPTY: Self = Self(&[]);

    /// Walks over them, in order.
    #[must_use]
    pub fn iter(&self) -> UserIter<'a> {
        UserIter(Reader(self.0))
    }
}

impl<'a> From<&'a Properties> for UserBlock<'a> {
    fn from(properties: &'a Properties) -> Self {
        Self(properties.as_bytes())
    }
}

impl<'a> IntoIterator for UserBlock<'a> {
    type Item = UserProperty<'a>;
    type IntoIter = UserIter<'a>;

    fn into_iter(self) -> UserIter<'a> {
        self.iter()
    }
}

impl PartialEq for UserBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserBlock<'_> {}

impl fmt::Debug for UserBlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Walks over the User Properties of a [`UserBlock`].
#[derive(Clone, Debug)]
pub struct UserIter<'a>(Reader<'a>);

impl<'a> Iterator for UserIter<'a> {
    type Item = UserProperty<'a>;

    fn next(&mut self) -> Option<UserProperty<'a>> {
        while !self.0.is_empty() {
            if let Property::User(user) = Property::read(&mut self.0).ok()? {
                return Some(user);
            }
        }
        None
    }
}

macro_rules! properties {
    ($($name:ident($type:ty) = $id:literal, $read:expr;)*) => {
        /// One property. The list is complete.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Property<'a> { $($name($type),)* }

        impl<'a> Property<'a> {
            /// Reads identifier and value. Identifiers are Variable Byte Integers, but all that exist have one byte.
            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                match reader.byte()? {
                    $($id => {
                        let read: fn(&mut Reader<'a>) -> Result<$type, DecodeError> = $read;
                        read(reader).map(Self::$name)
                    })*
                    _ => Err(DecodeError::malformed("a property has an unknown identifier")),
                }
            }

            pub(super) const fn id(&self) -> u8 {
                match self { $(Self::$name(_) => $id,)* }
            }
        }
    };
}

properties! {
    PayloadFormat(bool) = 0x01, flag;
    MessageExpiry(u32) = 0x02, Reader::u32;
    ContentType(&'a str) = 0x03, Reader::string;
    ResponseTopic(&'a str) = 0x08, Reader::string;
    CorrelationData(&'a [u8]) = 0x09, Reader::binary;
    SubscriptionId(u32) = 0x0B, varint::read;
    SessionExpiry(u32) = 0x11, Reader::u32;
    AssignedClientId(&'a str) = 0x12, Reader::string;
    ServerKeepAlive(u16) = 0x13, Reader::u16;
    AuthMethod(&'a str) = 0x15, Reader::string;
    AuthData(&'a [u8]) = 0x16, Reader::binary;
    RequestProblemInformation(bool) = 0x17, flag;
    WillDelay(u32) = 0x18, Reader::u32;
    RequestResponseInformation(bool) = 0x19, flag;
    ResponseInformation(&'a str) = 0x1A, Reader::string;
    ServerReference(&'a str) = 0x1C, Reader::string;
    ReasonString(&'a str) = 0x1F, Reader::string;
    ReceiveMaximum(u16) = 0x21, Reader::u16;
    TopicAliasMaximum(u16) = 0x22, Reader::u16;
    TopicAlias(u16) = 0x23, Reader::u16;
    MaximumQoS(bool) = 0x24, flag;
    RetainAvailable(bool) = 0x25, flag;
    User(UserProperty<'a>) = 0x26, user;
    PacketSizeMax(u32) = 0x27, Reader::u32;
    WildcardAvailable(bool) = 0x28, flag;
    SubscriptionIdsAvailable(bool) = 0x29, flag;
    SharedAvailable(bool) = 0x2A, flag;
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::protocol("a property has a value other than 0 and 1")),
    }
}

fn user<'a>(reader: &mut Reader<'a>) -> Result<UserProperty<'a>, DecodeError> {
    Ok(UserProperty {
        name: reader.string()?,
        value: reader.string()?,
    })
}
