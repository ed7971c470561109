//! Topic Aliases (MQTT 5.0 section 3.3.2.3.4), both directions. They hold for one Network Connection `[MQTT-3.3.2-7]`,
//! so whoever owns a table here throws it away with the connection.

use broker_types::{TopicName, TopicRef};

use super::ProtocolError;
use crate::Seldom;

/// What the Client's aliases stand for. Grows as far as the Client uses it, at most to the Topic Alias Maximum.
#[derive(Debug, Default)]
pub(crate) struct IncomingAliases {
    topics: Seldom<Vec<Option<TopicName>>>,
}

impl IncomingAliases {
    /// Lets `alias`, which is not 0 and not above the maximum, stand for `topic`. Allocates only for a new topic.
    pub(crate) fn set(&mut self, alias: u16, topic: TopicRef<'_>) {
        let index = usize::from(alias) - 1;
        let topics = self.topics.make();
        if index >= topics.len() {
            topics.resize_with(index + 1, || None);
        }
        let known = &mut topics[index];
        if known.as_ref().is_none_or(|known| known.as_ref() != topic) {
            *known = Some(topic.to_owned());
        }
    }

    /// Returns what `alias` stands for.
    pub(crate) fn get(&self, alias: u16) -> Result<&TopicName, ProtocolError> {
        let index = usize::from(alias).wrapping_sub(1);
        let topic = self.topics.get(index).and_then(Option::as_ref);
        topic.ok_or(ProtocolError::TopicAliasUnknown(alias))
    }
}

/// Shorter topics get no alias: the property alone has three bytes, and the table should go to those that pay.
pub(crate) const ALIAS_TOPIC_MIN: usize = 24;

/// An alias makes a packet at most this much longer: the property, and a byte for each of the two lengths.
pub(crate) const ALIAS_LEN_MAX: usize = 5;

/// Aliases that we use at most, whatever the Client offers: a table is searched from end to end.
const ALIASES_MAX: usize = 256;

/// The aliases that we use towards a Client: each topic gets the next one until all are used, then the oldest are used
/// again in turn. Nothing is allocated once the table is full of topics of their usual length.
#[derive(Debug)]
pub(crate) struct OutgoingAliases {
    max: usize,
    /// Searched instead of the topics: sixteen to a cache line.
    hashes: Vec<u32>,
    topics: Vec<String>,
    next: usize,
}

impl OutgoingAliases {
    /// Uses at most `maximum` aliases.
    pub(crate) fn new(maximum: u16) -> Self {
        Self {
            max: usize::from(maximum).min(ALIASES_MAX),
            hashes: Vec::new(),
            topics: Vec::new(),
            next: 0,
        }
    }

    /// Returns the alias of `topic`, and whether the Client knows it already; if not, the packet must tell it.
    pub(crate) fn assign(&mut self, topic: &str) -> (u16, bool) {
        let hash = hash(topic.as_bytes());
        let mut places = self.hashes.iter().zip(&self.topics);
        if let Some(place) = places.position(|(h, known)| *h == hash && known == topic) {
            return (place as u16 + 1, true);
        }
        let place = self.next;
        self.next = (place + 1) % self.max;
        if place == self.topics.len() {
            self.hashes.push(hash);
            self.topics.push(topic.to_owned());
        } else {
            self.hashes[place] = hash;
            topic.clone_into(&mut self.topics[place]);
        }
        (place as u16 + 1, false)
    }
}

/// Tells topics apart quickly. Topics that were made to collide cost a comparison each, and there are few places.
fn hash(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |state: u64, word: [u8; 8]| {
        (state.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER)
    };
    let state = words.iter().copied().chain([last]).fold(bytes.len() as u64, mix);
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_told_once_and_then_known() {
        let mut aliases = OutgoingAliases::new(2);
        assert_eq!(aliases.assign("topic/one"), (1, false));
        assert_eq!(aliases.assign("topic/two"), (2, false));
        assert_eq!(aliases.assign("topic/one"), (1, true));
        assert_eq!(aliases.assign("topic/two"), (2, true));
        assert_eq!(aliases.assign("topic/three"), (1, false));
        assert_eq!(aliases.assign("topic/one"), (2, false));
        assert_eq!(aliases.assign("topic/three"), (1, true));
    }

    #[test]
    fn no_alias_is_above_the_maximum() {
        let mut aliases = OutgoingAliases::new(u16::MAX);
        for i in 0..1000 {
            let (alias, known) = aliases.assign(&format!("topic/number/{i}"));
            assert!((1..=256).contains(&alias) && !known);
        }
    }

    #[test]
    fn an_incoming_alias_stands_for_the_last_topic() {
        let mut aliases = IncomingAliases::default();
        assert_eq!(aliases.get(3), Err(ProtocolError::TopicAliasUnknown(3)));
        aliases.set(3, TopicRef::new("a").unwrap());
        aliases.set(3, TopicRef::new("b").unwrap());
        assert_eq!(aliases.get(3).unwrap().as_str(), "b");
        assert_eq!(aliases.get(2), Err(ProtocolError::TopicAliasUnknown(2)));
        assert_eq!(aliases.get(0), Err(ProtocolError::TopicAliasUnknown(0)));
    }
}
