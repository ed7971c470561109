//! Publishing what the broker says of itself. What it says, and by which names, is `sys.rs`.

use std::sync::Arc;

use broker_proto::Stored;
use broker_types::{Message, Timestamp, TopicName};

use super::delivery::Publisher;
use super::shard::Shard;
use crate::hooks::EventSink;
use crate::sys::Facts;

impl Shard {
    /// Publishes what changed of `$SYS`, if it is time to.
    pub(crate) fn publish_sys(&self, now: Timestamp) {
        let mut sys = self.sys.borrow_mut();
        let wall = self.core.clock.wall_millis();
        let Some(tree) = sys.as_mut().filter(|tree| tree.is_due(wall)) else {
            return;
        };
        let core = &self.core;
        let facts = Facts {
            counts: core.counts(),
            gauges: core.gauges(),
            plugins: core.plugin_counts(),
            plugin_metrics: core.plugin_metrics.all(),
            bridges: core.bridge_counts(),
        };
        for (topic, text) in tree.update(now, wall, &facts) {
            // A plugin may call a counter what no Topic Name can hold.
            let Ok(topic) = TopicName::new(topic) else {
                continue;
            };
            let message = Message {
                retain: true,
                ..Message::new(topic, text)
            };
            let stored = Arc::new(Stored::counted(&(&message).into(), now, self.ledger()));
            let size = u32::try_from(stored.size()).unwrap_or(u32::MAX);
            // Neither asked of hooks nor held against the limits: it is the broker's own, and bounded by what there is.
            core.retained.put(&message.topic, stored, size, Timestamp::NEVER);
            self.route((&message).into(), now, Publisher::BROKER, &EventSink::default());
        }
    }
}
