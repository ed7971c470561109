//! `jackfield test` and `jackfield chain explain`: chains tried out without a broker that anybody can reach.

use crate::program::{Ended, folder, run};

const FILE: &str = r#"version = 1
[plugins.short]
use = "builtin:topic-rewrite"
config = { rules = [{ from = "plant/+/raw/#", to = "plant/{1}/{2}" }] }

[chains]
plant = [{ plugin = "short", on = ["publish"], when = "size < 10" }]

[listeners.main]
bind = "127.0.0.1:1883"
anonymous = true
chain = "plant"

[[tests]]
name = "short messages get short topics"
chain = "plant"
publish = { topic = "plant/7/raw/temp", payload_json = { t = 21 } }
expect = { topic = "plant/7/temp", payload_json = { t = 21.0 }, allowed = true, reason = 0 }

[[tests]]
name = "everybody may listen"
listener = "main"
subscribe = { filter = "plant/#", qos = 1 }
expect = { connected = true, qos = 1 }

[[tests]]
name = "a long message is left alone"
listener = "main"
as = { version = "3.1.1" }
publish = { topic = "plant/7/raw/temp", payload = "a long message" }
expect = { topic = "TOPIC", emitted = [] }
"#;

fn with(topic: &str, args: &[&str]) -> Ended {
    let text = FILE.replace("TOPIC", topic);
    let folder = folder(&[("jackfield.toml", &text)]);
    let file = folder.path().join("jackfield.toml").display().to_string();
    let args: Vec<_> = args
        .iter()
        .map(|arg| if *arg == "FILE" { file.as_str() } else { arg })
        .collect();
    run(&args)
}

#[test]
fn tests_that_hold_are_told_and_end_with_0() {
    let ended = with("plant/7/raw/temp", &["test", "FILE"]);
    let expected = "ok    short messages get short topics\nok    everybody may listen\n\
                    ok    a long message is left alone\n\n3 tests: 3 ok, 0 failed\n";
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (0, expected, "")
    );
}

#[test]
fn a_test_that_fails_says_what_came_instead_and_who_said_what() {
    let ended = with("plant/7/temp", &["test", "FILE"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    for wanted in [
        "FAIL  a long message is left alone\n",
        "topic: expected plant/7/temp, got plant/7/raw/temp\n",
        "publish  short  not asked: `when` isn't true\n",
        "in the end: goes to all who are subscribed\n",
        "3 tests: 2 ok, 1 failed\n",
    ] {
        assert!(ended.out.contains(wanted), "{wanted}{}", ended.out);
    }
    let junit = with(
        "plant/7/temp",
        &["test", "FILE", "--format", "junit", "--only", "long"],
    );
    assert_eq!(junit.code, 1);
    assert!(junit.out.contains("tests=\"1\" failures=\"1\""), "{}", junit.out);
    let json = with("plant/7/temp", &["test", "FILE", "--format", "json"]);
    let lines: Vec<serde_json::Value> = { json.out.lines() }
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((lines.len(), &lines[2]["ok"]), (3, &false.into()));
    let nothing = with("x", &["test", "FILE", "--only", "nothing like that"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("nothing like that"), "{}", nothing.err);
}

#[test]
fn a_chain_is_explained_for_one_message() {
    let message = [
        "chain",
        "explain",
        "-c",
        "FILE",
        "-t",
        "plant/7/raw/x",
        "-m",
        "21.5",
    ];
    let ended = with("x", &message);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(
        lines[0],
        "listener main, chain plant: a client without a user name publishes to plant/7/raw/x"
    );
    assert!(
        lines[2].starts_with("  publish  short  continue  ") && lines[2].ends_with(" µs"),
        "{}",
        lines[2]
    );
    let end = [
        "                  topic = plant/7/x",
        "",
        "goes to all who are subscribed",
        "  client explain without a user name",
        "  plant/7/x (QoS 1): 21.5",
    ];
    assert_eq!(lines[3..], end);
    let json = with("x", &[&message[..], &["--json"]].concat());
    let told: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(told["outcome"]["message"]["topic"], "plant/7/x");
    assert_eq!(told["turns"][0]["changes"][0]["value"], "plant/7/x");
    let nowhere = with("x", &["chain", "explain", "-c", "FILE", "--listener", "mian"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.err.contains("there are: main"), "{}", nowhere.err);
}
