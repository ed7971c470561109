//! A Client and a Server that says what the test tells it to, on a virtual clock.

use std::io::IoSlice;
use std::time::Duration;

use broker_types::{ProtocolVersion, QoS, TopicName, TopicRef};
use proptest::prelude::*;

use super::requests::REQUESTS_MAX;
use super::*;
use crate::DropPolicy;
use crate::packet::{Ack, ConnAck, PacketType, Publish, SubAck, UnsubAck};

const V31: ProtocolVersion = ProtocolVersion::V31;
const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;
const ALL: [ProtocolVersion; 3] = [V31, V311, V5];
const START: Timestamp = Timestamp::from_millis(1_000);

/// An event without what it borrows.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Connected,
    Refused(ReasonCode),
    Message(String, Vec<u8>, Option<Token>),
    Published(u64, ReasonCode),
    Dropped(u64),
    Subscribed(PacketId),
    Unsubscribed(PacketId),
    Auth,
    Pong,
    Disconnected(ReasonCode),
}

impl From<ClientEvent<'_>> for Seen {
    fn from(event: ClientEvent<'_>) -> Self {
        match event {
            ClientEvent::Connected(_) => Self::Connected,
            ClientEvent::Refused(connack) => Self::Refused(connack.reason),
            ClientEvent::Message {
                topic,
                publish,
                token,
            } => Self::Message(topic.as_ref().to_string(), publish.payload.to_vec(), token),
            ClientEvent::Published { seq, reason } => Self::Published(seq, reason),
            ClientEvent::Dropped { seq } => Self::Dropped(seq),
            ClientEvent::Subscribed(answer) => Self::Subscribed(answer.packet_id),
            ClientEvent::Unsubscribed(answer) => Self::Unsubscribed(answer.packet_id),
            ClientEvent::Auth(_) => Self::Auth,
            ClientEvent::Pong => Self::Pong,
            ClientEvent::Disconnected(disconnect) => Self::Disconnected(disconnect.reason),
        }
    }
}

/// A Client with the version it speaks.
struct Test {
    client: Client,
    version: ProtocolVersion,
    now: Timestamp,
}

impl Test {
    fn new(version: ProtocolVersion, limits: ClientLimits) -> Self {
        Self {
            client: Client::new(limits),
            version,
            now: START,
        }
    }

    /// Returns a Client that has connected with Clean Start 0.
    fn connected(version: ProtocolVersion) -> Self {
        let mut test = Self::new(version, ClientLimits::default());
        test.reconnect(&ConnAck::new(ReasonCode::Success));
        test
    }

    fn reconnect(&mut self, connack: &ConnAck<'_>) -> Vec<Seen> {
        let connect = Connect {
            clean_start: false,
            keep_alive: 8,
            receive_maximum: 2,
            topic_alias_maximum: 5,
            ..Connect::new(self.version, "me")
        };
        self.client.connect(&connect).unwrap();
        self.expect(&[Packet::Connect(connect.into())]);
        self.feed(&[Packet::ConnAck(connack.clone().into())])
    }

    /// The connection breaks and comes again.
    fn resume(&mut self, session_present: bool) -> Vec<Seen> {
        self.client.handle_close();
        self.reconnect(&ConnAck {
            session_present,
            ..ConnAck::new(ReasonCode::Success)
        })
    }

    /// Feeds packets of the Server, each in two parts.
    fn try_feed(&mut self, packets: &[Packet<'_>]) -> Result<Vec<Seen>, ClientError> {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.encode(self.version, &mut bytes).unwrap();
        }
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let mut seen = Vec::new();
        for part in [first, second] {
            self.client.handle_input(part);
            while let Some(event) = self.client.poll_event(self.now)? {
                seen.push(event.into());
            }
        }
        Ok(seen)
    }

