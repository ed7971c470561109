//! Settings at their ends, and settings that reach another listener than their own.

use broker_types::{Limits, QoS};
use plugin_api::AuthVerdict;

use crate::prelude::*;

/// A change of the limits.
type Change = fn(&mut Limits);

/// Each limit at zero, one and its largest: the broker does not start, or it serves or refuses; nothing hangs or panics.
#[test]
fn limits_at_their_ends() {
    let changes: [Change; 29] = [
        |limits| limits.receive_maximum = 1,
        |limits| limits.inflight_max = 1,
        |limits| limits.outbox_bytes_max = 1,
        |limits| limits.queued_messages_max = 1,
        |limits| limits.queued_bytes_max = 1,
        |limits| limits.connections_max = Some(0),
        |limits| limits.connections_max = Some(usize::MAX),
        |limits| limits.packet_size_max = 0,
        |limits| limits.packet_size_max = u32::MAX,
        |limits| limits.connect_size_max = 0,
        |limits| limits.connect_size_max = u32::MAX,
        |limits| limits.receive_maximum = 0,
        |limits| limits.receive_maximum = u16::MAX,
        |limits| limits.inflight_max = 0,
        |limits| limits.inflight_max = u16::MAX,
        |limits| limits.queued_messages_max = 0,
        |limits| limits.queued_messages_max = usize::MAX,
        |limits| limits.queued_bytes_max = 0,
        |limits| limits.queued_bytes_max = usize::MAX,
        |limits| limits.outbox_bytes_max = 0,
        |limits| limits.outbox_bytes_max = usize::MAX,
        |limits| limits.subscriptions_max = 0,
        |limits| limits.topic_levels_max = 0,
        |limits| limits.topic_bytes_max = 0,
        |limits| limits.topic_alias_maximum = u16::MAX,
        |limits| limits.topic_alias_out_max = u16::MAX,
        |limits| limits.session_expiry_max = Some(0),
        |limits| limits.keep_alive_max = Some(0),
        |limits| (limits.rate_messages, limits.rate_bytes) = (Some(u32::MAX), Some(u32::MAX)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let Ok(broker) = TestBroker::try_start_with(|setup| change(&mut setup.limits)) else {
            continue;
        };
        for connect in [
            broker
                .v5("c")
                .keep_alive(u16::MAX)
                .prop(prop::session_expiry(u32::MAX)),
            broker.v311("d"),
        ] {
            let mut client = connect.sent();
            let Some(Packet::Connack(_)) = client.next_packet() else {
                continue;
            };
            client
                .send(subscribe(1).filter("a", 1))
                .send(publish("a", number.to_string()).qos(1, 1));
            client.half_close().drain();
        }
        broker.advance(secs(u64::from(u32::MAX) * 3));
        // the broker panicked nowhere: that is asked when it is dropped
    }
}

/// The clock at the far end of what it can count.
#[test]
fn a_clock_that_runs_out() {
    let broker = TestBroker::start();
    let mut client = broker
        .v5("c")
        .durable()
        .keep_alive(10)
        .will(will("w", "x").delay(u32::MAX))
        .connect();
    client
        .subscribe("a", 1)
        .publish_packet(publish("a", "x").retain().prop(prop::message_expiry(u32::MAX)), 1);
    broker.advance(std::time::Duration::from_millis(u64::MAX / 2));
    client.drain();
    broker.advance(std::time::Duration::from_millis(u64::MAX / 4));
    broker.v5("d").connect().subscribe("a", 1).expect_silence();
}

#[test]
fn limits_hold_for_their_own_listener() {
    let broker = TestBroker::start_with(|setup| {
        setup.limits.packet_size_max = 100;
        setup.limits.maximum_qos = QoS::AtMostOnce;
        setup.listener("wide", |_| {});
    });
    let mut narrow = broker.v5("narrow").connect();
    let mut wide = Connect::new(broker.addr_of("wide"), V5, "wide").connect();
    assert!(narrow.connack.props.contains(&prop::maximum_packet_size(100)));
    assert!(
        !wide
            .connack
            .props
            .iter()
            .any(|p| matches!(p, Property::MaximumQos(_) | Property::MaximumPacketSize(100)))
    );
    wide.subscribe("a", 2)
        .publish("a", "x".repeat(1000), 2)
        .take("a", "x".repeat(1000));
    narrow.send(publish("a", "x".repeat(1000))).expect_error(0x95);
}

#[test]
fn chains_hold_for_their_own_listener() {
    let broker = TestBroker::start_with(|setup| {
        setup.authenticate(|_| AuthVerdict::bad_credentials());
        setup.listener("open", |_| {});
    });
    broker.v5("c").refused(0x86);
    let open = Connect::new(broker.addr_of("open"), V5, "c");
    open.connect()
        .subscribe("a", 0)
        .publish("a", "x", 0)
        .take("a", "x");
    broker.v5("c").refused(0x86);
}
