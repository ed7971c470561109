//! A question as JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use broker_types::{Message, SubscriptionFilter};
use plugin_api::{Action, ClientView, ConnectEdit, Event, ExchangePhase, ShareMember};
use serde_json::{Map, Value, json};

use super::SECRET;
use crate::Question;

/// A JSON object that is being put together.
pub(super) type Object = Map<String, Value>;

/// Returns a question as JSON, with passwords and Authentication Data only if `secrets` is set.
#[must_use]
pub fn question_json(question: &Question, secrets: bool) -> Value {
    let mut object = Object::new();
    object.insert("hook".to_owned(), question.hook().into());
    let secret = |object: &mut Object, name: &str, value: &Option<Vec<u8>>| match value {
        Some(value) if secrets => put_bytes(object, name, value),
        Some(_) => put(object, name, SECRET),
        None => {}
    };
    match question {
        Question::Accept(incoming) => {
            put(&mut object, "listener", &*incoming.listener);
            put(&mut object, "peer", incoming.peer.to_string());
            put_some(&mut object, "sni", incoming.sni.as_deref());
            put_some(&mut object, "alpn", incoming.alpn.as_deref());
            put_some(&mut object, "tls_version", incoming.tls_version.as_deref());
            put_some_bytes(&mut object, "certificate", incoming.certificate.as_deref());
        }
        Question::Connect(client, edit) => {
            put(&mut object, "client", client_json(client));
            put_connect(&mut object, edit);
        }
        Question::Authenticate(client, password) => {
            put(&mut object, "client", client_json(client));
            secret(&mut object, "password", password);
        }
        Question::Exchange {
            client,
            phase,
            exchange,
            method,
            data,
        } => {
            put(&mut object, "client", client_json(client));
            put(&mut object, "phase", phase_name(*phase));
            put(&mut object, "exchange", *exchange);
            put(&mut object, "method", method.as_str());
            secret(&mut object, "data", data);
        }
        Question::Authorize(client, action, items) => {
            put(&mut object, "client", client_json(client));
            put(&mut object, "action", action_name(*action));
            let items = items.iter().map(|item| {
                let mut one = Object::new();
                put(&mut one, "topic", item.topic.as_str());
                put(&mut one, "qos", item.qos.bits());
                put_flag(&mut one, "retain", item.retain);
                put_some(&mut one, "share", item.share.as_deref());
                Value::Object(one)
            });
            object.insert("items".to_owned(), items.collect());
        }
        Question::Subscribe(client, edit) => {
            put(&mut object, "client", client_json(client));
            put_filters(&mut object, &edit.requested, &edit.filter);
            put(&mut object, "qos", edit.max_qos.bits());
            put_flag(&mut object, "no_local", edit.no_local);
            put_some(&mut object, "id", edit.id.map(|id| id.get()));
            put(&mut object, "class", edit.class);
        }
        Question::Unsubscribe(client, edit) => {
            put(&mut object, "client", client_json(client));
            put_filters(&mut object, &edit.requested, &edit.filter);
        }
        Question::Publish(client, message, source) => {
            put(&mut object, "client", client_json(client));
            put(&mut object, "source", format!("{source:?}").to_lowercase());
            put_message(&mut object, message);
        }
        Question::Retain(message) => put_message(&mut object, message),
        Question::Deliver(class, message) => {
            put(&mut object, "class", *class);
            put_message(&mut object, message);
        }
        Question::Will(client, message) => {
            put(&mut object, "client", client_json(client));
            put_message(&mut object, message);
        }
        Question::Events(events) => {
            object.insert("events".to_owned(), events.iter().map(event_json).collect());
        }
        Question::Control(client, topic, payload) => {
            put(&mut object, "client", client_json(client));
            put(&mut object, "topic", topic.as_str());
            put_bytes(&mut object, "payload", payload);
        }
        Question::SharePick {
            share,
            filter,
            members,
            message,
        } => {
            put(&mut object, "share", share.as_str());
            put(&mut object, "filter", filter.as_str());
            object.insert("members".to_owned(), members.iter().map(member_json).collect());
            put_message(&mut object, message);
        }
    }
    Value::Object(object)
}

pub(super) fn put(object: &mut Object, name: &str, value: impl Into<Value>) {
    object.insert(name.to_owned(), value.into());
}

pub(super) fn put_some(object: &mut Object, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(object, name, value);
    }
}

/// A flag that is usually not set.
pub(super) fn put_flag(object: &mut Object, name: &str, value: bool) {
    if value {
        put(object, name, true);
    }
}

/// Bytes as text under `name`, or in Base64 under `name_base64` if they are none.
pub(super) fn put_bytes(object: &mut Object, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) if text != SECRET => put(object, name, text),
        _ => put(object, &format!("{name}_base64"), BASE64_STANDARD.encode(bytes)),
    }
}

