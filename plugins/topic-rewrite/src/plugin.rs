//! The plugin: the rules at the hooks they are for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use broker_types::SubscriptionFilter;
use plugin_api::{
    Answer, Capabilities, Cx, Deliver, DeliverFlow, Fault, Flow, Host, Level, LoadError, MessageEdit, Needs,
    Patch, Plugin, PluginInfo, Publish, Scoped, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe,
    UnsubscribeEdit,
};
use plugin_basis::{options, schema};

use crate::mapping::{MapError, Mapped, Mapping};
use crate::options::Options;
use crate::rule::{RuleError, Rules};

/// Makes the plugin from its options, a JSON object.
///
/// # Errors
/// The options are wrong, or a rule makes no sense.
pub fn load(_name: &str, options_json: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    let plugin = TopicRewrite::new(options(options_json)?).map_err(|error| LoadError::Options {
        key: format!("rules[{}].{}", error.index, error.key),
        why: error.why,
    })?;
    Ok(Arc::new(plugin))
}

/// Returns what is known of the plugin before it runs.
#[must_use]
pub fn info() -> PluginInfo {
    PluginInfo {
        id: "topic-rewrite".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        config_schema: Some(schema::<Options>()),
        hooks: ["subscribe", "unsubscribe", "publish", "deliver"]
            .map(Into::into)
            .into(),
    }
}

/// Renames topics.
#[derive(Debug)]
pub struct TopicRewrite {
    rewriter: Arc<Rewriter>,
}

impl TopicRewrite {
    /// Makes the plugin as `options` say.
    ///
    /// # Errors
    /// The first rule that makes no sense.
    pub fn new(options: Options) -> Result<Self, RuleError> {
        let rules = Rules::new(&options.rules)?;
        Ok(Self {
            rewriter: Arc::new(Rewriter {
                publish: Table::new(rules.publish),
                subscribe: Table::new(rules.subscribe),
                deliver: Table::new(rules.deliver),
                host: OnceLock::new(),
            }),
        })
    }
}

#[async_trait]
impl Plugin for TopicRewrite {
    fn info(&self) -> PluginInfo {
        info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        self.rewriter.host.get_or_init(|| host);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let this = &self.rewriter;
        let mut capabilities = Capabilities::default();
        if !this.publish.0.is_empty() {
            capabilities.publish = Some(this.publish.scope(this.clone()));
        }
        if !this.subscribe.0.is_empty() {
            capabilities.subscribe = Some(this.clone());
            capabilities.unsubscribe = Some(this.clone());
        }
        if !this.deliver.0.is_empty() {
            capabilities.deliver = Some(this.deliver.scope(this.clone()));
        }
        capabilities
    }
}

/// The part that chains hold.
struct Rewriter {
    publish: Table,
    subscribe: Table,
    deliver: Table,
    host: OnceLock<Arc<dyn Host>>,
}

/// The mappings of one hook, in order; and of each, whether a name that it left alone was logged: a client must not fill
/// the log.
#[derive(Debug)]
struct Table(Vec<(Mapping, AtomicBool)>);

impl Table {
    fn new(mappings: Vec<Mapping>) -> Self {
        Self(
            mappings
                .into_iter()
                .map(|mapping| (mapping, AtomicBool::new(false)))
                .collect(),
        )
    }

    /// Says which topics `hook` is for; it looks at nothing else of a message.
    fn scope<H: ?Sized>(&self, hook: Arc<H>) -> Scoped<H> {
        Scoped {
            hook,
            filters: self.0.iter().map(|(mapping, _)| mapping.filter()).collect(),
            needs: Needs {
                payload: false,
                properties: false,
                ..Needs::default()
            },
        }
    }
}

impl Rewriter {
    /// Returns the new name by the first mapping that fits; `None`: the name stays.
    fn rename<T>(&self, table: &Table, map: impl Fn(&Mapping) -> Mapped<T>) -> Option<T> {
        for (mapping, complained) in &table.0 {
            match map(mapping) {
                Mapped::Unfit => {}
                Mapped::To(name) => return Some(name),
                Mapped::Wrong(error) => {
                    self.complain(mapping, complained, &error);
                    return None;
                }
            }
        }
        None
    }

    fn complain(&self, mapping: &Mapping, complained: &AtomicBool, error: &MapError) {
        let Some(host) = self.host.get() else {
            return;
        };
        host.counter("left_alone", 1);
        if !complained.swap(true, Ordering::Relaxed) {
            // What a client wrote is in it: nothing of it may steer a terminal, and it may be long.
            let error: String = error.to_string().escape_debug().take(200).collect();
            let text = format!("a name that fits `{}` is left alone: {error}", mapping.filter());
            host.log(Level::Warn, &text);
        }
    }

