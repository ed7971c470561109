//! Listeners with chains of their own: what one decides, changes or hides is nothing to the other.

use broker_core::{Chain, Listener};
use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Client, Connect, Kind, Version, publish, subscribe, will};
use plugin_acl_file::AclFile;
use plugin_api::{AclVerdict, Action, AuthVerdict, Denial, Flow, Grant};
use plugin_auth_file::AuthFile;
use plugin_topic_rewrite::{Options, RuleOptions, TopicRewrite};

use crate::plugin::message;
use crate::{VERSIONS, told};

/// `test`: a password file and an ACL. `kiosk`: anybody, read only, under names of its own.
fn two_doors() -> TestBroker {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a file can be written");
        file
    };
    let users = plugin_auth_file::add("", "anna", b"sesame").expect("a user");
    let passwords = AuthFile::open(write("passwd", &users)).expect("users");
    let rules =
        "[[rules]]\nwho = { user = 'anna' }\nallow = ['publish', 'subscribe']\ntopics = ['plant/#']\n";
    let acl = AclFile::open(write("acl.toml", rules)).expect("rules");
    let names = TopicRewrite::new(Options {
        rules: vec![RuleOptions {
            both_ways: true,
            ..RuleOptions::new("hall/+", "plant/{1}/shown")
        }],
    })
    .expect("rules");
    TestBroker::start_with(move |setup| {
        setup.chain(|chain| chain.plugin(passwords).plugin(acl));
        setup.listener("kiosk", |setup| {
            setup.authorize(|_, action, _| match action {
                Action::Publish => AclVerdict::Deny(Denial::not_authorized()),
                _ => AclVerdict::Allow,
            });
            setup.chain(|chain| chain.plugin(names));
        });
    })
}

#[test]
fn two_listeners_show_only_their_own_plugins() {
    let broker = two_doors();
    for version in VERSIONS {
        let anna = |password: &str| broker.client(version, "anna").username("anna").password(password);
        let kiosk = |id: &str| Connect::new(broker.addr_of("kiosk"), version, id);

        anna("wrong").refused(told(version, 0x86, 4));
        broker
            .client(version, "x")
            .username("bert")
            .password("sesame")
            .refused(told(version, 0x86, 4));
        let mut inside = anna("sesame").connect();
        // the kiosk asks nobody, whatever is shown
        let mut visitor = kiosk("visitor").username("anna").password("wrong").connect();

        inside.subscribe("plant/#", 1);
        inside.send(subscribe(50).filter("hall/+", 1));
        inside.expect_suback(50, &[told(version, 0x87, 0x80)]);
        visitor.subscribe("hall/+", 1);
        // the ACL is not the kiosk's
        visitor.subscribe("anything/#", 1);

        inside.publish("plant/press/shown", "seen", 1);
        inside.take_early("plant/press/shown");
        visitor.take("hall/press", "seen");
        inside.publish("plant/press/hidden", "x", 1);
        inside.take_early("plant/press/hidden");
        visitor.expect_silence();

        visitor.send(publish("hall/press", "x").qos(1, 40));
        visitor.expect_ack(Kind::Puback, 40, told(version, 0x87, 0));
        inside.send(publish("anything/x", "x").qos(1, 40));
        inside.expect_ack(Kind::Puback, 40, told(version, 0x87, 0));
        visitor.expect_silence();
        inside.expect_silence();
    }
}

trait TakeEarly {
    fn take_early(&mut self, topic: &str);
}

impl TakeEarly for Client {
    /// Takes a message of one's own that came while its acknowledgement was awaited, or comes now.
    #[track_caller]
    fn take_early(&mut self, topic: &str) {
        let received = self.expect_any_publish();
        self.acknowledge(&received);
        assert_eq!(received.topic, topic);
    }
}

/// A message passes the publish chain of the listener it came through and the deliver chain of the one it leaves through.
#[test]
fn a_message_passes_the_doors_it_goes_through() {
    let broker = TestBroker::start_with(|setup| {
        let door = |name: &'static str| {
            move |chain: Chain| {
                chain
                    .on_publish("#", move |_, message| {
                        let marked = [message.payload(), b" in ", name.as_bytes()].concat();
                        message.set_payload(marked);
                        Flow::Continue
                    })
                    .on_deliver("#", move |_, message| {
                        let marked = [message.payload(), b" out ", name.as_bytes()].concat();
                        message.set_payload(marked);
                        plugin_api::DeliverFlow::Continue
                    })
            }
        };
        setup.chain(door("here"));
        setup.listener("there", |setup| setup.chain(door("there")));
    });
    let there = |id: &str| Connect::new(broker.addr_of("there"), Version::V5, id).connect();
    let mut here = broker.v5("here").connect();
    let mut far = there("far");
    here.subscribe("t", 0);
    far.subscribe("t", 0);
    broker.v5("p").connect().publish("t", "m", 1);
    here.take("t", "m in here out here");
    far.take("t", "m in here out there");
    there("q").publish("t", "m", 1);
    here.take("t", "m in there out here");
    far.take("t", "m in there out there");
}

