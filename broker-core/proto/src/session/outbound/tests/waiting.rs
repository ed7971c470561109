//! What waits, for how long, and what it costs others.

use super::*;

#[test]
fn v5_3_3_2_6_the_expiry_interval_counts_down_while_a_message_waits() {
    let mut rig = Rig::offline(LIMITS);
    let expiring = Given {
        expiry: Some(10),
        ..given(QOS1, "a")
    };
    rig.deliver(expiring);
    rig.wait(3_999);
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q1 #1 7s a"]);
    // 3.1.1 has no such property.
    rig.outbound.disconnect();
    rig.connect(&peer(V311));
    assert_eq!(rig.seen(), ["q1 #1 dup a"]);
}

#[test]
fn v5_3_3_2_5_an_expired_message_is_dropped_and_blocks_nobody() {
    let one = Peer {
        receive_maximum: 1,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &one);
    rig.send(QOS1, "a");
    for (expiry, payload) in [(Some(1), "b"), (None, "c"), (Some(2), "d"), (Some(9), "e")] {
        rig.deliver(Given {
            expiry,
            ..given(QOS1, payload)
        });
    }
    rig.seen();
    rig.wait(999);
    rig.outbound.handle_puback(id(1)).unwrap();
    assert_eq!(rig.pump().expired, 0);
    assert_eq!(rig.seen(), ["q1 #2 1s b"]);
    rig.wait(1_001);
    rig.outbound.handle_puback(id(2)).unwrap();
    assert_eq!(
        rig.pump(),
        Pumped {
            sent: 1,
            payload_bytes: 1,
            released: 0,
            expired: 1,
            too_large: 0
        }
    );
    assert_eq!(rig.seen(), ["q1 #3 c"]);
    assert_eq!(rig.outbound.drop_expired(rig.now), 0);
    rig.wait(7_000);
    assert_eq!(rig.outbound.drop_expired(rig.now), 1);
    assert_eq!(
        (rig.outbound.queued_messages(), rig.outbound.queued_bytes()),
        (0, 0)
    );
}

#[test]
fn an_expiry_interval_of_zero_reaches_only_who_is_there() {
    let expiring = |qos| Given {
        expiry: Some(0),
        ..given(qos, "a")
    };
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    rig.deliver(expiring(QOS1));
    assert_eq!(rig.seen(), ["q1 #1 0s a"]);
    rig.outbound.disconnect();
    rig.deliver(expiring(QOS1));
    rig.wait(1);
    assert_eq!(
        rig.connect(&peer(V5)),
        Pumped {
            sent: 1,
            payload_bytes: 1,
            released: 0,
            expired: 1,
            too_large: 0
        }
    );
    // [MQTT-4.3.3-7]: what was sent is sent again.
    assert_eq!(rig.seen(), ["q1 #1 dup 0s a"]);
}

#[test]
fn qos_0_waits_only_in_line_and_only_while_connected() {
    let one = Peer {
        receive_maximum: 1,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &one);
    assert_eq!(rig.send(QOS0, "a"), Delivered::Sent { under_way: None });
    rig.send(QOS1, "b");
    assert_eq!(rig.send(QOS0, "c"), Delivered::Sent { under_way: None });
    rig.send(QOS1, "d");
    assert_eq!(rig.send(QOS0, "e"), Delivered::Queued { seq: 2, dropped: 0 });
    assert_eq!(rig.seen(), ["q0 a", "q1 #1 b", "q0 c"]);
    rig.outbound.handle_puback(id(1)).unwrap();
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #2 d", "q0 e"]);
    rig.send(QOS1, "f");
    rig.send(QOS0, "g");
    assert_eq!(rig.outbound.disconnect(), 1);
    assert_eq!(rig.send(QOS0, "h"), Delivered::Dropped(DropReason::Offline));
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q1 #2 dup d", "q1 #3 f"]);
}

#[test]
fn qos_0_waits_for_an_offline_client_if_wanted() {
    let mut rig = Rig::offline(OutboundLimits {
        queue_qos0: true,
        ..LIMITS
    });
    rig.send(QOS0, "a");
    rig.send(QOS1, "b");
    rig.outbound.disconnect();
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q0 a", "q1 #1 b"]);
}

