//! An Application Message that a hook sees and changes. Changes are gathered here, and only they go back to the broker.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;

use broker_types::QoS;

use super::bindings::base::jackfield::plugin::types::{self, Patch, Properties, Qos};
use super::host::new_message;
use crate::{NewMessage, Property, PropertyName, Refused, Source};

/// A message in a chain. What is read is as it came to this plugin; changes are kept only if the hook succeeds.
#[derive(Debug)]
pub struct Message<'a> {
    shown: &'a Shown<'a>,
    allowed: Allowed,
    patch: Patch,
    emitted: Vec<types::NewMessage>,
}

/// What the broker showed of a message, and what was asked for since.
pub(crate) struct Shown<'a> {
    message: types::Message<'a>,
    properties: OnceCell<Properties>,
}

/// What a hook may do with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Read,
    Edit,
    EditAndEmit,
}

impl core::fmt::Debug for Shown<'_> {
    /// Leaves the payload out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shown")
            .field("topic", &self.message.topic)
            .finish_non_exhaustive()
    }
}

impl<'a> Shown<'a> {
    pub(crate) const fn new(message: types::Message<'a>) -> Self {
        Self {
            message,
            properties: OnceCell::new(),
        }
    }

    fn properties(&self) -> &Properties {
        self.properties.get_or_init(|| self.message.more.properties())
    }
}

impl<'a> Message<'a> {
    pub(crate) const fn new(shown: &'a Shown<'a>, allowed: Allowed) -> Self {
        Self {
            shown,
            allowed,
            patch: Patch {
                topic: None,
                payload: None,
                qos: None,
                retain: None,
                properties: None,
            },
            emitted: Vec::new(),
        }
    }

