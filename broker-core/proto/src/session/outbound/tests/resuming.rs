//! What a Session keeps over connections and lives of the broker.

use super::*;

#[test]
fn v5_4_4_0_1_a_resumed_session_gets_everything_again_in_order() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    for (qos, payload) in [(QOS1, "a"), (QOS2, "b"), (QOS1, "c"), (QOS2, "d"), (QOS1, "e")] {
        rig.send(qos, payload);
    }
    assert!(rig.seen().iter().all(|line| !line.contains("dup")));
    rig.pubrec(2, ReasonCode::Success).unwrap();
    rig.outbound.handle_puback(id(3)).unwrap();
    rig.outbound.disconnect();
    assert_eq!(rig.send(QOS1, "f"), Delivered::Queued { seq: 5, dropped: 0 });
    assert_eq!(rig.connect(&peer(V311)).sent, 4);
    assert_eq!(
        rig.seen(),
        [
            "q1 #1 dup a",
            "pubrel #2",
            "q2 #4 dup d",
            "q1 #5 dup e",
            "q1 #6 f"
        ]
    );
    // [MQTT-4.4.0-1]: at no other time.
    rig.pump();
    assert!(rig.seen().is_empty());
}

#[test]
fn resending_keeps_a_receive_maximum_that_became_smaller() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    for (qos, payload) in [(QOS1, "a"), (QOS2, "b"), (QOS1, "c"), (QOS1, "d")] {
        rig.send(qos, payload);
    }
    rig.pubrec(2, ReasonCode::Success).unwrap();
    rig.outbound.disconnect();
    let one = Peer {
        receive_maximum: 1,
        ..peer(V5)
    };
    rig.connect(&one);
    // PUBREL takes no place of the new connection, and its PUBCOMP gives none back.
    assert_eq!(rig.seen(), ["q1 #1 dup a", "pubrel #2"]);
    assert_eq!(rig.send(QOS1, "e"), Delivered::Queued { seq: 4, dropped: 0 });
    rig.outbound.handle_pubcomp(id(2)).unwrap();
    rig.pump();
    assert!(rig.seen().is_empty());
    // Neither does an answer to something that this connection did not get.
    assert_eq!(
        rig.outbound.handle_puback(id(4)),
        Ok(Progress::Finished { seq: 3 })
    );
    rig.pump();
    assert!(rig.seen().is_empty());
    rig.outbound.handle_puback(id(1)).unwrap();
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #3 dup c"]);
    rig.outbound.handle_puback(id(3)).unwrap();
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #5 e"]);
}

#[test]
fn v5_3_1_2_25_a_message_that_became_too_large_counts_as_delivered() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    rig.send(QOS1, "123456");
    rig.send(QOS1, "1");
    rig.outbound.disconnect();
    rig.send(QOS1, "123456");
    rig.send(QOS1, "2");
    let small = Peer {
        packet_size_max: Some(12),
        ..peer(V5)
    };
    assert_eq!(
        rig.connect(&small),
        Pumped {
            sent: 2,
            payload_bytes: 2,
            released: 0,
            expired: 0,
            too_large: 2
        }
    );
    assert_eq!(rig.seen(), ["q1 #2 dup 1", "q1 #4 2"]);
    assert_eq!(rig.outbound.inflight(), 2);
}

#[test]
fn a_session_that_ends_with_its_connection_keeps_no_message() {
    let passing = Peer {
        resumable: false,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &passing);
    rig.send(QOS1, "a");
    rig.deliver(Given {
        shared: true,
        ..given(QOS1, "b")
    });
    let kept: Vec<_> = rig
        .outbound
        .snapshot()
        .inflight
        .iter()
        .map(|slot| slot.message.is_some())
        .collect();
    assert_eq!(kept, [false, true]);
}

#[test]
fn messages_of_shared_subscriptions_can_be_given_to_others() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    for (qos, payload) in [(QOS1, "a"), (QOS2, "b"), (QOS1, "c")] {
        rig.deliver(Given {
            shared: payload != "c",
            ..given(qos, payload)
        });
    }
    rig.outbound.disconnect();
    for (shared, payload) in [(true, "d"), (false, "e"), (true, "f")] {
        rig.deliver(Given {
            shared,
            ..given(QOS2, payload)
        });
    }
    let taken = |rig: &mut Rig, under_way| {
        let taken = rig.outbound.take_shared(under_way);
        taken
            .iter()
            .map(|stored| String::from_utf8(stored.payload().to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut rig, false), ["d", "f"]);
    assert_eq!(taken(&mut rig, true), ["a"]);
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q2 #2 dup b", "q1 #3 dup c", "q2 #4 e"]);
}

#[test]
fn a_recorded_session_tells_every_change() {
    let two = Peer {
        receive_maximum: 2,
        ..peer(V5)
    };
    let mut rig = Rig::connected(
        OutboundLimits {
            recorded: true,
            queued_messages_max: 2,
            ..LIMITS
        },
        &two,
    );
    let records = |rig: &mut Rig| std::iter::from_fn(|| rig.outbound.poll_record()).collect::<Vec<_>>();
    let sent = |seq, packet_id| Record::Sent {
        seq,
        packet_id: id(packet_id),
    };
    rig.send(QOS0, "");
    assert_eq!(records(&mut rig), []);
    rig.send(QOS2, "a");
    rig.send(QOS1, "b");
    assert_eq!(records(&mut rig), [sent(0, 1), sent(1, 2)]);
    for payload in ["c", "d", "e"] {
        rig.send(QOS1, payload);
    }
    assert_eq!(records(&mut rig), [Record::Finished { seq: 2 }]);
    rig.pubrec(1, ReasonCode::Success).unwrap();
    rig.outbound.handle_puback(id(2)).unwrap();
    rig.pump();
    assert_eq!(
        records(&mut rig),
        [
            Record::Released { seq: 0 },
            Record::Finished { seq: 1 },
            sent(3, 3)
        ]
    );
    rig.outbound.handle_pubcomp(id(1)).unwrap();
    rig.outbound.skip_next(4);
    assert_eq!(
        records(&mut rig),
        [Record::Finished { seq: 0 }, Record::Finished { seq: 4 }]
    );
}

#[test]
fn a_restored_session_goes_on_where_it_was() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    for (qos, payload) in [(QOS1, "a"), (QOS2, "b"), (QOS1, "c")] {
        rig.send(qos, payload);
    }
    rig.pubrec(2, ReasonCode::Success).unwrap();
    rig.outbound.handle_puback(id(1)).unwrap();
    rig.outbound.disconnect();
    rig.send(QOS1, "d");
    let snapshot = rig.outbound.snapshot();
    assert_eq!((snapshot.next_seq, snapshot.next_packet_id), (4, 4));
    let mut again = Rig::offline(LIMITS);
    again.outbound = Outbound::restore(LIMITS, snapshot);
    again.connect(&peer(V5));
    assert_eq!(again.seen(), ["pubrel #2", "q1 #3 dup c", "q1 #4 d"]);
    assert_eq!(
        again.send(QOS1, "e"),
        Delivered::Sent {
            under_way: Some((4, id(5)))
        }
    );
}
