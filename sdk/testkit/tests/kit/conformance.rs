//! The conformance kit passes what behaves and names what doesn't.

use plugin_testkit::conformance::{Finding, PROBES, Subject};
use plugin_testkit::{Harness, json};

use crate::plugin::Sample;

fn examined(mode: &str, only: Option<&str>) -> Vec<(&'static str, Finding)> {
    let load = |options: &serde_json::Value| {
        Harness::load::<Sample>(options.clone()).map(|harness| harness.plugin().clone())
    };
    let subject = Subject {
        load: &load,
        options: json!({ "mode": mode }),
        payload_bytes_max: 1 << 20,
    };
    let probes = PROBES
        .iter()
        .filter(|probe| only.is_none_or(|only| only == probe.name));
    probes.map(|probe| (probe.name, probe.run(&subject))).collect()
}

#[test]
fn a_plugin_that_behaves_passes() {
    for (name, finding) in examined("", None) {
        assert_eq!(finding.failures, [""; 0], "{name}");
        let asks = !["description", "options", "state", "store"].contains(&name);
        assert_eq!(finding.calls > 0, asks, "{name}");
    }
}

#[test]
fn a_panic_is_found_and_named() {
    let [(_, finding)] = &examined("panic", Some("payloads"))[..] else {
        panic!("one probe")
    };
    let failure = "publish with a payload that is no UTF-8: panic: it panicked: no text";
    assert!(
        finding.failures.iter().any(|found| found == failure),
        "{finding:?}"
    );
}
