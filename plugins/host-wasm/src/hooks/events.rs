//! Being told what happens.

use plugin_api::{Event, Events, Fault, async_trait};

use super::Hooks;
use crate::bindings::exported::events;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::services::unix_ms;
use crate::state::More;

struct Notify(Vec<Event>);

impl Ask for Notify {
    type Answer = ();

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<()> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let peers = self.0.iter().map(|event| event.peer.map(|peer| peer.to_string()));
        let peers: Vec<_> = peers.collect();
        let batch = self.0.iter().zip(&peers).map(|(event, peer)| events::Event {
            kind: event.kind.as_str(),
            at_ms: unix_ms(event.at),
            client: event.client.map(|client| client.0),
            client_id: event.client_id.as_ref().map(|id| id.as_str()),
            username: event.username.as_deref(),
            listener: event.listener.as_deref(),
            peer: peer.as_deref(),
            topic: event.topic.as_deref(),
            reason: event.reason.map(|reason| reason.byte()),
            by_server: event.by_server,
            count: event.count as u64,
            text: event.text.as_deref(),
        });
        let batch: Vec<_> = batch.collect();
        let function = offered(&exports.events)?.func_notify();
        caller.call(function, (batch.as_slice(),)).await
    }
}

#[async_trait]
impl Events for Hooks {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        self.guest.ask_owned(Notify(batch.to_vec())).await
    }
}