    /// Returns the Topic Name.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        &self.shown.message.topic
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.shown.message.payload.as_deref().unwrap_or_default()
    }

    /// Returns the QoS.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        from_qos(self.shown.message.qos)
    }

    /// Returns the RETAIN flag.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.shown.message.retain
    }

    /// Returns the Content Type.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        self.shown.properties().content_type.as_deref()
    }

    /// Returns the `nth` User Property.
    #[must_use]
    pub fn user_property(&self, nth: usize) -> Option<(&'a str, &'a str)> {
        let property = self.shown.properties().user.get(nth)?;
        Some((&property.key, &property.value))
    }

    /// Returns a copy of all properties.
    #[must_use]
    pub fn properties(&self) -> crate::Properties {
        from_properties(self.shown.properties().clone())
    }

    /// Returns where it entered the broker.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.shown.message.more.source() {
            types::Source::Client => Source::Client,
            types::Source::Will => Source::Will,
            types::Source::Bridge => Source::Bridge,
            types::Source::Plugin => Source::Plugin,
            types::Source::Retained => Source::Retained,
            types::Source::Embedder => Source::Embedder,
        }
    }

    /// Sends the message elsewhere.
    ///
    /// # Errors
    /// It is no Topic Name, or this hook changes nothing.
    pub fn set_topic(&mut self, topic: &str) -> Result<(), Refused> {
        if !is_topic_name(topic) {
            return Err(Refused::Invalid);
        }
        self.edit()?.topic = Some(String::from(topic));
        Ok(())
    }

    /// Replaces the payload.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn set_payload(&mut self, payload: &[u8]) -> Result<(), Refused> {
        self.edit()?.payload = Some(Vec::from(payload));
        Ok(())
    }

    /// Replaces QoS (only downwards) and RETAIN.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn set_flags(&mut self, qos: QoS, retain: bool) -> Result<(), Refused> {
        let patch = self.edit()?;
        patch.qos = Some(to_qos(qos));
        patch.retain = Some(retain);
        Ok(())
    }

    /// Sets a property; a User Property is added to those that are there.
    ///
    /// # Errors
    /// It is no text of MQTT, or this hook changes nothing.
    pub fn set_property(&mut self, property: Property<'_>) -> Result<(), Refused> {
        match property {
            Property::PayloadIsUtf8(is) => self.edit_properties(&[])?.payload_is_utf8 = is,
            Property::Expiry(seconds) => self.edit_properties(&[])?.message_expiry = Some(seconds),
            Property::ContentType(text) => {
                self.edit_properties(&[text])?.content_type = Some(String::from(text));
            }
            Property::ResponseTopic(text) if is_topic_name(text) => {
                self.edit_properties(&[text])?.response_topic = Some(String::from(text));
            }
            Property::ResponseTopic(_) => return Err(Refused::Invalid),
            Property::CorrelationData(data) => {
                self.edit_properties(&[])?.correlation_data = Some(Vec::from(data));
            }
            Property::User(name, value) => {
                let properties = self.edit_properties(&[name, value])?;
                properties.user.push(types::UserProperty {
                    key: String::from(name),
                    value: String::from(value),
                });
            }
        }
        Ok(())
    }

    /// Takes a property away.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn clear_property(&mut self, name: PropertyName) -> Result<(), Refused> {
        let properties = self.edit_properties(&[])?;
        match name {
            PropertyName::PayloadFormat => properties.payload_is_utf8 = false,
            PropertyName::Expiry => properties.message_expiry = None,
            PropertyName::ContentType => properties.content_type = None,
            PropertyName::ResponseTopic => properties.response_topic = None,
            PropertyName::CorrelationData => properties.correlation_data = None,
            PropertyName::User => properties.user.clear(),
        }
        Ok(())
    }

    /// Replaces the Content Type.
    ///
    /// # Errors
    /// As for [`Self::set_property`].
    pub fn set_content_type(&mut self, content_type: &str) -> Result<(), Refused> {
        self.set_property(Property::ContentType(content_type))
    }

    /// Replaces the Message Expiry Interval, in seconds.
    ///
    /// # Errors
    /// As for [`Self::set_property`].
    pub fn set_expiry(&mut self, seconds: u32) -> Result<(), Refused> {
        self.set_property(Property::Expiry(seconds))
    }

    /// Adds a User Property.
    ///
    /// # Errors
    /// As for [`Self::set_property`].
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        self.set_property(Property::User(name, value))
    }

    /// Sends a message besides this one.
    ///
    /// # Errors
    /// It can't be a message, or this hook sends none.
    pub fn emit(&mut self, message: &NewMessage<'_>) -> Result<(), Refused> {
        if self.allowed != Allowed::EditAndEmit {
            return Err(Refused::Unsupported);
        }
        if !is_topic_name(message.topic) {
            return Err(Refused::Invalid);
        }
        self.emitted.push(new_message(message));
        Ok(())
    }

    /// Returns what was changed, if anything, and what was emitted.
    pub(crate) fn into_changes(self) -> (Option<Patch>, Vec<types::NewMessage>) {
        let Patch {
            topic,
            payload,
            qos,
            retain,
            properties,
        } = &self.patch;
        let changed =
            topic.is_some() || payload.is_some() || qos.is_some() || retain.is_some() || properties.is_some();
        (changed.then_some(self.patch), self.emitted)
    }

    fn edit(&mut self) -> Result<&mut Patch, Refused> {
        if self.allowed == Allowed::Read {
            return Err(Refused::Unsupported);
        }
        Ok(&mut self.patch)
    }

    /// The broker takes all properties or none, so the first change copies them.
    fn edit_properties(&mut self, texts: &[&str]) -> Result<&mut Properties, Refused> {
        if texts.iter().any(|text| !is_text(text)) {
            return Err(Refused::Invalid);
        }
        let shown = self.shown;
        let properties = &mut self.edit()?.properties;
        Ok(properties.get_or_insert_with(|| shown.properties().clone()))
    }
}

/// Tells whether MQTT can say the text: at most 65,535 bytes, and no zero.
fn is_text(text: &str) -> bool {
    text.len() <= usize::from(u16::MAX) && !text.bytes().any(|byte| byte == 0)
}

fn is_topic_name(topic: &str) -> bool {
    !topic.is_empty() && is_text(topic) && !topic.bytes().any(|byte| matches!(byte, b'+' | b'#'))
}

/// Says properties in the words of the interface.
pub(crate) fn to_properties(properties: &crate::Properties) -> Properties {
    Properties {
        payload_is_utf8: properties.payload_is_utf8,
        message_expiry: properties.expiry,
        content_type: properties.content_type.clone(),
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user: super::hooks::user_properties(properties.user.clone()),
    }
}

/// Reads properties.
pub(crate) fn from_properties(properties: Properties) -> crate::Properties {
    crate::Properties {
        payload_is_utf8: properties.payload_is_utf8,
        expiry: properties.message_expiry,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user: properties
            .user
            .into_iter()
            .map(|property| (property.key, property.value))
            .collect(),
    }
}

/// Says a QoS in the words of the interface.
pub(crate) const fn to_qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// Reads a QoS.
pub(crate) const fn from_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
