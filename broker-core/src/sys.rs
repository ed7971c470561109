//! What the broker says of itself under `$SYS/broker/`, by mosquitto's names where mosquitto has one, so that dashboards
//! made for it work. Pure: numbers in, topics and texts out, and only those that changed. Not the metrics of an operator's
//! Prometheus, which [`crate::Handle`] gives.
//!
//! The messages are retained and have QoS 0: a queue that holds a client's real messages isn't filled with yesterday's
//! counters. They count against no limit, are in no store and make no events.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use broker_types::Timestamp;

use crate::bridge::BridgeCounts;
use crate::broker::Gauges;
use crate::hooks::PluginCounts;
use crate::metrics::{ByPacket, Counts};

/// What a broker can say of itself at one moment.
pub(crate) struct Facts {
    pub(crate) counts: Counts,
    pub(crate) gauges: Gauges,
    /// By listener.
    pub(crate) plugins: Vec<(Arc<str>, Vec<PluginCounts>)>,
    /// What plugins count: plugin, name, value.
    pub(crate) plugin_metrics: Vec<(Arc<str>, String, f64)>,
    pub(crate) bridges: Vec<BridgeCounts>,
}

/// What was published last.
pub(crate) struct SysTree {
    interval: Duration,
    started: Timestamp,
    /// Which interval of the wall clock it was published in.
    row: Option<u64>,
    loads: Option<Loads>,
    clients_max: usize,
    heap_max: u64,
    published: BTreeMap<String, String>,
}

impl SysTree {
    /// Returns one that has published nothing; `started` is when the broker began.
    pub(crate) fn new(interval: Duration, started: Timestamp) -> Self {
        Self {
            interval,
            started,
            row: None,
            loads: None,
            clients_max: 0,
            heap_max: 0,
            published: BTreeMap::new(),
        }
    }

    /// Tells whether it is time to publish: at once, then whenever the wall clock passes a multiple of the interval, as
    /// mosquitto does, so that the figures of several brokers can be laid over each other.
    pub(crate) fn is_due(&self, wall_millis: u64) -> bool {
        self.row != Some(self.row_of(wall_millis))
    }

    /// Returns topic and text of everything that changed.
    pub(crate) fn update(
        &mut self,
        now: Timestamp,
        wall_millis: u64,
        facts: &Facts,
    ) -> Vec<(String, String)> {
        self.row = Some(self.row_of(wall_millis));
        self.clients_max = self.clients_max.max(facts.gauges.sessions);
        self.heap_max = self.heap_max.max(facts.gauges.memory_bytes);
        let mut page = Page::default();
        page.put(
            "version",
            concat!("jackfield version ", env!("CARGO_PKG_VERSION")),
        );
        let uptime = now.since(self.started).as_secs();
        page.put("uptime", format_args!("{uptime} seconds"));
        self.clients(&mut page, facts);
        messages(&mut page, facts);
        packets(&mut page, &facts.counts);
        let loads = self.loads.get_or_insert_with(|| Loads::new(now));
        loads.update(now, &facts.counts);
        loads.show(&mut page);
        plugins(&mut page, facts);
        bridges(&mut page, facts);
        let mut changed = page.0;
        changed.retain(|(topic, text)| self.published.get(topic) != Some(text));
        self.published.extend(changed.iter().cloned());
        changed
    }

    fn row_of(&self, wall_millis: u64) -> u64 {
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        wall_millis / interval.max(1)
    }

    fn clients(&self, page: &mut Page, facts: &Facts) {
        let (total, connected) = (facts.gauges.sessions, facts.gauges.sessions_connected);
        let disconnected = total.saturating_sub(connected);
        page.put("clients/total", total);
        page.put("clients/maximum", self.clients_max);
        page.put("clients/connected", connected);
        page.put("clients/active", connected);
        page.put("clients/disconnected", disconnected);
        page.put("clients/inactive", disconnected);
        page.put("clients/expired", facts.counts.sessions_expired);
        page.put("heap/current", facts.gauges.memory_bytes);
        page.put("heap/maximum", self.heap_max);
    }
}

fn messages(page: &mut Page, facts: &Facts) {
    let Facts { counts, gauges, .. } = facts;
    page.put("messages/received", counts.received.total());
    page.put("messages/sent", counts.sent.total());
    page.put("bytes/received", counts.bytes_received);
    page.put("bytes/sent", counts.bytes_sent);
    page.put("publish/messages/received", publishes_received(counts));
    page.put("publish/messages/sent", publishes_sent(counts));
    page.put("publish/messages/dropped", counts.dropped());
    page.put("publish/bytes/received", counts.publish_bytes_received);
    page.put("publish/bytes/sent", counts.publish_bytes_sent);
    page.put("messages/inflight", gauges.inflight);
    page.put("messages/queued", gauges.queued);
    // mosquitto counts its one store of messages, shared by retained and queued ones.
    page.put("messages/stored", gauges.retained as u64 + gauges.queued);
    page.put("store/messages/count", gauges.retained as u64 + gauges.queued);
    page.put("store/messages/bytes", gauges.kept_bytes);
    page.put("subscriptions/count", gauges.subscriptions);
    page.put("shared_subscriptions/count", gauges.shared_subscriptions);
    // With the space that mosquitto has, and clients look for.
    page.put("retained messages/count", gauges.retained);
    page.put("packet/out/bytes", gauges.output_bytes);
    page.put("connections/socket/count", counts.connections_opened);
}

