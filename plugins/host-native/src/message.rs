//! A message as a plugin writes it: the opaque `jf_msg`. Holds only what was set; what comes out is a `Patch` over the
//! message at hand, or a message of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use broker_types::{Message, Properties, PropertiesBuilder, QoS, TopicName};
use plugin_abi::values::*;
use plugin_api::{Fault, FaultKind, Patch};

use crate::border::DATA_MAX;

/// Payload Format Indicator.
pub(crate) const PAYLOAD_FORMAT: u32 = 0x01;
/// Message Expiry Interval.
pub(crate) const MESSAGE_EXPIRY: u32 = 0x02;
/// Content Type.
pub(crate) const CONTENT_TYPE: u32 = 0x03;
/// Response Topic.
pub(crate) const RESPONSE_TOPIC: u32 = 0x08;
/// Correlation Data.
pub(crate) const CORRELATION_DATA: u32 = 0x09;
/// User Property.
pub(crate) const USER_PROPERTY: u32 = 0x26;
/// Changes of properties that one message takes.
const CHANGES_MAX: usize = 1024;

/// What stands behind a `jf_msg`.
#[derive(Debug, Default)]
pub(crate) struct Draft(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    topic: Option<TopicName>,
    payload: Option<Vec<u8>>,
    flags: Option<(QoS, bool)>,
    expiry: Option<Option<u32>>,
    properties: Vec<Change>,
}

/// A change of properties, in order.
#[derive(Debug)]
enum Change {
    Utf8(bool),
    ContentType(Option<String>),
    ResponseTopic(Option<String>),
    Correlation(Option<Vec<u8>>),
    AddUser(String, String),
    ClearUser,
}

impl Draft {
    pub(crate) fn set_topic(&self, topic: &str) -> i32 {
        match TopicName::new(topic) {
            Ok(topic) => {
                self.parts().topic = Some(topic);
                JF_OK
            }
            Err(_) => JF_EINVAL,
        }
    }

    pub(crate) fn set_flags(&self, qos: u32, retain: u32) -> i32 {
        let Some(qos) = u8::try_from(qos).ok().and_then(QoS::from_bits) else {
            return JF_EINVAL;
        };
        self.parts().flags = Some((qos, retain != 0));
        JF_OK
    }

    pub(crate) fn set_payload(&self, payload: &[u8]) -> i32 {
        self.parts().payload = Some(payload.to_vec());
        JF_OK
    }

    /// Makes room for a payload that the plugin writes in place.
    pub(crate) fn payload_room(&self, len: usize) -> Result<*mut u8, i32> {
        if len > DATA_MAX {
            return Err(JF_ETOOBIG);
        }
        Ok(self.parts().payload.insert(vec![0; len]).as_mut_ptr())
    }

    pub(crate) fn set_property(&self, id: u32, key: Option<&str>, value: &[u8], number: u64) -> i32 {
        let Ok(change) = Change::set(id, key, value, number) else {
            return JF_EINVAL;
        };
        self.change(change)
    }

    pub(crate) fn clear_property(&self, id: u32) -> i32 {
        let change = match id {
            PAYLOAD_FORMAT => Set::Property(Change::Utf8(false)),
            MESSAGE_EXPIRY => Set::Expiry(None),
            CONTENT_TYPE => Set::Property(Change::ContentType(None)),
            RESPONSE_TOPIC => Set::Property(Change::ResponseTopic(None)),
            CORRELATION_DATA => Set::Property(Change::Correlation(None)),
            USER_PROPERTY => Set::Property(Change::ClearUser),
            _ => return JF_EINVAL,
        };
        self.change(change)
    }

    fn change(&self, change: Set) -> i32 {
        let mut parts = self.parts();
        match change {
            Set::Expiry(expiry) => parts.expiry = Some(expiry),
            Set::Property(_) if parts.properties.len() >= CHANGES_MAX => return JF_EQUOTA,
            Set::Property(change) => parts.properties.push(change),
        }
        JF_OK
    }

    /// Takes out what was set, as a patch of a message that has the properties `base`.
    pub(crate) fn take_patch(&self, base: &Properties) -> Result<Patch, Fault> {
        let parts = std::mem::take(&mut *self.parts());
        Ok(Patch {
            topic: parts.topic,
            payload: parts.payload.map(Into::into),
            qos: parts.flags.map(|(qos, _)| qos),
            retain: parts.flags.map(|(_, retain)| retain),
            properties: changed(base, parts.properties)?,
            expiry: parts.expiry,
            emitted: Vec::new(),
        })
    }

