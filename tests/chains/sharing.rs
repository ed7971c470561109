//! What is called how often: one instance in many chains, one call for many subscribers, none for other topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_core::{Chain, Hook, Use};
use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Connect, Version};
use plugin_api::{
    Answer, Capabilities, DeliverFlow, Fault, Flow, Host, Plugin, PluginInfo, Scoped, SubscribeFlow,
    async_trait, types::TopicFilter,
};
use plugin_topic_rewrite::{Options, RuleOptions, TopicRewrite};

use crate::plugin::{Calls, Made, publishes};

/// A message to many is made once for each class of subscribers, whatever their number, version and shard.
#[test]
fn deliver_is_called_once_for_each_class() {
    let calls = Calls::default();
    let counted = calls.clone();
    let broker = TestBroker::start_with(move |setup| {
        setup.chain(|chain| {
            chain
                .on_subscribe(|cx, edit| {
                    let number: u32 = cx.client.id.as_str().parse().unwrap_or(0);
                    edit.class = number % 3;
                    SubscribeFlow::Continue
                })
                .on_deliver("t", move |class, message| {
                    counted.add();
                    message.set_payload(format!("for {class}"));
                    DeliverFlow::Continue
                })
        });
    });
    let versions = [Version::V31, Version::V311, Version::V5];
    let mut subscribers: Vec<_> = (0..300)
        .map(|i| {
            let mut client = broker.client(versions[i / 3 % 3], i.to_string()).connect();
            client.subscribe("t", (i / 9 % 3) as u8);
            client
        })
        .collect();
    let mut publisher = broker.v5("publisher").connect();
    for round in 1..=3 {
        publisher.publish("t", "x", 2);
        for (i, subscriber) in subscribers.iter_mut().enumerate() {
            subscriber.take("t", format!("for {}", i % 3));
        }
        assert_eq!(calls.count(), 3 * round);
    }
}

/// What a plugin is not interested in costs it nothing: neither its own filters nor those of its use let it through.
#[test]
fn a_plugin_on_one_tree_is_not_called_for_another() {
    let own = Calls::default();
    let narrowed = Calls::default();
    let (by_itself, by_use) = (own.clone(), narrowed.clone());
    let broker = TestBroker::start_with(move |setup| {
        let everywhere = publishes(move |_, _| {
            by_use.add();
            Answer::now(Flow::Continue)
        });
        setup.chain(|chain| {
            chain
                .on_publish("a/#", move |_, _| {
                    by_itself.add();
                    Flow::Continue
                })
                .plugin(Use::from(Made(everywhere)).topics("a/#").on(Hook::Publish))
        });
    });
    let mut publisher = broker.v5("p").connect();
    for i in 0..1_000 {
        publisher.send(jackfield_tests::wire::publish(format!("b/{}", i % 7), "x"));
    }
    publisher.sync();
    assert_eq!((own.count(), narrowed.count()), (0, 0));
    for name in ["a", "a/b", "a/b/c"] {
        publisher.publish(name, "x", 1);
    }
    assert_eq!((own.count(), narrowed.count()), (3, 3));
}

/// One code, two configurations, one chain: neither knows of the other.
#[test]
fn two_instances_of_a_plugin_have_their_own_options() {
    let rewrite = |from: &str, to: &str| {
        TopicRewrite::new(Options {
            rules: vec![RuleOptions::new(from, to)],
        })
        .expect("rules")
    };
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|chain| {
            chain
                .plugin(Use::new("first", Arc::new(rewrite("a/+", "b/{1}"))))
                .plugin(Use::new("second", Arc::new(rewrite("b/+", "c/{1}"))))
        });
        setup.listener("other", |setup| {
            setup.chain(|chain| chain.plugin(Use::new("third", Arc::new(rewrite("a/+", "d/{1}")))));
        });
        setup.listener("plain", |_| {});
    });
    let mut watcher = Connect::new(broker.addr_of("plain"), Version::V5, "watcher").connect();
    watcher.subscribe("#", 1);
    broker.v5("p").connect().publish("a/x", "1", 1);
    watcher.take("c/x", "1");
    Connect::new(broker.addr_of("other"), Version::V311, "q")
        .connect()
        .publish("a/x", "2", 1);
    watcher.take("d/x", "2");
    Connect::new(broker.addr_of("plain"), Version::V311, "r")
        .connect()
        .publish("a/x", "3", 1);
    watcher.take("a/x", "3");
}

/// Counts its life.
#[derive(Default)]
struct Life {
    started: AtomicUsize,
    asked: AtomicUsize,
}

struct Shared(Arc<Life>);

#[async_trait]
impl Plugin for Shared {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "shared".into(),
            ..PluginInfo::default()
        }
    }

    async fn start(&self, _: Arc<dyn Host>) -> Result<(), Fault> {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let life = self.0.clone();
        Capabilities {
            publish: Some(Scoped {
                filters: vec![TopicFilter::new("t").expect("a filter")],
                ..publishes(move |_, message| {
                    let number = life.asked.fetch_add(1, Ordering::SeqCst) + 1;
                    message.set_payload(number.to_string());
                    Answer::now(Flow::Continue)
                })
                .publish
                .expect("it has the hook")
            }),
            ..Capabilities::default()
        }
    }
}

/// One instance in two chains is one plugin: started once, with one state.
#[test]
fn one_instance_in_two_chains_is_one_plugin() {
    let life = Arc::new(Life::default());
    let plugin: Arc<dyn Plugin> = Arc::new(Shared(life.clone()));
    let chain = |plugin: &Arc<dyn Plugin>| Chain::new().plugin(Use::new("shared", plugin.clone()));
    let (one, two) = (chain(&plugin), chain(&plugin));
    let broker = TestBroker::start_with(|setup| {
        setup.chain(|_| one);
        setup.listener("other", |setup| setup.chain(|_| two));
    });
    let mut watcher = broker.v5("watcher").connect();
    watcher.subscribe("t", 1);
    broker.v5("p").connect().publish("t", "", 1);
    watcher.take("t", "1");
    Connect::new(broker.addr_of("other"), Version::V5, "q")
        .connect()
        .publish("t", "", 1);
    watcher.take("t", "2");
    assert_eq!(life.started.load(Ordering::SeqCst), 1);
}
