//! The MQTT 5.0 properties that travel with an Application Message from publisher to subscriber.
//!
//! They are kept in their wire form, checked once, because nearly always the bytes that came in are the bytes that go
//! out: forwarding copies one block and decodes nothing. What belongs to one hop (Topic Alias, Subscription
//! Identifier) is not in here, and the Message Expiry Interval, which changes on its way, stands beside it in
//! [`crate::Message`].

use bytes::{BufMut, Bytes, BytesMut};

/// Payload Format Indicator.
const PAYLOAD_FORMAT: u8 = 0x01;
/// Content Type.
const CONTENT_TYPE: u8 = 0x03;
/// Response Topic.
const RESPONSE_TOPIC: u8 = 0x08;
/// Correlation Data.
const CORRELATION_DATA: u8 = 0x09;
/// User Property.
const USER_PROPERTY: u8 = 0x26;

/// Why a block of bytes is no block of Application Message properties.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// The block ends within a property, or a text isn't UTF-8 or contains U+0000.
    #[error("properties are malformed")]
    Malformed,
    /// This property doesn't belong to an Application Message or came twice.
    #[error("property 0x{0:02X} must not stand here")]
    Protocol(u8),
    /// A text or Correlation Data has more than 65,535 bytes.
    #[error("a property has {0} bytes, at most 65535 are possible")]
    TooLong(usize),
}

/// One User Property: a name and a value, both UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserProperty<'a> {
    /// The name; names may repeat.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
}

/// The properties of an Application Message, in wire form and order. Empty for MQTT 3.1 and 3.1.1. Cloning is cheap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Bytes);

impl Properties {
    /// Holds no property.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Checks a block of properties in wire form (without its length) and keeps it.
    ///
    /// # Errors
    /// Says what is wrong. Cost: one pass, no allocation.
    pub fn parse(block: Bytes) -> Result<Self, PropertyError> {
        let mut seen = 0u64;
        let mut rest = &block[..];
        while let Some((&id, tail)) = rest.split_first() {
            let once = 1u64 << (id & 0x3F);
            if id != USER_PROPERTY && (id >= 64 || seen & once != 0) {
                return Err(PropertyError::Protocol(id));
            }
            seen |= once;
            rest = match id {
                PAYLOAD_FORMAT => match tail.split_first() {
                    Some((0 | 1, tail)) => tail,
                    Some(_) => return Err(PropertyError::Protocol(id)),
                    None => return Err(PropertyError::Malformed),
                },
                CONTENT_TYPE => text(tail).ok_or(PropertyError::Malformed)?.1,
                RESPONSE_TOPIC => {
                    let (topic, tail) = text(tail).ok_or(PropertyError::Malformed)?;
                    // [MQTT-3.3.2-14]: no wildcards; a Topic Name has at least one character.
                    crate::TopicRef::new(topic).map_err(|_| PropertyError::Protocol(id))?;
                    tail
                }
                CORRELATION_DATA => binary(tail).ok_or(PropertyError::Malformed)?.1,
                USER_PROPERTY => {
                    let (_, tail) = text(tail).ok_or(PropertyError::Malformed)?;
                    text(tail).ok_or(PropertyError::Malformed)?.1
                }
                other => return Err(PropertyError::Protocol(other)),
            };
        }
        Ok(Self(block))
    }

    /// Keeps a block that the packet decoder has already checked property by property with the rules of
    /// [`Self::parse`]; reading an unchecked one gives `None` from the first bad property on, never a panic.
    #[must_use]
    pub const fn from_checked(block: Bytes) -> Self {
        Self(block)
    }

    /// Returns the wire form, without its length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the shared block itself.
    #[must_use]
    pub const fn block(&self) -> &Bytes {
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
        matches!(self.find(PAYLOAD_FORMAT), Some([1, ..]))
    }

    /// Returns the Content Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        text(self.find(CONTENT_TYPE)?).map(|(t, _)| t)
    }

    /// Returns the Response Topic.
    #[must_use]
    pub fn response_topic(&self) -> Option<&str> {
        text(self.find(RESPONSE_TOPIC)?).map(|(t, _)| t)
    }

    /// Returns the Correlation Data.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&[u8]> {
        binary(self.find(CORRELATION_DATA)?).map(|(d, _)| d)
    }

    /// Returns the User Properties in their order `[MQTT-3.3.2-18]`.
    #[must_use]
    pub fn user(&self) -> UserProperties<'_> {
        UserProperties { rest: &self.0 }
    }

    /// Starts a builder that holds these properties.
    #[must_use]
    pub fn to_builder(&self) -> PropertiesBuilder {
        let mut builder = PropertiesBuilder::new().payload_is_utf8(self.payload_is_utf8());
        if let Some(value) = self.content_type() {
            builder = builder.content_type(value);
        }
        if let Some(value) = self.response_topic() {
            builder = builder.response_topic(value);
        }
        if let Some(value) = self.correlation_data() {
            builder = builder.correlation_data(value);
        }
        for UserProperty { name, value } in self.user() {
            builder = builder.user(name, value);
        }
        builder
    }

    /// Returns what follows the identifier of the first property `wanted`.
    fn find(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = &self.0[..];
        while let Some((&id, tail)) = rest.split_first() {
            if id == wanted {
                return Some(tail);
            }
            rest = skip(id, tail)?;
        }
        None
    }
}

impl core::fmt::Debug for Properties {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Properties")
            .field("payload_is_utf8", &self.payload_is_utf8())
            .field("content_type", &self.content_type())
            .field("response_topic", &self.response_topic())
            .field("correlation_data", &self.correlation_data())
            .field(
                "user",
                &self
                    .user()
                    .map(|u| (u.name, u.value))
                    .collect::<alloc::vec::Vec<_>>(),
            )
            .finish()
    }
}

