//! Records there and back, and what damage does to them.

use proptest::prelude::*;

use super::*;

const MOMENT: Moment = Moment {
    now: Timestamp::from_millis(1_000_000),
    wall: 1_700_000_000_000,
};

fn session_record() -> impl Strategy<Value = SessionRecord> {
    let text = "[a-zä/]{0,12}";
    let owner = (proptest::option::of(text), text).prop_map(|(username, mount)| Owner {
        username: username.map(Into::into),
        mount: mount.into(),
    });
    let ended_at = proptest::option::of(0..u64::MAX);
    (any::<u64>(), owner, text, 3u8..=5, any::<u32>(), ended_at).prop_map(
        |(number, owner, listener, level, expiry, ended_at)| SessionRecord {
            number,
            owner,
            listener: listener.into(),
            version: read_version(&mut Reader::new(&[0, level], 0).unwrap()).unwrap(),
            expiry,
            ended_at,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let id = (1u16..).prop_map(|id| PacketId::new(id).unwrap());
    let phase = prop_oneof![
        Just(EntryPhase::Waits),
        id.clone().prop_map(|id| EntryPhase::UnderWay(id, Phase::Sent)),
        id.prop_map(|id| EntryPhase::UnderWay(id, Phase::Released)),
    ];
    let ids = prop::collection::vec(1..=SubscriptionId::MAX, 0..4);
    let flags = (0u8..3, any::<bool>(), any::<bool>());
    (phase, proptest::option::of(0..u64::MAX), any::<u32>(), flags, ids).prop_map(
        |(phase, body, size, (qos, retain, shared), ids)| Entry {
            phase,
            body,
            size,
            qos: QoS::from_bits(qos).unwrap(),
            retain,
            shared,
            ids: ids
                .into_iter()
                .map(|id| SubscriptionId::new(id).unwrap())
                .collect(),
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let properties = prop_oneof![
        Just(&[][..]),
        Just(&[1, 1][..]),
        Just(b"\x26\0\x01k\0\x01v".as_slice())
    ];
    (
        "[a-z/ä]{1,20}",
        prop::collection::vec(any::<u8>(), 0..3000),
        0u8..3,
        any::<bool>(),
        properties,
        proptest::option::of(1u32..),
    )
        .prop_map(|(topic, payload, qos, retain, properties, expiry)| Message {
            topic: TopicName::new(topic).unwrap(),
            payload: payload.into(),
            qos: QoS::from_bits(qos).unwrap(),
            retain,
            properties: Properties::from_checked(Bytes::from_static(properties)),
            expiry,
        })
}

fn held() -> impl Strategy<Value = Held> {
    let filter = (proptest::option::of("[a-z]{1,5}"), "[a-z+]/[a-z]{0,5}/#").prop_map(|(share, filter)| {
        SubscriptionFilter {
            share: share.and_then(ShareName::new),
            filter: TopicFilter::new(filter).unwrap(),
        }
    });
    let options = (
        0u8..3,
        any::<bool>(),
        any::<bool>(),
        0..=SubscriptionId::MAX,
        any::<u32>(),
    );
    (filter.clone(), filter, options).prop_map(|(requested, routed, (qos, no_local, rap, id, class))| {
        let options = SubscriptionOptions {
            qos: QoS::from_bits(qos).unwrap(),
            no_local,
            retain_as_published: rap,
            id: SubscriptionId::new(id),
            class,
        };
        Held::new(requested, routed, options)
    })
}

/// Whatever is cut off or changed, reading says so or returns something, and never panics.
fn survives_damage<T>(value: &[u8], read: impl Fn(&[u8]) -> Result<T, Damaged>) {
    for len in 0..value.len().min(200) {
        let _ = read(&value[..len]);
    }
    for at in 0..value.len().min(200) {
        let mut damaged = value.to_vec();
        damaged[at] ^= 0xFF;
        let _ = read(&damaged);
    }
}

proptest! {
    #[test]
    fn sessions_come_back(record in session_record()) {
        let value = record.encode();
        survives_damage(&value, SessionRecord::decode);
        prop_assert_eq!(SessionRecord::decode(&value), Ok(record));
    }

    #[test]
    fn entries_come_back(entry in entry()) {
        let value = entry.encode();
        survives_damage(&value, Entry::decode);
        prop_assert_eq!(Entry::decode(&value), Ok(entry));
    }

    #[test]
    fn subscriptions_come_back(held in held(), session in any::<u64>()) {
        let (key, value) = (subscription_key(session, &held.requested), subscription_value(&held));
        survives_damage(&key, |key| read_subscription(key, &value));
        survives_damage(&value, |value| read_subscription(&key, value));
        let (owner, back) = read_subscription(&key, &value).unwrap();
        prop_assert_eq!(owner, session);
        prop_assert_eq!(&back.requested, &held.requested);
        prop_assert_eq!((back.routed(), back.options), (held.routed(), held.options));
    }

    #[test]
    fn messages_come_back_as_old_as_they_are(message in message(), waited in 0u64..5_000_000) {
        let ledger = Ledger::new();
        let stored = Stored::new(&(&message).into(), MOMENT.now);
        let value = stored_value(&stored, MOMENT);
        prop_assert_eq!(value.len(), stored_len(message.size()));
        survives_damage(&value, |value| read_stored(value, MOMENT, &ledger));
        let later = Moment { now: Timestamp::from_millis(77_000), wall: MOMENT.wall + waited };
        let back = read_stored(&value, later, &ledger).unwrap();
        let age = |expiry, since, now| broker_proto::remaining_expiry(expiry, since, now);
        let then = MOMENT.now + std::time::Duration::from_millis(waited);
        prop_assert_eq!(
            age(back.expiry(), back.received_at(), later.now),
            age(message.expiry, MOMENT.now, then)
        );
        prop_assert_eq!(back.message().to_message(), Message { expiry: back.expiry(), ..message });
    }

    #[test]
    fn retained_messages_come_back(message in message(), keep in 0u64..1_000_000) {
        let ledger = Ledger::new();
        let stored = Stored::new(&(&message).into(), MOMENT.now);
        let expires = MOMENT.now + std::time::Duration::from_millis(keep);
        let value = retained_value(&stored, expires, MOMENT);
        prop_assert_eq!(value.len(), retained_len(message.size()));
        survives_damage(&value, |value| read_retained(value, MOMENT, &ledger));
        let (back, until) = read_retained(&value, MOMENT, &ledger).unwrap();
        prop_assert_eq!(MOMENT.time_of(until), expires);
        prop_assert_eq!(back.message().to_message(), message);
    }

    #[test]
    fn wills_come_back(message in message(), delay in any::<u32>(), due in proptest::option::of(0..u64::MAX)) {
        let ledger = Ledger::new();
        let client = ClientView {
            handle: ClientHandle(0),
            id: "c".into(),
            username: Some("u".into()),
            authenticated: true,
            listener: "l".into(),
            peer: Peer::Local,
            version: ProtocolVersion::V311,
            clean_start: false,
            mount: "m/".into(),
            attributes: Arc::new([("a".to_owned(), "b".to_owned())]),
            certificate: None,
            unrestricted: false,
        };
        let record = WillRecord { message, client, delay, due };
        let value = record.encode();
        survives_damage(&value, |value| WillRecord::decode(value, MOMENT, &ledger));
        let back = WillRecord::decode(&value, MOMENT, &ledger).unwrap();
        prop_assert_eq!(format!("{back:?}"), format!("{record:?}"));
    }

    #[test]
    fn chunks_are_put_together(lengths in prop::collection::vec(1usize..5, 0..5)) {
        let mut assembly = Assembly::default();
        let mut whole = Vec::new();
        for (value, chunks) in lengths.iter().enumerate() {
            for chunk in 0..*chunks {
                let key = chunk_key(&[value as u8], chunk as u32);
                whole.extend(assembly.add(&key, &[chunk as u8]).unwrap());
            }
        }
        whole.extend(assembly.take());
        let expected = lengths.iter().enumerate().map(|(value, chunks)| {
            (vec![value as u8], (0..*chunks as u8).collect::<Vec<_>>())
        });
        prop_assert!(whole.into_iter().eq(expected));
    }
}

#[test]
fn a_chunk_that_is_missing_is_noticed() {
    let mut assembly = Assembly::default();
    assert!(assembly.add(&chunk_key(b"a", 1), b"x").is_err());
    let mut assembly = Assembly::default();
    assembly.add(&chunk_key(b"a", 0), b"x").unwrap();
    assert!(assembly.add(&chunk_key(b"a", 2), b"x").is_err());
    assert!(Assembly::default().add(b"a", b"x").is_err());
}

#[test]
fn a_clock_that_jumps_back_makes_nothing_younger_than_new() {
    let ledger = Ledger::new();
    let topic = TopicName::new("t").unwrap();
    let message = Message {
        expiry: Some(60),
        ..Message::new(topic, "")
    };
    let value = stored_value(&Stored::new(&(&message).into(), MOMENT.now), MOMENT);
    let earlier = Moment {
        now: Timestamp::from_millis(5),
        wall: 0,
    };
    let back = read_stored(&value, earlier, &ledger).unwrap();
    assert_eq!((back.expiry(), back.received_at()), (Some(60), earlier.now));
}

#[test]
fn times_go_from_one_clock_to_the_other_and_back() {
    for at in [
        Timestamp::NEVER,
        MOMENT.now,
        MOMENT.now + std::time::Duration::from_secs(5),
    ] {
        assert_eq!(MOMENT.time_of(MOMENT.wall_of(at)), at);
    }
    // What has passed is now.
    assert_eq!(
        MOMENT.wall_of(Timestamp::from_millis(999_000)),
        MOMENT.wall - 1000
    );
    assert_eq!(MOMENT.time_of(MOMENT.wall - 1000), MOMENT.now);
}

#[test]
fn another_format_is_refused() {
    assert_eq!(check_format(&format_value()), Ok(()));
    let other = |major, minor| {
        let writer = Writer::new(CODEC, 16).u16(major).u16(minor).text("9.9");
        check_format(&writer.done())
    };
    assert!(other(FORMAT.0 + 1, 0).is_err() && other(FORMAT.0, FORMAT.1 + 1).is_err());
}
