use jackfield_tests::harness::TestBroker;
#[test]
fn smoke() {
    let broker = TestBroker::start();
    for (mut sub, mut publ) in [
        (broker.v5("a").connect(), broker.v311("b").connect()),
        (broker.v311("a").connect(), broker.v5("b").connect()),
    ] {
        sub.subscribe("t/#", 2);
        for qos in 0..3 {
            publ.publish("t/x", format!("m{qos}"), qos);
            assert_eq!(sub.take("t/x", format!("m{qos}")).qos, qos);
        }
        sub.expect_silence();
        sub.disconnect();
        publ.disconnect();
    }
}
