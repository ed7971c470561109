//! A question out of JSON. What isn't there has a default where that makes sense, so that a recording can be written by
//! hand.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use broker_types::{
    ClientHandle, ClientId, Message, Properties, ProtocolVersion, QoS, ReasonCode, Source,
    SubscriptionFilter, SubscriptionId, TopicName,
};
use plugin_api::{
    ClientView, ConnectEdit, Event, EventKind, Incoming, Peer, ShareMember, SubscribeEdit, UnsubscribeEdit,
};
use serde_json::Value;

use super::SECRET;
use super::write::{ACTIONS, PHASES};
use crate::question::{Item, Question};

/// Why a call can't be put again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It has a secret that wasn't recorded.
    Secret,
    /// It isn't what a recording has.
    Wrong(String),
}

type Read<T> = Result<T, Unreadable>;

/// Reads a question.
pub(super) fn question(call: &Value) -> Read<Question> {
    let call = &Fields(call);
    let hook = call.text("hook")?.ok_or_else(|| wrong("there is no `hook`"))?;
    Ok(match hook {
        "accept" => Question::Accept(Incoming {
            listener: call.text("listener")?.unwrap_or("main").into(),
            peer: peer(call)?,
            sni: call.text("sni")?.map(str::to_owned),
            alpn: call.text("alpn")?.map(str::to_owned),
            tls_version: call.text("tls_version")?.map(str::to_owned),
            certificate: call.bytes("certificate")?.map(Into::into),
        }),
        "connect" => Question::Connect(client(call)?, connect(call)?),
        "authenticate" => Question::Authenticate(client(call)?, call.secret("password")?),
        "exchange" => Question::Exchange {
            client: client(call)?,
            phase: named(call.text("phase")?.unwrap_or("start"), &PHASES)?,
            exchange: call.number("exchange")?.unwrap_or(1),
            method: call.text("method")?.unwrap_or_default().to_owned(),
            data: call.secret("data")?,
        },
        "authorize" => Question::Authorize(
            client(call)?,
            named(call.text("action")?.unwrap_or("publish"), &ACTIONS)?,
            call.each("items", item)?,
        ),
        "subscribe" => {
            let (requested, filter) = filters(call)?;
            Question::Subscribe(
                client(call)?,
                SubscribeEdit {
                    requested,
                    filter,
                    max_qos: qos(call)?,
                    no_local: call.flag("no_local"),
                    id: call.small("id")?.and_then(SubscriptionId::new),
                    class: call.small("class")?.unwrap_or(0),
                },
            )
        }
        "unsubscribe" => {
            let (requested, filter) = filters(call)?;
            Question::Unsubscribe(client(call)?, UnsubscribeEdit { requested, filter })
        }
        "publish" => Question::Publish(client(call)?, message(call)?, source(call)?),
        "retain" => Question::Retain(message(call)?),
        "deliver" => Question::Deliver(call.small("class")?.unwrap_or(0), message(call)?),
        "will" => Question::Will(client(call)?, message(call)?),
        "events" => Question::Events(call.each("events", event)?),
        "control" => Question::Control(
            client(call)?,
            topic(call)?,
            call.bytes("payload")?.unwrap_or_default().into(),
        ),
        "share-pick" => Question::SharePick {
            share: call.text("share")?.unwrap_or_default().to_owned(),
            filter: call.text("filter")?.unwrap_or_default().to_owned(),
            members: call.each("members", member)?,
            message: message(call)?,
        },
        other => return Err(wrong(format!("there is no hook `{other}`"))),
    })
}

