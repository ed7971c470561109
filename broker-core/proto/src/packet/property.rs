//! Properties on the wire (MQTT 5.0 section 2.2.2): the one place that knows their identifiers and types. Which property
//! may stand in which packet is each packet's `match`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use broker_types::{Properties, ReasonCode, SubscriptionId, TopicRef, UserProperty};
use bytes::Bytes;

use crate::primitive::{self, Reader};
use crate::{DecodeError, EncodeError, varint};

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

    /// Returns the Payload Format Indicator: true when the payload claims to be UTF-8 (section 3.3.2.3.2).
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        let mut reader = Reader(&self.0);
        std::iter::from_fn(|| Property::read(&mut reader).ok()).any(|p| p == Property::PayloadFormat(true))
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

impl<'a> PropertyBlock<'a> {
    /// Lends a block that was checked when it came in.
    pub(crate) const fn from_checked(block: &'a [u8]) -> Self {
        Self(Cow::Borrowed(block))
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

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.iter().try_for_each(|user| Property::User(user).put(out))
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
    ($($name:ident($type:ty) = $id:literal;)*) => {
        /// One property. The list is complete.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Property<'a> { $($name($type),)* }

        impl<'a> Property<'a> {
            /// Reads identifier and value. Identifiers are Variable Byte Integers, but all that exist have one byte.
            #[inline]
            fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                match reader.byte()? {
                    $($id => Value::read(reader).map(Self::$name),)*
                    _ => Err(DecodeError::malformed("a property has an unknown identifier")),
                }
            }

            /// Appends identifier and value.
            pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self { $(Self::$name(value) => {
                    out.push($id);
                    value.put(out)
                })* }
            }

            const fn id(&self) -> u8 {
                match self { $(Self::$name(_) => $id,)* }
            }
        }
    };
}

