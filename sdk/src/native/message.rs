//! An Application Message that a hook sees and changes.

use std::ffi::c_void;
use std::marker::PhantomData;

use broker_types::QoS;
use plugin_abi::{self as abi, PubIn, Str, values::*};

use super::host::{call, found, ok};
use super::{lend, read_bytes, read_text};
use crate::{Host, NewMessage, OwnedMessage, Properties, Property, PropertyName, Refused, Source};

const PAYLOAD_FORMAT: u32 = 0x01;
const MESSAGE_EXPIRY: u32 = 0x02;
const CONTENT_TYPE: u32 = 0x03;
const RESPONSE_TOPIC: u32 = 0x08;
const CORRELATION_DATA: u32 = 0x09;
const USER_PROPERTY: u32 = 0x26;

/// User Properties that are copied.
const USER_PROPERTIES_MAX: usize = 65_536;

/// Where a verdict's attachments and edits go. Stays with its call, also when that is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink(pub(crate) *mut c_void);

// SAFETY: the header: a sink may be written to from any thread until its call is completed, and says so afterwards.
unsafe impl Send for Sink {}
// SAFETY: as above.
unsafe impl Sync for Sink {}

/// The properties of a message, lent by the broker for one call.
#[derive(Clone, Copy, Debug)]
struct LentProperties<'a> {
    host: Host,
    there: *const c_void,
    lent: PhantomData<&'a ()>,
}

// SAFETY: the broker's functions may be called from any thread while the properties are lent, which `'a` is bound to.
unsafe impl Send for LentProperties<'_> {}
// SAFETY: as above.
unsafe impl Sync for LentProperties<'_> {}

impl<'a> LentProperties<'a> {
    fn get(&self, id: u32, nth: usize) -> Option<(Str, Str, u64)> {
        let (mut key, mut value, mut number) = (Str::ABSENT, Str::ABSENT, 0);
        let status = call!(
            self.host,
            msg_prop_get(self.there, id, nth, &raw mut key, &raw mut value, &raw mut number) or JF_EUNSUP
        );
        (status == JF_OK).then_some((key, value, number))
    }

    fn text(&self, id: u32) -> Option<&'a str> {
        read_text(self.get(id, 0)?.1)
    }

    fn user(&self, nth: usize) -> Option<(&'a str, &'a str)> {
        let (key, value, _) = self.get(USER_PROPERTY, nth)?;
        Some((found(JF_OK, key)?, found(JF_OK, value)?))
    }

    fn copy(&self) -> Properties {
        let expiry = self.get(MESSAGE_EXPIRY, 0).map(|(.., seconds)| seconds);
        let data = self
            .get(CORRELATION_DATA, 0)
            .and_then(|(_, data, _)| read_bytes(data));
        let user = (0..USER_PROPERTIES_MAX).map_while(|nth| self.user(nth));
        Properties {
            payload_is_utf8: self.get(PAYLOAD_FORMAT, 0).is_some_and(|(.., is)| is == 1),
            expiry: expiry.and_then(|seconds| u32::try_from(seconds).ok()),
            content_type: self.text(CONTENT_TYPE).map(str::to_owned),
            response_topic: self.text(RESPONSE_TOPIC).map(str::to_owned),
            correlation_data: data.map(<[u8]>::to_vec),
            user: user
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

/// Where the properties of a message are.
#[derive(Clone, Copy, Debug)]
enum More<'a> {
    Lent(LentProperties<'a>),
    Kept(&'a Properties),
}

/// A message in a chain. What is read is as it came to this plugin; changes are kept only if the hook succeeds.
pub struct Message<'a> {
    host: Host,
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    retain: bool,
    source: Source,
    more: More<'a>,
    sink: Sink,
}

/// A copy of a message, for a call that is awaited.
#[derive(Debug)]
pub(crate) struct KeptMessage {
    host: Host,
    message: OwnedMessage,
    source: Source,
    sink: Sink,
}

impl std::fmt::Debug for Message<'_> {
    /// Leaves the payload out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .finish_non_exhaustive()
    }
}

/// Reads where a message entered the broker.
const fn source(number: u8) -> Source {
    match number {
        1 => Source::Will,
        2 => Source::Bridge,
        3 => Source::Plugin,
        4 => Source::Retained,
        5 => Source::Embedder,
        _ => Source::Client,
    }
}

impl KeptMessage {
    /// # Safety
    /// The broker must lend `shown`, and `sink` must be that of the call.
    pub(crate) unsafe fn new(host: Host, shown: &PubIn, sink: *mut c_void) -> Self {
        Self {
            host,
            // SAFETY: the caller's promise.
            message: unsafe { owned(host, shown) },
            source: source(shown.source),
            sink: Sink(sink),
        }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message {
            host: self.host,
            topic: &self.message.topic,
            payload: &self.message.payload,
            qos: self.message.qos,
            retain: self.message.retain,
            source: self.source,
            more: More::Kept(&self.message.properties),
            sink: self.sink,
        }
    }
}

/// Copies a message.
///
/// # Safety
/// The broker must lend `shown`.
pub(crate) unsafe fn owned(host: Host, shown: &PubIn) -> OwnedMessage {
    let properties = LentProperties {
        host,
        there: shown.props,
        lent: PhantomData,
    };
    OwnedMessage {
        topic: read_text(shown.topic).unwrap_or_default().to_owned(),
        payload: read_bytes(shown.payload).unwrap_or_default().to_vec(),
        qos: QoS::from_bits(shown.qos).unwrap_or_default(),
        retain: shown.retain != 0,
        properties: properties.copy(),
    }
}