    fn feed(&mut self, packets: &[Packet<'_>]) -> Vec<Seen> {
        self.try_feed(packets).unwrap()
    }

    /// Expects that the Client has written exactly `packets`.
    fn expect(&mut self, packets: &[Packet<'_>]) {
        let mut expected = Vec::new();
        for packet in packets {
            packet.encode(self.version, &mut expected).unwrap();
        }
        let mut decoder = Decoder::server(u32::MAX, u32::MAX);
        if !matches!(packets, [Packet::Connect(_)]) {
            decoder.set_version(self.version);
        }
        let written = drain(self.client.output());
        assert_eq!(written, expected, "{:?}", decode_all(&decoder, &written));
    }

    fn publish(&mut self, qos: QoS, payload: &'static str) -> Delivered {
        self.client.publish(self.now, &message(qos, payload))
    }
}

fn drain(output: &mut WriteBuf) -> Vec<u8> {
    let mut all = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[])];
        output.io_slices(&mut slices);
        let part = slices[0].to_vec();
        output.advance(part.len());
        all.extend(part);
    }
    all
}

fn decode_all<'a>(decoder: &Decoder, mut bytes: &'a [u8]) -> Vec<Packet<'a>> {
    let mut packets = Vec::new();
    while let Ok(Some(len)) = decoder.frame_len(bytes) {
        packets.extend(decoder.decode(&bytes[..len]));
        bytes = &bytes[len..];
    }
    packets
}

fn message(qos: QoS, payload: &'static str) -> Message {
    Message {
        qos,
        ..Message::new(TopicName::new("t").unwrap(), payload)
    }
}

fn topic() -> TopicRef<'static> {
    TopicRef::new("t").unwrap()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn ok(packet_id: u16) -> Ack<'static> {
    Ack::new(id(packet_id), ReasonCode::Success)
}

