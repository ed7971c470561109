//! Sessions, their subscriptions and their owners after a restart; and that nothing is left of those that ended.

use crate::prelude::*;

#[test]
fn a_session_and_its_subscriptions_are_there_before_the_client_returns() {
    for end in End::BOTH {
        for version in [V5, V311] {
            let broker = Durable::on(&disk());
            let mut client = broker.durable(version, "c").connect();
            client.subscribe("a/+", 1).subscribe("b", 0).subscribe("c", 2);
            client.unsubscribe("c");
            let broker = broker.again(end);
            // Nobody has connected yet, and the message waits.
            let mut publisher = broker.clean(V5, "p").connect();
            publisher.publish("a/1", "1", 2).publish("c", "nobody", 1);
            let mut client = broker.durable(version, "c").connect();
            assert!(client.connack.session_present, "{end:?}");
            assert_eq!(client.take("a/1", "1").qos, 1);
            publisher.publish("b", "2", 2);
            assert_eq!(client.take("b", "2").qos, 0);
            client.expect_silence();
        }
    }
}

#[test]
fn options_of_subscriptions_survive() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        let mut client = broker.durable(V5, "c").connect();
        let id = client.id();
        let with_id = subscribe(id)
            .filter("own", 1 | NO_LOCAL)
            .filter("flag", 1 | RETAIN_AS_PUBLISHED);
        client.suback(with_id.prop(prop::subscription_id(268_435_455)));
        client.subscribe("$share/g/shared", 2);
        let broker = broker.again(end);
        let mut client = broker.durable(V5, "c").connect();
        client.publish("own", "not to myself", 1);
        let mut publisher = broker.clean(V5, "p").connect();
        publisher.retain("flag", "1", 1);
        let received = client.take("flag", "1");
        assert!(received.retain && received.has(&prop::subscription_id(268_435_455)));
        publisher.publish("shared", "2", 2);
        assert_eq!(client.take("shared", "2").qos, 2);
        client.expect_silence();
    }
}

#[test]
fn a_session_still_belongs_to_the_identity_that_made_it() {
    let name = |name: &'static str| move |connect: Connect| connect.username(name).password("x");
    let start = |disk: &MemoryStore| {
        let allow = broker_core::Chain::new().authenticate(|_| plugin_api::AuthVerdict::allow());
        Durable::with(disk, |listener| listener.with_chain(allow), |builder| builder)
    };
    let broker = start(&disk());
    let (owner, other) = (name("owner"), name("other"));
    owner(broker.durable(V5, "c")).connect().subscribe("a", 1);
    let broker = start(&broker.end(End::Crash));
    other(broker.durable(V5, "c")).refused(0x85);
    assert!(owner(broker.durable(V5, "c")).connect().connack.session_present);
}

#[test]
fn sessions_that_end_with_their_connection_leave_nothing() {
    let broker = Durable::on(&disk());
    let mut client = broker.clean(V5, "c").connect();
    client.subscribe("a", 2).publish("a", "1", 2);
    client.take("a", "1");
    broker.settle();
    let disk = broker.end(End::Crash);
    assert_eq!(keys(&disk), ["m"]);
    let broker = Durable::on(&disk);
    let client = broker.clean(V5, "c").resume().connect();
    assert!(!client.connack.session_present);
}

#[test]
fn a_clean_start_removes_everything_that_was_there() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        busy(&broker, "c");
        let broker = broker.again(end);
        let client = broker.clean(V5, "c").connect();
        assert!(!client.connack.session_present);
        broker.settle();
        assert_eq!(keys(&broker.end(End::Crash)), ["m"], "{end:?}");
    }
}

#[test]
fn a_session_expires_while_the_broker_is_away() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        busy(&broker, "c");
        let broker = broker.again_after(end, Duration::from_secs(3599));
        let mut client = broker.durable(V5, "c").connect();
        assert!(client.connack.session_present);
        client.send(disconnect()).drain();
        broker.settle();
        let broker = broker.again_after(end, Duration::from_secs(3601 + 3599));
        assert_eq!(broker.handle().clients().len(), 0);
        assert!(!broker.durable(V5, "c").connect().connack.session_present);
        broker.clean(V5, "c").connect().disconnect();
        broker.settle();
        assert_eq!(keys(&broker.end(End::Crash)), ["m"], "{end:?}");
    }
}