#[test]
fn a_full_buffer_drops_qos_0_and_holds_the_rest() {
    let narrow = Peer {
        outbox_bytes_max: 8,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &narrow);
    // One message may exceed it.
    assert_eq!(rig.send(QOS0, "0123456789"), Delivered::Sent { under_way: None });
    assert_eq!(rig.send(QOS0, "a"), Delivered::Dropped(DropReason::OutboxFull));
    assert_eq!(rig.send(QOS1, "b"), Delivered::Queued { seq: 0, dropped: 0 });
    rig.send(QOS1, "c");
    assert_eq!(rig.pump().sent, 0);
    rig.seen();
    assert_eq!(rig.pump().sent, 1);
    assert_eq!(rig.seen(), ["q1 #1 b"]);
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #2 c"]);
    // Sending again keeps the bound too.
    rig.outbound.disconnect();
    rig.connect(&narrow);
    assert_eq!(rig.seen(), ["q1 #1 dup b"]);
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #2 dup c"]);
}

#[test]
fn a_full_queue_follows_its_policy() {
    let small = OutboundLimits {
        queued_messages_max: 2,
        ..LIMITS
    };
    let none = Peer {
        outbox_bytes_max: 0,
        ..peer(V5)
    };
    let full = |drop| {
        let mut rig = Rig::connected(OutboundLimits { drop, ..small }, &none);
        rig.send(QOS1, "a");
        rig.send(QOS1, "b");
        rig
    };
    let kept = |mut rig: Rig| {
        rig.outbound.disconnect();
        rig.connect(&peer(V5));
        rig.seen()
    };
    let mut rig = full(DropPolicy::Oldest);
    assert_eq!(rig.send(QOS1, "c"), Delivered::Queued { seq: 2, dropped: 1 });
    assert_eq!(kept(rig), ["q1 #1 b", "q1 #2 c"]);

    let mut rig = full(DropPolicy::Newest);
    assert_eq!(rig.send(QOS1, "c"), Delivered::Dropped(DropReason::QueueFull));
    assert_eq!(kept(rig), ["q1 #1 a", "q1 #2 b"]);

    let mut rig = full(DropPolicy::Disconnect);
    assert_eq!(rig.send(QOS1, "c"), Delivered::Overflow);
    rig.outbound.disconnect();
    assert_eq!(rig.send(QOS1, "c"), Delivered::Dropped(DropReason::QueueFull));
    assert_eq!(kept(rig), ["q1 #1 a", "q1 #2 b"]);
}

#[test]
fn qos_0_takes_nobodys_place_in_the_queue() {
    for drop in [DropPolicy::Oldest, DropPolicy::Disconnect] {
        let mut rig = Rig::offline(OutboundLimits {
            queued_messages_max: 1,
            queue_qos0: true,
            drop,
            ..LIMITS
        });
        rig.send(QOS1, "a");
        assert_eq!(rig.send(QOS0, "b"), Delivered::Dropped(DropReason::QueueFull));
        rig.connect(&peer(V5));
        assert_eq!(rig.seen(), ["q1 #1 a"]);
    }
}

#[test]
fn the_queue_is_bounded_in_bytes_to_the_byte() {
    let mut rig = Rig::offline(OutboundLimits {
        queued_bytes_max: 10,
        ..LIMITS
    });
    // A byte of topic each.
    assert_eq!(rig.send(QOS1, "1234"), Delivered::Queued { seq: 0, dropped: 0 });
    assert_eq!(rig.send(QOS1, "1234"), Delivered::Queued { seq: 1, dropped: 0 });
    assert_eq!(rig.outbound.queued_bytes(), 10);
    assert_eq!(
        rig.send(QOS1, "123456789"),
        Delivered::Queued { seq: 2, dropped: 2 }
    );
    assert_eq!(
        rig.send(QOS1, "1234567890"),
        Delivered::Dropped(DropReason::QueueFull)
    );
    assert_eq!(
        (rig.outbound.queued_messages(), rig.outbound.queued_bytes()),
        (1, 10)
    );
}

