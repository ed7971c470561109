//! `jackfield pub` and `jackfield sub` against the broker of the same program.

use jackfield_tests::wire::{Connect, Property, Version};
use rustix::process::Signal;

use crate::program::{Broker, Ended, Running, run, run_with};

fn open() -> Broker {
    Broker::start(&["--listen", "127.0.0.1:0"])
}

/// A command line with the port of the broker in place of `PORT`.
fn words<'a>(port: &'a str, line: &'a str) -> Vec<&'a str> {
    line.split_whitespace()
        .map(|word| if word == "PORT" { port } else { word })
        .collect()
}

#[track_caller]
fn done(ended: &Ended, out: &str) {
    assert_eq!((ended.code, ended.out.as_str()), (0, out), "{}", ended.err);
}

#[test]
fn what_waits_gets_what_is_published() {
    let broker = open();
    let port = broker.port();
    // retained, so that it comes when the subscription stands
    done(&run(&words(&port, "pub -p PORT -q 1 -r -t ready -m go")), "");
    let sub = Running::start(&words(&port, "sub -p PORT -q 2 -v -t ready -t a/# -C 4"));
    assert_eq!(sub.line(), "ready go\n");
    done(&run(&words(&port, "pub -p PORT -q 2 -t a/b -m one")), "");
    assert_eq!(sub.line(), "a/b one\n");
    done(
        &run_with("two\nthree\n", &words(&port, "pub -p PORT -q 1 -t a/c -l")),
        "",
    );
    let ended = sub.end();
    done(&ended, "a/c two\na/c three\n");
}

#[test]
fn standard_input_is_a_message() {
    let broker = open();
    let port = broker.port();
    done(
        &run_with("a\nb\n", &words(&port, "pub -p PORT -q 1 -r -t a -s")),
        "",
    );
    done(&run(&words(&port, "sub -p PORT -t a -C 1 -N")), "a\nb\n");
    done(&run(&words(&port, "pub -p PORT -q 1 -r -t a -n")), "");
    assert_eq!(
        run(&words(&port, "sub -p PORT -t a -W 1")).code,
        27,
        "it was removed"
    );
}

#[test]
fn json_is_an_object_a_line() {
    let broker = open();
    let port = broker.port();
    done(
        &run(&words(
            &port,
            "pub -p PORT -q 1 -r -t a/b -m hello -D publish content-type text/plain",
        )),
        "",
    );
    let ended = run(&words(&port, "sub -p PORT -t a/# -C 1 --json"));
    let object: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(object["topic"], "a/b");
    assert_eq!(object["payload"], "hello");
    assert_eq!(ended.out.lines().count(), 1);
}

#[test]
fn a_broker_that_is_not_there_is_unavailable() {
    let port = open().port();
    for line in ["pub -p PORT -t a -m x", "sub -p PORT -t a"] {
        let ended = run(&words(&port, line));
        assert_eq!(ended.code, 69, "{line}: {}", ended.err);
        assert!(ended.err.contains(&port), "{}", ended.err);
        let quiet = run(&words(&port, &format!("{line} --quiet")));
        assert_eq!((quiet.code, quiet.err.as_str()), (69, ""));
    }
}

#[test]
fn a_broker_that_goes_away_ends_a_subscriber() {
    let broker = open();
    let port = broker.port();
    done(&run(&words(&port, "pub -p PORT -q 1 -r -t a -m x")), "");
    let sub = Running::start(&words(&port, "sub -p PORT -t a"));
    assert_eq!(sub.line(), "x\n");
    assert_eq!(broker.stop().code, 0);
    let ended = sub.end();
    assert_eq!(ended.code, 69, "{}", ended.err);
}

#[test]
fn an_interrupt_ends_a_subscriber_in_good_order() {
    let broker = open();
    let port = broker.port();
    let mut watcher = Connect::new(broker.addr(), Version::V5, "watcher").connect();
    watcher.subscribe("gone", 0);
    done(&run(&words(&port, "pub -p PORT -q 1 -r -t a -m x")), "");
    let sub = Running::start(&words(
        &port,
        "sub -p PORT -t a --will-topic gone --will-payload ill",
    ));
    assert_eq!(sub.line(), "x\n");
    sub.signal(Signal::INT);
    done(&sub.end(), "");
    watcher.expect_silence();
}

/// `jackfield sub … | head -n 1`: the second message finds nobody who reads.
#[test]
fn a_reader_that_went_away_is_no_failure() {
    let broker = open();
    let port = broker.port();
    done(&run(&words(&port, "pub -p PORT -q 1 -r -t a -m first")), "");
    let (sub, line) = Running::head(&words(&port, "sub -p PORT -t a"));
    assert_eq!(line, "first\n");
    done(&run(&words(&port, "pub -p PORT -q 1 -t a -m second")), "");
    let ended = sub.end();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn a_request_gets_its_response() {
    let broker = open();
    let port = broker.port();
    // A responder that answers the first request where it says, with what it brought: as bytes, so that any would do.
    let mut responder = Connect::new(broker.addr(), Version::V5, "responder").connect();
    responder.subscribe("ask", 1);
    let asking = Running::start(&words(&port, "rr -p PORT -t ask -m ping -W 60"));
    let request = responder.take("ask", "ping");
    let mut props = request.props.iter();
    let topic = props.find_map(|property| match property {
        Property::ResponseTopic(topic) => Some(topic.clone()),
        _ => None,
    });
    let topic = topic.expect("it says where");
    let correlation =
        { request.props.iter() }.find(|property| matches!(property, Property::CorrelationData(_)));
    let correlation = correlation.expect("it says what for").clone();
    let stray = jackfield_tests::wire::publish(&topic, "not for you");
    responder.send(stray);
    let answer = jackfield_tests::wire::publish(&topic, "pong").prop(correlation);
    responder.send(answer);
    done(&asking.end(), "pong\n");
    let nobody = run(&words(&port, "rr -p PORT -t nobody -m ping -W 1"));
    assert_eq!(nobody.code, 27, "{}", nobody.err);
}
