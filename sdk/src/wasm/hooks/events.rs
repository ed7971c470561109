//! What happens, and requests over `$CONTROL/`.

use alloc::string::String;
use alloc::vec::Vec;

use crate::wasm::bindings::base::jackfield::plugin::types::Client;
use crate::wasm::bindings::control::exports::jackfield::plugin::control;
use crate::wasm::bindings::events::exports::jackfield::plugin::events;
use crate::wasm::instance::{Export, Exported, event_kind, plugin, said};
use crate::{ClientHandle, Control, Cx, Event, Events};

impl<P: Exported + Events> events::Guest for Export<P> {
    fn notify(batch: Vec<events::Event>) {
        let known = batch.iter().filter_map(|event| {
            Some(Event {
                kind: event_kind(&event.kind)?,
                at_ms: event.at_ms,
                client: event.client.map(ClientHandle),
                client_id: event.client_id.as_deref(),
                topic: event.topic.as_deref(),
                reason: event.reason.and_then(broker_types::ReasonCode::from_byte),
                by_server: event.by_server,
            })
        });
        plugin::<P>().notify(&known.collect::<Vec<_>>());
    }
}

impl<P: Exported + Control> control::Guest for Export<P> {
    fn on_control(who: &Client, topic: String, payload: Vec<u8>) -> Result<Vec<u8>, u8> {
        let answer = said(plugin::<P>().control(&Cx::new(who), &topic, &payload));
        answer.map_err(|reason| reason.byte())
    }
}
