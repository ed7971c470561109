//! Work that grows with the square of what came, and recursion on topic levels. The clients' deadline is the bound: what
//! is quadratic or worse takes minutes at these sizes.

use crate::prelude::*;

/// A broker that takes packets of 2 MiB and topics of any depth.
fn wide() -> TestBroker {
    TestBroker::start_with(|setup| {
        setup.limits.packet_size_max = 2 << 20;
        setup.limits.topic_levels_max = usize::MAX;
        setup.limits.subscriptions_max = 100_000;
    })
}

#[test]
fn two_hundred_thousand_user_properties() {
    let broker = wide();
    let mut client = broker.v5("c").connect();
    client.subscribe("a", 1);
    let packet = (0..200_000).fold(publish("a", "x"), |packet, _| packet.prop(prop::user("", "")));
    client.publish_packet(packet, 1);
    assert_eq!(client.take("a", "x").props.len(), 200_000);
    let connect = (0..10_000).fold(broker.v5("d"), |connect, _| connect.prop(prop::user("", "")));
    connect.connect().disconnect();
}

#[test]
fn sixty_thousand_filters_in_one_subscribe() {
    let broker = wide();
    let mut calm = broker.v5("calm").connect();
    let mut client = broker.v5("c").connect();
    let filters: Vec<_> = (0..60_000).map(|number| format!("a/{number}/+")).collect();
    client.send(
        filters
            .iter()
            .fold(subscribe(1), |packet, filter| packet.filter(filter, 1)),
    );
    calm.expect_silence();
    client.expect_suback(1, &vec![1; 60_000]);
    client.publish("a/59999/x", "x", 1).take("a/59999/x", "x");
    client.send(filters.iter().fold(unsubscribe(2), Unsubscribe::filter));
    calm.expect_silence();
    client.expect_unsuback(2, &vec![0; 60_000]);
    assert_eq!(broker.handle().gauges().subscriptions, 0);
}

/// The same filter again and again is one Subscription, and sends Retained Messages as often.
#[test]
fn one_filter_ten_thousand_times_in_one_subscribe() {
    let broker = wide();
    let mut client = broker.v5("c").connect();
    client.send((0..10_000).fold(subscribe(1), |packet, _| packet.filter("a/#", 1 | RETAIN_NEVER)));
    client.expect_suback(1, &vec![1; 10_000]);
    assert_eq!(broker.handle().gauges().subscriptions, 1);
    client.publish("a/b", "x", 1).take("a/b", "x");
    client.expect_silence();
}

/// All 4,096 ways to write twelve levels as `a` or `+`, each matched by one topic; and near misses, which must not cost
/// a walk over all of them for each.
#[test]
fn wildcards_that_multiply() {
    let broker = wide();
    let mut client = broker.v5("c").connect();
    let filters = (0..4096).map(|bits| {
        let levels: Vec<_> = (0..12)
            .map(|level| if bits >> level & 1 == 0 { "a" } else { "+" })
            .collect();
        levels.join("/")
    });
    client.suback(filters.fold(subscribe(1), |packet, filter| packet.filter(filter, 0)));
    let deep = ["a"; 12].join("/");
    client.publish(&deep, "x", 1).take(&deep, "x");
    let mut publisher = broker.v5("p").connect();
    for number in 0..100 {
        publisher.send(publish(format!("{deep}/{number}"), "x"));
    }
    publisher.sync();
    client.expect_silence();
}

/// `+/+/+/…` against many Retained Messages, while others are served.
#[test]
fn wildcards_over_retained_messages() {
    let broker = wide();
    let mut client = broker.v5("c").connect();
    for number in 0..5000 {
        client.send(publish(format!("{}/{}/{number}", number % 7, number % 11), "x").retain());
    }
    client.sync();
    let mut seeker = broker.v5("s").connect();
    for _ in 0..20 {
        seeker
            .send(
                subscribe(1)
                    .filter("+/+/+/+", 0)
                    .filter("+/+/none", 0)
                    .filter("#/", 0),
            )
            .recv();
    }
    client.expect_silence();
    seeker.subscribe("+/+/+", 0);
    let topics: std::collections::HashSet<_> = (0..5000).map(|_| seeker.expect_any_publish().topic).collect();
    assert_eq!(topics.len(), 5000);
}

/// A topic of 65,535 slashes in every packet that has a topic, and everything torn down again.
#[test]
fn sixty_five_thousand_levels() {
    let broker = wide();
    let slashes = "/".repeat(65_535);
    for version in [V311, V5] {
        // a CONNECT has at most 64 KiB
        let mut client = broker
            .client(version, "c")
            .will(will(&slashes[..65_000], "x").retain())
            .connect();
        client
            .subscribe(&slashes, 1)
            .publish(&slashes, "x", 1)
            .take(&slashes, "x");
        client
            .subscribe(format!("{}#", &slashes[1..]), 1)
            .retain(&slashes, "y", 1)
            .take(&slashes, "y");
        client.subscribe("#", 1).take(&slashes, "y");
        let wild = "+/".repeat(32_767);
        client.subscribe(&wild, 1).unsubscribe(&wild);
        client.unsubscribe(&slashes).unsubscribe("#");
        client.retain(&slashes, "", 1).pending();
        client.abort();
        eventually(|| broker.handle().gauges().subscriptions == 0);
        broker.v5("tidy").connect().retain(&slashes[..65_000], "", 1);
    }
}

/// The limit that is there by default: 200 levels.
#[test]
fn levels_are_limited() {
    let broker = TestBroker::start();
    let [fits, over] = [199, 200].map(|count| "/".repeat(count));
    let mut client = broker.v5("c").connect();
    client
        .send(subscribe(1).filter(&fits, 0).filter(&over, 0))
        .expect_suback(1, &[0, 0x8f]);
    client.publish(&fits, "x", 0).take(&fits, "x");
    client
        .send(publish(&over, "x").qos(1, 1))
        .expect_ack(Kind::Puback, 1, 0x90);
    broker
        .v311("d")
        .connect()
        .send(publish(&over, "x"))
        .expect_closed();
}

/// Three thousand subscribers of one topic, and a Session with three thousand matching filters.
#[test]
fn wide_fan_out() {
    let broker = wide();
    let mut many: Vec<_> = (0..1000).map(|id| broker.v5(format!("{id}")).connect()).collect();
    for client in &mut many {
        client.send(subscribe(1).filter("a", 1));
    }
    for client in &mut many {
        client.expect_suback(1, &[1]);
    }
    let mut publisher = broker.v5("p").connect();
    for number in 0..10_u8 {
        publisher.publish("a", [number], 1);
    }
    for client in &mut many {
        (0..10_u8).for_each(|number| drop(client.take("a", [number])));
    }
}
