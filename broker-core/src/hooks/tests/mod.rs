//! The chain as a whole, against what its documentation says.

mod build;
mod closures;
mod decisions;
mod events;
mod faults;
mod model;
mod outgoing;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use broker_types::{
    ClientHandle, Message, ProtocolVersion, QoS, Source, SubscriptionFilter, TopicName, TopicRef,
};
use plugin_api::{
    AclItem, Action, Answer, AuthRequest, Capabilities, ClientView, ConnectEdit, Cx, Fault, Flow, Incoming,
    MessageEdit, MessageParts, Patch, Peer, Plugin, PluginInfo, Publish, Scoped, SubscribeEdit,
    UnsubscribeEdit,
};

use super::will::Willed;
use super::*;
use crate::chain::{Chain, Use};

/// A plugin that has what it is given.
struct Fake(Capabilities);

impl Plugin for Fake {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "fake".into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.clone()
    }
}

fn used(name: &str, capabilities: Capabilities) -> Use {
    Use::new(name, Arc::new(Fake(capabilities)))
}

fn instance(plugin: &Arc<dyn Plugin>) -> Arc<Instance> {
    Instance::new(plugin.clone(), plugin.capabilities())
}

fn try_compile(chain: &Chain, hub: &EventHub) -> Result<ChainSet, ChainError> {
    ChainSet::compile(chain, &instance, 1, hub)
}

fn compile(chain: &Chain) -> Arc<ChainSet> {
    Arc::new(try_compile(chain, &EventHub::new()).unwrap())
}

/// A publish hook that writes its name into the payload.
struct Stamped(&'static str);

impl Publish for Stamped {
    fn publish(&self, _cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let mut payload = message.payload().to_vec();
        payload.extend(self.0.as_bytes());
        message.set_payload(payload);
        Answer::now(Flow::Continue)
    }
}

fn stamped(name: &'static str, filters: &[&str]) -> Capabilities {
    let filters = filters
        .iter()
        .map(|filter| broker_types::TopicFilter::new(*filter).unwrap());
    Capabilities {
        publish: Some(Scoped {
            filters: filters.collect(),
            ..Scoped::everywhere(Arc::new(Stamped(name)) as Arc<dyn Publish>)
        }),
        ..Capabilities::default()
    }
}

fn view() -> ClientView {
    ClientView {
        handle: ClientHandle(1),
        id: "c".into(),
        username: Some("u".into()),
        authenticated: true,
        listener: "main".into(),
        peer: Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        certificate: None,
        unrestricted: false,
    }
}

fn client() -> Arc<ClientView> {
    Arc::new(view())
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn message(to: &str) -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(topic(to), "p")
    }
}

fn connect_edit() -> ConnectEdit {
    ConnectEdit {
        client_id: "c".into(),
        username: None,
        clean_start: true,
        keep_alive_cap: None,
        session_expiry_cap: None,
        mount: "".into(),
        user_properties: Vec::new(),
        server_reference: None,
    }
}

fn auth_request() -> AuthRequest<'static> {
    AuthRequest {
        client_id: "c",
        username: Some("u"),
        password: Some(b"p"),
        certificate: None,
        sni: None,
        version: ProtocolVersion::V5,
        clean_start: true,
    }
}

fn incoming() -> Incoming {
    Incoming {
        listener: "main".into(),
        peer: Peer::Tcp((Ipv4Addr::LOCALHOST, 1).into()),
        sni: None,
        alpn: None,
        tls_version: None,
        certificate: None,
    }
}

fn subscribe_edit(filter: &str) -> SubscribeEdit {
    let filter = SubscriptionFilter::parse(filter).unwrap();
    SubscribeEdit {
        requested: filter.clone(),
        filter,
        max_qos: QoS::ExactlyOnce,
        no_local: false,
        id: None,
        class: 0,
    }
}

fn unsubscribe_edit(filter: &str) -> UnsubscribeEdit {
    let filter = SubscriptionFilter::parse(filter).unwrap();
    UnsubscribeEdit {
        requested: filter.clone(),
        filter,
    }
}

/// Publishes through the chain, however long that takes. Returns the message as all plugins left it.
async fn publish(set: &Arc<ChainSet>, message: &Message) -> (Published, Message) {
    publish_as(&client(), set, message).await
}

async fn publish_as(
    client: &Arc<ClientView>,
    set: &Arc<ChainSet>,
    message: &Message,
) -> (Published, Message) {
    let parts = MessageParts::of(message, Source::Client);
    let mut edit = MessageEdit::new(parts);
    let slots = set.interest(message.topic.as_ref()).publish;
    match set.publish(client, slots, &mut edit) {
        Step::Now(published) => (published, edit.to_message()),
        Step::Later(pending) => {
            assert!(
                edit.kept().is_none() && edit.drafted().is_none(),
                "edits went along"
            );
            let (published, patch) = pending.await;
            (published, MessageEdit::with_patch(parts, patch).to_message())
        }
    }
}

/// Delivers through the chain, however long that takes.
async fn deliver(set: &Arc<ChainSet>, class: u32, message: &Message) -> (DeliverOutcome, Message) {
    let parts = MessageParts::of(message, Source::Client);
    let mut edit = MessageEdit::new(parts);
    let slots = set.interest(message.topic.as_ref()).deliver;
    match set.deliver(class, slots, &mut edit) {
        Step::Now(outcome) => (outcome, edit.to_message()),
        Step::Later(pending) => {
            let (outcome, patch) = pending.await;
            (outcome, MessageEdit::with_patch(parts, patch).to_message())
        }
    }
}

/// Authorizes, however long that takes.
async fn authorize(set: &Arc<ChainSet>, action: Action, items: &[AclItem<'_>]) -> Vec<Decision> {
    let request = plugin_api::AclRequest { action, items };
    let mut out = vec![Decision::default(); items.len()];
    match set.authorize(&client(), &request, &mut out) {
        Step::Now(()) => out,
        Step::Later(pending) => pending.await,
    }
}

fn acl_item(topic: &str) -> AclItem<'_> {
    AclItem {
        topic,
        qos: QoS::AtLeastOnce,
        retain: false,
        share: None,
    }
}

fn backend_down() -> Fault {
    Fault::backend("down")
}

/// What plugins were called with, in order.
type Calls<T> = Arc<Mutex<Vec<T>>>;

fn taken<T>(calls: &Calls<T>) -> Vec<T> {
    std::mem::take(&mut calls.lock().unwrap())
}

fn in_topic(text: &str) -> TopicRef<'_> {
    TopicRef::new(text).unwrap()
}

fn everywhere<H: ?Sized>(hook: Arc<H>) -> Option<Scoped<H>> {
    Some(Scoped::everywhere(hook))
}
