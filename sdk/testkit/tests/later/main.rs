//! Hooks that take their time, over the ABI: whenever and wherever a plugin answers, it says the same; what nobody waits for is
//! given up, and its place is used again.
#![deny(unsafe_code)]

mod plugin;

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use plugin_testkit::plugin_api::types::{Message, TopicName};
use plugin_testkit::plugin_api::{
    self, AclVerdict, Answer, AuthVerdict, ConnectFlow, Durability, ExchangePhase, ExchangeVerdict, Fault,
    FaultKind, Flow, StoreFault, StoreOp, SubscribeFlow, WillFlow,
};
use plugin_testkit::{Client, Harness, Item, Question, Verdict, json};

use crate::plugin::{BEGUN, Later, OVER};

/// The tests count calls in statics.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn message_of(topic: &str, payload: &'static str) -> Message {
    Message::new(TopicName::new(topic).expect("a topic"), payload)
}

fn harness(mode: &str) -> Harness {
    let mut harness = Harness::load::<Later>(json!({ "mode": mode })).expect("it starts");
    harness.client(Client::new("c1").username("u"));
    harness
}

#[test]
fn at_once_and_later_say_the_same() {
    let _alone = alone();
    for mode in ["now", "hop"] {
        let mut harness = harness(mode);
        let (flow, edit) = harness.connect();
        assert_eq!(
            (flow, edit.username.as_deref()),
            (ConnectFlow::Continue, Some("u+")),
            "{mode}"
        );
        harness.client(Client::new("c1").username("u").password(b"secret"));
        let AuthVerdict::Allow(grant) = harness.login() else {
            panic!("not allowed ({mode})")
        };
        let expected = [
            ("id", "c1"),
            ("peer", "127.0.0.1:40000"),
            ("listener", "main"),
            ("protocol", "5.0"),
            ("password", "secret"),
        ];
        let attributes: Vec<_> = grant
            .attributes
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(attributes, expected, "{mode}");
        let (flow, edit) = harness.subscribe("a/#");
        assert_eq!(
            (flow, edit.filter.to_string().as_str(), edit.class),
            (SubscribeFlow::Continue, "later/a/#", 7)
        );
        assert_eq!(harness.unsubscribe("a/#").to_string(), "later/a/#");
        let delivered = harness.deliver(3, "t", "x");
        assert_eq!(delivered.text().as_deref(), Some("class 3"));
        assert_eq!(
            harness.control("$CONTROL/later/x", "y"),
            Ok(b"$CONTROL/later/x: y".to_vec())
        );
        assert!(harness.control("$CONTROL/later/x", "").is_err());
        assert!(
            harness.hooks().authorize_receive,
            "it wants to be asked at delivery"
        );
        harness.stop();
    }
}

#[test]
fn a_message_is_changed_later_as_it_would_be_now() {
    let _alone = alone();
    for mode in ["now", "hop"] {
        let harness = harness(mode);
        let published = harness.publish("t", "loud");
        let message = published.message();
        assert_eq!(published.flow(), &Flow::Stop);
        assert_eq!(
            (message.topic.as_str(), &message.payload[..]),
            ("later/t", &b"LOUD"[..])
        );
        assert_eq!(message.expiry, Some(1), "{mode}");
        let user: Vec<_> = message
            .properties
            .user()
            .map(|user| (user.name, user.value))
            .collect();
        assert_eq!(user, [("from", "c1")]);
        let [besides] = published.emitted() else {
            panic!("one is emitted")
        };
        assert_eq!(
            (besides.topic.as_str(), besides.properties.content_type()),
            ("besides", Some("text/plain"))
        );
        let will = Question::Will(Client::new("c1").view(), message_of("t", "drop"));
        assert!(matches!(harness.ask(&will), Ok(Verdict::Will(WillFlow::Drop, _))));
    }
}

