//! Application Messages as hooks see and change them.
//!
//! A message on its way through a chain is the parts it came with and a [`Patch`] of what earlier plugins changed. A
//! plugin's own changes are a draft that the engine keeps only if the call succeeds; so a plugin that faults halfway
//! leaves no trace, at no cost for those that change nothing.

use std::cell::OnceCell;

use broker_types::{Message, Properties, QoS, Source, TopicName, TopicRef};
use bytes::Bytes;

/// An Application Message that a plugin, bridge or embedder makes.
pub type NewMessage = Message;

/// Only what changes; an absent field leaves the message as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Another Topic Name: where the message goes from here on.
    pub topic: Option<TopicName>,
    /// Another payload.
    pub payload: Option<Bytes>,
    /// Another QoS; the engine never raises it above the one the message came with.
    pub qos: Option<QoS>,
    /// Another RETAIN flag.
    pub retain: Option<bool>,
    /// Other properties, all of them.
    pub properties: Option<Properties>,
    /// Another Message Expiry Interval in seconds; `Some(None)` takes it away.
    pub expiry: Option<Option<u32>>,
    /// Messages to send besides this one. They enter the chain behind the plugin that emitted them.
    pub emitted: Vec<NewMessage>,
}

impl Patch {
    /// Tells whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lays `newer` over this patch.
    pub fn merge(&mut self, newer: Self) {
        self.topic = newer.topic.or(self.topic.take());
        self.payload = newer.payload.or(self.payload.take());
        self.qos = newer.qos.or(self.qos);
        self.retain = newer.retain.or(self.retain);
        self.properties = newer.properties.or(self.properties.take());
        self.expiry = newer.expiry.or(self.expiry);
        self.emitted.extend(newer.emitted);
    }
}

/// The parts a message came with, borrowed from where it stands.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'m> {
    /// The Topic Name, aliases resolved, without the mount.
    pub topic: TopicRef<'m>,
    /// The payload.
    pub payload: &'m [u8],
    /// The payload once more if it is shared already; then nobody needs to copy it.
    pub shared_payload: Option<&'m Bytes>,
    /// The properties in wire form, checked.
    pub properties: &'m [u8],
    /// The properties once more if they are shared already.
    pub shared_properties: Option<&'m Properties>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The DUP flag.
    pub dup: bool,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Where it entered the broker.
    pub source: Source,
}

impl<'m> MessageParts<'m> {
    /// Lends the parts of an owned message.
    #[must_use]
    pub fn of(message: &'m Message, source: Source) -> Self {
        Self {
            topic: message.topic.as_ref(),
            payload: &message.payload,
            shared_payload: Some(&message.payload),
            properties: message.properties.as_bytes(),
            shared_properties: Some(&message.properties),
            qos: message.qos,
            retain: message.retain,
            dup: false,
            expiry: message.expiry,
            source,
        }
    }
}

/// A message in a chain: readable, and changeable by the hook it is lent to.
///
/// ```
/// use plugin_api::{MessageEdit, MessageParts, types::{Message, Source, TopicName}};
///
/// let message = Message::new(TopicName::new("a/b")?, "21.5");
/// let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
/// edit.set_payload("70.7");
/// assert_eq!(edit.payload(), b"70.7");
/// edit.rollback();                               // the plugin faulted
/// assert_eq!(edit.payload(), b"21.5");
/// # Ok::<(), plugin_api::types::TopicNameError>(())
/// ```
#[derive(Debug)]
pub struct MessageEdit<'m> {
    parts: MessageParts<'m>,
    /// What earlier plugins changed.
    kept: Option<Box<Patch>>,
    /// What the plugin that has the message now changes.
    draft: Option<Box<Patch>>,
    /// The wire properties as a value, made when somebody asks.
    properties: OnceCell<Properties>,
}

