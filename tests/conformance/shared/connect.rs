//! Section 3.1, CONNECT, and 3.2, CONNACK.

use crate::prelude::*;

pub(crate) fn first_packet_is_connect(version: Version) {
    let broker = TestBroker::start();
    let packets = [
        pingreq().wire(version),
        publish("a", "x").wire(version),
        subscribe(1).filter("a", 0).wire(version),
        puback(1).wire(version),
        pubrel(1).wire(version),
        disconnect().wire(version),
    ];
    for packet in packets {
        broker.open(version).send(packet).expect_closed();
    }
}

pub(crate) fn second_connect(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c");
    connect.connect().send(&connect).expect_error(0x82);
    connect
        .connect()
        .send(broker.client(version, "d"))
        .expect_error(0x82);
}

pub(crate) fn reserved_connect_flag(version: Version) {
    TestBroker::start().client(version, "c").flip(0x01).invalid(0x81);
}

pub(crate) fn unknown_protocol(version: Version) {
    let broker = TestBroker::start();
    for (name, level) in [
        ("MQTT", 6),
        ("MQTT", 0),
        ("mqtt", 5),
        ("HTTP", 4),
        ("", 5),
        ("MQIsdp", 4),
    ] {
        let answer = broker
            .client(version, "c")
            .protocol(name, level)
            .sent()
            .drain_raw();
        let allowed: [&[u8]; 3] = [&[], &[0x20, 2, 0, 1], &[0x20, 3, 0, 0x84, 0]];
        assert!(allowed.contains(&&*answer), "{name} {level}: {answer:02x?}");
    }
}

pub(crate) fn will_fields_missing(version: Version) {
    TestBroker::start().client(version, "c").flip(0x04).invalid(0x81);
}

pub(crate) fn will_fields_without_flag(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .will(will("a", "x"))
        .flip(0x04)
        .invalid(0x81);
}

pub(crate) fn will_qos_without_will(version: Version) {
    let broker = TestBroker::start();
    for bits in [0x08, 0x10, 0x18] {
        broker.client(version, "c").flip(bits).invalid(0x81);
    }
}

pub(crate) fn will_retain_without_will(version: Version) {
    TestBroker::start().client(version, "c").flip(0x20).invalid(0x81);
}

pub(crate) fn will_qos_3(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .will(will("a", "x").qos(3))
        .invalid(0x81);
}

pub(crate) fn username_without_flag(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .username("u")
        .flip(0x80)
        .invalid(0x81);
}

pub(crate) fn username_missing(version: Version) {
    TestBroker::start().client(version, "c").flip(0x80).invalid(0x81);
}

pub(crate) fn password_without_flag(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .username("u")
        .password("p")
        .flip(0x40)
        .invalid(0x81);
}

pub(crate) fn password_missing(version: Version) {
    TestBroker::start()
        .client(version, "c")
        .username("u")
        .flip(0x40)
        .invalid(0x81);
}

pub(crate) fn payload_in_order(version: Version) {
    let broker = TestBroker::start();
    let mut watcher = broker.client(version, "w").connect();
    watcher.subscribe("will", 0);
    let full = broker
        .client(version, "c")
        .will(will("will", "gone"))
        .username("u")
        .password(b"\x00\xff");
    full.connect().abort();
    watcher.take("will", "gone");
}

pub(crate) fn client_id_names_the_session(version: Version) {
    let broker = TestBroker::start();
    broker.client(version, "a").durable().connect().disconnect();
    assert!(
        !broker
            .client(version, "b")
            .durable()
            .connect()
            .connack
            .session_present
    );
    assert!(
        !broker
            .client(version, "A")
            .durable()
            .connect()
            .connack
            .session_present
    );
    assert!(
        broker
            .client(version, "a")
            .durable()
            .connect()
            .connack
            .session_present
    );
}

pub(crate) fn client_id_missing(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "");
    // the length of the Client Identifier, two bytes, is the last field
    connect.invalid_as(connect.frame().cut(2), 0x81);
    connect.invalid_as(connect.frame().cut(1), 0x81);
}

pub(crate) fn client_id_of_letters_and_digits(version: Version) {
    let broker = TestBroker::start();
    let alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for start in [0, 20, alphabet.len() - 23] {
        broker
            .client(version, &alphabet[start..start + 23])
            .connect()
            .disconnect();
    }
    broker.client(version, "0").connect().disconnect();
}

/// On one shard, so that the end of the witness tells that everything due was looked at.
pub(crate) fn keep_alive_one_and_a_half(version: Version) {
    let broker = TestBroker::start_with(|setup| setup.broker(|builder| builder.shards(1)));
    let mut watcher = broker.client(version, "w").connect();
    watcher.subscribe("will", 0);
    let last = will("will", "gone");
    let mut client = broker.client(version, "c").keep_alive(10).will(last).connect();
    for _ in 0..3 {
        let mut witness = broker.client(version, "witness").keep_alive(8).connect();
        broker.advance(secs(14));
        witness.expect_error(0x8d);
        client.expect_silence();
    }
    broker.advance(secs(17));
    client.expect_error(0x8d);
    watcher.take("will", "gone");
}

pub(crate) fn keep_alive_zero_never_ends(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").keep_alive(0).connect();
    broker.advance(secs(1_000_000));
    client.expect_silence();
}

pub(crate) fn malformed_connect(version: Version) {
    let broker = TestBroker::start();
    let connect = broker
        .client(version, "client")
        .will(will("a", "x"))
        .username("u");
    connect.invalid_as(connect.frame().bytes("more"), 0x81);
    for missing in 1..20 {
        connect.invalid_as(connect.frame().cut(missing), 0x81);
    }
}

pub(crate) fn take_over(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c");
    let mut first = connect.connect();
    let mut second = connect.connect();
    first.expect_error(0x8e);
    second.expect_silence();
}

pub(crate) fn nothing_is_done_after_a_refusal(version: Version) {
    let broker = TestBroker::start();
    let mut refused = broker.client(version, "c").flip(0x01).wire(version);
    refused.extend(publish("a", "sneaked in").retain().wire(version));
    broker.open(version).send(refused).drain();
    let mut witness = broker.client(version, "w").connect();
    witness.subscribe("a", 0).expect_silence();
}

pub(crate) fn connack_comes_first(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    connect.connect().subscribe("a", 1).disconnect();
    broker.client(version, "p").connect().publish("a", "waiting", 1);
    // sent in one go: the answers come after the CONNACK, too
    let mut packets = connect.wire(version);
    packets.extend(pingreq().wire(version));
    let mut client = broker.open(version);
    client.send(packets).expect_accepted().sync();
    client.take("a", "waiting");
}

pub(crate) fn accepted(version: Version) {
    assert_eq!(TestBroker::start().client(version, "c").connect().connack.code, 0);
}

pub(crate) fn session_present_is_0_after_a_clean_start(version: Version) {
    let broker = TestBroker::start();
    broker.client(version, "c").durable().connect().disconnect();
    assert!(!broker.client(version, "c").connect().connack.session_present);
}

pub(crate) fn session_present_tells(version: Version) {
    let broker = TestBroker::start();
    let connect = broker.client(version, "c").durable();
    assert!(!connect.connect().connack.session_present);
    assert!(connect.connect().connack.session_present);
}

pub(crate) fn ping(version: Version) {
    let broker = TestBroker::start();
    let mut client = broker.client(version, "c").connect();
    client.send(pingreq()).send(pingreq());
    assert_eq!(
        [client.recv(), client.recv()],
        [Packet::Pingresp, Packet::Pingresp]
    );
    client.expect_silence();
}
