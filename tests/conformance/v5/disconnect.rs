//! 3.12 PINGREQ, 3.14 DISCONNECT.

use crate::prelude::*;

shared_tests! { V5:
    v5_3_12_4_1__pingresp_answers = connect::ping;
    v5_3_14_1_1__reserved_flags_are_checked = data::disconnect_flags;
    v5_3_14_4_3__disconnect_discards_the_will = will::deleted_by_disconnect;
}

/// Whatever is wrong before the CONNACK, no DISCONNECT answers it.
#[test]
fn v5_3_14_0_1__no_disconnect_before_connack() {
    let broker = TestBroker::start();
    broker.open(V5).send(pingreq()).expect_closed();
    broker.open(V5).send(disconnect().code(0x04)).expect_closed();
    broker.open(V5).send([0x00, 0x00]).expect_closed();
    broker.v5("c").prop(prop::receive_maximum(0)).refused(0x82);
}

/// Those a client may send, and others, which are a Protocol Error; the server's own the parser of these tests checks.
#[test]
fn v5_3_14_2_1__disconnect_reason_codes() {
    let broker = TestBroker::start();
    let allowed = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ];
    for code in allowed {
        broker
            .v5("c")
            .connect()
            .send(disconnect().code(code))
            .expect_closed();
    }
    for code in [0x01, 0x10, 0x18, 0x7f, 0x84, 0xff] {
        let mut client = broker.v5("c").connect();
        client.send(disconnect().code(code));
        assert!(matches!(client.recv(), Packet::Disconnect(refused) if [0x81, 0x82].contains(&refused.code)));
        client.expect_closed();
    }
}

/// The parser of these tests refuses the property in every DISCONNECT; here are the commonest causes of one.
#[test]
fn v5_3_14_2_2__the_server_sends_no_session_expiry_interval() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    let mut old = connect.connect();
    let mut new = connect.connect();
    old.expect_disconnect(0x8e);
    new.send(publish("#", "x")).expect_disconnect(0x90);
}

/// A client may want no more than the shortest CONNACK; its own error is told within that.
#[test]
fn v5_3_14_2_3__disconnect_within_maximum_packet_size() {
    let broker = TestBroker::start();
    for limit in 16..40 {
        let mut client = broker.v5("c").prop(prop::maximum_packet_size(limit)).connect();
        client.send(publish("a/#", "x")).expect_disconnect(0x90);
    }
}

/// A CONNACK that is too large cannot be sent, so there is no connection.
#[test]
fn v5_3_1_2_24__a_client_that_takes_no_connack_is_closed() {
    let broker = TestBroker::start();
    for limit in 1..5 {
        broker.v5("c").prop(prop::maximum_packet_size(limit)).closed();
    }
}

#[test]
fn v5_3_14_4_1__nothing_follows_the_server_s_disconnect() {
    let broker = TestBroker::start();
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 0);
    let mut packets = publish("a/#", "bad").wire(V5);
    packets.extend(pingreq().wire(V5));
    packets.extend(publish("a", "x").wire(V5));
    client.send(packets).expect_disconnect(0x90);
    client.expect_closed();
}

#[test]
fn v5_3_14_4_2__the_server_closes_after_its_disconnect() {
    TestBroker::start()
        .v5("c")
        .connect()
        .send(subscribe(1))
        .expect_error(0x82);
}

/// What follows a client's DISCONNECT is not looked at.
#[test]
fn v5_3_14_4_1__nothing_is_done_after_the_client_s_disconnect() {
    let broker = TestBroker::start();
    let mut packets = disconnect().wire(V5);
    packets.extend(publish("a", "x").retain().wire(V5));
    broker.v5("c").connect().send(packets).expect_closed();
    broker.v5("late").connect().subscribe("a", 0).expect_silence();
}

#[test]
fn v5_3_14_2_2__the_client_changes_its_session_expiry_interval() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").resume().prop(prop::session_expiry(1000));
    connect
        .connect()
        .send(disconnect().prop(prop::session_expiry(10)))
        .expect_closed();
    broker.advance(secs(12));
    assert!(!connect.connect().connack.session_present);
    connect
        .connect()
        .send(disconnect().prop(prop::session_expiry(0)))
        .expect_closed();
    assert!(!connect.connect().connack.session_present);
    // from zero it cannot become something else
    broker
        .v5("d")
        .connect()
        .send(disconnect().prop(prop::session_expiry(10)))
        .expect_error(0x82);
}
