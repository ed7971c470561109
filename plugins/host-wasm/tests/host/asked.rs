//! Asking the hooks of a plugin as the broker does.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use broker_types::{
    ClientHandle, ClientId, Message, ProtocolVersion, QoS, Source, SubscriptionFilter, TopicName,
};
use plugin_api::{
    AclDecision, AclItem, AclRequest, Action, Answer, AuthRequest, ClientView, ConnectEdit, ControlRequest,
    Cx, Event, EventKind, ExchangePhase, ExchangeRequest, Fault, Flow, Incoming, MessageEdit, MessageParts,
    Patch, Peer, Plugin, ShareMember, SubscribeEdit, UnsubscribeEdit,
};

/// Returns a client.
pub(crate) fn client() -> Arc<ClientView> {
    Arc::new(ClientView {
        handle: ClientHandle(7),
        id: ClientId::from("c"),
        username: Some("u".into()),
        authenticated: true,
        listener: "l".into(),
        peer: Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        unrestricted: false,
        certificate: None,
    })
}

/// Returns a message to `a/b`.
pub(crate) fn message(payload: &str) -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        retain: true,
        ..Message::new(TopicName::new("a/b").unwrap(), payload.to_owned())
    }
}

const BUDGET: Duration = Duration::from_secs(60);

/// Has a plugin decide about a message; says whether it answered at once.
pub(crate) async fn publish(plugin: &dyn Plugin, payload: &str) -> (bool, Result<(Flow, Patch), Fault>) {
    let hook = plugin.capabilities().publish.unwrap().hook;
    let (client, message) = (client(), message(payload));
    let cx = Cx {
        client: &client,
        budget: BUDGET,
    };
    let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
    let answer = hook.publish(&cx, &mut edit);
    match answer {
        Answer::Now(flow) => {
            edit.commit();
            let patch = edit.take_kept().map(|kept| *kept).unwrap_or_default();
            (true, flow.map(|flow| (flow, patch)))
        }
        Answer::Later(later) => (false, later.await),
    }
}

/// Asks every hook that a plugin has, and returns what each says by name: nothing, or its fault.
pub(crate) async fn everything(plugin: &dyn Plugin) -> Vec<(&'static str, Option<Fault>)> {
    let offered = plugin.capabilities();
    let (client, message) = (client(), message("x"));
    let cx = Cx {
        client: &client,
        budget: BUDGET,
    };
    let filter = SubscriptionFilter::parse("a/#").unwrap();
    let mut said = Vec::new();
    let mut say = |name, fault| said.push((name, fault));
    if let Some(hook) = offered.accept {
        let incoming = Incoming {
            listener: "l".into(),
            peer: Peer::Local,
            sni: None,
            alpn: None,
            tls_version: None,
            certificate: None,
        };
        say("accept", hook.accept(&incoming).err());
    }
    if let Some(hook) = offered.connect {
        let mut edit = ConnectEdit {
            client_id: ClientId::from("c"),
            username: None,
            clean_start: true,
            keep_alive_cap: None,
            session_expiry_cap: None,
            mount: "".into(),
            user_properties: Vec::new(),
            server_reference: None,
        };
        say("connect", hook.connect(&cx, &mut edit).await.err());
    }
    if let Some(hook) = offered.authenticate {
        let request = AuthRequest {
            client_id: "c",
            username: Some("u"),
            password: Some(b"p"),
            certificate: None,
            sni: None,
            version: ProtocolVersion::V5,
            clean_start: true,
        };
        say("authenticate", hook.authenticate(&cx, &request).await.err());
    }
    if let Some((_, hook)) = offered.exchange {
        let request = ExchangeRequest {
            phase: ExchangePhase::Start,
            exchange: 1,
            method: "hostile",
            data: None,
        };
        say("exchange", hook.exchange(&cx, &request).await.err());
    }
    if let Some(hook) = offered.authorize {
        let item = AclItem {
            topic: "a/b",
            qos: QoS::AtMostOnce,
            retain: false,
            share: None,
        };
        let request = AclRequest {
            action: Action::Publish,
            items: &[item],
        };
        let mut out = [AclDecision::default()];
        let fault = match hook.authorize(&cx, &request, &mut out) {
            Answer::Now(answer) => answer.err(),
            Answer::Later(later) => later.await.err(),
        };
        say("authorize", fault);
    }
    if let Some(hook) = offered.subscribe {
        let mut edit = SubscribeEdit {
            requested: filter.clone(),
            filter: filter.clone(),
            max_qos: QoS::ExactlyOnce,
            no_local: false,
            id: None,
            class: 0,
        };
        say("subscribe", hook.subscribe(&cx, &mut edit).await.err());
    }
    if let Some(hook) = offered.unsubscribe {
        let mut edit = UnsubscribeEdit {
            requested: filter.clone(),
            filter,
        };
        say("unsubscribe", hook.unsubscribe(&cx, &mut edit).await.err());
    }
    let edit = || MessageEdit::new(MessageParts::of(&message, Source::Client));
    if let Some(hook) = offered.publish {
        let mut edit = edit();
        let answer = hook.hook.publish(&cx, &mut edit);
        let fault = match answer {
            Answer::Now(answer) => answer.err(),
            Answer::Later(later) => later.await.err(),
        };
        say("publish", fault);
    }
    if let Some(hook) = offered.retain {
        say("retain", hook.retain(&message).err());
    }
    if let Some(hook) = offered.deliver {
        let mut edit = edit();
        let answer = hook.hook.deliver(3, &mut edit);
        let fault = match answer {
            Answer::Now(answer) => answer.err(),
            Answer::Later(later) => later.await.err(),
        };
        say("deliver", fault);
    }
    if let Some(hook) = offered.will {
        say("will", hook.will(&cx, &mut edit()).await.err());
    }
    if let Some((_, hook)) = offered.events {
        let event = Event {
            at: SystemTime::UNIX_EPOCH,
            ..Event::new(EventKind::Connected)
        };
        say("events", hook.notify(&[event]).await.err());
    }
    if let Some((_, hook)) = offered.control {
        let request = ControlRequest {
            topic: message.topic.as_ref(),
            payload: b"x",
        };
        say("control", hook.control(&cx, &request).await.err());
    }
    if let Some(hook) = offered.share_pick {
        let member = ShareMember {
            client_id: ClientId::from("c"),
            connected: true,
            inflight: 0,
        };
        // There is no way to tell of a fault: the broker chooses by itself.
        assert_eq!(hook.pick("s", "a/#", &[member], &message), None);
    }
    said
}