/// Sets a property of a message under construction.
pub(crate) fn set_property(host: Host, made: *mut abi::Msg, property: Property<'_>) -> Result<(), Refused> {
    let none = Str::ABSENT;
    let (id, key, value, number) = match property {
        Property::PayloadIsUtf8(is) => (PAYLOAD_FORMAT, none, none, is.into()),
        Property::Expiry(seconds) => (MESSAGE_EXPIRY, none, none, seconds.into()),
        Property::ContentType(text) => (CONTENT_TYPE, none, lend(text), 0),
        Property::ResponseTopic(text) => (RESPONSE_TOPIC, none, lend(text), 0),
        Property::CorrelationData(data) => (CORRELATION_DATA, none, Str::of(data), 0),
        Property::User(name, value) => (USER_PROPERTY, lend(name), lend(value), 0),
    };
    ok(call!(host, msg_prop_set(made, id, key, value, number) or JF_EUNSUP))
}

impl<'a> Message<'a> {
    /// # Safety
    /// The broker must lend `shown` for as long as `'a`, and `sink` must be that of the call.
    pub(crate) unsafe fn new(host: Host, shown: &'a PubIn, sink: *mut c_void) -> Self {
        Self {
            host,
            topic: read_text(shown.topic).unwrap_or_default(),
            payload: read_bytes(shown.payload).unwrap_or_default(),
            qos: QoS::from_bits(shown.qos).unwrap_or_default(),
            retain: shown.retain != 0,
            source: source(shown.source),
            more: More::Lent(LentProperties {
                host,
                there: shown.props,
                lent: PhantomData,
            }),
            sink: Sink(sink),
        }
    }

    /// Returns the Topic Name.
    #[must_use]
    pub const fn topic(&self) -> &'a str {
        self.topic
    }

    /// Returns the payload.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the QoS.
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Returns the RETAIN flag.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Returns where it entered the broker.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Returns the Content Type, if [`crate::Interest::properties`] is set.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        match self.more {
            More::Lent(properties) => properties.text(CONTENT_TYPE),
            More::Kept(properties) => properties.content_type.as_deref(),
        }
    }

    /// Returns the `nth` User Property, if [`crate::Interest::properties`] is set.
    #[must_use]
    pub fn user_property(&self, nth: usize) -> Option<(&'a str, &'a str)> {
        match self.more {
            More::Lent(properties) => properties.user(nth),
            More::Kept(properties) => {
                let (name, value) = properties.user.get(nth)?;
                Some((name, value))
            }
        }
    }

    /// Returns a copy of all properties, if [`crate::Interest::properties`] is set.
    #[must_use]
    pub fn properties(&self) -> Properties {
        match self.more {
            More::Lent(properties) => properties.copy(),
            More::Kept(properties) => properties.clone(),
        }
    }

    /// Sends the message elsewhere.
    ///
    /// # Errors
    /// It is no Topic Name, or this hook changes nothing.
    pub fn set_topic(&mut self, topic: &str) -> Result<(), Refused> {
        let edit = self.edit()?;
        ok(call!(self.host, msg_set_topic(edit, lend(topic)) or JF_EUNSUP))
    }

    /// Replaces the payload.
    ///
    /// # Errors
    /// It is too large, or this hook changes nothing.
    pub fn set_payload(&mut self, payload: &[u8]) -> Result<(), Refused> {
        let edit = self.edit()?;
        ok(call!(self.host, msg_set_payload(edit, Str::of(payload)) or JF_EUNSUP))
    }

    /// Replaces QoS (only downwards) and RETAIN.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn set_flags(&mut self, qos: QoS, retain: bool) -> Result<(), Refused> {
        let edit = self.edit()?;
        ok(call!(self.host, msg_set_flags(edit, qos.bits().into(), retain.into()) or JF_EUNSUP))
    }

    /// Sets a property; a User Property is added to those that are there.
    ///
    /// # Errors
    /// It is no text of MQTT, or this hook changes nothing.
    pub fn set_property(&mut self, property: Property<'_>) -> Result<(), Refused> {
        let edit = self.edit()?;
        set_property(self.host, edit, property)
    }

    /// Takes a property away.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn clear_property(&mut self, name: PropertyName) -> Result<(), Refused> {
        let id = match name {
            PropertyName::PayloadFormat => PAYLOAD_FORMAT,
            PropertyName::Expiry => MESSAGE_EXPIRY,
            PropertyName::ContentType => CONTENT_TYPE,
            PropertyName::ResponseTopic => RESPONSE_TOPIC,
            PropertyName::CorrelationData => CORRELATION_DATA,
            PropertyName::User => USER_PROPERTY,
        };
        let edit = self.edit()?;
        ok(call!(self.host, msg_prop_clear(edit, id) or JF_EUNSUP))
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

    /// Sends a message besides this one. It enters the chain behind this plugin.
    ///
    /// # Errors
    /// It can't be a message, or this hook sends none.
    pub fn emit(&mut self, message: &NewMessage<'_>) -> Result<(), Refused> {
        let made = call!(self.host, out_emit(self.sink.0) or std::ptr::null_mut());
        self.host.fill(made, message)
    }

    fn edit(&mut self) -> Result<*mut abi::Msg, Refused> {
        let edit = call!(self.host, out_edit(self.sink.0) or std::ptr::null_mut());
        if edit.is_null() {
            return Err(Refused::Unsupported);
        }
        Ok(edit)
    }
}