#[test]
fn a_kill_counts_as_the_end_of_the_connection() {
    let broker = Durable::on(&disk());
    let connect = broker.clean(V5, "c").prop(prop::session_expiry(100));
    let _client = connect.connect();
    // The Session Expiry Interval begins when the broker is back: until then nobody could connect.
    let broker = broker.again_after(End::Crash, Duration::from_secs(1000));
    let resume = |broker: &Durable| {
        broker
            .clean(V5, "c")
            .resume()
            .prop(prop::session_expiry(100))
            .connect()
    };
    assert!(resume(&broker).connack.session_present);
    let broker = broker.again_after(End::Crash, Duration::from_secs(2000));
    broker.settle();
    // It is not prolonged by every start.
    let broker = broker.again_after(End::Crash, Duration::from_secs(2099));
    let broker = broker.again_after(End::Crash, Duration::from_secs(2101));
    assert!(!resume(&broker).connack.session_present);
}

#[test]
fn an_expiry_of_zero_set_at_disconnect_ends_the_session_for_good() {
    for end in End::BOTH {
        let broker = Durable::on(&disk());
        let mut client = broker.durable(V5, "c").connect();
        client.subscribe("a", 1);
        client.send(disconnect().prop(prop::session_expiry(0)));
        client.drain();
        broker.settle();
        let broker = broker.again(end);
        assert!(!broker.durable(V5, "c").connect().connack.session_present);
    }
}

#[test]
fn a_session_that_becomes_durable_takes_along_what_it_has() {
    let disk = disk();
    let second = |builder: broker_core::BrokerBuilder| {
        let memory = broker_core::Listener::tcp("127.0.0.1:0")
            .name("memory")
            .anonymous(true);
        builder.listener(memory.durability(Durability::Memory))
    };
    let broker = Durable::with(&disk, |listener| listener, second);
    let addr = broker.addr_of("memory");
    let memory = || Connect::new(addr, V5, "c").durable();
    let mut client = memory().connect();
    client.subscribe("a", 2);
    let mut publisher = broker.clean(V5, "p").connect();
    publisher.publish("a", "under way", 2).publish("a", "released", 2);
    let (first, second_) = (client.expect_any_publish(), client.expect_any_publish());
    client
        .send(pubrec(second_.id))
        .expect_ack(Kind::Pubrel, second_.id, 0);
    client.lose();
    publisher.publish("a", "waits", 1);
    broker.settle();
    assert_eq!(keys(&disk), ["m"]);
    // Through the other listener it survives.
    let mut client = broker.durable(V5, "c").connect();
    let again = client.expect_publish("a", "under way");
    assert!(again.dup && again.id == first.id);
    client.lose();
    let broker = broker.again(End::Crash);
    let mut client = broker.durable(V5, "c").connect();
    let again = client.take("a", "under way");
    assert!(again.dup && again.id == first.id);
    client.expect_ack(Kind::Pubrel, second_.id, 0);
    client.send(pubcomp(second_.id));
    client.take("a", "waits");
    client.expect_silence();
}

/// Makes a Session that has something of every kind.
fn busy(broker: &Durable, client_id: &str) {
    let mut client = broker
        .durable(V5, client_id)
        .will(will("w", "will").qos(1).delay(5000))
        .connect();
    client.subscribe("a", 2).subscribe("$share/g/b", 1);
    let mut publisher = broker.clean(V5, "p").connect();
    for number in 0..250_u8 {
        publisher.publish("a", number.to_string(), 1 + number % 2);
    }
    publisher.publish("b", "shared", 1);
    client.sync();
    let id = client.id();
    client.send(publish("x", "received").qos(2, id)).sync();
    client.lose();
    publisher.publish("a", "one more", 2);
    broker.settle();
}

/// Returns the kinds of records.
pub(crate) fn keys(disk: &MemoryStore) -> Vec<String> {
    let mut kinds: Vec<_> = disk
        .records()
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(&key[..1]).into_owned())
        .collect();
    kinds.dedup();
    kinds.sort();
    kinds
}
