//! What comes back from hooks, in the words of `plugin-api`: refusals, grants, edits. Everything is copied and checked; what
//! makes no sense is a fault of the plugin, never a verdict.

use std::time::Duration;

use broker_types::{Properties, ReasonCode, TopicName};
use plugin_abi::values::*;
use plugin_api::{Denial, Fault, Grant, Patch};

use crate::ask::Reply;
use crate::border::TEXT_MAX;
use crate::message::protocol;
use crate::sink::{Attached, Sink};

impl Reply {
    /// Returns a verdict that this hook doesn't have, as a fault.
    pub(crate) fn unknown(&self, i: usize) -> Fault {
        protocol(format!(
            "it gave verdict {}, which this hook doesn't have",
            self.verdict(i).verdict
        ))
    }

    /// Takes what is attached to the `i`th verdict.
    pub(crate) fn take(&self, i: usize) -> Attached {
        self.with_sink(i, Sink::take)
    }

    /// Reads a refusal.
    pub(crate) fn denial(&self, i: usize, attached: &mut Attached) -> Result<Denial, Fault> {
        Ok(Denial {
            reason: self.reason(i)?,
            text: attached.text.take(),
        })
    }

    /// Reads the Reason Code of a refusal.
    pub(crate) fn reason(&self, i: usize) -> Result<ReasonCode, Fault> {
        let byte = self.verdict(i).reason;
        match ReasonCode::from_byte(byte) {
            _ if byte == 0 => Ok(ReasonCode::NotAuthorized),
            Some(reason) if reason.is_error() => Ok(reason),
            _ => Err(protocol(format!(
                "it refused with {byte:#04x}, which is no refusal"
            ))),
        }
    }

    /// Returns how long the plugin wants to hold the client.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let delay = self.verdict(0).delay_ms;
        (delay != 0).then(|| Duration::from_millis(delay.into()))
    }

    /// Reads the edits of a message and what was added to it; `None`: nothing. `base` are its properties.
    pub(crate) fn patch(&self, base: impl FnOnce() -> Properties) -> Result<Option<Patch>, Fault> {
        self.with_sink(0, |sink| {
            if !sink.is_touched() {
                return Ok(None);
            }
            let mut patch = sink.edit().take_patch(&base())?;
            patch.emitted = sink.take().take_emitted()?;
            Ok(Some(patch))
        })
    }
}

/// Reads a grant.
pub(crate) fn grant(attached: &mut Attached) -> Result<Grant, Fault> {
    let client_id = attached.take_field(JF_O_CLIENT_ID);
    if client_id.as_ref().is_some_and(String::is_empty) {
        return Err(protocol("it granted an empty client identifier"));
    }
    Ok(Grant {
        username: attached.take_field(JF_O_USERNAME),
        client_id,
        attributes: pairs(attached)?,
        mount: mount(attached)?,
        session_expiry_cap: attached.number(JF_O_SESSION_CAP).map(Duration::from_secs),
        expires_in: attached.number(JF_O_EXPIRES_S).map(Duration::from_secs),
    })
}

/// Takes the prefix of a client's topics.
pub(crate) fn mount(attached: &mut Attached) -> Result<Option<String>, Fault> {
    let mount = attached.take_field(JF_O_MOUNT);
    match &mount {
        Some(mount) if !mount.is_empty() && TopicName::new(mount.as_str()).is_err() => Err(protocol(
            format!("it mounted a client at `{mount}`, which is no part of a topic"),
        )),
        _ => Ok(mount),
    }
}

/// Takes attributes that are texts.
pub(crate) fn pairs(attached: &mut Attached) -> Result<Vec<(String, String)>, Fault> {
    let attributes = std::mem::take(&mut attached.attributes).into_iter();
    let pairs = attributes.map(|(key, value)| Some((text(key)?, text(value)?)));
    let pairs: Option<Vec<_>> = pairs.collect();
    pairs.ok_or_else(|| protocol("it gave an attribute that is no text"))
}

fn text(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    (text.len() <= TEXT_MAX && !text.contains('\0')).then_some(text)
}
