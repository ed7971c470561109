//! What leaves, and how it looks.

use super::*;

#[test]
fn v5_3_3_4_2_the_lower_qos_wins() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    for published in [QOS0, QOS1, QOS2] {
        for granted in [QOS0, QOS1, QOS2] {
            rig.deliver(Given {
                published,
                ..given(granted, "")
            });
        }
    }
    let qos: Vec<_> = rig.seen().iter().map(|line| line[..2].to_owned()).collect();
    assert_eq!(qos, ["q0", "q0", "q0", "q0", "q1", "q1", "q0", "q1", "q2"]);
}

#[test]
fn v5_3_3_4_9_messages_beyond_the_receive_maximum_wait_and_are_not_dropped() {
    let two = Peer {
        receive_maximum: 2,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &two);
    assert_eq!(
        rig.send(QOS1, "a"),
        Delivered::Sent {
            under_way: Some((0, id(1)))
        }
    );
    assert_eq!(
        rig.send(QOS2, "b"),
        Delivered::Sent {
            under_way: Some((1, id(2)))
        }
    );
    assert_eq!(rig.send(QOS1, "c"), Delivered::Queued { seq: 2, dropped: 0 });
    rig.send(QOS1, "d");
    rig.send(QOS1, "e");
    assert_eq!(rig.seen(), ["q1 #1 a", "q2 #2 b"]);
    assert_eq!((rig.outbound.queued_messages(), rig.outbound.inflight()), (3, 2));

    assert_eq!(
        rig.outbound.handle_puback(id(1)),
        Ok(Progress::Finished { seq: 0 })
    );
    assert_eq!(rig.pump().sent, 1);
    assert_eq!(rig.seen(), ["q1 #3 c"]);

    // PUBREC gives no place back, PUBCOMP does.
    assert_eq!(
        rig.pubrec(2, ReasonCode::Success),
        Ok(Progress::Released { seq: 1 })
    );
    rig.pump();
    assert_eq!(rig.seen(), ["pubrel #2"]);
    assert_eq!(
        rig.outbound.handle_pubcomp(id(2)),
        Ok(Progress::Finished { seq: 1 })
    );
    rig.pump();
    assert_eq!(rig.seen(), ["q1 #4 d"]);
    assert_eq!(rig.outbound.queued_messages(), 1);
}

#[test]
fn our_own_limit_holds_too() {
    let mut rig = Rig::connected(LIMITS, &peer(V311));
    for _ in 0..12 {
        rig.send(QOS1, "");
    }
    assert_eq!((rig.outbound.inflight(), rig.outbound.queued_messages()), (10, 2));
}

#[test]
fn v5_4_9_a_pubrec_that_refuses_gives_the_place_back_and_ends_the_delivery() {
    let one = Peer {
        receive_maximum: 1,
        ..peer(V5)
    };
    let mut rig = Rig::connected(LIMITS, &one);
    rig.send(QOS2, "a");
    rig.send(QOS2, "b");
    assert_eq!(
        rig.pubrec(1, ReasonCode::QuotaExceeded),
        Ok(Progress::Finished { seq: 0 })
    );
    rig.pump();
    assert_eq!(rig.seen(), ["q2 #1 a", "q2 #2 b"]);
}

#[test]
fn answers_that_fit_nothing() {
    for (version, pubrel) in [(V5, "pubrel #9 0x92"), (V311, "pubrel #9")] {
        let mut rig = Rig::connected(LIMITS, &peer(version));
        assert_eq!(rig.outbound.handle_puback(id(9)), Ok(Progress::Unchanged));
        assert_eq!(rig.outbound.handle_pubcomp(id(9)), Ok(Progress::Unchanged));
        assert_eq!(
            rig.pubrec(9, ReasonCode::UnspecifiedError),
            Ok(Progress::Unchanged)
        );
        assert_eq!(rig.pubrec(9, ReasonCode::Success), Ok(Progress::Unchanged));
        assert_eq!(rig.seen(), [pubrel]);
        rig.send(QOS1, "");
        rig.send(QOS2, "");
        let unexpected = |kind, packet_id| {
            Err(ProtocolError::AckUnexpected {
                kind,
                packet_id: id(packet_id),
            })
        };
        assert_eq!(rig.outbound.handle_puback(id(2)), unexpected(AckKind::PubAck, 2));
        assert_eq!(rig.pubrec(1, ReasonCode::Success), unexpected(AckKind::PubRec, 1));
        assert_eq!(
            rig.outbound.handle_pubcomp(id(2)),
            unexpected(AckKind::PubComp, 2)
        );
        assert_eq!(
            rig.outbound.handle_pubcomp(id(1)),
            unexpected(AckKind::PubComp, 1)
        );
    }
}

#[test]
fn a_second_pubrec_is_answered_again() {
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    rig.send(QOS2, "a");
    rig.seen();
    assert_eq!(
        rig.pubrec(1, ReasonCode::Success),
        Ok(Progress::Released { seq: 0 })
    );
    assert_eq!(rig.pubrec(1, ReasonCode::Success), Ok(Progress::Unchanged));
    assert_eq!(rig.seen(), ["pubrel #1", "pubrel #1"]);
}

#[test]
fn v5_3_1_2_24_maximum_packet_size_counts_the_fixed_header_and_a_dropped_message_takes_no_place() {
    // 2 of fixed header, 3 of topic, 2 of identifier, 1 of property length, 5 of payload.
    for (max, fits) in [(13, true), (12, false)] {
        let small = Peer {
            packet_size_max: Some(max),
            receive_maximum: 1,
            ..peer(V5)
        };
        let mut rig = Rig::connected(LIMITS, &small);
        let delivered = rig.send(QOS1, "12345");
        assert_eq!(delivered == Delivered::Dropped(DropReason::TooLarge), !fits);
        assert_eq!(rig.outbound.inflight(), usize::from(fits));
        rig.send(QOS1, "x");
        assert_eq!(rig.outbound.queued_messages(), usize::from(fits));
    }
}