impl<'m> MessageEdit<'m> {
    /// Wraps the parts of a message, unchanged.
    #[must_use]
    pub const fn new(parts: MessageParts<'m>) -> Self {
        Self {
            parts,
            kept: None,
            draft: None,
            properties: OnceCell::new(),
        }
    }

    /// Wraps parts that earlier plugins have changed by `patch`.
    #[must_use]
    pub fn with_patch(parts: MessageParts<'m>, patch: Patch) -> Self {
        Self {
            kept: (!patch.is_empty()).then(|| Box::new(patch)),
            ..Self::new(parts)
        }
    }

    /// Returns the Topic Name.
    #[must_use]
    pub fn topic(&self) -> TopicRef<'_> {
        self.changed(|p| p.topic.as_ref())
            .map_or(self.parts.topic, TopicName::as_ref)
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.changed(|p| p.payload.as_ref())
            .map_or(self.parts.payload, |payload| payload)
    }

    /// Returns the payload as a shared value: free when it is shared already, else one copy.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        match self.changed(|p| p.payload.as_ref()).or(self.parts.shared_payload) {
            Some(shared) => shared.clone(),
            None => Bytes::copy_from_slice(self.parts.payload),
        }
    }

    /// Returns the QoS.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.changed(|p| p.qos.as_ref())
            .copied()
            .unwrap_or(self.parts.qos)
    }

    /// Returns the RETAIN flag.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.changed(|p| p.retain.as_ref())
            .copied()
            .unwrap_or(self.parts.retain)
    }

    /// Returns the DUP flag of the PUBLISH; only a first sight of the message, never decide by it.
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.parts.dup
    }

    /// Returns the Message Expiry Interval in seconds.
    #[must_use]
    pub fn expiry(&self) -> Option<u32> {
        self.changed(|p| p.expiry.as_ref())
            .copied()
            .unwrap_or(self.parts.expiry)
    }

    /// Returns the properties. The first call copies their block.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        match self
            .changed(|p| p.properties.as_ref())
            .or(self.parts.shared_properties)
        {
            Some(properties) => properties,
            None => self
                .properties
                .get_or_init(|| Properties::from_checked(Bytes::copy_from_slice(self.parts.properties))),
        }
    }

    /// Returns where the message entered the broker.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.parts.source
    }

    /// Sends the message elsewhere.
    pub fn set_topic(&mut self, topic: TopicName) {
        self.draft().topic = Some(topic);
    }

    /// Replaces the payload.
    pub fn set_payload(&mut self, payload: impl Into<Bytes>) {
        self.draft().payload = Some(payload.into());
    }

    /// Lowers the QoS; a QoS above the present one changes nothing.
    pub fn lower_qos(&mut self, qos: QoS) {
        if qos < self.qos() {
            self.draft().qos = Some(qos);
        }
    }

    /// Replaces the RETAIN flag.
    pub fn set_retain(&mut self, retain: bool) {
        self.draft().retain = Some(retain);
    }

    /// Replaces all properties.
    pub fn set_properties(&mut self, properties: Properties) {
        self.draft().properties = Some(properties);
    }

    /// Replaces the Message Expiry Interval, in seconds.
    pub fn set_expiry(&mut self, expiry: Option<u32>) {
        self.draft().expiry = Some(expiry);
    }

    /// Sends `message` besides this one. It enters the chain behind this plugin and is checked against what the plugin
    /// may publish, not against the client's rights.
    pub fn emit(&mut self, message: NewMessage) {
        self.draft().emitted.push(message);
    }

    /// Lays a whole patch over the message.
    pub fn apply(&mut self, patch: Patch) {
        self.draft().merge(patch);
        let highest = self.kept_qos();
        if let Some(draft) = &mut self.draft {
            draft.qos = draft.qos.filter(|qos| *qos < highest);
        }
    }

    /// Returns an owned copy as it stands now. Shares what is shared already.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let topic = self.changed(|p| p.topic.as_ref()).cloned();
        Message {
            topic: topic.unwrap_or_else(|| self.parts.topic.to_owned()),
            payload: self.payload_bytes(),
            qos: self.qos(),
            retain: self.retain(),
            properties: self.properties().clone(),
            expiry: self.expiry(),
        }
    }

    /// Returns what the plugin that has the message now has changed so far. For the engine.
    #[must_use]
    pub fn drafted(&self) -> Option<&Patch> {
        self.draft.as_deref()
    }

    /// Keeps the draft: the plugin's call succeeded. For the engine.
    pub fn commit(&mut self) {
        if let Some(draft) = self.draft.take() {
            match &mut self.kept {
                Some(kept) => kept.merge(*draft),
                None => self.kept = Some(draft),
            }
        }
    }

    /// Throws the draft away: the plugin faulted. For the engine.
    pub fn rollback(&mut self) {
        self.draft = None;
    }

    /// Returns the parts it came with, whatever was changed. For the engine.
    #[must_use]
    pub const fn parts(&self) -> &MessageParts<'m> {
        &self.parts
    }

    /// Returns what is kept of all changes so far, `None` if nothing changed. For the engine.
    #[must_use]
    pub fn kept(&self) -> Option<&Patch> {
        self.kept.as_deref()
    }

    /// Takes the kept changes out. For the engine.
    pub fn take_kept(&mut self) -> Option<Box<Patch>> {
        self.kept.take()
    }

    /// Takes the messages that were emitted and kept. For the engine.
    pub fn take_emitted(&mut self) -> Vec<NewMessage> {
        self.kept
            .as_deref_mut()
            .map(|kept| std::mem::take(&mut kept.emitted))
            .unwrap_or_default()
    }

    /// Returns a field that was changed, the newest change first.
    fn changed<T>(&self, field: impl Fn(&Patch) -> Option<&T>) -> Option<&T> {
        if let Some(found) = self.draft.as_deref().and_then(&field) {
            return Some(found);
        }
        self.kept.as_deref().and_then(&field)
    }

    fn kept_qos(&self) -> QoS {
        self.kept
            .as_deref()
            .and_then(|kept| kept.qos)
            .unwrap_or(self.parts.qos)
    }

    fn draft(&mut self) -> &mut Patch {
        self.draft.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            qos: QoS::AtLeastOnce,
            ..Message::new(TopicName::new("a/b").unwrap(), "x")
        }
    }

    #[test]
    fn a_draft_lives_only_if_it_is_kept() {
        let message = message();
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        edit.set_topic(TopicName::new("c").unwrap());
        edit.commit();
        edit.set_payload("y");
        edit.set_topic(TopicName::new("d").unwrap());
        edit.emit(message.clone());
        assert_eq!(edit.topic().as_str(), "d");
        edit.rollback();
        assert_eq!(edit.topic().as_str(), "c");
        assert_eq!(edit.payload(), b"x");
        assert!(edit.take_emitted().is_empty());
    }

    #[test]
    fn qos_only_falls() {
        let message = message();
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        edit.lower_qos(QoS::ExactlyOnce);
        assert_eq!(edit.qos(), QoS::AtLeastOnce);
        edit.apply(Patch {
            qos: Some(QoS::ExactlyOnce),
            ..Patch::default()
        });
        assert_eq!(edit.qos(), QoS::AtLeastOnce);
        edit.apply(Patch {
            qos: Some(QoS::AtMostOnce),
            ..Patch::default()
        });
        assert_eq!(edit.qos(), QoS::AtMostOnce);
    }

    #[test]
    fn an_owned_copy_has_all_changes() {
        let message = message();
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        edit.set_payload("y");
        edit.commit();
        edit.set_retain(true);
        edit.set_expiry(Some(5));
        let copy = edit.to_message();
        assert_eq!(
            (&copy.payload[..], copy.retain, copy.expiry),
            (&b"y"[..], true, Some(5))
        );
        assert_eq!(copy.topic, message.topic);
    }
}