fn put_some_bytes(object: &mut Object, name: &str, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        put_bytes(object, name, bytes);
    }
}

pub(super) fn put_message(object: &mut Object, message: &Message) {
    put(object, "topic", message.topic.as_str());
    put_bytes(object, "payload", &message.payload);
    put(object, "qos", message.qos.bits());
    put_flag(object, "retain", message.retain);
    put_some(object, "expiry", message.expiry);
    if !message.properties.is_empty() {
        let block = BASE64_STANDARD.encode(message.properties.as_bytes());
        put(object, "properties_base64", block);
    }
}

fn put_filters(object: &mut Object, requested: &SubscriptionFilter, filter: &SubscriptionFilter) {
    put(object, "filter", filter.to_string());
    if requested != filter {
        put(object, "requested", requested.to_string());
    }
}

/// The parts of a CONNECT that hooks change.
pub(super) fn put_connect(object: &mut Object, edit: &ConnectEdit) {
    put(object, "client_id", edit.client_id.as_str());
    put_some(object, "username", edit.username.as_deref());
    put_flag(object, "clean_start", edit.clean_start);
    put_some(object, "keep_alive_cap", edit.keep_alive_cap);
    put_some(
        object,
        "session_expiry_cap",
        edit.session_expiry_cap.map(|cap| cap.as_secs()),
    );
    if !edit.mount.is_empty() {
        put(object, "mount", &*edit.mount);
    }
    if !edit.user_properties.is_empty() {
        put(object, "user_properties", pairs_json(&edit.user_properties));
    }
    put_some(object, "server_reference", edit.server_reference.as_deref());
}

pub(super) fn pairs_json(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| json!([name, value])).collect()
}

fn client_json(client: &ClientView) -> Value {
    let mut object = Object::new();
    put(&mut object, "id", client.id.as_str());
    put(&mut object, "handle", client.handle.0);
    put_some(&mut object, "username", client.username.as_deref());
    put_flag(&mut object, "authenticated", client.authenticated);
    put_flag(&mut object, "unrestricted", client.unrestricted);
    put(&mut object, "listener", &*client.listener);
    put(&mut object, "peer", client.peer.to_string());
    put(&mut object, "version", client.version.to_string());
    put_flag(&mut object, "clean_start", client.clean_start);
    if !client.mount.is_empty() {
        put(&mut object, "mount", &*client.mount);
    }
    if !client.attributes.is_empty() {
        put(&mut object, "attributes", pairs_json(&client.attributes));
    }
    put_some_bytes(&mut object, "certificate", client.certificate.as_deref());
    Value::Object(object)
}

fn event_json(event: &Event) -> Value {
    let since = event.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut object = Object::new();
    put(&mut object, "event", event.kind.as_str());
    put(
        &mut object,
        "at_ms",
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    );
    put_some(&mut object, "handle", event.client.map(|client| client.0));
    put_some(
        &mut object,
        "client_id",
        event.client_id.as_ref().map(|id| id.as_str()),
    );
    put_some(&mut object, "username", event.username.as_deref());
    put_some(&mut object, "listener", event.listener.as_deref());
    put_some(&mut object, "peer", event.peer.map(|peer| peer.to_string()));
    put_some(&mut object, "topic", event.topic.as_deref());
    put_some(&mut object, "reason", event.reason.map(|reason| reason.byte()));
    put_flag(&mut object, "by_server", event.by_server);
    put(&mut object, "count", event.count);
    put_some(&mut object, "text", event.text.as_deref());
    Value::Object(object)
}

fn member_json(member: &ShareMember) -> Value {
    json!({
        "client_id": member.client_id.as_str(),
        "connected": member.connected,
        "inflight": member.inflight,
    })
}

pub(super) const PHASES: [(ExchangePhase, &str); 4] = [
    (ExchangePhase::Start, "start"),
    (ExchangePhase::Continue, "continue"),
    (ExchangePhase::ReAuthenticate, "re-authenticate"),
    (ExchangePhase::Abandoned, "abandoned"),
];

fn phase_name(phase: ExchangePhase) -> &'static str {
    PHASES
        .iter()
        .find(|(known, _)| *known == phase)
        .map_or("", |(_, name)| name)
}

pub(super) const ACTIONS: [(Action, &str); 3] = [
    (Action::Publish, "publish"),
    (Action::Subscribe, "subscribe"),
    (Action::Receive, "receive"),
];

fn action_name(action: Action) -> &'static str {
    ACTIONS
        .iter()
        .find(|(known, _)| *known == action)
        .map_or("", |(_, name)| name)
}
