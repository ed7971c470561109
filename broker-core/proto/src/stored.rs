//! An Application Message, borrowed on its way through ([`MessageRef`]) and kept ([`Stored`]). Queues and in-flight
//! tables of all Sessions share one `Arc<Stored>`; nothing in it ever changes.
//!
//! Cost: a message of the usual size is two allocations, 64 bytes of header and one block with topic, properties and
//! payload behind each other, whatever the number of Sessions that keep it. (Three shared fields of their own, as in
//! [`Message`], take 80 bytes more each, and a queue may hold ten thousand.)

use std::borrow::Cow;
use std::fmt;
use std::mem::size_of;

use broker_types::{Message, Properties, QoS, SubscriptionId, Timestamp, TopicRef};
use bytes::Bytes;

use crate::ledger::Ledger;
use crate::packet::{PropertyBlock, Publish};
use crate::write_buf::SHARED_BODY_MIN;

/// The payload of a [`MessageRef`].
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Lies in a buffer that is needed for other things; it is copied by whoever keeps it.
    Borrowed(&'a [u8]),
    /// May be kept by reference, because it doesn't pin a larger buffer.
    Shared(&'a Bytes),
}

impl<'a> Payload<'a> {
    /// Returns the bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Returns bytes that may be kept. Copies what is borrowed.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => Bytes::clone(bytes),
        }
    }

    /// As [`Self::to_bytes`]; a copy is entered in `ledger`.
    pub(crate) fn to_counted_bytes(self, ledger: Option<&Ledger>) -> Bytes {
        match (self, ledger) {
            (Self::Borrowed(bytes), Some(ledger)) => ledger.share(bytes.to_vec()),
            _ => self.to_bytes(),
        }
    }
}

/// An Application Message, borrowed; [`Message`] is the owned form.
#[derive(Clone, Copy, Debug)]
pub struct MessageRef<'a> {
    /// Where it goes.
    pub topic: TopicRef<'a>,
    /// The Application Message itself.
    pub payload: Payload<'a>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// What MQTT 5.0 sends along: wire form, checked, as [`Properties::as_bytes`] and
    /// [`PropertyBlock::as_bytes`](crate::PropertyBlock::as_bytes) give it.
    pub properties: &'a [u8],
    /// Message Expiry Interval in seconds, as it stood when the message came in.
    pub expiry: Option<u32>,
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            topic: message.topic.as_ref(),
            payload: Payload::Shared(&message.payload),
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_bytes(),
            expiry: message.expiry,
        }
    }
}

impl<'a> MessageRef<'a> {
    /// Returns the PUBLISH that takes it to a subscriber, without Packet Identifier, DUP and Topic Alias.
    #[inline]
    pub(crate) fn publish<'f>(
        &self,
        qos: QoS,
        retain: bool,
        expiry: Option<u32>,
        ids: &'f [SubscriptionId],
    ) -> Publish<'f>
    where
        'a: 'f,
    {
        Publish {
            qos,
            retain,
            expiry,
            subscription_ids: Cow::Borrowed(ids),
            properties: PropertyBlock::from_checked(self.properties),
            ..Publish::new(self.topic, self.payload.as_bytes())
        }
    }

    /// Returns the bytes that queues count for it: topic, properties and payload.
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.as_str().len() + self.properties.len() + self.payload.as_bytes().len()
    }

    /// Makes an owned copy. Costs up to three allocations.
    #[must_use]
    pub fn to_message(&self) -> Message {
        Message {
            topic: self.topic.to_owned(),
            payload: self.payload.to_bytes(),
            qos: self.qos,
            retain: self.retain,
            properties: Properties::from_checked(Bytes::copy_from_slice(self.properties)),
            expiry: self.expiry,
        }
    }
}

/// An Application Message that Sessions keep, with the time it came in.
pub struct Stored {
    received_at: Timestamp,
    expiry: Option<u32>,
    properties_len: u32,
    topic_len: u16,
    qos: QoS,
    retain: bool,
    content: Content,
    /// Where it is entered for as long as somebody keeps it.
    ledger: Option<Ledger>,
}

enum Content {
    /// Topic, properties, payload.
    Block(Box<[u8]>),
    /// Topic and properties; a large payload stays where it is.
    Split(Box<(Box<[u8]>, Bytes)>),
}

