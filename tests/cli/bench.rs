//! `jackfield bench` against the broker of the same program. How fast it is doesn't matter here.

use crate::program::{Broker, folder, run};

fn open() -> Broker {
    Broker::start(&["--listen", "127.0.0.1:0"])
}

/// The words of a command line with the broker's port.
fn words(port: &str, line: &str) -> Vec<String> {
    let words = format!("bench -p {port} {line}");
    words.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_scenario_delivers_everything() {
    let broker = open();
    let port = broker.port();
    for (version, qos) in [("5", "0"), ("311", "1"), ("31", "2")] {
        let line = format!(
            "pairs fan-in fan-out shared latency connect -V {version} -q {qos} -c 5 --messages 500 --rate 5000 --json"
        );
        // MQTT 3.1 has Shared Subscriptions here too.
        let ended = run(&words(&port, &line));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
        let objects: Vec<serde_json::Value> = ended
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let scenarios: Vec<_> = objects.iter().map(|object| object["scenario"].as_str()).collect();
        let all = ["pairs", "fan-in", "fan-out", "shared", "latency", "connect"];
        assert_eq!(scenarios, all.map(Some));
        for object in objects {
            let units = if object["scenario"] == "fan-out" {
                2500
            } else {
                500
            };
            assert_eq!(object["units"], units, "{object}");
            assert!(object["latency_us"]["p99"].as_f64() > Some(0.0), "{object}");
        }
    }
}

#[test]
fn people_get_text() {
    let broker = open();
    let port = broker.port();
    let pid = std::process::id();
    let ended = run(&words(
        &port,
        &format!("-c 2 --messages 1000 --size 16 --pid {pid}"),
    ));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let lines: Vec<_> = ended.out.lines().map(str::trim).collect();
    assert_eq!(
        lines[0],
        "pairs: 2 publishers, each with a receiver, QoS 0, 16 bytes, MQTT 5.0"
    );
    for (line, start) in
        lines[1..]
            .iter()
            .zip(["done", "payload", "latency", "CPU", "memory", "faults    none"])
    {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn idle_connections_stay() {
    let broker = open();
    let ended = run(&words(&broker.port(), "idle -c 20 -d 0.1 --json"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out.lines().count(), 2, "{}", ended.out);
}

#[test]
fn what_goes_wrong_is_told() {
    let broker = Broker::start(&["--listen", "127.0.0.1:0", "--set", "limits.packet_size_max=1KiB"]);
    let port = broker.port();
    let ended = run(&words(&port, "-c 2 -d 0.1 --warm-up 0 --size 2000"));
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("0x95 Packet too large"), "{}", ended.err);

    let ended = run(&words(&port, "--pid 0"));
    assert_eq!(ended.code, 74, "{}", ended.err);
    assert!(ended.err.contains("process 0"), "{}", ended.err);

    drop(broker);
    let ended = run(&words(&port, ""));
    assert_eq!(ended.code, 69, "{}", ended.err);
    assert!(ended.err.contains(&port), "{}", ended.err);

    for bad in ["-q 3", "--size 3", "--clients 0", "--duration x", "nothing"] {
        assert_eq!(run(&words(&port, bad)).code, 2, "{bad}");
    }
}

#[test]
fn a_refused_client_ends_with_the_reason_code() {
    let folder = folder(&[("users", "")]);
    let file = folder.path().join("users").display().to_string();
    let config = folder.path().join("jackfield.toml");
    let text = format!(
        "[plugins.users]\nuse = 'builtin:auth-file'\nconfig = {{ file = '{file}' }}\n[chains]\ndefault = ['users']\n\
         [listeners.main]\nbind = '127.0.0.1:0'\nchain = 'default'\n"
    );
    std::fs::write(&config, text).expect("a file can be written");
    let broker = Broker::start(&["--config", &config.display().to_string()]);
    for (version, code) in [("5", 0x87), ("311", 5)] {
        let ended = run(&words(&broker.port(), &format!("-V {version}")));
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(ended.err.contains("refused the connection"), "{}", ended.err);
    }
}
