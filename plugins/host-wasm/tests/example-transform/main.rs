//! The transform of the examples: its guest does what its source does natively. Units, ranges, facts.
#![forbid(unsafe_code)]

#[path = "../guest/mod.rs"]
mod guest;

use broker_types::ReasonCode;
use example_wasm_transform::Telemetry;
use plugin_api::{Grants, LoadError, Sandbox};
use plugin_testkit::Harness;
use serde_json::{Value, json};

use guest::{example, load};

fn in_wasm(options: &Value) -> Result<Harness, LoadError> {
    let file = example("wasm-transform/telemetry.wasm");
    Harness::of(load(&file, options, Grants::default(), Sandbox::default())?)
}

/// Runs `check` on the guest and on the same source as a native plugin.
fn both(options: &Value, check: impl Fn(&Harness)) {
    check(&Harness::load::<Telemetry>(options.clone()).expect("it starts"));
    check(&in_wasm(options).expect("it starts"));
}

fn options() -> Value {
    json!({
        "convert": [
            { "field": "temperature", "from": "fahrenheit", "to": "celsius", "digits": 1 },
            { "field": "speed", "from": "kilometre_per_hour", "to": "metre_per_second" },
        ],
        "only": [{ "field": "temperature", "min": -40, "max": 125 }],
        "add": { "site": "plant-7", "floor": 2 },
        "levels": { "device": 1 },
    })
}

#[track_caller]
fn becomes(plugin: &Harness, payload: &Value, expected: &Value) {
    let published = plugin.publish("sensors/d1/reading", payload.to_string());
    let found: Value = serde_json::from_str(&published.text()).expect("JSON");
    assert_eq!(found, *expected);
    assert_eq!(published.topic(), "sensors/d1/reading");
}

#[test]
fn readings_are_converted_and_enriched() {
    both(&options(), |plugin| {
        becomes(
            plugin,
            &json!({ "temperature": 70.7, "speed": 36, "unit": null }),
            &json!({ "temperature": 21.5, "speed": 10.0, "unit": null, "site": "plant-7", "floor": 2, "device": "d1" }),
        );
        // What the device says itself stands.
        becomes(
            plugin,
            &json!({ "temperature": 32, "site": "home", "device": 7, "floor": -1 }),
            &json!({ "temperature": 0.0, "site": "home", "device": 7, "floor": -1 }),
        );
        assert_eq!(
            plugin.publish("sensors", r#"{"temperature":32}"#).text(),
            r#"{"floor":2,"site":"plant-7","temperature":0.0}"#
        );
    });
}

#[test]
fn readings_out_of_range_go_nowhere() {
    both(&options(), |plugin| {
        for payload in [r#"{"temperature":900}"#, r#"{"temperature":"70"}"#, "{}"] {
            assert!(
                plugin.publish("sensors/d1/reading", payload).dropped(),
                "{payload}"
            );
        }
        assert_eq!(plugin.host().counter_of("out_of_range"), 3);
    });
}

#[test]
fn what_is_no_object_gets_what_the_operator_chose() {
    for (choice, refused, dropped) in [
        ("pass", false, false),
        ("drop", false, true),
        ("reject", true, false),
    ] {
        both(&json!({ "invalid": choice }), |plugin| {
            for payload in [&b""[..], b"70.7", b"[1]", b"{\"a\":", b"\xff"] {
                let published = plugin.publish("a", payload.to_vec());
                assert_eq!(published.refused().is_some(), refused, "{choice}");
                assert_eq!(published.dropped(), dropped, "{choice}");
                if let Some(denial) = published.refused() {
                    assert_eq!(denial.reason, ReasonCode::PayloadFormatInvalid);
                }
            }
        });
    }
}

#[test]
fn what_needs_no_change_is_not_sent_back() {
    both(&json!({}), |plugin| {
        let published = plugin.publish("a", "{\"x\" : 1}");
        assert!(!published.changed());
        assert_eq!(published.text(), "{\"x\" : 1}");
    });
}

#[test]
fn options_that_make_no_sense_are_refused_with_the_same_words() {
    let psi = json!({ "field": "x", "from": "psi", "to": "celsius" });
    let samples = [
        (json!({ "convert": [psi] }), "psi is no temperature"),
        (
            json!({ "only": [{ "field": "x", "min": 2, "max": 1 }] }),
            "nothing is between min and max",
        ),
        (json!({ "add": 1 }), "invalid type"),
        (json!({ "colour": "red" }), "unknown field `colour`"),
    ];
    for (options, why) in samples {
        let native = Harness::load::<Telemetry>(options.clone()).expect_err("it makes no sense");
        let wasm = in_wasm(&options).expect_err("it makes no sense");
        for error in [native, wasm] {
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