#[test]
fn all_filters_are_decided_in_one_call() {
    let _alone = alone();
    for mode in ["now", "hop"] {
        let harness = harness(mode);
        let client = Client::new("c1").attribute("role", "yes");
        let items = ["yes", "no", "low", "other"].map(|topic| Item {
            topic: topic.to_owned(),
            qos: plugin_api::types::QoS::AtLeastOnce,
            retain: false,
            share: None,
        });
        let question = Question::Authorize(client.view(), plugin_api::Action::Subscribe, items.to_vec());
        let before = BEGUN.load(Ordering::SeqCst);
        let Ok(Verdict::Authorize(decisions)) = harness.ask(&question) else {
            panic!("no decision")
        };
        assert_eq!(BEGUN.load(Ordering::SeqCst) - before, 4);
        assert_eq!(
            decisions[0].verdict,
            AclVerdict::Allow,
            "{mode}: attributes are copied"
        );
        assert!(
            matches!(&decisions[1].verdict, AclVerdict::Deny(denial) if denial.text.as_deref() == Some("not there"))
        );
        assert_eq!(
            decisions[2].verdict,
            AclVerdict::AllowMaxQos(plugin_api::types::QoS::AtMostOnce)
        );
        assert_eq!(decisions[3].verdict, AclVerdict::Skip);
    }
}

#[test]
fn an_exchange_keeps_its_state_between_steps() {
    let _alone = alone();
    let harness = harness("hop");
    let step = |phase, data: &str| {
        let question = Question::Exchange {
            client: Client::new("c1").view(),
            phase,
            exchange: 9,
            method: "STEPS".to_owned(),
            data: Some(data.as_bytes().to_vec()),
        };
        match harness.ask(&question) {
            Ok(Verdict::Exchange(verdict)) => verdict,
            other => panic!("no step: {other:?}"),
        }
    };
    assert_eq!(
        step(ExchangePhase::Start, "a"),
        ExchangeVerdict::Challenge(b"more".to_vec())
    );
    assert_eq!(
        step(ExchangePhase::Continue, "b"),
        ExchangeVerdict::Challenge(b"more".to_vec())
    );
    let ExchangeVerdict::Success { data, .. } = step(ExchangePhase::Continue, "c") else {
        panic!("no success")
    };
    assert_eq!(data.as_deref(), Some(&b"abc"[..]));
}

#[test]
fn panics_and_faults_after_a_wait_are_faults() {
    let _alone = alone();
    for (mode, kind, text) in [
        ("panic", FaultKind::Panic, "it panicked: after a hop"),
        ("fault", FaultKind::Backend, "no database"),
    ] {
        let harness = harness(mode);
        let (view, message) = (Client::new("c1").view(), message_of("t", "x"));
        let publish = Question::Publish(view.clone(), message.clone(), plugin_api::types::Source::Client);
        for question in [publish, Question::Will(view, message)] {
            let fault = harness.ask(&question).expect_err(mode);
            assert_eq!(
                (fault.kind, fault.text.as_ref()),
                (kind, text),
                "{}",
                question.hook()
            );
        }
        assert!(matches!(
            harness.get(b"k"),
            Err(StoreFault::Corrupt(_) | StoreFault::Unavailable(_))
        ));
    }
}