fn packets(page: &mut Page, counts: &Counts) {
    for (name, packet) in ByPacket::TYPES {
        page.put(format_args!("mqtt/{name}/received"), counts.received.of(packet));
        page.put(format_args!("mqtt/{name}/sent"), counts.sent.of(packet));
    }
}

fn plugins(page: &mut Page, facts: &Facts) {
    // A plugin may stand in several chains, and more than once in one.
    let mut totals: BTreeMap<&str, Total> = BTreeMap::new();
    for used in facts.plugins.iter().flat_map(|(_, uses)| uses) {
        let total = totals.entry(&used.plugin).or_default();
        total.calls += used.calls.iter().map(|(_, calls)| calls).sum::<u64>();
        total.faults += used.faults.iter().map(|(_, faults)| faults).sum::<u64>();
        total.open += u32::from(used.circuit_open);
        // Of one queue, whatever the number of chains.
        total.events_dropped = total.events_dropped.max(used.events_dropped);
    }
    for (plugin, total) in totals {
        page.put(format_args!("plugins/{plugin}/calls"), total.calls);
        page.put(format_args!("plugins/{plugin}/faults"), total.faults);
        page.put(format_args!("plugins/{plugin}/circuits_open"), total.open);
        page.put(
            format_args!("plugins/{plugin}/events/dropped"),
            total.events_dropped,
        );
    }
    for (plugin, name, value) in &facts.plugin_metrics {
        page.put(format_args!("plugins/{plugin}/own/{name}"), value);
    }
}

#[derive(Default)]
struct Total {
    calls: u64,
    faults: u64,
    open: u32,
    events_dropped: u64,
}

fn bridges(page: &mut Page, facts: &Facts) {
    for bridge in &facts.bridges {
        let name = &bridge.name;
        page.put(format_args!("bridges/{name}/queued"), bridge.queued);
        page.put(format_args!("bridges/{name}/sent"), bridge.sent);
        page.put(format_args!("bridges/{name}/received"), bridge.received);
        page.put(format_args!("bridges/{name}/dropped"), bridge.dropped);
        page.put(format_args!("bridges/{name}/faults"), bridge.faults);
    }
}

fn publishes_received(counts: &Counts) -> u64 {
    counts.received.of(broker_proto::PacketType::Publish)
}

fn publishes_sent(counts: &Counts) -> u64 {
    counts.sent.of(broker_proto::PacketType::Publish)
}

/// Topics and texts as they stand now.
#[derive(Default)]
struct Page(Vec<(String, String)>);

impl Page {
    fn put(&mut self, topic: impl Display, value: impl Display) {
        self.0.push((format!("$SYS/broker/{topic}"), value.to_string()));
    }
}