    /// Takes out a whole message.
    pub(crate) fn take_message(&self) -> Result<Message, Fault> {
        let patch = self.take_patch(&Properties::EMPTY)?;
        let topic = patch.topic.ok_or_else(|| protocol("a message without a topic"))?;
        Ok(Message {
            topic,
            payload: patch.payload.unwrap_or_default(),
            qos: patch.qos.unwrap_or_default(),
            retain: patch.retain.unwrap_or_default(),
            properties: patch.properties.unwrap_or_default(),
            expiry: patch.expiry.flatten(),
        })
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `msg_prop_set` and `msg_prop_clear` set.
enum Set {
    Property(Change),
    Expiry(Option<u32>),
}

impl Change {
    fn set(id: u32, key: Option<&str>, value: &[u8], number: u64) -> Result<Set, Wrong> {
        let text = || std::str::from_utf8(value).map(str::to_owned).map_err(|_| Wrong);
        Ok(Set::Property(match id {
            PAYLOAD_FORMAT if number <= 1 => Self::Utf8(number == 1),
            MESSAGE_EXPIRY => return Ok(Set::Expiry(Some(u32::try_from(number).map_err(|_| Wrong)?))),
            CONTENT_TYPE => Self::ContentType(Some(text()?)),
            RESPONSE_TOPIC => Self::ResponseTopic(Some(text()?)),
            CORRELATION_DATA => Self::Correlation(Some(value.to_vec())),
            USER_PROPERTY => Self::AddUser(key.ok_or(Wrong)?.to_owned(), text()?),
            _ => return Err(Wrong),
        }))
    }
}

/// A property that isn't there or can't have this value.
struct Wrong;

/// Returns `base` with the changes; `None` if there are none.
fn changed(base: &Properties, changes: Vec<Change>) -> Result<Option<Properties>, Fault> {
    if changes.is_empty() {
        return Ok(None);
    }
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut utf8 = base.payload_is_utf8();
    let mut content_type = owned(base.content_type());
    let mut response_topic = owned(base.response_topic());
    let mut correlation = base.correlation_data().map(<[u8]>::to_vec);
    let user = base
        .user()
        .map(|user| (user.name.to_owned(), user.value.to_owned()));
    let mut user: Vec<(String, String)> = user.collect();
    for change in changes {
        match change {
            Change::Utf8(set) => utf8 = set,
            Change::ContentType(set) => content_type = set,
            Change::ResponseTopic(set) => response_topic = set,
            Change::Correlation(set) => correlation = set,
            Change::AddUser(name, value) => user.push((name, value)),
            Change::ClearUser => user.clear(),
        }
    }
    let mut builder = PropertiesBuilder::new().payload_is_utf8(utf8);
    if let Some(value) = &content_type {
        builder = builder.content_type(value);
    }
    if let Some(value) = &response_topic {
        builder = builder.response_topic(value);
    }
    if let Some(value) = &correlation {
        builder = builder.correlation_data(value);
    }
    for (name, value) in &user {
        builder = builder.user(name, value);
    }
    let built = builder.build();
    built.map(Some).map_err(|error| protocol(error.to_string()))
}

/// A fault of a plugin that doesn't keep to the contract.
pub(crate) fn protocol(text: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Protocol, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_what_was_set_and_nothing_else() {
        let base = PropertiesBuilder::new()
            .content_type("text/csv")
            .user("a", "1")
            .build()
            .unwrap();
        let draft = Draft::default();
        assert_eq!(draft.set_topic("a/#"), JF_EINVAL);
        assert_eq!(draft.set_topic("b"), JF_OK);
        assert_eq!(draft.set_flags(3, 0), JF_EINVAL);
        assert_eq!(
            draft.set_property(CONTENT_TYPE, None, b"application/json", 0),
            JF_OK
        );
        assert_eq!(draft.set_property(USER_PROPERTY, Some("b"), b"2", 0), JF_OK);
        assert_eq!(draft.set_property(USER_PROPERTY, None, b"2", 0), JF_EINVAL);
        assert_eq!(draft.set_property(MESSAGE_EXPIRY, None, b"", 1 << 32), JF_EINVAL);
        assert_eq!(draft.set_property(PAYLOAD_FORMAT, None, b"", 2), JF_EINVAL);
        assert_eq!(draft.clear_property(MESSAGE_EXPIRY), JF_OK);
        assert_eq!(draft.clear_property(0x22), JF_EINVAL);
        let patch = draft.take_patch(&base).unwrap();
        let properties = patch.properties.unwrap();
        assert_eq!(properties.content_type(), Some("application/json"));
        assert_eq!(properties.user().count(), 2);
        assert_eq!((patch.expiry, patch.payload, patch.qos), (Some(None), None, None));
        assert!(
            draft.take_patch(&base).unwrap().is_empty(),
            "what was taken is gone"
        );
    }

    #[test]
    fn what_cannot_be_a_message_is_a_fault() {
        let draft = Draft::default();
        assert_eq!(draft.set_payload(b"x"), JF_OK);
        assert_eq!(draft.take_message().unwrap_err().kind, FaultKind::Protocol);
        draft.set_topic("a");
        draft.set_property(RESPONSE_TOPIC, None, b"a/#", 0);
        assert_eq!(draft.take_message().unwrap_err().kind, FaultKind::Protocol);
        assert_eq!(draft.payload_room(DATA_MAX + 1), Err(JF_ETOOBIG));
        for _ in 0..CHANGES_MAX {
            assert_eq!(draft.clear_property(USER_PROPERTY), JF_OK);
        }
        assert_eq!(draft.clear_property(USER_PROPERTY), JF_EQUOTA);
    }
}