properties! {
    PayloadFormat(bool) = 0x01;
    MessageExpiry(u32) = 0x02;
    ContentType(&'a str) = 0x03;
    ResponseTopic(&'a str) = 0x08;
    CorrelationData(&'a [u8]) = 0x09;
    SubscriptionId(SubscriptionId) = 0x0B;
    SessionExpiry(u32) = 0x11;
    AssignedClientId(&'a str) = 0x12;
    ServerKeepAlive(u16) = 0x13;
    AuthMethod(&'a str) = 0x15;
    AuthData(&'a [u8]) = 0x16;
    RequestProblemInformation(bool) = 0x17;
    WillDelay(u32) = 0x18;
    RequestResponseInformation(bool) = 0x19;
    ResponseInformation(&'a str) = 0x1A;
    ServerReference(&'a str) = 0x1C;
    ReasonString(&'a str) = 0x1F;
    ReceiveMaximum(u16) = 0x21;
    TopicAliasMaximum(u16) = 0x22;
    TopicAlias(u16) = 0x23;
    MaximumQoS(bool) = 0x24;
    RetainAvailable(bool) = 0x25;
    User(UserProperty<'a>) = 0x26;
    PacketSizeMax(u32) = 0x27;
    WildcardAvailable(bool) = 0x28;
    SubscriptionIdsAvailable(bool) = 0x29;
    SharedAvailable(bool) = 0x2A;
}

impl Property<'_> {
    /// Refuses the values that are wrong in whatever packet.
    #[inline]
    fn check(&self) -> Result<(), DecodeError> {
        match self {
            Self::ReceiveMaximum(0) => Err(DecodeError::protocol("receive maximum is 0")),
            Self::PacketSizeMax(0) => Err(DecodeError::protocol("maximum packet size is 0")),
            // [MQTT-3.3.2-8]
            Self::TopicAlias(0) => Err(DecodeError::new(
                ReasonCode::TopicAliasInvalid,
                "topic alias is 0",
            )),
            // [MQTT-3.3.2-14]
            Self::ResponseTopic(topic) if TopicRef::new(topic).is_err() => {
                Err(DecodeError::protocol("response topic is empty or has wildcards"))
            }
            _ => Ok(()),
        }
    }

    /// PUBLISH may carry several Subscription Identifiers; SUBSCRIBE counts them itself.
    const fn may_repeat(&self) -> bool {
        matches!(self, Self::User(_) | Self::SubscriptionId(_))
    }
}

/// For a property that doesn't belong to the packet (section 2.2.2.2).
pub(super) const MISPLACED: DecodeError = DecodeError::malformed("a property does not belong to this packet");

/// Walks over the properties of a packet. Refuses one that comes twice, and what is wrong in every packet; whether a
/// property may be in this packet is for the caller to know.
pub(super) struct PropertyReader<'a> {
    block: &'a [u8],
    reader: Reader<'a>,
    /// A bit for each identifier that was there.
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    /// Takes the properties with their length off `body`.
    #[inline]
    pub(super) fn open(body: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let len = body.varint()?;
        let block = body.take(len as usize)?;
        Ok(Self {
            block,
            reader: Reader(block),
            seen: 0,
        })
    }

    /// Returns the whole block, as the place to find the User Properties in.
    pub(super) const fn user(&self) -> UserBlock<'a> {
        UserBlock(self.block)
    }

    /// Returns the next property.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let property = Property::read(&mut self.reader)?;
        property.check()?;
        let bit = 1 << property.id();
        if self.seen & bit != 0 && !property.may_repeat() {
            return Err(DecodeError::protocol("a property came twice"));
        }
        self.seen |= bit;
        Ok(Some(property))
    }

    /// Reads the properties of an Application Message and its Message Expiry Interval; all others go to `other`, in order.
    #[inline]
    pub(super) fn read_message(
        mut self,
        mut other: impl FnMut(Property<'a>) -> Result<(), DecodeError>,
    ) -> Result<(PropertyBlock<'a>, Option<u32>), DecodeError> {
        let mut kept = Kept::default();
        let mut expiry = None;
        loop {
            let before = self.reader.0;
            let Some(property) = self.next()? else {
                return Ok((PropertyBlock(kept.finish(self.block)), expiry));
            };
            match property {
                Property::PayloadFormat(_)
                | Property::ContentType(_)
                | Property::ResponseTopic(_)
                | Property::CorrelationData(_)
                | Property::User(_) => {
                    let end = self.block.len() - self.reader.0.len();
                    kept.keep(self.block, self.block.len() - before.len()..end);
                }
                Property::MessageExpiry(seconds) => expiry = Some(seconds),
                property => other(property)?,
            }
        }
    }
}

/// The parts of a property block that are kept: a range of it as long as they stand together, else a copy.
#[derive(Default)]
struct Kept {
    range: Range<usize>,
    copy: Vec<u8>,
}

impl Kept {
    #[inline]
    fn keep(&mut self, block: &[u8], part: Range<usize>) {
        if self.range.is_empty() {
            self.range = part;
        } else if self.range.end == part.start {
            self.range.end = part.end;
        } else {
            self.copy.extend_from_slice(&block[self.range.clone()]);
            self.range = part;
        }
    }

    #[inline]
    fn finish(mut self, block: &[u8]) -> Cow<'_, [u8]> {
        let last = &block[self.range];
        if self.copy.is_empty() {
            return Cow::Borrowed(last);
        }
        self.copy.extend_from_slice(last);
        Cow::Owned(self.copy)
    }
}

/// How the value of a property looks on the wire, by its type.
trait Value<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;
    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl<'a> Value<'a> for bool {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::protocol("a property is neither 0 nor 1")),
        }
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(u8::from(*self));
        Ok(())
    }
}

impl<'a> Value<'a> for u16 {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.u16()
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_u16(*self, out);
        Ok(())
    }
}

impl<'a> Value<'a> for u32 {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.u32()
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

impl<'a> Value<'a> for SubscriptionId {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::new(reader.varint()?).ok_or(DecodeError::protocol("subscription identifier is 0"))
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        varint::put(self.get() as usize, out);
        Ok(())
    }
}

impl<'a> Value<'a> for &'a str {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.string()
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_binary(self.as_bytes(), out)
    }
}

impl<'a> Value<'a> for &'a [u8] {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        primitive::put_binary(self, out)
    }
}

impl<'a> Value<'a> for UserProperty<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: reader.string()?,
            value: reader.string()?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.name.put(out)?;
        self.value.put(out)
    }
}
