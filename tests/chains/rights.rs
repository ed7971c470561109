//! ACL rules with the client in them: a name can't make them wider.

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Kind, publish, subscribe};
use plugin_acl_file::AclFile;
use plugin_api::AuthVerdict;

use crate::{VERSIONS, told};

const RULES: &str = r#"
[[rules]]
who = {}
allow = ["publish", "subscribe", "receive"]
topics = ["own/%c/#", "user/%u/x"]
"#;

fn broker() -> TestBroker {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("acl.toml");
    std::fs::write(&file, RULES).expect("a file can be written");
    let acl = AclFile::open(file).expect("rules");
    TestBroker::start_with(|setup| {
        setup.authenticate(|_| AuthVerdict::allow());
        setup.chain(|chain| chain.plugin(acl));
    })
}

#[test]
fn a_client_has_its_own_tree() {
    let broker = broker();
    for version in VERSIONS {
        let mut client = broker.client(version, "a").connect();
        client
            .subscribe("own/a/#", 1)
            .subscribe("own/a/+", 1)
            .publish("own/a/x", "x", 0);
        client.send(
            subscribe(9)
                .filter("own/b/#", 1)
                .filter("own/#", 1)
                .filter("own/+/x", 1),
        );
        let refused = told(version, 0x87, 0x80);
        client.early_free();
        client.expect_suback(9, &[refused; 3]);
    }
}

trait EarlyFree {
    fn early_free(&mut self);
}

impl EarlyFree for jackfield_tests::wire::Client {
    /// Takes its own message, which came twice or once, as the filters overlap.
    fn early_free(&mut self) {
        assert!(!self.pending().is_empty());
    }
}

/// `+`, `#` and `/` in a Client Identifier or User Name are letters of a name, not parts of a filter.
#[test]
fn a_name_with_wildcards_is_no_wildcard() {
    let broker = broker();
    for version in VERSIONS {
        for name in ["+", "#", "a/#", "+/+", "a/../b", "/", "%u", "%c"] {
            let mut client = broker.client(version, name).username(name).connect();
            let refused = told(version, 0x87, 0x80);
            let others = [
                "own/a/#",
                "own/+/#",
                "own/#",
                "own/+/+/#",
                "user/a/x",
                "user/+/x",
                "#",
            ];
            client.send(
                others
                    .iter()
                    .fold(subscribe(9), |packet, filter| packet.filter(filter, 1)),
            );
            client.expect_suback(9, &[refused; 7]);
            for topic in ["own/a/x", "own/b", "user/a/x", "own/%c/x", "user/%u/x"] {
                // whoever is called so owns the topic of that name
                if topic == format!("own/{name}/x") || topic == format!("user/{name}/x") {
                    continue;
                }
                client.send(publish(topic, "x").qos(1, 1));
                client.expect_ack(Kind::Puback, 1, told(version, 0x87, 0));
            }
            client.expect_silence();
        }
    }
}