#[test]
fn what_nobody_waits_for_is_given_up() {
    let _alone = alone();
    let harness = harness("never");
    let hook = harness.hooks().will.clone().expect("it has it");
    let publish = harness.hooks().publish.clone().expect("it has it").hook;
    let view = Client::new("c1").view();
    let message = message_of("t", "x");
    let budget = std::time::Duration::from_secs(1);
    let cx = plugin_api::Cx {
        client: &view,
        budget,
    };
    let parts = || plugin_api::MessageParts::of(&message, plugin_api::types::Source::Will);
    let (begun, over) = (BEGUN.load(Ordering::SeqCst), OVER.load(Ordering::SeqCst));
    // More than can be open at once: places are used again.
    for _ in 0..10_500 {
        let mut edit = plugin_api::MessageEdit::new(parts());
        let mut call = hook.will(&cx, &mut edit);
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        drop(call);
        let mut edit = plugin_api::MessageEdit::new(parts());
        let Answer::Later(mut later) = publish.publish(&cx, &mut edit) else {
            panic!("it answered")
        };
        assert!(
            later
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    let begun = BEGUN.load(Ordering::SeqCst) - begun;
    assert_eq!((begun, OVER.load(Ordering::SeqCst) - over), (21_000, 21_000));
}

#[test]
fn an_instance_that_ends_takes_its_open_calls_along() {
    let _alone = alone();
    let harness = harness("never");
    let over = OVER.load(Ordering::SeqCst);
    let bridge = harness.hooks().bridge.clone().expect("it has it");
    let mut calls: Vec<_> = (0..10).map(|_| bridge.ingress()).collect();
    for call in &mut calls {
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    drop(calls);
    harness.stop();
    assert_eq!(OVER.load(Ordering::SeqCst) - over, 10);
}

#[test]
fn services_are_awaited() {
    let _alone = alone();
    for mode in ["now", "hop"] {
        let harness = harness(mode);
        let published = harness.publish("kv", "");
        assert_eq!(
            published.text(),
            r#"[("a/2", [116, 119, 111]), ("a/1", [111, 110, 101])]"#
        );
        harness
            .host()
            .answer_http("POST", "http://a.example/x", 200, "answered");
        let published = harness.publish("http", "http://a.example/x");
        assert_eq!(published.text(), "answered");
        let [request] = &harness.host().take_requests()[..] else {
            panic!("one request")
        };
        assert_eq!(
            (&request.body[..], &request.headers[0]),
            (&b"body"[..], &("X-From".to_owned(), "c1".to_owned()))
        );
        let refused = harness.publish("http", "http://b.example/");
        let text = refused.refused().and_then(|denial| denial.text.as_deref());
        assert_eq!(text, Some("the configuration doesn't allow this URL"));
    }
}

#[test]
fn a_store_and_a_bridge_take_their_time() {
    let _alone = alone();
    for mode in ["now", "hop"] {
        let harness = harness(mode);
        let put = StoreOp::Put {
            key: "k".into(),
            value: "stored".into(),
        };
        assert_eq!(harness.commit(&[put]), Ok(()));
        assert_eq!(
            harness.commit(&[StoreOp::Expect {
                key: "k".into(),
                value: None
            }]),
            Err(StoreFault::Conflict)
        );
        assert_eq!(
            harness.get(b"k").map(|found| found.map(|value| value.to_vec())),
            Ok(Some(b"stored".to_vec()))
        );
        assert_eq!(harness.get(b"none"), Ok(None));
        let store = harness.hooks().session_store.clone().expect("it has it");
        assert_eq!(store.caps().strongest, Durability::Async);
        assert_eq!(harness.scan(b"p", Some(b"p\0"), 10).map(|rows| rows.len()), Ok(2));
        let message = message_of("t", "xyz");
        assert_eq!(
            harness.egress(&[message.clone(), message.clone(), message]),
            Ok(2)
        );
        let came = harness.ingress().expect("it comes");
        assert_eq!(
            (came[0].topic.as_str(), &came[0].payload[..]),
            ("in", &b"come"[..])
        );
        assert_eq!(came[0].properties.response_topic(), Some("back"));
        assert_eq!(harness.save_state().as_deref(), Some(&[3, 3, 3][..]));
    }
}

#[test]
fn state_and_options_change_hands() {
    let _alone = alone();
    let harness = harness("now");
    assert_eq!(harness.load_state("0.9.0", b"before"), Ok(()));
    assert_eq!(harness.save_state().as_deref(), Some(&b"before"[..]));
    let refused = harness
        .load_state("0.9.0", b"damaged")
        .expect_err("it is damaged");
    assert_eq!(refused, Fault::backend("state of 0.9.0 is damaged"));
    let change = |mode: &str| {
        let options = json!({ "mode": mode }).to_string();
        plugin_sdk::block_on(harness.plugin().reconfigure(&options))
    };
    assert_eq!(change("hop"), Ok(true));
    assert_eq!(change("other"), Ok(false));
    assert_eq!(change("wrong"), Err(Fault::backend("no such mode")));
}
