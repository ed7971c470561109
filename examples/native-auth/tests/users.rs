//! The plugin as part of this program, and as the library that cargo builds beside it: both say the same.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use example_native_auth::Users;
use plugin_testkit::plugin_api::types::ReasonCode;
use plugin_testkit::plugin_api::{AclVerdict, AuthVerdict, FaultKind};
use plugin_testkit::{Client, Harness, Question, json};

fn library() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    test.with_file_name("libexample_native_auth.so")
}

const URL: &str = "http://127.0.0.1:9/users";

fn options() -> serde_json::Value {
    json!({
        "users": {
            "d1": { "password": "azure", "role": "meter" },
            "d2": { "password": "crimson", "barred": "sold" },
        },
        "ask": URL,
    })
}

fn both() -> [Harness; 2] {
    [
        Harness::load::<Users>(options()).expect("it starts"),
        Harness::open(&library(), options()).expect("the library starts"),
    ]
}

fn login(harness: &mut Harness, name: &str, password: &str) -> AuthVerdict {
    harness.client(Client::new("c").username(name).password(password));
    harness.login()
}

/// Returns the Reason Code and why.
fn refusal(verdict: AuthVerdict) -> (ReasonCode, String) {
    match verdict {
        AuthVerdict::Deny(denial) => (denial.reason, denial.text.unwrap_or_default()),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn users_of_the_table_come_in_and_have_their_topics() {
    for mut harness in both() {
        assert!(matches!(
            login(&mut harness, "d1", "azure"),
            AuthVerdict::Allow(_)
        ));
        for (topic, may) in [
            ("device/d1/x", true),
            ("device/d2/x", false),
            ("role/meter/x", false),
            ("x", false),
        ] {
            let allowed = harness.may_publish(topic) == AclVerdict::Allow;
            assert_eq!(allowed, may, "{topic}");
        }
        assert_eq!(harness.may_subscribe("role/meter/#"), AclVerdict::Allow);
        assert_eq!(harness.may_subscribe("role/other/#"), AclVerdict::Skip);
        let wrong = refusal(login(&mut harness, "d1", "green"));
        assert_eq!(
            wrong,
            (ReasonCode::BadUserNameOrPassword, "wrong password".to_owned())
        );
        assert_eq!(
            refusal(login(&mut harness, "d2", "crimson")),
            (ReasonCode::Banned, "sold".to_owned())
        );
        assert_eq!(harness.host().counter_of("refused"), 2);
    }
}

#[test]
fn the_server_is_asked_about_everybody_else() {
    for mut harness in both() {
        harness.host().answer_http("POST", URL, 200, "gateway\n");
        let AuthVerdict::Allow(grant) = login(&mut harness, "g", "word") else {
            panic!("not let in")
        };
        assert_eq!(grant.attributes, [("role".to_owned(), "gateway".to_owned())]);
        assert_eq!(&harness.host().take_requests()[0].body[..], b"g\nword");
        harness.host().answer_http("POST", URL, 403, "who are you?");
        let refused = refusal(login(&mut harness, "g", "word"));
        assert_eq!(refused, (ReasonCode::NotAuthorized, "who are you?".to_owned()));
        harness.host().answer_http("POST", URL, 500, "");
        let client = Client::new("c").username("g");
        let fault = harness.ask(&Question::Authenticate(client.view(), Some(b"word".to_vec())));
        let fault = fault.expect_err("that is no answer");
        assert_eq!(
            (fault.kind, fault.text.as_ref()),
            (FaultKind::Backend, "http://127.0.0.1:9/users answered 500")
        );
    }
}

#[test]
fn both_forms_pass_the_conformance_kit() {
    use plugin_testkit::conformance::{PROBES, Subject};
    use plugin_testkit::plugin_api::LoadError;
    let direct = |options: &serde_json::Value| Harness::made::<Users>(options);
    let native = |options: &serde_json::Value| Harness::made_of(&library(), options);
    type Form<'a, T> = &'a (dyn Fn(&serde_json::Value) -> Result<T, LoadError> + Sync);
    let forms: [Form<'_, _>; 2] = [&direct, &native];
    for load in forms {
        let mut options = options();
        options.as_object_mut().expect("a table").remove("ask");
        let subject = Subject {
            load,
            options,
            payload_bytes_max: 1 << 20,
        };
        for probe in &PROBES {
            assert_eq!(probe.run(&subject).failures, [""; 0], "{}", probe.name);
        }
    }
}
