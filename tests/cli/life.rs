//! Starting, refusing to start, and stopping.

use jackfield_tests::wire::{Connect, Version};
use rustix::process::Signal;

use crate::program::{Broker, Running, folder, run};

/// A free port on loopback.
const ANY: &str = "127.0.0.1:0";

#[test]
fn without_configuration_it_says_where_it_listens_and_what_comes_next() {
    // as with no argument at all, on another port
    let set = r#"listeners.default={ bind = "127.0.0.1:0", anonymous = true }"#;
    let broker = Broker::start(&["--set", set]);
    let addr = broker.addr();
    Connect::new(addr, Version::V5, "a")
        .connect()
        .publish("t", "x", 1);
    let ended = broker.stop();
    let greeting = format!(
        "listening on {addr} (loopback only, anonymous, memory store). \
         Next: jackfield sub -v -t '#', or jackfield init\n"
    );
    assert!(ended.err.starts_with(&greeting), "{}", ended.err);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
}

/// With `log.level = "error"` the broker ended as soon as it had started, with exit code 0: it waited for the signal inside
/// of a log record that nobody wanted.
#[test]
fn a_broker_that_logs_nothing_runs_all_the_same() {
    let set = r#"listeners.default={ bind = "127.0.0.1:0", anonymous = true }"#;
    let broker = Broker::start(&["--set", set, "--log-level", "off"]);
    let mut client = Connect::new(broker.addr(), Version::V5, "a").connect();
    client.expect_silence();
    assert_eq!(broker.stop().code, 0);
}

#[test]
fn without_configuration_it_is_loopback_and_the_standard_port() {
    // the port may be taken on this machine, so this asks what would be done
    let shown = run(&["config", "show"]).out;
    assert!(shown.contains("bind = \"127.0.0.1:1883\"\n"), "{shown}");
}

#[test]
fn a_port_after_listen_is_one_on_loopback() {
    let broker = Broker::start(&["--listen", "0"]);
    assert!(broker.addr().ip().is_loopback());
    assert_eq!(broker.stop().code, 0);
}

#[test]
fn a_configuration_is_served() {
    let folder = folder(&[(
        "jackfield.toml",
        "version = 1\n[listeners.plant]\nbind = '127.0.0.1:0'\nanonymous = true\nprotocols = ['3.1.1']\n",
    )]);
    let file = folder.path().join("jackfield.toml");
    let broker = Broker::start(&["--config".as_ref(), file.as_os_str()]);
    drop(Connect::new(broker.addr(), Version::V311, "a").connect());
    Connect::new(broker.addr(), Version::V5, "b").refused(0x84);
    let ended = broker.stop();
    assert!(ended.err.contains("listener=\"plant\""), "{}", ended.err);
}

/// Both signals, so that `kill`, Ctrl-C and a service manager all end it in order.
#[test]
fn a_signal_stops_it_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut broker = Broker::start(&["--listen", ANY]);
        let mut told = Connect::new(broker.addr(), Version::V5, "told").connect();
        let mut closed = Connect::new(broker.addr(), Version::V311, "closed").connect();
        broker.running.signal(signal);
        told.expect_error(0x8b);
        closed.expect_error(0x8b);
        broker.running.tells("stopping");
        broker.running.tells("stopped");
        let ended = broker.running.end();
        assert_eq!(ended.code, 0, "{signal:?}: {}", ended.err);
        assert!(
            ended.err.contains("connections ended in order: 2;"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn a_second_broker_on_the_same_port_is_refused() {
    let first = Broker::start(&["--listen", ANY]);
    let second = run(&["--listen", &first.bind]);
    assert_eq!(second.code, 69, "{}", second.err);
    assert!(
        second.err.contains(&first.bind) && second.err.contains("--listen 1884"),
        "{}",
        second.err
    );
    drop(Connect::new(first.addr(), Version::V5, "still").connect());
}

#[test]
fn what_is_called_wrongly_is_usage() {
    for args in [
        &["--nonsense"][..],
        &["nonsense"],
        &["check", "--format", "xml"],
        &["pub", "-t", "a"],
        &["pub", "-t", "a/#", "-m", "x"],
        &["sub", "-t", "a/#/b"],
        &["sub"],
        &["passwd", "add"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.err);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{args:?}");
    }
}

#[test]
fn what_is_configured_wrongly_is_configuration() {
    let folder = folder(&[("wrong.toml", "version = 1\nlisteners = 7\n")]);
    let wrong = folder.path().join("wrong.toml").display().to_string();
    let missing = folder.path().join("missing.toml").display().to_string();
    for args in [
        &["--config", &wrong][..],
        &["run", "--config", &missing],
        &["check", &wrong],
        &["check", &missing],
        &["config", "show", &wrong],
        &["--set", "limits.inflight=1"],
        &["--listen", "nowhere"],
        // open to the network, and nobody decides who comes in
        &["--listen", "0.0.0.0:0"],
    ] {
        let ended = run(args);
        assert_eq!(ended.code, 78, "{args:?}: {}", ended.err);
        assert!(ended.err.contains("error["), "{args:?}: {}", ended.err);
    }
}

#[test]
fn a_unix_socket_is_a_listener_and_goes_with_the_broker() {
    let folder = folder(&[]);
    let path = folder.path().join("socket");
    let bind = format!("unix:{}", path.display());
    let broker = Broker::start(&["--listen", &bind]);
    assert_eq!(broker.bind, bind);
    let unix = path.display().to_string();
    let publish = [
        "pub",
        "--unix",
        &unix,
        "-q",
        "1",
        "-r",
        "-t",
        "a",
        "-m",
        "through a file",
    ];
    assert_eq!(run(&publish).code, 0);
    let subscribe = run(&["sub", "--unix", &unix, "-t", "a", "-C", "1"]);
    assert_eq!((subscribe.code, subscribe.out.as_str()), (0, "through a file\n"));

    let second = run(&["--listen", &bind]);
    assert_eq!(second.code, 69, "a broker is there: {}", second.err);

    assert_eq!(broker.stop().code, 0);
    assert!(!path.exists(), "the socket stays behind");
}

#[test]
fn a_socket_that_a_killed_broker_left_behind_is_replaced() {
    let folder = folder(&[]);
    let bind = format!("unix:{}", folder.path().join("socket").display());
    let broker = Broker::start(&["--listen", &bind]);
    broker.running.signal(Signal::KILL);
    drop(broker);
    let broker = Broker::start(&["--listen", &bind]);
    assert_eq!(broker.stop().code, 0);
}

#[test]
fn a_log_of_json_is_one_object_a_line() {
    let mut running = Running::start(&["--listen", ANY, "--log-format", "json"]);
    let line = running.tells("listening");
    let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(record["message"], "listening");
    assert_eq!(record["listener"], "listen");
    running.signal(Signal::TERM);
    for line in running.end().err.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}
