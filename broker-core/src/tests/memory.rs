//! The ceiling for memory, made small: what is refused, in which order, and that it comes back.

use std::time::Duration;

use broker_proto::{Connect, PacketType};
use broker_types::{Limits, QoS};

use crate::testing::{Client, V5, V311};
use crate::{Broker, Listener};

const QUOTA_EXCEEDED: u8 = 0x97;
const KIB: usize = 1024;

async fn broker(memory_max: u64) -> Broker {
    Broker::builder()
        .listener(
            Listener::tcp("127.0.0.1:0")
                .anonymous(true)
                .limits(Limits::default()),
        )
        .shards(1)
        .memory_max(memory_max)
        .start()
        .await
        .unwrap()
}

/// Fills the broker until a QoS 1 message is refused, and returns how many were taken.
#[track_caller]
fn fill(sender: &mut Client) -> usize {
    for taken in 0..10_000 {
        match sender.publish_qos1("queue", &[7; 4 * KIB]) {
            Some(0) => {}
            Some(QUOTA_EXCEEDED) => return taken,
            other => panic!("PUBACK {other:?}"),
        }
    }
    panic!("nothing was ever refused")
}

/// A Session that is offline and collects everything under `queue`.
fn collector(broker: &Broker) {
    let mut collector = Client::resume(broker.addr("listener-0").unwrap(), "collector");
    collector.subscribe("queue", QoS::AtLeastOnce);
    collector.raw(&[0xE0, 2, 0, 0]);
    assert!(collector.frame().is_none(), "the connection ends");
}

#[tokio::test]
async fn work_is_refused_in_steps_and_taken_again_when_there_is_room() {
    let broker = broker(1024 * KIB as u64).await;
    let addr = broker.addr("listener-0").unwrap();
    collector(&broker);
    let mut sender = Client::connect(addr, V5, "sender");
    let taken = fill(&mut sender);
    assert!(
        (200..256).contains(&taken),
        "{taken} messages of 4 KiB within 1 MiB"
    );

    // Publishes: 5.0 is told, 3.1.1 would be lied to and is closed instead, QoS 0 is dropped and counted.
    let counts = || broker.handle().counts();
    let before = counts().messages_refused_memory;
    sender.publish("elsewhere", b"x", false);
    sender.sync();
    assert_eq!(counts().messages_refused_memory, before + 1);

    // New Sessions are refused; the one that relieves the broker is not.
    let (_, reason) = Client::try_connect(addr, &Connect::new(V5, "newcomer"));
    assert_eq!(reason, Some(QUOTA_EXCEEDED));
    assert_eq!(counts().sessions_refused_memory, 1);
    let mut collector = Client::resume(addr, "collector");
    for _ in 0..taken {
        assert_eq!(collector.message().1.len(), 4 * KIB);
    }
    collector.sync();

    assert_eq!(
        sender.publish_qos1("elsewhere", b"x"),
        Some(0x10),
        "no matching subscribers"
    );
    Client::connect(addr, V5, "newcomer");
    broker.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_3_1_1_client_is_closed_rather_than_lied_to() {
    let broker = broker(512 * KIB as u64).await;
    let addr = broker.addr("listener-0").unwrap();
    collector(&broker);
    let mut old = Client::connect(addr, V311, "old");
    fill(&mut Client::connect(addr, V5, "sender"));
    assert_eq!(old.publish_qos1("queue", b"x"), None);
    broker.shutdown(Duration::from_secs(5)).await;
}

/// A message that waits for many Sessions takes its bytes once.
#[tokio::test]
async fn what_many_sessions_wait_for_counts_once() {
    let broker = broker(1024 * KIB as u64).await;
    let addr = broker.addr("listener-0").unwrap();
    for n in 0..40 {
        let mut waiting = Client::resume(addr, &format!("waiting-{n}"));
        waiting.subscribe("queue", QoS::AtLeastOnce);
        waiting.raw(&[0xE0, 2, 0, 0]);
        assert!(waiting.frame().is_none());
    }
    let mut sender = Client::connect(addr, V5, "sender");
    for _ in 0..20 {
        assert_eq!(sender.publish_qos1("queue", &[7; 8 * KIB]), Some(0));
    }
    let gauges = broker.handle().gauges();
    assert_eq!(gauges.queued, 800);
    assert!(gauges.queued_bytes > 6 << 20, "{gauges:?}");
    assert!(
        (160..200).contains(&(gauges.kept_bytes as usize / KIB)),
        "{gauges:?}"
    );
    broker.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn packets_that_are_not_complete_share_a_quarter() {
    let broker = broker(1024 * KIB as u64).await;
    let addr = broker.addr("listener-0").unwrap();
    // A PUBLISH of 1,000,000 bytes, of which 200 KiB come.
    let head = [0x30, 0xC0, 0x84, 0x3D, 0, 1, b't', 0];
    let mut patient = Client::connect(addr, V5, "patient");
    patient.raw(&head);
    patient.raw(&vec![7; 100 * KIB]);
    let mut greedy = Client::connect(addr, V5, "greedy");
    greedy.raw(&head);
    greedy.raw(&vec![7; 300 * KIB]);
    let last = greedy.frame().expect("a DISCONNECT");
    assert_eq!(
        (last[0] >> 4, last[2]),
        (PacketType::Disconnect as u8, QUOTA_EXCEEDED)
    );
    assert_eq!(broker.handle().counts().partial_refused, 1);
    // Nobody else is hurt.
    let mut other = Client::connect(addr, V5, "other");
    assert_eq!(other.publish_qos1("t", b"x"), Some(0x10));
    assert!(broker.handle().gauges().partial_bytes > 0);
    drop(patient);
    broker.shutdown(Duration::from_secs(5)).await;
}