impl Stored {
    /// Keeps `message`, which came in at `received_at`.
    #[must_use]
    pub fn new(message: &MessageRef<'_>, received_at: Timestamp) -> Self {
        let payload = message.payload.as_bytes();
        let body = (payload.len() >= SHARED_BODY_MIN).then(|| message.payload.to_bytes());
        Self::with_body(message, received_at, body)
    }

    /// As [`Self::new`], entered in `ledger` for as long as somebody keeps it. A large payload that was shared before is
    /// its owner's to enter.
    #[must_use]
    pub fn counted(message: &MessageRef<'_>, received_at: Timestamp, ledger: &Ledger) -> Self {
        let large = message.payload.as_bytes().len() >= SHARED_BODY_MIN;
        let body = large.then(|| message.payload.to_counted_bytes(Some(ledger)));
        Self::with_body(message, received_at, body).entered(Some(ledger))
    }

    /// Enters it in `ledger`, except for a body that lies on its own.
    pub(crate) fn entered(mut self, ledger: Option<&Ledger>) -> Self {
        if let Some(ledger) = ledger {
            ledger.enter(self.own_bytes());
            self.ledger = Some(ledger.clone());
        }
        self
    }

    /// Returns the bytes of memory that are its own.
    fn own_bytes(&self) -> usize {
        size_of::<Self>() + OVERHEAD + self.parts().0.len()
    }

    /// As [`Self::new`], but a body that somebody made already is used again.
    pub(crate) fn with_body(message: &MessageRef<'_>, received_at: Timestamp, body: Option<Bytes>) -> Self {
        let (topic, payload) = (message.topic.as_str(), message.payload.as_bytes());
        let inline = if body.is_some() { &[][..] } else { payload };
        let mut block = Vec::with_capacity(topic.len() + message.properties.len() + inline.len());
        block.extend_from_slice(topic.as_bytes());
        block.extend_from_slice(message.properties);
        block.extend_from_slice(inline);
        let block = block.into_boxed_slice();
        Self {
            received_at,
            expiry: message.expiry,
            properties_len: message.properties.len() as u32,
            topic_len: topic.len() as u16,
            qos: message.qos,
            retain: message.retain,
            content: match body {
                Some(body) => Content::Split(Box::new((block, body))),
                None => Content::Block(block),
            },
            ledger: None,
        }
    }

    /// Returns when it came in.
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Returns the QoS it was published with.
    #[inline]
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Returns its Message Expiry Interval as it stood when the message came in.
    #[must_use]
    pub const fn expiry(&self) -> Option<u32> {
        self.expiry
    }

    /// Returns the bytes that queues count for it: topic, properties and payload.
    #[inline]
    #[must_use]
    pub fn size(&self) -> usize {
        let (block, body) = self.parts();
        block.len() + body.map_or(0, Bytes::len)
    }

    /// Returns the Topic Name as text in UTF-8, for those who only copy it. Free, other than [`Self::message`].
    #[inline]
    #[must_use]
    pub fn topic_bytes(&self) -> &[u8] {
        &self.parts().0[..usize::from(self.topic_len)]
    }