/// Two tenants behind mounts, and one listener that sees everything.
fn tenants() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.broker(|builder| {
            let tenant = |name: &str| {
                let chain = Chain::new()
                    // hooks see what the client says, without the mount
                    .authorize(|_, _, item| match item.topic {
                        "tenant-b/own" => AclVerdict::Deny(Denial::not_authorized()),
                        _ => AclVerdict::Allow,
                    })
                    .on_publish("log", |_, edit| {
                        // what a plugin emits is absolute
                        edit.emit(message("audit", "logged"));
                        Flow::Continue
                    });
                Listener::tcp("127.0.0.1:0")
                    .name(name)
                    .anonymous(true)
                    .mount(format!("tenant-{name}/"))
                    .with_chain(chain)
            };
            builder.listener(tenant("a")).listener(tenant("b"))
        });
    })
}

#[test]
fn a_mount_keeps_tenants_apart() {
    let broker = tenants();
    for version in VERSIONS {
        let of = |tenant: &str, id: &str| Connect::new(broker.addr_of(tenant), version, id);
        let mut everything = broker.v5("everything").connect();
        everything.subscribe("#", 1);
        let mut a = of("a", "in-a").connect();
        let mut b = of("b", "in-b").connect();
        a.subscribe("#", 1).subscribe("$share/g/shared", 1);
        b.subscribe("#", 1).subscribe("tenant-a/#", 1);

        of("a", "p").connect().publish("t", "x", 1);
        a.take("t", "x");
        everything.take("tenant-a/t", "x");
        b.expect_silence();

        // a name that looks like the other tenant's tree is one's own
        of("b", "q").connect().publish("tenant-a/t", "y", 1);
        everything.take("tenant-b/tenant-a/t", "y");
        a.expect_silence();
        assert!(b.sync().pending().iter().all(|payload| payload == "y"));

        of("b", "q").connect().publish("own", "x", 1);
        everything.take("tenant-b/own", "x");
        b.take("own", "x");

        of("b", "dying").will(will("gone", "z").qos(1)).connect().lose();
        everything.take("tenant-b/gone", "z");
        b.take("gone", "z");
        a.expect_silence();

        of("a", "p").connect().publish("log", "x", 1);
        let mut seen = [everything.message(), everything.message()];
        seen.sort();
        assert_eq!(seen, ["audit", "tenant-a/log"]);
        a.take("log", "x");
        a.expect_silence();
    }
}

trait NextTopic {
    fn message(&mut self) -> String;
}

impl NextTopic for Client {
    #[track_caller]
    fn message(&mut self) -> String {
        let received = self.expect_any_publish();
        self.acknowledge(&received);
        received.topic
    }
}

#[test]
fn what_a_tenant_retains_is_found_by_its_own_name() {
    let broker = tenants();
    let of = |tenant: &str, id: &str| Connect::new(broker.addr_of(tenant), Version::V5, id).connect();
    of("a", "p").retain("kept", "x", 1);
    let mut late = of("a", "late");
    late.subscribe("kept", 0);
    late.take("kept", "x");
    of("b", "other").subscribe("#", 0).expect_silence();
    let mut everything = broker.v5("everything").connect();
    everything.subscribe("tenant-a/#", 0);
    everything.take("tenant-a/kept", "x");
}

/// An authenticator may send each user into a tree of its own.
#[test]
fn a_grant_mounts_its_client() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|client| {
            AuthVerdict::Allow(Box::new(Grant {
                mount: client.username.map(|name| format!("{name}/")),
                ..Grant::default()
            }))
        });
    });
    for version in VERSIONS {
        let mut all = broker.v5("all").connect();
        all.subscribe("#", 0);
        let mut anna = broker.client(version, "1").username("anna").connect();
        let mut bert = broker.client(version, "2").username("bert").connect();
        anna.subscribe("#", 0);
        bert.subscribe("#", 0);
        anna.publish("t", "x", 1);
        assert_eq!(anna.pending(), ["x"]);
        all.take("anna/t", "x");
        bert.expect_silence();
    }
}
