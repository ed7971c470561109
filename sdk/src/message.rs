//! An Application Message that a hook sees and changes.

use std::ffi::c_void;

use broker_types::QoS;
use plugin_abi::{self as abi, PubIn, Str, values::*};

use crate::host::{call, found, ok};
use crate::native::{lend, read_bytes, read_text};
use crate::{Host, NewMessage, Refused};

/// User Property.
const USER_PROPERTY: u32 = 0x26;
/// Message Expiry Interval.
const MESSAGE_EXPIRY: u32 = 0x02;
/// Content Type.
const CONTENT_TYPE: u32 = 0x03;

/// A message in a chain. What is read is as it came to this plugin; changes are kept only if the hook succeeds.
#[derive(Debug)]
pub struct Message<'a> {
    host: Host,
    shown: &'a PubIn,
    sink: *mut c_void,
}

impl<'a> Message<'a> {
    pub(crate) const fn new(host: Host, shown: &'a PubIn, sink: *mut c_void) -> Self {
        Self { host, shown, sink }
    }

    /// Returns the Topic Name.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        read_text(self.shown.topic).unwrap_or_default()
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        read_bytes(self.shown.payload).unwrap_or_default()
    }

    /// Returns the QoS.
    #[must_use]
    pub fn qos(&self) -> QoS {
        QoS::from_bits(self.shown.qos).unwrap_or_default()
    }

    /// Returns the RETAIN flag.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.shown.retain != 0
    }

    /// Returns the Content Type, if [`crate::Interest::properties`] is set.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        read_text(self.shown.content_type)
    }

    /// Returns the `nth` User Property, if [`crate::Interest::properties`] is set.
    #[must_use]
    pub fn user_property(&self, nth: usize) -> Option<(&'a str, &'a str)> {
        let (mut key, mut value) = (Str::ABSENT, Str::ABSENT);
        let status = call!(
            self.host,
            msg_prop_get(self.shown.props, USER_PROPERTY, nth, &raw mut key, &raw mut value, std::ptr::null_mut())
                or JF_EUNSUP
        );
        Some((found(status, key)?, found(status, value)?))
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

    /// Replaces the Content Type.
    ///
    /// # Errors
    /// It is no text of MQTT, or this hook changes nothing.
    pub fn set_content_type(&mut self, content_type: &str) -> Result<(), Refused> {
        self.set_property(CONTENT_TYPE, Str::ABSENT, lend(content_type), 0)
    }

    /// Replaces the Message Expiry Interval, in seconds.
    ///
    /// # Errors
    /// This hook changes nothing.
    pub fn set_expiry(&mut self, seconds: u32) -> Result<(), Refused> {
        self.set_property(MESSAGE_EXPIRY, Str::ABSENT, Str::ABSENT, seconds.into())
    }

    /// Adds a User Property.
    ///
    /// # Errors
    /// It is no text of MQTT, or this hook changes nothing.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        self.set_property(USER_PROPERTY, lend(name), lend(value), 0)
    }

    /// Sends a message besides this one.
    ///
    /// # Errors
    /// It can't be a message, or this hook sends none.
    pub fn emit(&mut self, message: &NewMessage<'_>) -> Result<(), Refused> {
        let made = call!(self.host, out_emit(self.sink) or std::ptr::null_mut());
        self.host.fill(made, message)
    }

    fn set_property(&mut self, id: u32, key: Str, value: Str, number: u64) -> Result<(), Refused> {
        let edit = self.edit()?;
        ok(call!(self.host, msg_prop_set(edit, id, key, value, number) or JF_EUNSUP))
    }

    fn edit(&mut self) -> Result<*mut abi::Msg, Refused> {
        let edit = call!(self.host, out_edit(self.sink) or std::ptr::null_mut());
        if edit.is_null() {
            return Err(Refused { status: JF_EUNSUP });
        }
        Ok(edit)
    }
}
