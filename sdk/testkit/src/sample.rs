//! A question for each hook of a plugin, as a broker would ask it on an ordinary day.

use std::sync::Arc;

use broker_types::{ClientId, Message, QoS, Source, SubscriptionFilter, TopicFilter, TopicName};
use bytes::Bytes;
use plugin_api::{
    Action, Capabilities, ClientView, ConnectEdit, Event, EventKind, ExchangePhase, Incoming, ShareMember,
    SubscribeEdit, UnsubscribeEdit,
};

use crate::Client;
use crate::question::{Item, Question};

/// Returns a question for each hook that is there. Messages have a topic that the hook is interested in.
pub(crate) fn questions(hooks: &Capabilities, payload: &Bytes) -> Vec<Question> {
    let client = Client::new("bench-client").username("anna").view();
    let filters = |filters: &[TopicFilter]| topic_of(filters.first());
    let message = |topic: TopicName| Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(topic, payload.clone())
    };
    let plain = || message(topic_of(None));
    [
        hooks.accept.as_ref().map(|_| Question::Accept(incoming(&client))),
        hooks
            .connect
            .as_ref()
            .map(|_| Question::Connect(client.clone(), connect(&client))),
        hooks
            .authenticate
            .as_ref()
            .map(|_| Question::Authenticate(client.clone(), Some(b"secret".to_vec()))),
        hooks.exchange.as_ref().map(|(methods, _)| Question::Exchange {
            client: client.clone(),
            phase: ExchangePhase::Start,
            exchange: 1,
            method: methods.first().cloned().unwrap_or_default(),
            data: Some(b"first".to_vec()),
        }),
        hooks
            .authorize
            .as_ref()
            .map(|_| Question::Authorize(client.clone(), Action::Publish, vec![item("plant/7/temperature")])),
        hooks
            .subscribe
            .as_ref()
            .map(|_| Question::Subscribe(client.clone(), subscribe("plant/+/temperature"))),
        hooks
            .unsubscribe
            .as_ref()
            .map(|_| Question::Unsubscribe(client.clone(), unsubscribe("plant/+/temperature"))),
        hooks.publish.as_ref().map(|scoped| {
            Question::Publish(client.clone(), message(filters(&scoped.filters)), Source::Client)
        }),
        hooks.retain.as_ref().map(|_| {
            Question::Retain(Message {
                retain: true,
                ..plain()
            })
        }),
        hooks
            .deliver
            .as_ref()
            .map(|scoped| Question::Deliver(0, message(filters(&scoped.filters)))),
        hooks
            .will
            .as_ref()
            .map(|_| Question::Will(client.clone(), plain())),
        hooks
            .events
            .as_ref()
            .map(|_| Question::Events(vec![Event::new(EventKind::Connected); 16])),
        hooks.control.as_ref().map(|(prefixes, _)| {
            let prefix = prefixes.first().map_or("x", String::as_str);
            let topic = TopicName::new(format!("$CONTROL/{prefix}/status"));
            Question::Control(
                client.clone(),
                topic.unwrap_or_else(|_| topic_of(None)),
                payload.clone(),
            )
        }),
        hooks.share_pick.as_ref().map(|_| Question::SharePick {
            share: "workers".to_owned(),
            filter: "plant/#".to_owned(),
            members: members(),
            message: plain(),
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a Topic Name that matches a filter.
pub(crate) fn topic_of(filter: Option<&TopicFilter>) -> TopicName {
    let filter = filter.map_or("plant/7/temperature", |filter| filter.as_str());
    let levels = filter.split('/').map(|level| match level {
        "+" | "#" => "x",
        level => level,
    });
    let topic = levels.collect::<Vec<_>>().join("/");
    TopicName::new(topic).expect("a filter without wildcards is a name")
}

pub(crate) fn item(topic: &str) -> Item {
    Item {
        topic: topic.to_owned(),
        qos: QoS::AtLeastOnce,
        retain: false,
        share: None,
    }
}

pub(crate) fn connect(client: &ClientView) -> ConnectEdit {
    ConnectEdit {
        client_id: client.id.clone(),
        username: client.username.clone(),
        clean_start: true,
        keep_alive_cap: None,
        session_expiry_cap: None,
        mount: client.mount.clone(),
        user_properties: Vec::new(),
        server_reference: None,
    }
}

pub(crate) fn subscribe(filter: &str) -> SubscribeEdit {
    let filter = SubscriptionFilter::parse(filter).expect("a filter of ours");
    SubscribeEdit {
        requested: filter.clone(),
        filter,
        max_qos: QoS::ExactlyOnce,
        no_local: false,
        id: None,
        class: 0,
    }
}

pub(crate) fn unsubscribe(filter: &str) -> UnsubscribeEdit {
    let filter = SubscriptionFilter::parse(filter).expect("a filter of ours");
    UnsubscribeEdit {
        requested: filter.clone(),
        filter,
    }
}

pub(crate) fn incoming(client: &Arc<ClientView>) -> Incoming {
    Incoming {
        listener: client.listener.clone(),
        peer: client.peer,
        sni: None,
        alpn: None,
        tls_version: None,
        certificate: None,
    }
}

fn members() -> Vec<ShareMember> {
    let member = |n: usize| ShareMember {
        client_id: ClientId::new(format!("worker-{n}")),
        connected: true,
        inflight: n,
    };
    (0..4).map(member).collect()
}
