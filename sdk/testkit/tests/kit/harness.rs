//! What a test sees of a plugin through the harness.

use std::time::Duration;

use plugin_api::types::ReasonCode;
use plugin_api::{AclVerdict, AuthVerdict, Flow, LoadError};
use plugin_testkit::{Client, Harness, json};

use crate::plugin::Sample;

fn loaded() -> Harness {
    Harness::load::<Sample>(json!({ "prefix": "> " })).expect("it loads")
}

#[test]
fn a_message_comes_back_as_the_plugin_leaves_it() {
    let plugin = loaded();
    let message = plugin.publish("in/a", "hello");
    assert_eq!(message.flow(), &Flow::Continue);
    assert_eq!(
        (message.topic().as_str(), message.text().as_str()),
        ("in/a", "> hello")
    );
    assert!(message.changed() && message.emitted().is_empty() && !message.passed_by());
    assert!(plugin.publish("in/a", "drop").dropped());
    let copied = plugin.publish("in/a", "copy");
    assert_eq!(copied.emitted()[0].topic.as_str(), "copies");
}

#[test]
fn a_message_elsewhere_passes_it_by() {
    let message = loaded().publish("out/a", "drop");
    assert!(message.passed_by() && !message.changed() && !message.dropped());
}

#[test]
fn a_fault_is_none_of_the_verdicts() {
    let message = loaded().publish("in/a", b"\xff".as_slice());
    assert!(
        message.fault().unwrap().to_string().contains("utf-8"),
        "{message:?}"
    );
    let asked = std::panic::catch_unwind(|| message.flow().clone());
    assert!(asked.is_err(), "a test that asks for a verdict fails");
}

#[test]
fn a_hook_that_is_not_there_is_told() {
    let asked = std::panic::catch_unwind(|| loaded().retain("a", "b"));
    let text = *asked.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(
        text,
        "the plugin has no hook `retain`, it has: authenticate, authorize, publish"
    );
}

#[test]
fn who_is_let_in_is_who_calls_from_then_on() {
    let mut plugin = loaded();
    assert_eq!(plugin.may_publish("x"), AclVerdict::Skip);
    let refused = plugin.client(Client::new("c").password("wrong")).login();
    assert!(
        matches!(&refused, AuthVerdict::Deny(denial) if denial.reason == ReasonCode::BadUserNameOrPassword)
    );
    plugin.client(Client::new("c").password("secret")).login();
    assert_eq!(plugin.may_subscribe("x/#"), AclVerdict::Allow);
}

#[test]
fn time_is_the_tests() {
    let plugin = loaded();
    assert!(plugin.host().has_logged("ready"));
    plugin.advance(Duration::from_millis(999));
    assert_eq!(plugin.host().counter_of("ticks"), 0);
    plugin.advance(Duration::from_secs(5));
    assert_eq!(plugin.host().counter_of("ticks"), 3);
    plugin.stop();
}

#[test]
fn options_are_checked_as_in_a_broker() {
    let error = Harness::load::<Sample>(json!({ "prefiks": "" })).unwrap_err();
    assert!(
        matches!(&error, LoadError::Options { key, .. } if key == "prefiks"),
        "{error}"
    );
}
