//! What a plugin's failure costs, for each policy: the table of the hooks' documentation as bytes. A failure is never told
//! as 0x87: nobody has decided that the client may not.

use broker_core::{Chain, OnFault, Use};
use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{Kind, Packet, Version, publish, pubrel, subscribe};
use plugin_api::{AclVerdict, Action, AuthVerdict, Capabilities};

use crate::plugin::{Failing, Made, SHORT};
use crate::{VERSIONS, told};

const POLICIES: [OnFault; 5] = [
    OnFault::Deny,
    OnFault::Skip,
    OnFault::Drop,
    OnFault::Disconnect,
    OnFault::Allow,
];

/// A use whose faults of one kind are treated so, and all others in the other way.
fn used(capabilities: Capabilities, failing: Failing, policy: OnFault) -> Use {
    let other = if policy == OnFault::Deny {
        OnFault::Allow
    } else {
        OnFault::Deny
    };
    let used = Use::from(Made(capabilities)).timeout(SHORT);
    match failing {
        Failing::Never => used.on_error(other).on_timeout(policy),
        Failing::Error | Failing::Panic => used.on_error(policy).on_timeout(other),
    }
}

/// Runs `check` for every way to fail and every policy, against a broker of its own: a breaker that has opened would
/// answer for the plugin.
fn each(
    hook: fn(Failing) -> Capabilities,
    chain: fn(Chain) -> Chain,
    check: impl Fn(&TestBroker, Version, OnFault),
) {
    for failing in Failing::ALL {
        for policy in POLICIES {
            for version in VERSIONS {
                let broker = TestBroker::start_with(|setup| {
                    setup.chain(|c| chain(c.plugin(used(hook(failing), failing, policy))));
                });
                eprintln!("{failing:?} {policy:?} {version:?}");
                check(&broker, version, policy);
            }
        }
    }
}

#[test]
fn authenticate() {
    let behind = |chain: Chain| {
        chain.authenticate(|client| match client.username {
            Some("anna") => AuthVerdict::allow(),
            _ => AuthVerdict::Skip,
        })
    };
    each(Failing::authenticate, behind, |broker, version, policy| {
        let anna = broker.client(version, "a").username("anna");
        let stranger = broker.client(version, "a").username("stranger");
        match policy {
            OnFault::Deny => anna.refused(told(version, 0x88, 3)),
            OnFault::Drop | OnFault::Disconnect => anna.closed(),
            OnFault::Allow => drop(stranger.connect()),
            OnFault::Skip => {
                drop(anna.connect());
                stranger.refused(told(version, 0x87, 5));
            }
        }
    });
}

#[test]
fn authorize_publish() {
    let behind = |chain: Chain| {
        chain.authorize(|_, action, item| match (action, item.topic) {
            (Action::Publish, "open") | (Action::Subscribe, _) => AclVerdict::Allow,
            _ => AclVerdict::Skip,
        })
    };
    each(only_publish, behind, |broker, version, policy| {
        publish_meets(broker, version, policy, "open", "x");
    });
}

/// An authorizer that fails about PUBLISH and has no opinion about anything else.
fn only_publish(failing: Failing) -> Capabilities {
    let asked = failing.authorize().authorize.expect("it has the hook");
    crate::plugin::authorizes(move |cx, request, out| match request.action {
        Action::Publish => asked.authorize(cx, request, out),
        _ => plugin_api::Answer::now(()),
    })
}

#[test]
fn publish_() {
    each(
        Failing::publish,
        |chain| chain,
        |broker, version, policy| {
            publish_meets(broker, version, policy, "open", "x");
        },
    );
}

/// Publishes at each QoS and compares what publisher and subscriber see with what `policy` promises.
#[track_caller]
fn publish_meets(broker: &TestBroker, version: Version, policy: OnFault, topic: &str, payload: &str) {
    let mut subscriber = broker.v5("subscriber").connect();
    subscriber.subscribe(topic, 2);
    for qos in 0..3 {
        let mut publisher = broker.client(version, "publisher").connect();
        publisher.send(publish(topic, payload).qos(qos, 1));
        let acked = match qos {
            1 => Kind::Puback,
            _ => Kind::Pubrec,
        };
        match policy {
            OnFault::Disconnect => {
                if let Some(Packet::Disconnect(reasoned)) = publisher.next_packet() {
                    assert!(version.is_v5());
                    assert_ne!(reasoned.code, 0x87);
                }
                publisher.drain();
            }
            OnFault::Deny if qos > 0 && !version.is_v5() => publisher.expect_closed(),
            OnFault::Deny if qos > 0 => drop(publisher.expect_ack(acked, 1, 0x83)),
            _ if qos > 0 => drop(publisher.expect_ack(acked, 1, 0)),
            _ => drop(publisher.sync()),
        }
        match policy {
            OnFault::Skip | OnFault::Allow => {
                if qos == 2 {
                    publisher.send(pubrel(1)).expect_ack(Kind::Pubcomp, 1, 0);
                }
                // what the plugin had half done is undone
                assert_eq!(subscriber.take(topic, payload).qos, qos);
            }
            OnFault::Deny | OnFault::Drop | OnFault::Disconnect => drop(subscriber.expect_silence()),
        }
    }
}

#[test]
fn authorize_subscribe() {
    let behind = |chain: Chain| {
        chain.authorize(|_, _, item| match item.topic {
            "open" => AclVerdict::Allow,
            _ => AclVerdict::Skip,
        })
    };
    each(Failing::authorize, behind, |broker, version, policy| {
        let mut client = broker.client(version, "a").connect();
        client.send(subscribe(1).filter("open", 1).filter("closed", 1));
        let fault = told(version, 0x83, 0x80);
        match policy {
            OnFault::Deny | OnFault::Drop => drop(client.expect_suback(1, &[fault, fault])),
            OnFault::Skip => drop(client.expect_suback(1, &[1, told(version, 0x87, 0x80)])),
            OnFault::Allow => drop(client.expect_suback(1, &[1, 1])),
            OnFault::Disconnect => client.drain(),
        }
    });
}

#[test]
fn subscribe_() {
    each(
        Failing::subscribe,
        |chain| chain,
        |broker, version, policy| {
            let mut client = broker.client(version, "a").connect();
            client.send(subscribe(1).filter("t", 1));
            match policy {
                OnFault::Deny | OnFault::Drop => drop(client.expect_suback(1, &[told(version, 0x83, 0x80)])),
                OnFault::Skip | OnFault::Allow => drop(client.expect_suback(1, &[1])),
                OnFault::Disconnect => client.drain(),
            }
        },
    );
}

/// A back end that was down for a moment must not lock clients out afterwards.
#[test]
fn a_fault_is_not_remembered() {
    let calls = crate::plugin::Calls::default();
    let asked = calls.clone();
    let broker = TestBroker::start_with(move |setup| {
        let once = crate::plugin::authorizes(move |_, _, out| {
            asked.add();
            if asked.count() == 1 {
                return plugin_api::Answer::fault(plugin_api::Fault::backend("down for a moment"));
            }
            out.fill(plugin_api::AclDecision::fixed(AclVerdict::Allow));
            plugin_api::Answer::now(())
        });
        setup.chain(|chain| chain.plugin(Made(once)));
    });
    let mut client = broker.v5("a").connect();
    client.send(publish("t", "x").qos(1, 1));
    client.expect_ack(Kind::Puback, 1, 0x83);
    for _ in 0..3 {
        client.publish("t", "x", 1);
    }
    assert_eq!(calls.count(), 2, "the verdict is remembered, the fault isn't");
}