/// An object of which fields are read.
struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Read<Option<&'a str>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or_else(|| wrong(format!("`{name}` is no text"))),
        }
    }

    fn number(&self, name: &str) -> Read<Option<u64>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| wrong(format!("`{name}` is no number"))),
        }
    }

    fn small<T: TryFrom<u64>>(&self, name: &str) -> Read<Option<T>> {
        let number = self.number(name)?.map(T::try_from).transpose();
        number.map_err(|_| wrong(format!("`{name}` is too large")))
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn bytes(&self, name: &str) -> Read<Option<Vec<u8>>> {
        if let Some(text) = self.text(name)? {
            return Ok(Some(text.as_bytes().to_vec()));
        }
        let Some(encoded) = self.text(&format!("{name}_base64"))? else {
            return Ok(None);
        };
        let decoded = BASE64_STANDARD.decode(encoded);
        decoded
            .map(Some)
            .map_err(|error| wrong(format!("`{name}_base64`: {error}")))
    }

    /// Bytes that may not have been recorded.
    fn secret(&self, name: &str) -> Read<Option<Vec<u8>>> {
        if self.text(name)? == Some(SECRET) {
            return Err(Unreadable::Secret);
        }
        self.bytes(name)
    }

    fn each<T>(&self, name: &str, read: fn(&Fields<'a>) -> Read<T>) -> Read<Vec<T>> {
        let list = self.0.get(name).and_then(Value::as_array);
        let list = list.ok_or_else(|| wrong(format!("`{name}` is no list")))?;
        list.iter().map(|one| read(&Fields(one))).collect()
    }

    fn pairs(&self, name: &str) -> Read<Vec<(String, String)>> {
        let Some(list) = self.0.get(name) else {
            return Ok(Vec::new());
        };
        let pair = |one: &Value| Some((one.get(0)?.as_str()?.to_owned(), one.get(1)?.as_str()?.to_owned()));
        let pairs = list.as_array().and_then(|list| list.iter().map(pair).collect());
        pairs.ok_or_else(|| wrong(format!("`{name}` is no list of pairs")))
    }
}

fn wrong(why: impl Into<String>) -> Unreadable {
    Unreadable::Wrong(why.into())
}

fn named<T: Copy>(name: &str, known: &[(T, &str)]) -> Read<T> {
    let found = known.iter().find(|(_, known)| *known == name);
    found
        .map(|(value, _)| *value)
        .ok_or_else(|| wrong(format!("nobody knows `{name}`")))
}

fn peer(fields: &Fields<'_>) -> Read<Peer> {
    match fields.text("peer")? {
        None | Some("local") => Ok(Peer::Local),
        Some("unix") => Ok(Peer::Unix),
        Some(address) => {
            let parsed = address.parse().map(Peer::Tcp);
            parsed.map_err(|_| wrong(format!("`{address}` is no address")))
        }
    }
}

fn client(call: &Fields<'_>) -> Read<Arc<ClientView>> {
    let fields = &Fields(call.0.get("client").unwrap_or(&Value::Null));
    let version = match fields.text("version")?.unwrap_or("5.0") {
        "3.1" => ProtocolVersion::V31,
        "3.1.1" => ProtocolVersion::V311,
        "5.0" => ProtocolVersion::V5,
        other => return Err(wrong(format!("there is no MQTT {other}"))),
    };
    Ok(Arc::new(ClientView {
        handle: ClientHandle(fields.number("handle")?.unwrap_or(1)),
        id: ClientId::new(fields.text("id")?.unwrap_or("test")),
        username: fields.text("username")?.map(Into::into),
        authenticated: fields.flag("authenticated"),
        listener: fields.text("listener")?.unwrap_or("main").into(),
        peer: peer(fields)?,
        version,
        clean_start: fields.flag("clean_start"),
        mount: fields.text("mount")?.unwrap_or_default().into(),
        attributes: fields.pairs("attributes")?.into(),
        certificate: fields.bytes("certificate")?.map(Into::into),
        unrestricted: fields.flag("unrestricted"),
    }))
}

fn connect(call: &Fields<'_>) -> Read<ConnectEdit> {
    Ok(ConnectEdit {
        client_id: ClientId::new(call.text("client_id")?.unwrap_or("test")),
        username: call.text("username")?.map(Into::into),
        clean_start: call.flag("clean_start"),
        keep_alive_cap: call.small("keep_alive_cap")?,
        session_expiry_cap: call.number("session_expiry_cap")?.map(Duration::from_secs),
        mount: call.text("mount")?.unwrap_or_default().into(),
        user_properties: call.pairs("user_properties")?,
        server_reference: call.text("server_reference")?.map(str::to_owned),
    })
}

fn topic(fields: &Fields<'_>) -> Read<TopicName> {
    let topic = fields.text("topic")?.unwrap_or_default();
    TopicName::new(topic).map_err(|error| wrong(format!("`{topic}`: {error}")))
}

fn qos(fields: &Fields<'_>) -> Read<QoS> {
    let qos = QoS::from_bits(fields.small("qos")?.unwrap_or(0));
    qos.ok_or_else(|| wrong("`qos` is above 2"))
}

fn message(fields: &Fields<'_>) -> Read<Message> {
    let block = fields.bytes("properties")?.unwrap_or_default();
    let properties =
        Properties::parse(block.into()).map_err(|error| wrong(format!("properties: {error}")))?;
    Ok(Message {
        topic: topic(fields)?,
        payload: fields.bytes("payload")?.unwrap_or_default().into(),
        qos: qos(fields)?,
        retain: fields.flag("retain"),
        properties,
        expiry: fields.small("expiry")?,
    })
}

fn source(fields: &Fields<'_>) -> Read<Source> {
    let known = [
        (Source::Client, "client"),
        (Source::Will, "will"),
        (Source::Bridge, "bridge"),
        (Source::Plugin, "plugin"),
        (Source::Retained, "retained"),
        (Source::Embedder, "embedder"),
    ];
    named(fields.text("source")?.unwrap_or("client"), &known)
}

fn filters(fields: &Fields<'_>) -> Read<(SubscriptionFilter, SubscriptionFilter)> {
    let parse = |text: &str| {
        SubscriptionFilter::parse(text)
            .map_err(|error| wrong(format!("`{text}` is no Topic Filter: {error}")))
    };
    let filter = parse(fields.text("filter")?.unwrap_or_default())?;
    let requested = fields.text("requested")?.map(parse).transpose()?;
    Ok((requested.unwrap_or_else(|| filter.clone()), filter))
}

fn item(fields: &Fields<'_>) -> Read<Item> {
    Ok(Item {
        topic: fields.text("topic")?.unwrap_or_default().to_owned(),
        qos: qos(fields)?,
        retain: fields.flag("retain"),
        share: fields.text("share")?.map(str::to_owned),
    })
}

fn member(fields: &Fields<'_>) -> Read<ShareMember> {
    Ok(ShareMember {
        client_id: ClientId::new(fields.text("client_id")?.unwrap_or_default()),
        connected: fields.flag("connected"),
        inflight: fields.small("inflight")?.unwrap_or(0),
    })
}

fn event(fields: &Fields<'_>) -> Read<Event> {
    let name = fields.text("event")?.unwrap_or_default();
    let kind = EventKind::ALL.iter().find(|kind| kind.as_str() == name);
    let kind = *kind.ok_or_else(|| wrong(format!("there is no event `{name}`")))?;
    let at = Duration::from_millis(fields.number("at_ms")?.unwrap_or(0));
    Ok(Event {
        at: SystemTime::UNIX_EPOCH + at,
        client: fields.number("handle")?.map(ClientHandle),
        client_id: fields.text("client_id")?.map(ClientId::new),
        username: fields.text("username")?.map(Into::into),
        listener: fields.text("listener")?.map(Into::into),
        peer: fields.text("peer")?.map(|_| peer(fields)).transpose()?,
        topic: fields.text("topic")?.map(Into::into),
        reason: fields.small("reason")?.and_then(ReasonCode::from_byte),
        by_server: fields.flag("by_server"),
        count: fields.small("count")?.unwrap_or(0),
        text: fields.text("text")?.map(Into::into),
        ..Event::new(kind)
    })
}