fn sent(qos: QoS, packet_id: u16, dup: bool, payload: &'static str) -> Packet<'static> {
    Packet::Publish(Publish {
        qos,
        dup,
        packet_id: (qos != QoS::AtMostOnce).then(|| id(packet_id)),
        ..Publish::new(topic(), payload.as_bytes())
    })
}

#[test]
fn a_connection_begins_and_ends() {
    for version in ALL {
        let mut test = Test::new(version, ClientLimits::default());
        assert_eq!(
            test.reconnect(&ConnAck::new(ReasonCode::Success)),
            [Seen::Connected]
        );
        test.client
            .disconnect(&Disconnect::new(ReasonCode::NORMAL_DISCONNECTION))
            .unwrap();
        test.expect(&[Packet::Disconnect(Disconnect::new(
            ReasonCode::NORMAL_DISCONNECTION,
        ))]);
        assert_eq!(test.client.ping(), Err(ClientError::NotConnected));
    }
}

#[test]
fn a_refused_connection_is_told() {
    for version in ALL {
        let mut test = Test::new(version, ClientLimits::default());
        let refused = ConnAck::new(ReasonCode::NotAuthorized);
        assert_eq!(
            test.reconnect(&refused),
            [Seen::Refused(ReasonCode::NotAuthorized)]
        );
        assert_eq!(test.client.ping(), Err(ClientError::NotConnected));
    }
}

#[test]
fn messages_are_published_with_each_qos() {
    for version in ALL {
        let mut test = Test::connected(version);
        assert_eq!(
            test.publish(QoS::AtMostOnce, "zero"),
            Delivered::Sent { under_way: None }
        );
        assert_eq!(
            test.publish(QoS::AtLeastOnce, "one"),
            Delivered::Sent {
                under_way: Some((0, id(1)))
            }
        );
        assert_eq!(
            test.publish(QoS::ExactlyOnce, "two"),
            Delivered::Sent {
                under_way: Some((1, id(2)))
            }
        );
        test.expect(&[
            sent(QoS::AtMostOnce, 0, false, "zero"),
            sent(QoS::AtLeastOnce, 1, false, "one"),
            sent(QoS::ExactlyOnce, 2, false, "two"),
        ]);
        assert_eq!(test.client.unfinished(), (2, 0));
        assert_eq!(test.feed(&[Packet::PubRec(ok(2))]), []);
        test.expect(&[Packet::PubRel(ok(2))]);
        let seen = test.feed(&[Packet::PubAck(ok(1)), Packet::PubComp(ok(2))]);
        assert_eq!(
            seen,
            [
                Seen::Published(0, ReasonCode::Success),
                Seen::Published(1, ReasonCode::Success)
            ]
        );
        assert_eq!(test.client.unfinished(), (0, 0));
        test.expect(&[]);
    }
}

#[test]
fn a_refused_message_is_told() {
    let mut test = Test::connected(V5);
    test.publish(QoS::AtLeastOnce, "one");
    test.publish(QoS::ExactlyOnce, "two");
    let refuse = |packet_id| Ack::new(id(packet_id), ReasonCode::QuotaExceeded);
    let seen = test.feed(&[Packet::PubAck(refuse(1)), Packet::PubRec(refuse(2))]);
    assert_eq!(
        seen,
        [
            Seen::Published(0, ReasonCode::QuotaExceeded),
            Seen::Published(1, ReasonCode::QuotaExceeded)
        ]
    );
    assert_eq!(test.client.unfinished(), (0, 0));
}

#[test]
fn what_waits_leaves_with_the_connection_and_within_receive_maximum() {
    let mut test = Test::new(V5, ClientLimits::default());
    assert_eq!(
        test.publish(QoS::AtMostOnce, "zero"),
        Delivered::Dropped(crate::DropReason::Offline)
    );
    for (seq, payload) in ["a", "b", "c"].into_iter().enumerate() {
        let queued = Delivered::Queued {
            seq: seq as u64,
            dropped: 0,
        };
        assert_eq!(test.publish(QoS::AtLeastOnce, payload), queued);
    }
    test.reconnect(&ConnAck {
        receive_maximum: 2,
        ..ConnAck::new(ReasonCode::Success)
    });
    test.expect(&[
        sent(QoS::AtLeastOnce, 1, false, "a"),
        sent(QoS::AtLeastOnce, 2, false, "b"),
    ]);
    test.feed(&[Packet::PubAck(ok(1))]);
    test.expect(&[sent(QoS::AtLeastOnce, 3, false, "c")]);
}

#[test]
fn queued_qos_0_is_neither_dropped_nor_published() {
    let limits = ClientLimits {
        queue_qos0: true,
        ..ClientLimits::default()
    };
    let mut test = Test::new(V311, limits);
    test.publish(QoS::AtMostOnce, "zero");
    assert_eq!(
        test.reconnect(&ConnAck::new(ReasonCode::Success)),
        [Seen::Connected]
    );
    test.expect(&[sent(QoS::AtMostOnce, 0, false, "zero")]);
}

#[test]
fn dropped_messages_are_told() {
    let limits = ClientLimits {
        queued_messages_max: 1,
        drop: DropPolicy::Oldest,
        ..ClientLimits::default()
    };
    let mut test = Test::new(V5, limits);
    test.publish(QoS::AtLeastOnce, "a");
    assert_eq!(
        test.publish(QoS::AtLeastOnce, "b"),
        Delivered::Queued { seq: 1, dropped: 1 }
    );
    test.client.publish(
        test.now,
        &Message {
            expiry: Some(3),
            ..message(QoS::AtLeastOnce, "c")
        },
    );
    test.now = test.now + Duration::from_secs(4);
    let seen = test.reconnect(&ConnAck::new(ReasonCode::Success));
    assert_eq!(
        seen,
        [
            Seen::Dropped(0),
            Seen::Dropped(1),
            Seen::Dropped(2),
            Seen::Connected
        ]
    );
    test.expect(&[]);
}

#[test]
fn a_resumed_session_goes_on_where_it_was() {
    for version in [V311, V5] {
        let mut test = Test::connected(version);
        test.publish(QoS::AtLeastOnce, "a");
        test.publish(QoS::ExactlyOnce, "b");
        test.publish(QoS::ExactlyOnce, "c");
        test.feed(&[Packet::PubRec(ok(2))]);
        assert_eq!(test.resume(true), [Seen::Connected]);
        test.expect(&[
            sent(QoS::AtLeastOnce, 1, true, "a"),
            Packet::PubRel(ok(2)),
            sent(QoS::ExactlyOnce, 3, true, "c"),
        ]);
        let seen = test.feed(&[Packet::PubAck(ok(1)), Packet::PubComp(ok(2))]);
        assert_eq!(
            seen,
            [
                Seen::Published(0, ReasonCode::Success),
                Seen::Published(1, ReasonCode::Success)
            ]
        );
    }
}

#[test]
fn v5_3_2_2_5_a_lost_session_is_forgotten_and_its_messages_are_published_anew() {
    for version in [V311, V5] {
        let mut test = Test::connected(version);
        test.publish(QoS::AtLeastOnce, "a");
        test.publish(QoS::ExactlyOnce, "b");
        test.publish(QoS::ExactlyOnce, "c");
        test.feed(&[Packet::PubRec(ok(2))]);
        assert_eq!(
            test.resume(false),
            [Seen::Connected, Seen::Published(1, ReasonCode::Success)]
        );
        test.expect(&[
            sent(QoS::AtLeastOnce, 4, false, "a"),
            sent(QoS::ExactlyOnce, 5, false, "c"),
        ]);
        assert_eq!(
            test.feed(&[Packet::PubAck(ok(4))]),
            [Seen::Published(0, ReasonCode::Success)]
        );
    }
}

#[test]
fn v5_3_2_2_2_a_new_session_is_not_resumed() {
    let mut test = Test::new(V5, ClientLimits::default());
    test.client.connect(&Connect::new(V5, "me")).unwrap();
    let resumed = ConnAck {
        session_present: true,
        ..ConnAck::new(ReasonCode::Success)
    };
    let error = test.try_feed(&[Packet::ConnAck(resumed.into())]);
    assert_eq!(error, Err(ClientError::SessionUnexpected));
}

#[test]
fn messages_are_acknowledged_when_accepted_and_in_order() {
    for version in ALL {
        let mut test = Test::connected(version);
        let seen = test.feed(&[
            sent(QoS::AtMostOnce, 0, false, "zero"),
            sent(QoS::AtLeastOnce, 7, false, "one"),
            sent(QoS::ExactlyOnce, 8, false, "two"),
        ]);
        let [zero, one, two] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(*zero, Seen::Message("t".into(), b"zero".to_vec(), None));
        let (Seen::Message(_, _, Some(one)), Seen::Message(_, _, Some(two))) = (one, two) else {
            panic!("{seen:?}");
        };
        test.expect(&[]);
        assert_eq!(test.client.outstanding(), 2);
        test.client.accept(*two, ReasonCode::Success);
        test.expect(&[]);
        test.client.accept(*one, ReasonCode::Success);
        test.expect(&[Packet::PubAck(ok(7)), Packet::PubRec(ok(8))]);
        assert_eq!(test.feed(&[sent(QoS::ExactlyOnce, 8, true, "two")]), []);
        test.expect(&[Packet::PubRec(ok(8))]);
        test.feed(&[Packet::PubRel(ok(8))]);
        test.expect(&[Packet::PubComp(ok(8))]);
    }
}

#[test]
fn a_token_of_an_earlier_connection_is_stale() {
    let mut test = Test::connected(V5);
    let message = |test: &mut Test| match &test.feed(&[sent(QoS::AtLeastOnce, 1, false, "x")])[..] {
        [Seen::Message(_, _, Some(token))] => *token,
        seen => panic!("{seen:?}"),
    };
    let stale = message(&mut test);
    test.resume(true);
    let token = message(&mut test);
    test.client.accept(stale, ReasonCode::Success);
    test.expect(&[]);
    test.client.accept(token, ReasonCode::Success);
    test.expect(&[Packet::PubAck(ok(1))]);
}

#[test]
fn qos_2_identifiers_survive_the_connection_but_not_the_session() {
    let mut test = Test::connected(V5);
    let accept = |test: &mut Test| {
        let seen = test.feed(&[sent(QoS::ExactlyOnce, 8, false, "two")]);
        let [Seen::Message(_, _, Some(token))] = &seen[..] else {
            panic!("{seen:?}");
        };
        test.client.accept(*token, ReasonCode::Success);
    };
    accept(&mut test);
    test.resume(true);
    assert_eq!(test.feed(&[sent(QoS::ExactlyOnce, 8, true, "two")]), []);
    test.resume(false);
    accept(&mut test);
}

#[test]
fn topic_aliases_of_the_server_are_resolved() {
    let mut test = Test::connected(V5);
    let aliased = |topic, topic_alias| {
        let publish = Publish {
            topic,
            topic_alias: Some(topic_alias),
            ..Publish::new(self::topic(), b"x")
        };
        Packet::Publish(publish)
    };
    let seen = test.feed(&[aliased(Some(topic()), 5), aliased(None, 5)]);
    assert_eq!(
        seen,
        [0, 1].map(|_| Seen::Message("t".into(), b"x".to_vec(), None))
    );
    let error = test.try_feed(&[aliased(Some(topic()), 6)]).unwrap_err();
    assert_eq!(error.reason(), Some(ReasonCode::TopicAliasInvalid));
}

#[test]
fn v5_3_3_4_9_a_server_that_exceeds_receive_maximum_is_left() {
    let mut test = Test::connected(V5);
    let three: Vec<_> = (1..4).map(|id| sent(QoS::AtLeastOnce, id, false, "x")).collect();
    let error = test.try_feed(&three).unwrap_err();
    assert_eq!(error.reason(), Some(ReasonCode::ReceiveMaximumExceeded));
}

#[test]
fn requests_have_identifiers_of_their_own_and_are_answered_once() {
    for version in ALL {
        let mut test = Test::connected(version);
        let filters = || SubscribeFilters::collect([("a/#", crate::SubscribeOptions::default())]).unwrap();
        let first = test.client.subscribe(filters(), None).unwrap();
        let second = test
            .client
            .unsubscribe(UnsubscribeFilters::collect(["a/#"]).unwrap())
            .unwrap();
        assert_ne!(first, second);
        test.expect(&[
            Packet::Subscribe(Subscribe {
                packet_id: first,
                subscription_id: None,
                user: UserBlock::EMPTY,
                filters: filters(),
            }),
            Packet::Unsubscribe(Unsubscribe {
                packet_id: second,
                user: UserBlock::EMPTY,
                filters: UnsubscribeFilters::collect(["a/#"]).unwrap(),
            }),
        ]);
        let suback = Packet::SubAck(SubAck {
            packet_id: first,
            reasons: vec![ReasonCode::Success].into(),
            properties: crate::AckProperties::EMPTY,
        });
        let unsuback = Packet::UnsubAck(UnsubAck {
            packet_id: second,
            reasons: vec![ReasonCode::Success].into(),
            properties: crate::AckProperties::EMPTY,
        });
        let seen = test.feed(&[unsuback, suback.clone()]);
        assert_eq!(seen, [Seen::Unsubscribed(second), Seen::Subscribed(first)]);
        assert_eq!(
            test.try_feed(&[suback]),
            Err(ClientError::Unexpected(PacketType::SubAck))
        );
    }
}

/// PUBLISH and requests take their identifiers from different ranges, also after more messages than there are.
#[test]
fn v5_2_2_1_3_no_identifier_is_used_twice() {
    let mut test = Test::connected(V311);
    let filters = || UnsubscribeFilters::collect(["a"]).unwrap();
    let request = test.client.unsubscribe(filters()).unwrap();
    for _ in 0..u32::from(u16::MAX) + 10 {
        let Delivered::Sent {
            under_way: Some((_, id)),
        } = test.publish(QoS::AtLeastOnce, "x")
        else {
            panic!("there is room");
        };
        assert!(id < request);
        test.client.output().clear();
        test.feed(&[Packet::PubAck(Ack::new(id, ReasonCode::Success))]);
    }
    for _ in 1..REQUESTS_MAX {
        assert_ne!(test.client.unsubscribe(filters()).unwrap(), request);
    }
    assert_eq!(
        test.client.unsubscribe(filters()),
        Err(ClientError::TooManyRequests)
    );
}

#[test]
fn v5_3_2_2_11_what_the_server_can_not_do_is_lowered() {
    let mut test = Test::new(V5, ClientLimits::default());
    test.reconnect(&ConnAck {
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        packet_size_max: Some(20),
        ..ConnAck::new(ReasonCode::Success)
    });
    let retained = Message {
        retain: true,
        ..message(QoS::ExactlyOnce, "x")
    };
    test.client.publish(test.now, &retained);
    test.expect(&[sent(QoS::AtLeastOnce, 1, false, "x")]);
    let large = test.publish(QoS::AtMostOnce, "more than twenty bytes");
    assert_eq!(large, Delivered::Dropped(crate::DropReason::TooLarge));
    let filters = UnsubscribeFilters::collect(["more/than/twenty/bytes"]).unwrap();
    assert!(matches!(
        test.client.unsubscribe(filters),
        Err(ClientError::Encode(_))
    ));
    test.expect(&[]);
}

#[test]
fn v5_3_1_2_20_pingreq_is_sent_within_keep_alive() {
    let mut test = Test::connected(V311);
    let due = START + Duration::from_secs(6);
    assert_eq!(test.client.poll_timeout(), due);
    test.client
        .handle_timeout(START + Duration::from_millis(5_999))
        .unwrap();
    test.expect(&[]);
    test.client.handle_timeout(due).unwrap();
    test.expect(&[Packet::PingReq]);
    assert_eq!(test.feed(&[Packet::PingResp]), [Seen::Pong]);
    let due = due + Duration::from_secs(6);
    assert_eq!(test.client.poll_timeout(), due);
    test.client.handle_timeout(due).unwrap();
    test.expect(&[Packet::PingReq]);
    let due = due + Duration::from_secs(6);
    assert_eq!(test.client.handle_timeout(due), Err(ClientError::ServerSilent));
    test.client.handle_close();
    assert_eq!(test.client.poll_timeout(), Timestamp::NEVER);
}

#[test]
fn v5_3_2_2_21_the_servers_keep_alive_is_used() {
    let mut test = Test::new(V5, ClientLimits::default());
    for (server, due) in [
        (Some(100), START + Duration::from_secs(75)),
        (Some(0), Timestamp::NEVER),
    ] {
        test.reconnect(&ConnAck {
            server_keep_alive: server,
            ..ConnAck::new(ReasonCode::Success)
        });
        assert_eq!(test.client.poll_timeout(), due);
    }
}

#[test]
fn packets_that_are_not_due_end_the_connection() {
    let early = [
        Packet::PingResp,
        sent(QoS::AtMostOnce, 0, false, "x"),
        Packet::PubAck(ok(1)),
    ];
    for packet in early {
        let packet_type = packet.packet_type();
        let mut test = Test::new(V5, ClientLimits::default());
        test.client.connect(&Connect::new(V5, "me")).unwrap();
        assert_eq!(
            test.try_feed(&[packet]),
            Err(ClientError::Unexpected(packet_type))
        );
    }
    let mut test = Test::connected(V5);
    let again = Packet::ConnAck(ConnAck::new(ReasonCode::Success).into());
    assert_eq!(
        test.try_feed(&[again]),
        Err(ClientError::Unexpected(PacketType::ConnAck))
    );
}

#[test]
fn the_server_may_leave() {
    let mut test = Test::connected(V5);
    let leaves = Packet::Disconnect(Disconnect::new(ReasonCode::ServerShuttingDown));
    assert_eq!(
        test.feed(&[leaves]),
        [Seen::Disconnected(ReasonCode::ServerShuttingDown)]
    );
    assert_eq!(test.client.ping(), Err(ClientError::NotConnected));
}

#[test]
fn authentication_takes_several_steps() {
    let mut test = Test::new(V5, ClientLimits::default());
    let step = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some("m"),
        data: Some(b"d"),
        properties: crate::AckProperties::EMPTY,
    };
    assert_eq!(test.client.authenticate(&step), Err(ClientError::NotConnected));
    let connect = Connect {
        auth_method: Some("m"),
        ..Connect::new(V5, "me")
    };
    test.client.connect(&connect).unwrap();
    test.expect(&[Packet::Connect(connect.into())]);
    assert_eq!(test.feed(&[Packet::Auth(step)]), [Seen::Auth]);
    test.client.authenticate(&step).unwrap();
    test.expect(&[Packet::Auth(step)]);
    assert_eq!(
        test.feed(&[Packet::ConnAck(ConnAck::new(ReasonCode::Success).into())]),
        [Seen::Connected]
    );
}

