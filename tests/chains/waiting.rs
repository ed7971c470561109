//! Plugins that take their time: whom they hold up, and whom not. Time doesn't pass here; gates open.

use std::sync::Arc;
use std::time::Instant;

use jackfield_tests::harness::TestBroker;
use jackfield_tests::wire::{DEADLINE, Kind, Packet, pingreq, publish};
use plugin_api::{AuthVerdict, Flow, Patch};

use crate::VERSIONS;
use crate::plugin::Gate;

/// A broker whose authenticator waits for those called `slow`, and whose publish hook waits for `slow/#`.
fn broker(gate: &Gate) -> TestBroker {
    let (at_door, at_publish) = (gate.clone(), gate.clone());
    TestBroker::start_with(move |setup| {
        setup.chain(|chain| {
            chain
                .authenticate_async(move |client| {
                    let gate = at_door.clone();
                    Box::pin(async move {
                        if client.client_id.starts_with("slow") {
                            gate.pass(client.client_id.to_owned()).await;
                        }
                        Ok(AuthVerdict::allow())
                    })
                })
                .on_publish_async("slow/#", move |_, message| {
                    let gate = at_publish.clone();
                    async move {
                        gate.pass(message.topic.to_string()).await;
                        Ok((Flow::Continue, Patch::default()))
                    }
                })
        });
    })
}

/// While one client waits to be let in, a hundred others come, talk and go.
#[test]
fn a_slow_authenticator_holds_up_its_own_client_only() {
    let gate = Gate::new();
    let broker = broker(&gate);
    let mut slow = broker.v5("slow").sent();
    // what a client sends behind its CONNECT waits with it
    slow.send(publish("t", "from slow").qos(1, 1));
    assert_eq!(gate.arrival(), "slow");

    let mut watcher = broker.v5("watcher").connect();
    watcher.subscribe("t", 1);
    for i in 0..100 {
        let mut quick = broker.client(VERSIONS[i % 2], format!("quick{i}")).connect();
        quick.publish("t", format!("{i}"), 1).disconnect();
        watcher.take("t", format!("{i}"));
    }
    watcher.expect_silence();

    gate.open(1);
    slow.expect_accepted();
    slow.expect_ack(Kind::Puback, 1, 0);
    watcher.take("t", "from slow");
}

/// A client that goes while its authenticator thinks leaves nothing behind, though it was let in.
#[test]
fn a_client_that_leaves_in_the_meantime_is_no_session() {
    let gate = Gate::new();
    let broker = broker(&gate);
    let slow = broker.v5("slow").sent();
    assert_eq!(gate.arrival(), "slow");
    slow.abort();
    gate.open(1);
    let until = Instant::now() + DEADLINE;
    while broker.handle().gauges().connections > 0 {
        assert!(Instant::now() < until, "{:?}", broker.handle().gauges());
        std::thread::yield_now();
    }
    assert_eq!(broker.handle().gauges().sessions, 0);
    let mut again = broker.v5("slow").sent();
    assert_eq!(gate.arrival(), "slow");
    gate.open(1);
    again.expect_accepted();
    again.sync();
    assert_eq!(broker.handle().gauges().sessions, 1);
}

/// PINGREQ is answered while a PUBLISH before it waits, or the client would think that the broker is gone; the
/// acknowledgement comes when the plugin has spoken.
#[test]
fn a_pending_publish_answers_pings_behind_it() {
    for version in VERSIONS {
        for qos in 1..3 {
            let gate = Gate::new();
            let broker = broker(&gate);
            let mut client = broker.client(version, "a").connect();
            client.subscribe("slow/#", 2);
            client.send(publish("slow/1", "x").qos(qos, 1));
            assert_eq!(gate.arrival(), "slow/1");
            for _ in 0..3 {
                client.send(pingreq());
                assert_eq!(client.recv(), Packet::Pingresp);
            }
            gate.open(1);
            let acked = client.recv();
            let kind = if qos == 1 { Kind::Puback } else { Kind::Pubrec };
            let both = [acked, client.recv()];
            assert!(
                both.iter()
                    .any(|p| matches!(p, Packet::Ack(a) if a.kind == kind && a.code == 0)),
                "{both:?}"
            );
            assert!(
                both.iter()
                    .any(|p| matches!(p, Packet::Publish(p) if p.topic == "slow/1")),
                "{both:?}"
            );
        }
    }
}

/// What one client sends keeps its order, whether plugins think about it or not; others don't wait.
#[test]
fn a_pending_publish_keeps_its_clients_order() {
    let gate = Gate::new();
    let broker = broker(&gate);
    let mut watcher = broker.v5("watcher").connect();
    watcher.subscribe("#", 0);
    let mut client = broker.v5("a").connect();
    client.send(publish("slow/1", "1").qos(1, 1));
    client.send(publish("quick", "2").qos(1, 2));
    client.send(publish("slow/3", "3").qos(1, 3));
    gate.arrival();
    let mut other = broker.v5("b").connect();
    other.publish("quick", "other", 1);
    watcher.take("quick", "other");
    gate.open(2);
    for id in 1..=3 {
        client.expect_ack(Kind::Puback, id, 0);
    }
    for (topic, payload) in [("slow/1", "1"), ("quick", "2"), ("slow/3", "3")] {
        watcher.take(topic, payload);
    }
}

/// The same gate for many: each waits for itself.
#[test]
fn many_wait_side_by_side() {
    let gate = Gate::new();
    let broker = Arc::new(broker(&gate));
    let mut waiting: Vec<_> = (0..50).map(|i| broker.v5(format!("slow{i}")).sent()).collect();
    for _ in 0..50 {
        gate.arrival();
    }
    drop(broker.v5("quick").connect());
    gate.open(50);
    for client in &mut waiting {
        client.expect_accepted();
    }
}
