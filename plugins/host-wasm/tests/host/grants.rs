//! Each service, granted and not: an ungranted one refuses the load, and the message says what to write.

use plugin_api::{Grants, PluginLoader};

use crate::guests::{Guest, Shelf, every_import};

/// What a service needs in `allow`, and the grant itself.
type Case = (&'static str, &'static str, fn(&mut Grants));

const CASES: [Case; 6] = [
    ("clock", "clock = true", |grants| grants.clock = true),
    ("random", "random = true", |grants| grants.random = true),
    ("kv", "kv = true", |grants| grants.kv = true),
    ("publish", "publish = [\"TOPIC/FILTER\"]", |grants| {
        grants.publish = true
    }),
    ("http", "http = [\"https://HOST/\"]", |grants| {
        grants.http = vec!["https://a/".to_owned()];
    }),
    ("clients", "clients = true", |grants| grants.clients = true),
];

fn importing(interfaces: &[&str]) -> Vec<u8> {
    let imports = every_import(interfaces);
    let guest = Guest {
        imports: Box::leak(imports.into_boxed_str()),
        ..Guest::default()
    };
    guest.module()
}

#[tokio::test]
async fn what_is_not_granted_refuses_the_load_and_is_named() {
    let shelf = Shelf::new();
    for (service, write, grant) in CASES {
        let mut source = shelf.put("x.wasm", &importing(&[service]));
        let refused = shelf.loader.check(&source, "{}").await.unwrap_err().to_string();
        assert!(refused.contains(write), "{service}: {refused}");
        assert!(shelf.loader.load("x", &source, "{}").await.is_err(), "{service}");
        for (other, _, grant) in CASES {
            if other != service {
                grant(&mut source.grants);
            }
        }
        assert!(
            shelf.loader.check(&source, "{}").await.is_err(),
            "{service}: all others don't help"
        );
        source.grants = Grants::default();
        grant(&mut source.grants);
        assert_eq!(shelf.loader.check(&source, "{}").await, Ok(()), "{service}");
        let described = shelf.loader.describe(&source).await.unwrap();
        assert_eq!(described.wants, [service]);
    }
}

#[tokio::test]
async fn everything_that_is_missing_is_named_at_once() {
    let shelf = Shelf::new();
    let source = shelf.put("x.wasm", &importing(&["clock", "kv", "http", "log"]));
    let refused = shelf.loader.check(&source, "{}").await.unwrap_err().to_string();
    assert!(
        refused.contains("allow = { clock = true, http = [\"https://HOST/\"], kv = true }")
            || refused.contains("allow = { clock = true, kv = true, http"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_hurts_nobody_needs_no_grant() {
    let shelf = Shelf::new();
    let source = shelf.put("x.wasm", &importing(&["log", "metrics", "decisions"]));
    assert_eq!(shelf.loader.check(&source, "{}").await, Ok(()));
}
