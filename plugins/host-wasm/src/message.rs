//! Messages and refusals, from the broker's words into the contract's and back. What comes back is checked: what makes no sense
//! is a fault of the plugin, never a verdict.

use broker_types::{Message, Properties, PropertiesBuilder, QoS, ReasonCode, TopicName};
use plugin_api::{Denial, Fault, FaultKind, Grant, Patch};

use crate::bindings::types;

/// Messages that one call may make.
const EMITTED_MAX: usize = 1024;
/// The longest text of MQTT.
const TEXT_MAX: usize = 65_535;

/// Returns a fault of a plugin that doesn't keep to the contract.
pub(crate) fn protocol(text: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(FaultKind::Protocol, text)
}

pub(crate) const fn qos_out(qos: QoS) -> types::Qos {
    match qos {
        QoS::AtMostOnce => types::Qos::AtMostOnce,
        QoS::AtLeastOnce => types::Qos::AtLeastOnce,
        QoS::ExactlyOnce => types::Qos::ExactlyOnce,
    }
}

pub(crate) const fn qos_in(qos: types::Qos) -> QoS {
    match qos {
        types::Qos::AtMostOnce => QoS::AtMostOnce,
        types::Qos::AtLeastOnce => QoS::AtLeastOnce,
        types::Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Copies properties for a guest that asked for all of them.
pub(crate) fn properties_out(properties: &Properties, expiry: Option<u32>) -> types::PropertiesResult {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let user = properties.user().map(|user| types::UserPropertyResult {
        key: user.name.to_owned(),
        value: user.value.to_owned(),
    });
    types::PropertiesResult {
        payload_is_utf8: properties.payload_is_utf8(),
        message_expiry: expiry,
        content_type: owned(properties.content_type()),
        response_topic: owned(properties.response_topic()),
        correlation_data: properties.correlation_data().map(<[u8]>::to_vec),
        user: user.collect(),
    }
}

/// Reads properties, and the Message Expiry Interval that the contract counts among them.
fn properties_in(given: &types::PropertiesResult) -> Result<(Properties, Option<u32>), Fault> {
    let mut builder = PropertiesBuilder::new().payload_is_utf8(given.payload_is_utf8);
    if let Some(value) = &given.content_type {
        builder = builder.content_type(value);
    }
    if let Some(value) = &given.response_topic {
        builder = builder.response_topic(value);
    }
    if let Some(value) = &given.correlation_data {
        builder = builder.correlation_data(value);
    }
    for user in &given.user {
        builder = builder.user(&user.key, &user.value);
    }
    let built = builder.build().map_err(|error| protocol(error.to_string()))?;
    Ok((built, given.message_expiry))
}

fn topic_in(topic: String) -> Result<TopicName, Fault> {
    TopicName::new(topic).map_err(|error| protocol(error.to_string()))
}

/// Reads a patch.
pub(crate) fn patch(given: types::Patch) -> Result<Patch, Fault> {
    let properties = given.properties.as_ref().map(properties_in).transpose()?;
    let expiry = properties.as_ref().map(|(_, expiry)| *expiry);
    Ok(Patch {
        topic: given.topic.map(topic_in).transpose()?,
        payload: given.payload.map(Into::into),
        qos: given.qos.map(qos_in),
        retain: given.retain,
        properties: properties.map(|(properties, _)| properties),
        expiry,
        emitted: Vec::new(),
    })
}

/// Reads a message that a guest made.
pub(crate) fn new_message(given: types::NewMessageResult) -> Result<Message, Fault> {
    let properties = given.properties.as_ref().map(properties_in).transpose()?;
    let (properties, expiry) = properties.unwrap_or_default();
    Ok(Message {
        topic: topic_in(given.topic)?,
        payload: given.payload.into(),
        qos: qos_in(given.qos),
        retain: given.retain,
        properties,
        expiry,
    })
}

/// Reads messages that a guest made.
pub(crate) fn new_messages(given: Vec<types::NewMessageResult>) -> Result<Vec<Message>, Fault> {
    if given.len() > EMITTED_MAX {
        return Err(protocol(format!(
            "it made more than {EMITTED_MAX} messages at once"
        )));
    }
    given.into_iter().map(new_message).collect()
}

/// Messages on their way into a guest: their User Properties need a place of their own.
pub(crate) struct Lent<'a> {
    messages: &'a [Message],
    user: Vec<Vec<types::UserPropertyParam<'a>>>,
}

impl<'a> Lent<'a> {
    pub(crate) fn new(messages: &'a [Message]) -> Self {
        let user = messages.iter().map(|message| {
            let user = message.properties.user();
            user.map(|user| types::UserPropertyParam {
                key: user.name,
                value: user.value,
            })
            .collect()
        });
        Self {
            messages,
            user: user.collect(),
        }
    }

    /// Returns the messages in the contract's form.
    pub(crate) fn params(&'a self) -> Vec<types::NewMessageParam<'a>> {
        let both = self.messages.iter().zip(&self.user);
        both.map(|(message, user)| {
            let properties = &message.properties;
            let some = message.expiry.is_some() || !properties.is_empty();
            types::NewMessageParam {
                topic: message.topic.as_str(),
                payload: &message.payload,
                qos: qos_out(message.qos),
                retain: message.retain,
                properties: some.then(|| types::PropertiesParam {
                    payload_is_utf8: properties.payload_is_utf8(),
                    message_expiry: message.expiry,
                    content_type: properties.content_type(),
                    response_topic: properties.response_topic(),
                    correlation_data: properties.correlation_data(),
                    user,
                }),
            }
        })
        .collect()
    }
}

/// Reads a refusal. A code of 0 says nothing and becomes 0x87.
pub(crate) fn denial(given: types::Denial) -> Result<Denial, Fault> {
    Ok(Denial {
        reason: reason(given.reason)?,
        text: given.text,
    })
}

/// Reads the Reason Code of a refusal.
pub(crate) fn reason(byte: u8) -> Result<ReasonCode, Fault> {
    match ReasonCode::from_byte(byte) {
        _ if byte == 0 => Ok(ReasonCode::NotAuthorized),
        Some(reason) if reason.is_error() => Ok(reason),
        _ => Err(protocol(format!(
            "it refused with {byte:#04x}, which is no refusal"
        ))),
    }
}

/// Reads a grant.
pub(crate) fn grant(given: types::Grant) -> Result<Grant, Fault> {
    use std::time::Duration;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(Grant {
        username: given.username.map(text).transpose()?,
        client_id: given.client_id.map(client_id).transpose()?,
        attributes: given
            .attributes
            .into_iter()
            .map(|(name, value)| Ok((text(name)?, text(value)?)))
            .collect::<Result<_, Fault>>()?,
        mount: given.mount.map(mount).transpose()?,
        session_expiry_cap: given.session_expiry_cap.map(seconds),
        expires_in: given.expires_in.map(seconds),
    })
}

/// Reads a Client Identifier.
pub(crate) fn client_id(given: String) -> Result<String, Fault> {
    match given.is_empty() {
        true => Err(protocol("it granted an empty client identifier")),
        false => text(given),
    }
}

/// Reads the prefix of a client's topics; empty: none.
pub(crate) fn mount(given: String) -> Result<String, Fault> {
    if !given.is_empty() && TopicName::new(given.as_str()).is_err() {
        let why = format!("it mounted a client at `{given}`, which is no part of a topic");
        return Err(protocol(why));
    }
    Ok(given)
}

/// Reads a text as MQTT has them.
pub(crate) fn text(given: String) -> Result<String, Fault> {
    match given.len() <= TEXT_MAX && !given.contains('\0') {
        true => Ok(given),
        false => Err(protocol("it gave a text that is too long or has U+0000 in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> types::PropertiesResult {
        properties_out(&Properties::EMPTY, None)
    }

    #[test]
    fn properties_come_back_as_they_went() {
        let given = PropertiesBuilder::new()
            .payload_is_utf8(true)
            .content_type("text/csv")
            .response_topic("r")
            .correlation_data(b"\x00\xff")
            .user("a", "1")
            .user("a", "2")
            .build()
            .unwrap();
        let out = properties_out(&given, Some(7));
        let (back, expiry) = properties_in(&out).unwrap();
        assert_eq!((back, expiry), (given, Some(7)));
    }

    #[test]
    fn what_cannot_be_a_message_is_a_fault() {
        let message = |topic: &str, properties| types::NewMessageResult {
            topic: topic.to_owned(),
            payload: Vec::new(),
            qos: types::Qos::AtMostOnce,
            retain: false,
            properties,
        };
        assert!(new_message(message("a", None)).is_ok());
        for wrong in ["", "a/#", "+", "a\0"] {
            assert_eq!(
                new_message(message(wrong, None)).unwrap_err().kind,
                FaultKind::Protocol
            );
        }
        let bad = types::PropertiesResult {
            response_topic: Some("a/#".to_owned()),
            ..nothing()
        };
        assert_eq!(
            new_message(message("a", Some(bad))).unwrap_err().kind,
            FaultKind::Protocol
        );
        let many = vec![message("a", None); EMITTED_MAX + 1];
        assert_eq!(new_messages(many).unwrap_err().kind, FaultKind::Protocol);
    }

    #[test]
    fn a_refusal_refuses() {
        assert_eq!(reason(0), Ok(ReasonCode::NotAuthorized));
        assert_eq!(reason(0x87), Ok(ReasonCode::NotAuthorized));
        assert!(reason(0x01).is_err());
        assert!(reason(0xff).is_err());
        assert!(mount("a/#".to_owned()).is_err());
        assert!(client_id(String::new()).is_err());
        assert!(text("\0".to_owned()).is_err());
    }

    #[test]
    fn messages_go_in_with_all_they_have() {
        let messages = [
            Message::new(TopicName::new("a").unwrap(), "x"),
            Message {
                expiry: Some(3),
                properties: PropertiesBuilder::new().user("k", "v").build().unwrap(),
                ..Message::new(TopicName::new("b").unwrap(), "y")
            },
        ];
        let lent = Lent::new(&messages);
        let params = lent.params();
        assert!(params[0].properties.is_none());
        let properties = params[1].properties.as_ref().unwrap();
        assert_eq!((properties.message_expiry, properties.user.len()), (Some(3), 1));
    }
}