    fn rename_filter(&self, filter: &mut SubscriptionFilter) {
        if let Some(renamed) = self.rename(&self.subscribe, |mapping| mapping.topic_filter(&filter.filter)) {
            filter.filter = renamed;
        }
    }

    fn rename_topic(&self, table: &Table, message: &mut MessageEdit<'_>) {
        if let Some(renamed) = self.rename(table, |mapping| mapping.topic(message.topic().as_str())) {
            message.set_topic(renamed);
        }
    }
}

impl std::fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewriter")
            .field("publish", &self.publish)
            .field("subscribe", &self.subscribe)
            .field("deliver", &self.deliver)
            .finish_non_exhaustive()
    }
}

impl Publish for Rewriter {
    fn publish(&self, _cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        self.rename_topic(&self.publish, message);
        Answer::now(Flow::Continue)
    }
}

impl Deliver for Rewriter {
    fn deliver(
        &self,
        _class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        self.rename_topic(&self.deliver, message);
        Answer::now(DeliverFlow::Continue)
    }
}

#[async_trait]
impl Subscribe for Rewriter {
    async fn subscribe(&self, _cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        self.rename_filter(&mut edit.filter);
        Ok(SubscribeFlow::Continue)
    }
}

#[async_trait]
impl Unsubscribe for Rewriter {
    async fn unsubscribe(&self, _cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        self.rename_filter(&mut edit.filter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use broker_types::{
        ClientHandle, ClientId, Message, ProtocolVersion, QoS, ReasonCode, Source, TopicName,
    };
    use plugin_api::{ClientView, MessageParts, NewMessage, NoHost, Peer, TimerId};

    use super::*;
    use crate::options::{On, RuleOptions};

    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not done at the first poll"),
        }
    }

    fn client() -> Arc<ClientView> {
        Arc::new(ClientView {
            handle: ClientHandle(1),
            id: ClientId::from("c"),
            username: None,
            authenticated: true,
            listener: "l".into(),
            peer: Peer::Local,
            version: ProtocolVersion::V5,
            clean_start: true,
            mount: "".into(),
            attributes: [].into(),
            certificate: None,
            unrestricted: false,
        })
    }

    fn rewrite(rules: &[RuleOptions]) -> TopicRewrite {
        TopicRewrite::new(Options {
            rules: rules.to_vec(),
        })
        .unwrap()
    }

    /// Sends a message for `topic` through the publish or the deliver hook and returns the topic that comes out.
    fn through(plugin: &TopicRewrite, on: On, topic: &str) -> String {
        let client = client();
        let cx = Cx {
            client: &client,
            budget: Duration::from_secs(1),
        };
        let message = Message::new(TopicName::new(topic).unwrap(), "x");
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        let hooks = plugin.capabilities();
        match on {
            On::Publish => {
                let answer = hooks.publish.unwrap().hook.publish(&cx, &mut edit);
                assert!(matches!(answer, Answer::Now(Ok(Flow::Continue))));
            }
            _ => {
                let answer = hooks.deliver.unwrap().hook.deliver(0, &mut edit);
                assert!(matches!(answer, Answer::Now(Ok(DeliverFlow::Continue))));
            }
        }
        edit.commit();
        edit.topic().as_str().into()
    }

    fn filter_through(plugin: &TopicRewrite, filter: &str) -> (String, String) {
        let client = client();
        let cx = Cx {
            client: &client,
            budget: Duration::from_secs(1),
        };
        let requested = SubscriptionFilter::parse(filter).unwrap();
        let mut subscribe = SubscribeEdit {
            requested: requested.clone(),
            filter: requested.clone(),
            max_qos: QoS::ExactlyOnce,
            no_local: false,
            id: None,
            class: 0,
        };
        let mut unsubscribe = UnsubscribeEdit {
            requested: requested.clone(),
            filter: requested,
        };
        let hooks = plugin.capabilities();
        let flow = now(hooks.subscribe.unwrap().subscribe(&cx, &mut subscribe));
        assert_eq!(flow, Ok(SubscribeFlow::Continue));
        now(hooks.unsubscribe.unwrap().unsubscribe(&cx, &mut unsubscribe)).unwrap();
        assert_eq!(subscribe.requested.to_string(), filter);
        (subscribe.filter.to_string(), unsubscribe.filter.to_string())
    }