/// Walks over the User Properties, in order.
#[derive(Clone, Debug)]
pub struct UserProperties<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for UserProperties<'a> {
    type Item = UserProperty<'a>;

    fn next(&mut self) -> Option<UserProperty<'a>> {
        while let Some((&id, tail)) = self.rest.split_first() {
            self.rest = skip(id, tail).unwrap_or_default();
            if id == USER_PROPERTY {
                let (name, tail) = text(tail)?;
                let (value, _) = text(tail)?;
                return Some(UserProperty { name, value });
            }
        }
        None
    }
}

/// Puts properties together. Wrong values are reported once, by [`Self::build`].
#[derive(Clone, Debug, Default)]
pub struct PropertiesBuilder {
    block: BytesMut,
    too_long: Option<usize>,
}

impl PropertiesBuilder {
    /// Starts without any property.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the Payload Format Indicator to 1; false leaves it out, which means the same as 0.
    #[must_use]
    pub fn payload_is_utf8(mut self, utf8: bool) -> Self {
        if utf8 {
            self.block.put_slice(&[PAYLOAD_FORMAT, 1]);
        }
        self
    }

    /// Sets the Content Type. Call it once.
    #[must_use]
    pub fn content_type(self, value: &str) -> Self {
        self.put(CONTENT_TYPE, value.as_bytes())
    }

    /// Sets the Response Topic. Call it once.
    #[must_use]
    pub fn response_topic(self, value: &str) -> Self {
        self.put(RESPONSE_TOPIC, value.as_bytes())
    }

    /// Sets the Correlation Data. Call it once.
    #[must_use]
    pub fn correlation_data(self, value: &[u8]) -> Self {
        self.put(CORRELATION_DATA, value)
    }

    /// Adds a User Property behind the others.
    #[must_use]
    pub fn user(self, name: &str, value: &str) -> Self {
        let mut builder = self.put(USER_PROPERTY, name.as_bytes());
        builder.put_field(value.as_bytes());
        builder
    }

    /// Checks everything and returns the properties.
    ///
    /// # Errors
    /// The first rule that is broken: a property twice, a text with U+0000, a Response Topic with wildcards, too long.
    pub fn build(self) -> Result<Properties, PropertyError> {
        match self.too_long {
            Some(len) => Err(PropertyError::TooLong(len)),
            None => Properties::parse(self.block.freeze()),
        }
    }

    fn put(mut self, id: u8, field: &[u8]) -> Self {
        self.block.put_u8(id);
        self.put_field(field);
        self
    }

    fn put_field(&mut self, field: &[u8]) {
        match u16::try_from(field.len()) {
            Ok(len) => {
                self.block.put_u16(len);
                self.block.put_slice(field);
            }
            Err(_) => self.too_long = Some(field.len()),
        }
    }
}

/// Returns what follows the property `id` whose value begins `tail`.
fn skip(id: u8, tail: &[u8]) -> Option<&[u8]> {
    match id {
        PAYLOAD_FORMAT => tail.get(1..),
        CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA => binary(tail).map(|(_, rest)| rest),
        USER_PROPERTY => binary(binary(tail)?.1).map(|(_, rest)| rest),
        _ => None,
    }
}

fn binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (field, rest) = binary(bytes)?;
    let text = core::str::from_utf8(field).ok()?;
    (!text.contains('\0')).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let properties = PropertiesBuilder::new()
            .payload_is_utf8(true)
            .content_type("text/plain")
            .response_topic("re/ply")
            .correlation_data(&[0, 1, 2])
            .user("a", "1")
            .user("b", "")
            .user("a", "2")
            .build()
            .unwrap();
        assert!(properties.payload_is_utf8());
        assert_eq!(properties.content_type(), Some("text/plain"));
        assert_eq!(properties.response_topic(), Some("re/ply"));
        assert_eq!(properties.correlation_data(), Some(&[0, 1, 2][..]));
        let user: alloc::vec::Vec<_> = properties.user().map(|u| (u.name, u.value)).collect();
        assert_eq!(user, [("a", "1"), ("b", ""), ("a", "2")]);
        assert_eq!(properties.to_builder().build().unwrap(), properties);
    }

    #[test]
    fn bad_blocks_are_refused() {
        let parse = |bytes: &[u8]| Properties::parse(Bytes::copy_from_slice(bytes));
        assert_eq!(parse(&[0x01]), Err(PropertyError::Malformed));
        assert_eq!(parse(&[0x01, 2]), Err(PropertyError::Protocol(0x01)));
        assert_eq!(parse(&[0x01, 1, 0x01, 1]), Err(PropertyError::Protocol(0x01)));
        assert_eq!(parse(&[0x23, 0, 1]), Err(PropertyError::Protocol(0x23)));
        assert_eq!(parse(&[0x41, 1]), Err(PropertyError::Protocol(0x41)));
        assert_eq!(parse(&[0x03, 0, 5, b'a']), Err(PropertyError::Malformed));
        assert_eq!(parse(&[0x08, 0, 1, b'#']), Err(PropertyError::Protocol(0x08)));
        assert_eq!(parse(&[0x26, 0, 1, 0, 0, 0]), Err(PropertyError::Malformed));
        let long = PropertiesBuilder::new().content_type(&"x".repeat(65_536)).build();
        assert_eq!(long, Err(PropertyError::TooLong(65_536)));
    }

    #[test]
    fn unchecked_garbage_is_read_without_panic() {
        let garbage = Properties::from_checked(Bytes::from_static(&[0x26, 0, 9, 1]));
        assert_eq!(garbage.user().count(), 0);
        assert_eq!(garbage.content_type(), None);
    }
}
