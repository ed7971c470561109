//! The authenticator of the examples that asks an HTTP server, in each language and natively.
//!
//! JavaScript and Python guests are too large to be kept, and take minutes to build and compile: they are built and checked here if
//! `JACKFIELD_GUESTS` names them (`js,python`).
#![forbid(unsafe_code)]

#[path = "../guest/mod.rs"]
mod guest;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use broker_types::ReasonCode;
use plugin_api::{AuthVerdict, Denial, Grants, LoadError, Sandbox};
use plugin_testkit::{Client, Harness, Question, TestHost};
use serde_json::{Value, json};

use guest::{example, load, with_http};

const URL: &str = "http://auth.example/login";

fn options() -> Value {
    json!({ "url": URL })
}

/// An engine for another language inside of a guest wants more.
fn roomy() -> Sandbox {
    Sandbox {
        memory_bytes_max: 512 << 20,
        cpu_max: Duration::from_secs(60),
        ..Sandbox::default()
    }
}

/// Has a plugin decide one login that the server answers so.
fn login(plugin: &mut Harness, status: u16, body: &'static str, client: Client) -> AuthVerdict {
    plugin.host().answer_http("POST", URL, status, body);
    plugin.client(client).login()
}

/// What each of them must do.
fn check(mut plugin: Harness) {
    let anna = || Client::new("d1").username("anna").password("se\"cret\n");
    let AuthVerdict::Allow(grant) = login(&mut plugin, 200, "", anna()) else {
        panic!("the server lets her in");
    };
    assert_eq!(
        (grant.username.as_deref(), grant.client_id.as_ref()),
        (None, None)
    );
    let asked = plugin.host().take_requests();
    assert_eq!((asked[0].method.as_str(), asked[0].url.as_str()), ("POST", URL));
    let body: Value = serde_json::from_slice(&asked[0].body).expect("JSON");
    assert_eq!(
        body,
        json!({ "client_id": "d1", "username": "anna", "password": "se\"cret\n" })
    );

    let denied = |reason, text: Option<&str>| {
        AuthVerdict::Deny(Denial {
            text: text.map(str::to_owned),
            ..Denial::new(reason)
        })
    };
    let verdicts = [
        (204, "", None),
        (401, "", Some(denied(ReasonCode::BadUserNameOrPassword, None))),
        (
            401,
            "wrong",
            Some(denied(ReasonCode::BadUserNameOrPassword, Some("wrong"))),
        ),
        (
            403,
            "blocked since Tuesday",
            Some(denied(ReasonCode::NotAuthorized, Some("blocked since Tuesday"))),
        ),
        (404, "?", Some(AuthVerdict::Skip)),
    ];
    for (status, text, expected) in verdicts {
        let verdict = login(&mut plugin, status, text, anna());
        match expected {
            Some(expected) => assert_eq!(verdict, expected, "{status}"),
            None => assert!(matches!(verdict, AuthVerdict::Allow(_)), "{status}"),
        }
    }
    // Without credentials nobody is asked.
    let _ = plugin.host().take_requests();
    assert_eq!(plugin.client(Client::new("d1")).login(), AuthVerdict::Skip);
    assert_eq!(plugin.host().take_requests(), []);
}

/// An answer that says nothing is a fault of that login, and the next one is decided again.
fn check_fault(mut plugin: Harness) {
    let anna = Client::new("d1").username("anna").password("secret");
    plugin.host().answer_http("POST", URL, 500, "");
    let question = Question::Authenticate(anna.view(), Some(b"secret".to_vec()));
    plugin.ask(&question).expect_err("the server says nothing of use");
    assert!(matches!(login(&mut plugin, 200, "", anna), AuthVerdict::Allow(_)));
}

#[test]
fn natively() {
    let plugin = || Harness::load::<example_wasm_auth::HttpAuth>(options()).expect("it starts");
    check(plugin());
    check_fault(plugin());
}

/// Checks a guest.
fn check_guest(file: &Path, sandbox: Sandbox) {
    let plugin = || with_http(file, &options(), URL, sandbox, TestHost::default());
    check(plugin());
    check_fault(plugin());
    let wrong = json!({ "url": "ftp://auth.example" });
    let grants = Grants {
        http: vec![URL.to_owned()],
        ..Grants::default()
    };
    let refused = load(file, &wrong, grants, sandbox)
        .map(|_| ())
        .expect_err("no server for HTTP");
    assert!(
        refused
            .to_string()
            .contains("must begin with http:// or https://"),
        "{refused}"
    );
    let refused = load(file, &options(), Grants::default(), sandbox)
        .map(|_| ())
        .expect_err("nothing is granted");
    assert!(
        matches!(&refused, LoadError::Refused { why, .. } if why.contains("http")),
        "{refused}"
    );
}

#[test]
fn in_rust() {
    check_guest(&example("wasm-auth/auth.wasm"), Sandbox::default());
}

#[test]
fn in_c() {
    check_guest(&example("wasm-auth/c/auth.wasm"), Sandbox::default());
}

#[test]
fn in_javascript() {
    built("js");
}

#[test]
fn in_python() {
    built("python");
}

/// Builds the guest in a language, if that is wanted, and checks it.
fn built(language: &str) {
    let wanted = std::env::var("JACKFIELD_GUESTS").unwrap_or_default();
    if !wanted.split(',').any(|wanted| wanted == language) {
        println!("not tried: JACKFIELD_GUESTS doesn't name {language}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("auth.wasm");
    let built = Command::new(example("wasm-auth").join(language).join("build.sh"))
        .arg(&file)
        .stdin(Stdio::null())
        .status()
        .expect("the script runs");
    assert!(built.success(), "{built}");
    check_guest(&file, roomy());
}