    #[test]
    fn clients_live_in_names_of_their_own() {
        let plugin = rewrite(&[RuleOptions {
            both_ways: true,
            ..RuleOptions::new("sensors/+/raw/#", "plant/{1}/data/{2}")
        }]);
        assert_eq!(through(&plugin, On::Publish, "sensors/7/raw/t"), "plant/7/data/t");
        assert_eq!(through(&plugin, On::Publish, "other/7"), "other/7");
        assert_eq!(through(&plugin, On::Deliver, "plant/7/data/t"), "sensors/7/raw/t");
        let same = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(filter_through(&plugin, "sensors/+/raw/#"), same("plant/+/data/#"));
        assert_eq!(
            filter_through(&plugin, "$share/g/sensors/7/raw"),
            same("$share/g/plant/7/data")
        );
        assert_eq!(filter_through(&plugin, "sensors/#"), same("sensors/#"));
        let hooks = plugin.capabilities();
        assert_eq!(hooks.names(), ["subscribe", "unsubscribe", "publish", "deliver"]);
        let filters = |scope: Vec<broker_types::TopicFilter>| scope[0].to_string();
        assert_eq!(filters(hooks.publish.unwrap().filters), "sensors/+/raw/#");
        assert_eq!(filters(hooks.deliver.unwrap().filters), "plant/+/data/#");
    }

    #[test]
    fn the_first_rule_that_fits_is_used_and_only_where_it_says() {
        let on = |on: On, from: &str, to: &str| RuleOptions {
            on: vec![on],
            ..RuleOptions::new(from, to)
        };
        let plugin = rewrite(&[
            on(On::Publish, "a/b", "first"),
            on(On::Publish, "a/+", "second/{1}"),
            on(On::Publish, "first", "never"),
            on(On::Deliver, "a/b", "out"),
        ]);
        assert_eq!(through(&plugin, On::Publish, "a/b"), "first");
        assert_eq!(through(&plugin, On::Publish, "a/c"), "second/c");
        assert_eq!(through(&plugin, On::Deliver, "a/b"), "out");
        assert_eq!(plugin.capabilities().names(), ["publish", "deliver"]);
    }

    /// Keeps what is logged and counted.
    #[derive(Default)]
    struct Notes(Mutex<(Vec<String>, u64)>);

    impl Host for Notes {
        fn log(&self, level: Level, text: &str) {
            assert_eq!(level, Level::Warn);
            self.0.lock().unwrap().0.push(text.into());
        }
        fn publish(&self, message: NewMessage) -> Result<(), Fault> {
            NoHost.publish(message)
        }
        fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool {
            NoHost.kick(client, reason, with_will)
        }
        fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
            NoHost.timer(first, every)
        }
        fn cancel_timer(&self, _timer: TimerId) {}
        fn counter(&self, name: &str, add: u64) {
            assert_eq!(name, "left_alone");
            self.0.lock().unwrap().1 += add;
        }
        fn gauge(&self, _name: &str, _value: f64) {}
        fn invalidate(&self, _client: Option<ClientHandle>) {}
        fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
            NoHost.spawn_blocking(job)
        }
    }

    #[test]
    fn a_name_that_is_left_alone_is_counted_and_told_once() {
        let plugin = rewrite(&[RuleOptions::new("a/#", "{1}")]);
        let notes = Arc::new(Notes::default());
        now(plugin.start(notes.clone())).unwrap();
        for topic in ["a", "a/$SYS/\u{1b}[2J"] {
            assert_eq!(through(&plugin, On::Publish, topic), topic);
        }
        let (logged, counted) = &*notes.0.lock().unwrap();
        assert_eq!(
            logged[..],
            ["a name that fits `a/#` is left alone: topic name is empty"]
        );
        assert_eq!(*counted, 2);
    }

    #[test]
    fn options_are_checked_when_loading() {
        let good = r#"{"rules":[{"from":"a/+","to":"b/{1}","both_ways":true,"on":["publish"]}]}"#;
        assert_eq!(load("names", good).unwrap().info(), info());
        let bad = r#"{"rules":[{"from":"a/+","to":"b/+"}]}"#;
        let Err(LoadError::Options { key, .. }) = load("names", bad) else {
            panic!("a wildcard in `to` was taken");
        };
        assert_eq!(key, "rules[0].to");
        for json in [
            "{}",
            r#"{"rules":[{"from":"a"}]}"#,
            r#"{"rules":[{"from":"a","to":"b","on":["will"]}]}"#,
        ] {
            assert!(load("names", json).is_err(), "{json}");
        }
    }
}