#[test]
fn v5_3_3_2_7_topic_aliases_are_told_once_per_connection() {
    let with_aliases = Peer {
        topic_alias_maximum: 1,
        ..peer(V5)
    };
    let long = |topic| Given {
        topic,
        ..given(QOS1, "x")
    };
    const ONE: &str = "a/topic/longer/than/its/alias";
    const TWO: &str = "another/topic/of/that/length";
    let mut rig = Rig::connected(LIMITS, &with_aliases);
    rig.deliver(long(ONE));
    rig.deliver(long(ONE));
    rig.deliver(long(TWO));
    rig.deliver(long(ONE));
    rig.deliver(long("short"));
    assert_eq!(
        rig.seen(),
        [
            format!("q1 #1 @1! {ONE}=x"),
            format!("q1 #2 @1 {ONE}=x"),
            format!("q1 #3 @1! {TWO}=x"),
            format!("q1 #4 @1! {ONE}=x"),
            "q1 #5 short=x".to_owned(),
        ]
    );
    for id in [3, 4, 5] {
        rig.outbound.handle_puback(PacketId::new(id).unwrap()).unwrap();
    }
    rig.outbound.disconnect();
    rig.connect(&with_aliases);
    assert_eq!(
        rig.seen(),
        [format!("q1 #1 @1! dup {ONE}=x"), format!("q1 #2 @1 dup {ONE}=x")]
    );
    // [MQTT-3.1.2-27], and 3.1.1 has none.
    for version in [V5, V311] {
        rig.outbound.disconnect();
        rig.connect(&peer(version));
        assert_eq!(
            rig.seen(),
            [format!("q1 #1 dup {ONE}=x"), format!("q1 #2 dup {ONE}=x")]
        );
    }
}

#[test]
fn an_alias_is_left_out_where_it_would_make_the_packet_too_large() {
    let topic = "x".repeat(40);
    let size = 2 + 2 + 40 + 1 + 1;
    for (max, alias) in [(size, false), (size + 4, false), (size + 5, true)] {
        let tight = Peer {
            topic_alias_maximum: 10,
            packet_size_max: Some(max),
            ..peer(V5)
        };
        let mut rig = Rig::connected(LIMITS, &tight);
        rig.deliver(Given {
            topic: &topic,
            ..given(QOS0, "p")
        });
        assert_eq!(rig.seen()[0].contains("@1"), alias, "{max}");
    }
}

#[test]
fn only_5_0_gets_properties() {
    let ids = [SubscriptionId::new(1).unwrap(), SubscriptionId::new(300).unwrap()];
    let full = Given {
        properties: &[0x01, 1],
        expiry: Some(60),
        ids: &ids,
        retain: true,
        ..given(QOS1, "a")
    };
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    rig.deliver(full);
    rig.deliver(Given {
        ids: &ids[1..],
        ..full
    });
    assert_eq!(
        rig.seen(),
        ["q1 #1 retain 60s $1 $300 +2 a", "q1 #2 retain 60s $300 +2 a"]
    );
    rig.outbound.disconnect();
    rig.connect(&peer(V311));
    assert_eq!(rig.seen(), ["q1 #1 dup retain a", "q1 #2 dup retain a"]);
    rig.deliver(full);
    assert_eq!(rig.seen(), ["q1 #3 retain a"]);
}

#[test]
fn a_large_payload_is_not_copied() {
    let payload = Bytes::from(vec![b'x'; crate::SHARED_BODY_MIN]);
    let mut rig = Rig::connected(LIMITS, &peer(V5));
    rig.outbound.set_limits(OutboundLimits {
        queued_bytes_max: usize::MAX,
        ..*rig.outbound.limits
    });
    let large = Given {
        payload: Payload::Shared(&payload),
        ..given(QOS1, "")
    };
    rig.deliver(large);
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(rig.out.io_slices(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    rig.outbound.disconnect();
    rig.connect(&peer(V5));
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    assert_eq!(rig.out.io_slices(&mut slices), 2);
    assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    assert_eq!(rig.seen().len(), 1);
}

#[test]
fn packet_identifiers_in_use_are_never_given_again() {
    let mut rig = Rig::connected(LIMITS, &peer(V311));
    // The first one is never acknowledged; everybody else goes round twice.
    rig.send(QOS1, "");
    let mut expected = 1;
    for _ in 0..2 * 65_535 {
        let Delivered::Sent {
            under_way: Some((_, given)),
        } = rig.send(QOS1, "")
        else {
            panic!()
        };
        expected = if expected == 65_535 { 2 } else { expected + 1 };
        // The ring skips what falls on the place of the stuck one, too.
        while (expected - 1) % 8 == 0 {
            expected = if expected == 65_529 { 65_530 } else { expected + 1 };
        }
        assert_eq!(given, id(expected));
        rig.outbound.handle_puback(given).unwrap();
        rig.out.clear();
    }
    assert_eq!(rig.outbound.inflight(), 1);
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Outbound>() <= 88, "{}", size_of::<Outbound>());
    assert!(
        size_of::<crate::Inbound>() <= 48,
        "{}",
        size_of::<crate::Inbound>()
    );
    assert_eq!(size_of::<WriteBuf>(), 8);
    assert_eq!(size_of::<Queued>(), 32);
    assert_eq!(size_of::<Option<Slot>>(), 40);
    assert!(size_of::<Stored>() <= 64 - 16 + 8, "{}", size_of::<Stored>());
}