/// A counter by the name of its load.
type Load = (&'static str, fn(&Counts) -> u64);

/// Counters whose load is shown: how much they grow in a minute.
const LOADS: [Load; 9] = [
    ("messages/received", |counts| counts.received.total()),
    ("messages/sent", |counts| counts.sent.total()),
    ("publish/dropped", Counts::dropped),
    ("publish/received", publishes_received),
    ("publish/sent", publishes_sent),
    ("bytes/received", |counts| counts.bytes_received),
    ("bytes/sent", |counts| counts.bytes_sent),
    ("sockets", |counts| counts.connections_opened),
    ("connections", |counts| {
        counts.received.of(broker_proto::PacketType::Connect)
    }),
];

/// Over how long loads are averaged.
const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// Growth in a minute, averaged so that what is older counts less and less, like the load of a system.
struct Loads {
    at: Timestamp,
    counted: [u64; LOADS.len()],
    averages: [[f64; SPANS.len()]; LOADS.len()],
}

impl Loads {
    fn new(at: Timestamp) -> Self {
        Self {
            at,
            counted: [0; LOADS.len()],
            averages: [[0.0; SPANS.len()]; LOADS.len()],
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "what is shown has two decimals")]
    fn update(&mut self, now: Timestamp, counts: &Counts) {
        let passed = now.since(self.at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        self.at = now;
        for (((_, count), before), averages) in LOADS.iter().zip(&mut self.counted).zip(&mut self.averages) {
            let grown = count(counts) - std::mem::replace(before, count(counts));
            let per_minute = grown as f64 * 60.0 / passed;
            for ((_, span), average) in SPANS.iter().zip(averages) {
                *average = per_minute + (-passed / span).exp() * (*average - per_minute);
            }
        }
    }

    fn show(&self, page: &mut Page) {
        for ((name, _), averages) in LOADS.iter().zip(&self.averages) {
            for ((span, _), average) in SPANS.iter().zip(averages) {
                page.put(format_args!("load/{name}/{span}"), format_args!("{average:.2}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    fn at(secs: u64) -> (Timestamp, u64) {
        (
            Timestamp::from_millis(secs * 1000),
            1_700_000_000_000 + secs * 1000,
        )
    }

    fn facts() -> Facts {
        Facts {
            counts: Counts::default(),
            gauges: Gauges::default(),
            plugins: Vec::new(),
            plugin_metrics: Vec::new(),
            bridges: Vec::new(),
        }
    }

    fn update(tree: &mut SysTree, secs: u64, facts: &Facts) -> BTreeMap<String, String> {
        let (now, wall) = at(secs);
        tree.update(now, wall, facts).into_iter().collect()
    }

    #[test]
    fn it_is_due_at_once_and_when_the_clock_passes_a_multiple() {
        let mut tree = SysTree::new(TEN, at(0).0);
        assert!(tree.is_due(at(3).1));
        update(&mut tree, 3, &facts());
        for (secs, due) in [(4, false), (9, false), (10, true), (11, true), (25, true)] {
            assert_eq!(tree.is_due(at(secs).1), due, "{secs} s");
        }
        update(&mut tree, 11, &facts());
        assert!(!tree.is_due(at(19).1) && tree.is_due(at(20).1));
    }

    #[test]
    fn only_what_changed_is_published_again() {
        let mut tree = SysTree::new(TEN, at(0).0);
        let mut facts = facts();
        let first = update(&mut tree, 0, &facts);
        assert!(first.len() > 80, "{}", first.len());
        assert_eq!(first["$SYS/broker/uptime"], "0 seconds");
        assert_eq!(first["$SYS/broker/retained messages/count"], "0");
        facts.gauges.retained = 7;
        let second = update(&mut tree, 10, &facts);
        let expected = [
            "messages/stored",
            "retained messages/count",
            "store/messages/count",
            "uptime",
        ];
        let names: Vec<_> = second
            .keys()
            .map(|topic| &topic["$SYS/broker/".len()..])
            .collect();
        assert_eq!(names, expected);
        assert_eq!(second["$SYS/broker/uptime"], "10 seconds");
    }

    #[test]
    fn maxima_only_grow() {
        let mut tree = SysTree::new(TEN, at(0).0);
        let mut facts = facts();
        facts.gauges.sessions = 5;
        assert_eq!(update(&mut tree, 0, &facts)["$SYS/broker/clients/maximum"], "5");
        facts.gauges.sessions = 3;
        let second = update(&mut tree, 10, &facts);
        assert_eq!(second["$SYS/broker/clients/total"], "3");
        assert!(!second.contains_key("$SYS/broker/clients/maximum"));
    }

    /// By hand: 600 messages in 10 s are 3,600 a minute; after one step of 10 s the one-minute average has come
    /// 1 - e^(-1/6) of the way.
    #[test]
    fn loads_are_exponential_averages_per_minute() {
        let mut tree = SysTree::new(TEN, at(0).0);
        let mut facts = facts();
        assert_eq!(
            update(&mut tree, 0, &facts)["$SYS/broker/load/sockets/1min"],
            "0.00"
        );
        facts.counts.connections_opened = 600;
        let loads = update(&mut tree, 10, &facts);
        let expected = |span: f64| format!("{:.2}", 3600.0 * (1.0 - (-10.0 / span).exp()));
        assert_eq!(loads["$SYS/broker/load/sockets/1min"], expected(60.0));
        assert_eq!(loads["$SYS/broker/load/sockets/5min"], expected(300.0));
        assert_eq!(loads["$SYS/broker/load/sockets/15min"], expected(900.0));
        let idle = update(&mut tree, 70, &facts);
        let left = 3600.0 * (1.0 - (-10.0f64 / 60.0).exp()) * (-1.0f64).exp();
        assert_eq!(idle["$SYS/broker/load/sockets/1min"], format!("{left:.2}"));
    }

    #[test]
    fn topics_are_names_whatever_plugins_call_their_counters() {
        let mut tree = SysTree::new(TEN, at(0).0);
        let mut facts = facts();
        facts.plugin_metrics = vec![
            ("acl".into(), "denied".to_owned(), 3.0),
            ("acl".into(), "a/+".to_owned(), 1.5),
        ];
        let page = update(&mut tree, 0, &facts);
        assert_eq!(page["$SYS/broker/plugins/acl/own/denied"], "3");
        // The engine leaves out what is no Topic Name.
        assert_eq!(page["$SYS/broker/plugins/acl/own/a/+"], "1.5");
    }
}