#[test]
fn what_is_behind_the_window_is_counted_and_comes_back_in_order() {
    let mut rig = Rig::offline(OutboundLimits {
        window: 2,
        queued_messages_max: 6,
        ..LIMITS
    });
    let mut stored = Vec::new();
    for payload in ["a", "b", "c", "d", "e", "f"] {
        match rig.send(QOS1, payload) {
            Delivered::Queued { .. } => assert!("ab".contains(payload)),
            Delivered::Behind { seq, dropped: 0 } => {
                let message = MessageRef {
                    topic: TopicRef::new("t").unwrap(),
                    payload: Payload::Borrowed(payload.as_bytes()),
                    qos: QOS2,
                    retain: false,
                    properties: &[],
                    expiry: None,
                };
                stored.push(Queued {
                    seq,
                    message: Arc::new(Stored::new(&message, rig.now)),
                    terms: Terms::new(QOS1, false, false, &[]),
                });
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (rig.outbound.queued_messages(), rig.outbound.queued_bytes()),
        (6, 12)
    );
    assert_eq!(rig.outbound.wants_refill(), None);
    // The oldest in memory makes room for what goes behind the window.
    assert_eq!(rig.send(QOS1, "g"), Delivered::Behind { seq: 6, dropped: 1 });
    assert_eq!(rig.outbound.wants_refill(), Some(1));
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q1 #1 b"]);
    assert_eq!(rig.send(QOS1, "h"), Delivered::Behind { seq: 7, dropped: 0 });
    assert_eq!(rig.outbound.wants_refill(), Some(2));
    // `d` is gone from the store.
    stored.remove(1);
    rig.outbound.refill(stored.drain(..2), 1);
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #2 c", "q1 #3 e"]);
    assert_eq!(rig.outbound.queued_messages(), 3);
    rig.outbound.refill(stored, u64::MAX);
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #4 f"]);
    assert_eq!(
        (rig.outbound.queued_messages(), rig.outbound.queued_bytes()),
        (0, 0)
    );
    assert_eq!(
        rig.send(QOS1, "i"),
        Delivered::Sent {
            under_way: Some((8, id(5)))
        }
    );
}

#[test]
fn an_owner_may_look_at_each_message_before_it_leaves() {
    let one = Peer {
        receive_maximum: 2,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &one);
    rig.send(QOS1, "a");
    rig.outbound.disconnect();
    for payload in ["b", "c", "d"] {
        rig.send(QOS1, payload);
    }
    rig.out.clear();
    rig.outbound.connect_held(&one);
    assert!(rig.out.is_empty());

    let (pumped, first) = rig.outbound.next_ready(rig.now, &mut rig.out);
    let first = first.map(|queued| queued.seq);
    assert_eq!((pumped.sent, first), (1, Some(1)));
    assert!(rig.outbound.skip_next(1) && !rig.outbound.skip_next(1));
    assert_eq!(rig.outbound.send_next(rig.now, 1, None, &mut rig.out), None);
    let edited = MessageRef {
        topic: TopicRef::new("other").unwrap(),
        payload: Payload::Borrowed(b"C"),
        qos: QOS1,
        retain: false,
        properties: &[],
        expiry: None,
    };
    let edited = Arc::new(Stored::new(&edited, rig.now));
    let sent = rig.outbound.send_next(rig.now, 2, Some(edited), &mut rig.out);
    assert_eq!(
        sent,
        Some(Delivered::Sent {
            under_way: Some((2, id(2)))
        })
    );
    assert_eq!(rig.seen(), ["q1 #1 dup a", "q1 #2 other=C"]);
    // No room.
    assert!(rig.outbound.next_ready(rig.now, &mut rig.out).1.is_none());
    assert_eq!(rig.outbound.send_next(rig.now, 3, None, &mut rig.out), None);
    // What is sent again is what was sent.
    rig.outbound.disconnect();
    rig.connect(&peer(V5));
    assert_eq!(rig.seen(), ["q1 #1 dup a", "q1 #2 dup other=C", "q1 #3 d"]);
}

#[test]
fn an_owner_may_lower_the_qos() {
    let mut rig = Rig::offline(LIMITS);
    rig.send(QOS2, "a");
    rig.send(QOS2, "b");
    rig.outbound.connect_held(&peer(V5));
    for (seq, qos) in [(0, QOS0), (1, QOS1)] {
        let queued = rig.outbound.next_ready(rig.now, &mut rig.out).1.unwrap();
        let lowered = MessageRef {
            qos,
            ..queued.message.message()
        };
        let lowered = Arc::new(Stored::new(&lowered, rig.now));
        rig.outbound
            .send_next(rig.now, seq, Some(lowered), &mut rig.out)
            .unwrap();
    }
    assert_eq!(rig.seen(), ["q0 a", "q1 #1 b"]);
    assert_eq!(
        rig.outbound.handle_puback(id(1)),
        Ok(Progress::Finished { seq: 1 })
    );
}