#[test]
fn packets_larger_than_said_are_not_read() {
    let mut test = Test::new(V311, ClientLimits::default());
    let connect = Connect {
        packet_size_max: Some(100),
        ..Connect::new(V311, "me")
    };
    test.client.connect(&connect).unwrap();
    test.feed(&[Packet::ConnAck(ConnAck::new(ReasonCode::Success).into())]);
    test.client.handle_input(&[0x30, 99]);
    let error = test.client.poll_event(START).unwrap_err();
    assert_eq!(error.reason(), Some(ReasonCode::PacketTooLarge));
}

#[test]
fn a_connect_that_can_not_be_written_leaves_nothing() {
    let mut test = Test::new(V5, ClientLimits::default());
    let long = "x".repeat(65_536);
    assert!(matches!(
        test.client.connect(&Connect::new(V5, &long)),
        Err(ClientError::Encode(_))
    ));
    test.expect(&[]);
}

#[test]
fn what_waited_for_room_in_the_output_leaves_when_it_was_written() {
    let limits = ClientLimits {
        outbox_bytes_max: 10,
        ..ClientLimits::default()
    };
    let mut test = Test::new(V311, limits);
    test.reconnect(&ConnAck::new(ReasonCode::Success));
    test.publish(QoS::AtLeastOnce, "more than ten bytes");
    assert_eq!(
        test.publish(QoS::AtLeastOnce, "b"),
        Delivered::Queued { seq: 1, dropped: 0 }
    );
    test.expect(&[sent(QoS::AtLeastOnce, 1, false, "more than ten bytes")]);
    assert_eq!(test.client.poll_event(START), Ok(None));
    test.expect(&[sent(QoS::AtLeastOnce, 2, false, "b")]);
}

proptest! {
    #[test]
    fn no_bytes_make_a_client_panic(
        version in prop::sample::select(&ALL[..]),
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
    ) {
        let mut test = Test::connected(version);
        test.publish(QoS::AtLeastOnce, "a");
        test.publish(QoS::ExactlyOnce, "b");
        'parts: for part in parts {
            test.client.handle_input(&part);
            loop {
                match test.client.poll_event(START) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'parts,
                }
            }
        }
        test.resume(true);
        prop_assert_eq!(test.client.ping(), Ok(()));
    }
}
