//! 3.8 SUBSCRIBE, 3.9 SUBACK.

use plugin_api::{AclVerdict, Action, Denial};

use crate::prelude::*;

shared_tests! { V5:
    v5_3_8_1_1__reserved_flags_are_checked = data::subscribe_flags;
    v5_3_8_3_1__topic_filters_are_utf8 = data::ill_formed_topic_filter;
    v5_3_8_3_2__a_subscribe_has_a_topic_filter = subscribe::needs_a_filter;
    v5_3_8_3_5__reserved_option_bits_are_checked = subscribe::reserved_options;
    v5_3_8_4_1__suback_answers = subscribe::is_answered;
    v5_3_8_4_2__suback_has_the_packet_identifier = data::suback_and_unsuback_carry_the_packet_identifier;
    v5_3_8_4_3__the_same_filter_replaces = subscribe::replaced;
    v5_3_8_4_4__replacing_resends_retained_and_loses_nothing = subscribe::replacing_resends_retained_and_loses_nothing;
    v5_3_8_4_5__several_filters_are_as_several_packets = subscribe::several_filters_are_as_several_packets;
    v5_3_8_4_6__a_code_for_each_filter = subscribe::a_code_for_each_filter;
    v5_3_8_4_7__granted_or_failed = subscribe::granted_or_failed;
    v5_3_8_4_8__the_lower_qos = subscribe::effective_qos;
}

#[test]
fn v5_3_8_3_3__no_local_keeps_own_messages_away() {
    let broker = TestBroker::start();
    let [mut client, mut other] = ["c", "d"].map(|id| broker.v5(id).connect());
    client
        .subscribe("a", 1 | NO_LOCAL)
        .publish("a", "own", 1)
        .expect_silence();
    other
        .subscribe("a", 1)
        .publish("a", "another's", 1)
        .take("a", "another's");
    client.take("a", "another's");
}

/// Own is what has the Client Identifier, also over a reconnection, and in retained and overlapping cases.
#[test]
fn v5_3_8_3_3__no_local_goes_by_client_identifier() {
    let broker = TestBroker::start();
    let connect = broker.v5("c").durable();
    connect.connect().subscribe("a/#", 1 | NO_LOCAL).disconnect();
    let mut client = connect.connect();
    client.publish("a/b", "own", 1).expect_silence();
    // another Subscription without the option still gets it, as if the first were not there
    let packet = subscribe(9).prop(prop::subscription_id(9)).filter("a/+", 0);
    client.send(packet).expect_suback(9, &[0]);
    client
        .send(
            subscribe(8)
                .prop(prop::subscription_id(8))
                .filter("a/#", 1 | NO_LOCAL),
        )
        .expect_suback(8, &[1]);
    client.publish("a/b", "own", 1);
    let received = client.take("a/b", "own");
    assert!(
        received.qos == 0 && received.props == [prop::subscription_id(9)],
        "{received:?}"
    );
    client.expect_silence();
    broker.v5("d").connect().publish("a/b", "another's", 1);
    assert_eq!(client.take("a/b", "another's").props.len(), 2);
}

#[test]
fn v5_3_8_3_4__no_local_on_a_shared_subscription_is_an_error() {
    let packet = subscribe(1).filter("$share/g/a", NO_LOCAL);
    TestBroker::start()
        .v5("c")
        .connect()
        .send(packet)
        .expect_error(0x82);
}

#[test]
fn v5_3_8_3_5__qos_3_and_retain_handling_3_are_errors() {
    let broker = TestBroker::start();
    for options in [3, 0x30, 0x33] {
        broker
            .v5("c")
            .connect()
            .send(subscribe(1).filter("a", options))
            .drain();
    }
}

#[test]
fn v5_3_8_3_5__subscription_identifier_0_is_an_error() {
    let broker = TestBroker::start();
    let packet = subscribe(1).filter("a", 0);
    broker
        .v5("c")
        .connect()
        .send(packet.clone().prop(prop::subscription_id(0)))
        .expect_error(0x82);
    let twice = packet
        .prop(prop::subscription_id(1))
        .prop(prop::subscription_id(2));
    broker.v5("c").connect().send(twice).expect_error(0x82);
}

/// A broker that lets nobody subscribe to `secret`, and says why.
fn refusing() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.authorize(|_, action, topic| match (action, topic) {
            (Action::Subscribe, "secret") => {
                AclVerdict::Deny(Denial::not_authorized().because("not on a Monday"))
            }
            _ => AclVerdict::Allow,
        });
    })
}

/// The header of SUBACK is 6 bytes, the code one, the Reason String 18.
#[test]
fn v5_3_9_2_1__suback_within_maximum_packet_size() {
    let broker = refusing();
    for limit in 16..30 {
        let mut client = broker.v5("c").prop(prop::maximum_packet_size(limit)).connect();
        client.send(subscribe(1).filter("secret", 0));
        let props = client.expect_suback(1, &[0x87]).props;
        assert!(props.is_empty() || limit >= 24, "{props:?} within {limit} bytes");
    }
}

#[test]
fn v5_3_9_3_1__codes_in_the_order_of_filters() {
    let broker = refusing();
    let mut client = broker.v5("c").connect();
    client.send(
        subscribe(1)
            .filter("a", 2)
            .filter("secret", 1)
            .filter("a/#/b", 0)
            .filter("b", 1)
            .filter("c", 0),
    );
    client.expect_suback(1, &[2, 0x87, 0x8f, 1, 0]);
}

/// The parser of these tests knows no other codes; here are those that a server without limits can meet.
#[test]
fn v5_3_9_3_2__subscribe_reason_codes() {
    let broker = TestBroker::start_with(|setup| {
        setup.limits.wildcard_available = false;
        setup.limits.shared_available = false;
        setup.limits.subscription_ids_available = false;
        setup.limits.subscriptions_max = 2;
    });
    let mut client = broker.v5("c").connect();
    for told in [
        prop::wildcard_available(0),
        prop::shared_available(0),
        prop::subscription_ids_available(0),
    ] {
        assert!(client.connack.props.contains(&told), "{told:?}");
    }
    client.send(
        subscribe(1)
            .filter("a/#", 0)
            .filter("$share/g/a", 0)
            .filter("+", 0),
    );
    client.expect_suback(1, &[0xa2, 0x9e, 0xa2]);
    client.send(
        subscribe(2)
            .filter("a", 0)
            .filter("b", 0)
            .filter("c", 0)
            .filter("a", 1),
    );
    client.expect_suback(2, &[0, 0, 0x97, 1]);
    client.send(subscribe(3).prop(prop::subscription_id(1)).filter("a", 0));
    match client.recv() {
        Packet::Suback(suback) => assert_eq!(suback.codes, [0xa1]),
        Packet::Disconnect(reasoned) => assert_eq!(reasoned.code, 0xa1),
        other => panic!("{other:?}"),
    }
}
