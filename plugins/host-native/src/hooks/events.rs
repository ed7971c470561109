//! Being told: what happened, and that a timer is due.

use std::time::UNIX_EPOCH;

use plugin_abi::{self as abi, EventIn, values::*};
use plugin_api::{Event, Events, Fault, TimerId, async_trait};

use super::{Hooks, NONE};
use crate::ask::{Form, Question, Shown, size_32};
use crate::border::lend;
use crate::side::Table;

/// A batch of events.
struct Batch(Vec<Event>);

impl Question for Batch {
    fn form(&self) -> Form {
        NONE
    }

    fn put(&self, table: &Table, _shown: &Shown<'_>) -> i32 {
        let Some(function) = table.0.events else {
            return JF_EUNSUP;
        };
        let events: Vec<EventIn> = self.0.iter().map(shape).collect();
        let pointers: Vec<*const EventIn> = events.iter().map(std::ptr::from_ref).collect();
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, pointers.as_ptr(), pointers.len()) };
        JF_OK
    }
}

fn shape(event: &Event) -> EventIn {
    let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    abi::EventIn {
        size: size_32::<EventIn>(),
        kind: event.kind as u32,
        at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        client_id: event.client.map_or(0, |client| client.0),
        client_name: lend(event.client_id.as_ref().map(broker_types::ClientId::as_str)),
        topic: lend(event.topic.as_deref()),
        reason: event.reason.map_or(0, broker_types::ReasonCode::byte),
        by_server: event.by_server.into(),
        rsv: [0; 6],
    }
}

#[async_trait]
impl Events for Hooks {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        self.0.answer(None, Batch(batch.to_vec())).await.map(drop)
    }
}

/// A timer that is due.
pub(crate) struct TimerDue(pub(crate) TimerId);

impl Question for TimerDue {
    fn form(&self) -> Form {
        NONE
    }

    fn put(&self, table: &Table, _shown: &Shown<'_>) -> i32 {
        let Some(function) = table.0.on_timer else {
            return JF_OK;
        };
        // SAFETY: a function of this instance with its own `self`.
        unsafe { function(table.0.self_, self.0.0) };
        JF_OK
    }
}
