//! A leak for each refused or odd packet.

use super::{alone, grown_mib};
use crate::prelude::*;

/// Runs `odd` often and then often again: the second time nothing may be left behind.
#[track_caller]
fn leaves_nothing(broker: &TestBroker, odd: impl Fn(u32)) {
    const TIMES: u32 = 400;
    (0..TIMES).for_each(&odd);
    let grown = grown_mib(|| (TIMES..3 * TIMES).for_each(&odd));
    assert!(grown < 4, "{grown} MiB");
    broker.advance(secs(100_000));
    eventually(|| {
        let left = broker.handle().gauges();
        (
            left.sessions,
            left.subscriptions,
            left.shared_subscriptions,
            left.connections,
        ) == (0, 0, 0, 0)
            && (
                left.retained,
                left.queued,
                left.inflight,
                left.kept_bytes,
                left.partial_bytes,
            ) == (0, 0, 0, 0, 0)
    });
}

alone! {
    fn refused_connects() {
        let broker = TestBroker::start();
        leaves_nothing(&broker, |number| {
            let connect = broker.v5(format!("client-{number}")).will(will("w", "x".repeat(2000))).username("u".repeat(2000));
            match number % 5 {
                0 => connect.flip(0x01).sent().drain(),
                1 => connect.protocol("MQTT", 9).sent().abort(),
                2 => connect.open().send(connect.frame().cut(1)).drain(),
                3 => broker.open(V5).send(publish("a", "x".repeat(2000))).drain(),
                // cut off in the middle
                _ => connect.open().send(&connect.frame().encode()[..1500]).half_close().drain(),
            }
        });
    }

    fn connections_that_end_in_each_way() {
        let broker = TestBroker::start();
        leaves_nothing(&broker, |number| {
            let connect = broker.v5(format!("client-{}", number % 10)).will(will("w", "x".repeat(2000)));
            let connect = if number % 2 == 0 { connect.durable() } else { connect };
            let mut client = connect.connect();
            client.subscribe(format!("a/{number}/#"), 1).subscribe("$share/g/b", 2).subscribe("w", 1);
            match number % 5 {
                0 => client.disconnect(),
                1 => client.send(publish("#", "x")).drain(),
                2 => client.lose(),
                // taken over
                3 => connect.connect().disconnect(),
                // a PUBLISH that is never completed
                _ => client.send(Frame::new(0x30).bytes("x".repeat(2000)).claim(100_000)).half_close().drain(),
            }
        });
    }

    fn odd_packets_within_a_connection() {
        let broker = TestBroker::start();
        leaves_nothing(&broker, |number| {
            let mut client = broker.v5("c").connect();
            for packet_id in 1..30 {
                client.send(subscribe(packet_id).filter(format!("a/#/{number}/{packet_id}"), 1));
                client.send(unsubscribe(packet_id).filter(format!("none/{number}/{packet_id}")));
                client.send(puback(packet_id)).send(pubcomp(packet_id));
                client.send(pubrel(packet_id)).send(pubrec(packet_id));
                client.send(publish("q", "x".repeat(100)).qos(2, packet_id));
                client.send(publish(format!("r/{number}/{packet_id}"), "x").retain());
                client.send(publish(format!("r/{number}/{packet_id}"), "").retain());
                client.send(publish(format!("alias/{number}"), "x").prop(prop::topic_alias(packet_id % 64 + 1)));
            }
            client.send(disconnect()).drain();
        });
    }
}
