//! The bridge of the examples: its guest does what its source does natively.
#![forbid(unsafe_code)]

#[path = "../guest/mod.rs"]
mod guest;

use broker_types::{Message, Properties, QoS, TopicName};
use plugin_api::Sandbox;
use plugin_testkit::{Harness, TestHost};
use serde_json::json;

use guest::{example, with_http};

const URL: &str = "http://office.example/";
const WEBHOOK: &str = "http://office.example/alarms";
const INBOX: &str = "http://office.example/orders";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn both(check: impl Fn(&Harness)) {
    let options = json!({ "webhook": WEBHOOK, "inbox": INBOX });
    check(&Harness::load::<example_wasm_bridge::Webhook>(options.clone()).expect("it starts"));
    check(&with_http(
        &example("wasm-bridge/webhook.wasm"),
        &options,
        URL,
        Sandbox::default(),
        TestHost::default(),
    ));
}

fn message(topic: &str, payload: &'static str, qos: QoS) -> Message {
    Message {
        topic: TopicName::new(topic).expect("a Topic Name"),
        payload: payload.into(),
        qos,
        retain: false,
        properties: Properties::default(),
        expiry: None,
    }
}

#[test]
fn messages_leave_in_one_request_and_stay_while_the_other_side_is_away() {
    both(|plugin| {
        let bridge = plugin.hooks().bridge.clone().expect("it is a bridge");
        let batch = [
            message("alarms/a", "one", QoS::AtLeastOnce),
            message("alarms/b", "two", QoS::AtMostOnce),
        ];
        plugin.host().answer_http("POST", WEBHOOK, 503, "");
        block_on(bridge.egress(&batch)).expect_err("the other side has taken nothing");
        plugin.host().answer_http("POST", WEBHOOK, 200, "");
        let _ = plugin.host().take_requests();
        assert_eq!(block_on(bridge.egress(&batch)), Ok(2));
        let requests = plugin.host().take_requests();
        let [request] = &requests[..] else {
            panic!("one request for the batch: {requests:?}");
        };
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(
            body,
            json!([
                { "topic": "alarms/a", "payload": "one", "qos": 1, "retain": false },
                { "topic": "alarms/b", "payload": "two", "qos": 0, "retain": false },
            ])
        );
    });
}

#[test]
fn messages_come_in_from_the_inbox() {
    both(|plugin| {
        let bridge = plugin.hooks().bridge.clone().expect("it is a bridge");
        let fetch = |body: &'static str| {
            plugin.host().answer_http("GET", INBOX, 200, body);
            block_on(bridge.ingress())
        };
        assert_eq!(fetch(""), Ok(Vec::new()));
        let order = fetch(r#"[{"topic":"orders/a","payload":"stop","qos":1}]"#);
        assert_eq!(order, Ok(vec![message("orders/a", "stop", QoS::AtLeastOnce)]));
        fetch("no JSON").expect_err("that is no array of messages");
    });
}
