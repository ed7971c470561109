//! `$SYS` and the counters behind it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_proto::PacketType;
use broker_types::{QoS, TopicName};

use crate::testing::{Client, DEADLINE, V5, V311};
use crate::{Broker, Clock, Gauges, Listener};

const TEN: Duration = Duration::from_secs(10);

async fn broker(clock: &Clock) -> Broker {
    Broker::builder()
        .listener(Listener::tcp("127.0.0.1:0").anonymous(true))
        .clock(clock.clone())
        .shards(1)
        .sys_interval(TEN)
        .start()
        .await
        .unwrap()
}

/// Reads messages until the last of a publication, which is known by its name, and returns them.
fn page(client: &mut Client, last: &str) -> BTreeMap<String, String> {
    let mut page = BTreeMap::new();
    loop {
        let (topic, payload, _) = client.message();
        page.insert(topic.clone(), payload);
        if topic == last {
            return page;
        }
    }
}

#[tokio::test]
async fn a_subscriber_gets_all_now_and_then_what_changes() {
    let clock = Clock::manual();
    let broker = broker(&clock).await;
    let mut client = Client::connect(broker.addr("listener-0").unwrap(), V311, "dashboard");
    client.subscribe("$SYS/#", QoS::AtLeastOnce);
    clock.advance(Duration::from_millis(1));
    let first = page(&mut client, "$SYS/broker/load/connections/15min");
    assert_eq!(first["$SYS/broker/clients/connected"], "1");
    assert_eq!(first["$SYS/broker/subscriptions/count"], "1");
    assert_eq!(first["$SYS/broker/mqtt/connect/received"], "1");
    assert_eq!(first["$SYS/broker/mqtt/suback/sent"], "1");
    assert!(first["$SYS/broker/version"].starts_with("jackfield version "));

    client.publish("a", b"12345", false);
    client.sync();
    clock.advance(TEN);
    let second = page(&mut client, "$SYS/broker/load/publish/sent/15min");
    assert_eq!(second["$SYS/broker/publish/bytes/received"], "5");
    assert_eq!(second["$SYS/broker/uptime"], "10 seconds");
    assert!(!second.contains_key("$SYS/broker/version"), "it has not changed");

    let topic = TopicName::new("$SYS/broker/version").unwrap();
    assert!(broker.handle().retained(&topic).is_some());
    broker.shutdown(TEN).await;
}

#[tokio::test]
async fn packets_are_counted_by_type() {
    let clock = Clock::manual();
    let broker = broker(&clock).await;
    let addr = broker.addr("listener-0").unwrap();
    let mut receiver = Client::connect(addr, V5, "receiver");
    receiver.subscribe("t", QoS::AtLeastOnce);
    let mut sender = Client::connect(addr, V5, "sender");
    assert_eq!(sender.publish_qos1("t", b"abc"), Some(0));
    assert_eq!(receiver.message().1, "abc");
    receiver.sync();
    sender.sync();
    let counts = broker.handle().counts();
    for (packet, received, sent) in [
        (PacketType::Connect, 2, 0),
        (PacketType::ConnAck, 0, 2),
        (PacketType::Subscribe, 1, 0),
        (PacketType::SubAck, 0, 1),
        (PacketType::Publish, 1, 1),
        (PacketType::PubAck, 1, 1),
        (PacketType::PingReq, 2, 0),
        (PacketType::PingResp, 0, 2),
    ] {
        let counted = (counts.received.of(packet), counts.sent.of(packet));
        assert_eq!(counted, (received, sent), "{packet:?}");
    }
    assert_eq!((counts.received.total(), counts.sent.total()), (7, 7));
    assert_eq!((counts.publish_bytes_received, counts.publish_bytes_sent), (3, 3));
    assert_eq!(counts.publishes_received_qos1, 1);
    broker.shutdown(TEN).await;
}

#[tokio::test]
async fn gauges_follow_what_waits_and_forget_what_ended() {
    let clock = Clock::manual();
    let broker = broker(&clock).await;
    let addr = broker.addr("listener-0").unwrap();
    let mut receiver = Client::resume(addr, "receiver");
    receiver.subscribe("t", QoS::AtLeastOnce);
    drop(receiver);
    let mut sender = Client::connect(addr, V5, "sender");
    // The broker notices the end of a connection by itself; what is under way to it until then comes back to the queue.
    for _ in 0..3 {
        assert_eq!(sender.publish_qos1("t", b"abc"), Some(0));
    }
    let handle = broker.handle();
    let gauges = handle.gauges();
    assert_eq!((gauges.queued + gauges.inflight, gauges.sessions), (3, 2));
    assert!(gauges.kept_bytes > 9, "{gauges:?}");

    let mut receiver = Client::resume(addr, "receiver");
    for _ in 0..3 {
        assert_eq!(receiver.message().1, "abc");
    }
    receiver.sync();
    // What was written is counted as gone right after it is.
    let begun = Instant::now();
    let held = |gauges: Gauges| {
        let counted = [gauges.queued, gauges.queued_bytes, gauges.inflight];
        counted.iter().sum::<u64>() + gauges.kept_bytes + gauges.output_bytes
    };
    while held(handle.gauges()) > 0 {
        assert!(begun.elapsed() < DEADLINE, "{:?}", handle.gauges());
        std::thread::yield_now();
    }
    broker.shutdown(TEN).await;
}