    /// Returns the properties in wire form.
    #[inline]
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        let start = usize::from(self.topic_len);
        &self.parts().0[start..start + self.properties_len as usize]
    }

    /// Returns the payload.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self.parts() {
            (_, Some(body)) => body,
            (block, None) => &block[usize::from(self.topic_len) + self.properties_len as usize..],
        }
    }

    /// Returns the payload if it lies on its own.
    fn body(&self) -> Option<&Bytes> {
        self.parts().1
    }

    /// Lends it. Costs a pass over the Topic Name.
    #[must_use]
    pub fn message(&self) -> MessageRef<'_> {
        let topic = std::str::from_utf8(self.topic_bytes()).ok();
        MessageRef {
            topic: topic
                .and_then(|topic| TopicRef::new(topic).ok())
                .expect("`with_body` copied it from a Topic Name"),
            payload: match self.body() {
                Some(body) => Payload::Shared(body),
                None => Payload::Borrowed(self.payload()),
            },
            qos: self.qos,
            retain: self.retain,
            properties: self.properties(),
            expiry: self.expiry,
        }
    }

    #[inline]
    fn parts(&self) -> (&[u8], Option<&Bytes>) {
        match &self.content {
            Content::Block(block) => (block, None),
            Content::Split(split) => (&split.0, Some(&split.1)),
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.leave(self.own_bytes());
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("received_at", &self.received_at)
            .field("topic", &String::from_utf8_lossy(self.topic_bytes()))
            .field("qos", &self.qos)
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// Two reference counts, and what an allocator takes for two allocations.
const OVERHEAD: usize = 32;

/// A Message Expiry Interval that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

/// Returns what is left of the Message Expiry Interval of a message that waited from `received_at` to `now`
/// `[MQTT-3.3.2-6]`. A message that didn't wait at all has not expired, even with an interval of 0.
///
/// # Errors
/// The interval has passed `[MQTT-3.3.2-5]`.
#[inline]
pub fn remaining_expiry(
    expiry: Option<u32>,
    received_at: Timestamp,
    now: Timestamp,
) -> Result<Option<u32>, Expired> {
    let Some(interval) = expiry else { return Ok(None) };
    let waited = now.since(received_at);
    if !waited.is_zero() && waited.as_millis() >= u128::from(interval) * 1000 {
        return Err(Expired);
    }
    Ok(Some(interval.saturating_sub(waited.as_secs() as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(payload: Payload<'a>) -> MessageRef<'a> {
        MessageRef {
            topic: TopicRef::new("a/b").unwrap(),
            payload,
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: &[0x01, 1],
            expiry: Some(7),
        }
    }

    #[test]
    fn what_is_kept_is_given_back() {
        let (small, large) = (vec![1; 100], Bytes::from(vec![2; SHARED_BODY_MIN]));
        for payload in [
            Payload::Borrowed(b""),
            Payload::Borrowed(&small),
            Payload::Borrowed(&large),
            Payload::Shared(&large),
        ] {
            let message = message(payload);
            let stored = Stored::new(&message, Timestamp::from_millis(5));
            assert_eq!(stored.message().to_message(), message.to_message());
            assert_eq!(
                MessageRef::from(&message.to_message()).to_message(),
                message.to_message()
            );
            assert_eq!(stored.topic_bytes(), b"a/b");
            assert_eq!(
                (stored.size(), message.size()),
                (5 + payload.as_bytes().len(), stored.size())
            );
            assert_eq!(
                (stored.qos(), stored.received_at().as_millis()),
                (QoS::AtLeastOnce, 5)
            );
        }
    }

    #[test]
    fn a_message_is_entered_until_nobody_keeps_it() {
        let (small, large) = (vec![1; 100], vec![2; SHARED_BODY_MIN]);
        for payload in [&small, &large] {
            let ledger = Ledger::new();
            let stored = Stored::counted(&message(Payload::Borrowed(payload)), Timestamp::ZERO, &ledger);
            let entered = ledger.bytes();
            assert!(
                (payload.len()..payload.len() + 300).contains(&entered),
                "{entered}"
            );
            drop(stored);
            assert_eq!(ledger.bytes(), 0);
        }
    }

    #[test]
    fn only_a_large_payload_is_kept_by_reference() {
        let large = Bytes::from(vec![2; SHARED_BODY_MIN]);
        let small = large.slice(1..);
        for (payload, shared) in [(&large, true), (&small, false)] {
            let stored = Stored::new(&message(Payload::Shared(payload)), Timestamp::ZERO);
            assert_eq!(stored.payload().as_ptr() == payload.as_ptr(), shared);
        }
    }

    #[test]
    fn expiry_counts_whole_seconds_and_ends_to_the_millisecond() {
        let left = |interval, waited| {
            let (start, now) = (Timestamp::from_millis(500), Timestamp::from_millis(500 + waited));
            remaining_expiry(Some(interval), start, now)
        };
        assert_eq!(left(2, 0), Ok(Some(2)));
        assert_eq!(left(2, 999), Ok(Some(2)));
        assert_eq!(left(2, 1000), Ok(Some(1)));
        assert_eq!(left(2, 1999), Ok(Some(1)));
        assert_eq!(left(2, 2000), Err(Expired));
        assert_eq!(left(0, 0), Ok(Some(0)));
        assert_eq!(left(0, 1), Err(Expired));
        assert_eq!(left(u32::MAX, u64::from(u32::MAX) * 1000 - 1), Ok(Some(1)));
        assert_eq!(
            remaining_expiry(None, Timestamp::ZERO, Timestamp::NEVER),
            Ok(None)
        );
    }
}
