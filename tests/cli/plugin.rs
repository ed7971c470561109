//! `jackfield plugin`, as an author of plugins meets it: from nothing to a plugin in a broker.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{Broker, Ended, Running, program, run, run_tools};

/// A project that a test has made, in a folder that goes with it.
struct Project {
    _place: TempDir,
    folder: PathBuf,
}

impl Project {
    #[track_caller]
    fn new(name: &str, kind: &str, lang: &str) -> Self {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = place.path().join(name);
        let path = folder.display().to_string();
        let ended = run(&["plugin", "new", &path, "--kind", kind, "--lang", lang]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
        // What this workspace has fetched is enough, and the only thing that is surely there.
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
        std::fs::copy(lock, folder.join("Cargo.lock")).expect("the lock file can be copied");
        Self {
            _place: place,
            folder,
        }
    }

    /// Runs `jackfield plugin COMMAND` in the project.
    #[track_caller]
    fn plugin(&self, args: &[&str]) -> Ended {
        run_tools(self.command().arg("plugin").args(args))
    }

    fn command(&self) -> Command {
        let mut command = program();
        command
            .current_dir(&self.folder)
            .env(
                "CARGO_TARGET_DIR",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/plugin-projects"),
            )
            .env("CARGO_NET_OFFLINE", "true");
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).expect("a file can be written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).expect("a file can be read")
    }

    /// Starts a broker with the project's own configuration, on a free port.
    #[track_caller]
    fn broker(&self, more: &[&str]) -> Broker {
        let dirs = format!("node.plugin_dirs=['{}']", self.path("build"));
        let users = format!("plugins.anybody.config.file='{}'", self.path("users"));
        let config = self.path("jackfield.toml");
        let mut args = vec!["run", "--config", &config, "--set", &dirs];
        args.extend(["--set", "listeners.main.bind='127.0.0.1:0'"]);
        if self.folder.join("users").exists() {
            args.extend(["--set", &users]);
        }
        args.extend(more);
        Broker::start(&args)
    }
}

/// Tells whether there is a C compiler and make; the gate has them.
fn can_compile_c() -> bool {
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    let both = there("cc") && there("make");
    assert!(
        both || std::env::var_os("JACKFIELD_CI").is_none(),
        "cc or make is not installed"
    );
    if !both {
        println!("not tested: cc or make is not installed");
    }
    both
}

#[track_caller]
fn expect(ended: &Ended, code: i32, wanted: &str) {
    assert_eq!(ended.code, code, "{}{}", ended.out, ended.err);
    let all = format!("{}{}", ended.out, ended.err);
    assert!(all.contains(wanted), "{wanted}: {all}");
}

/// Publishes with QoS 1 and returns how that ended.
fn publish(broker: &Broker, topic: &str, message: &str, user: Option<(&str, &str)>) -> Ended {
    let port = broker.port();
    let mut args = vec![
        "pub", "-p", &port, "-q", "1", "-V", "5", "-t", topic, "-m", message,
    ];
    if let Some((name, password)) = user {
        args.extend(["-u", name, "-P", password]);
    }
    run(&args)
}

/// What each kind does in a broker that runs with the project's own configuration.
fn shown_in_a_broker(project: &Project, kind: &str) {
    let broker = project.broker(&[]);
    let anna = Some(("anna", "open sesame"));
    match kind {
        "auth" => {
            assert_eq!(publish(&broker, "a", "b", anna).code, 0);
            let refused = publish(&broker, "a", "b", Some(("anna", "wrong")));
            expect(&refused, 0x86, "wrong user name or password");
        }
        "acl" => {
            assert_eq!(publish(&broker, "device/anna/x", "1", anna).code, 0);
            assert_ne!(publish(&broker, "device/bob/x", "1", anna).code, 0);
        }
        _ => {
            let port = broker.port();
            assert_ne!(publish(&broker, "celsius/kitchen", "warm", None).code, 0);
            let args = [
                "pub",
                "-p",
                &port,
                "-q",
                "1",
                "-r",
                "-t",
                "celsius/kitchen",
                "-m",
                "20",
            ];
            assert_eq!(run(&args).code, 0);
            let got = run(&["sub", "-p", &port, "-v", "-t", "celsius/#", "-C", "1", "-W", "20"]);
            assert_eq!(got.out, "celsius/kitchen 68\n");
        }
    }
    broker.stop();
}

#[test]
fn a_project_in_c_is_built_tested_measured_and_runs() {
    if !can_compile_c() {
        return;
    }
    for kind in ["auth", "acl", "transform"] {
        let project = Project::new("my-plugin", kind, "c");
        expect(&project.plugin(&["build"]), 0, "built build/my_plugin.so");
        let tested = project.plugin(&["test"]);
        expect(&tested, 0, "ok     tests/calls.jsonl");
        assert!(
            tested.out.contains("0 differ") && !tested.out.contains("FAILED"),
            "{}",
            tested.out
        );
        let measured = project.plugin(&["bench", "--time", "20"]);
        expect(&measured, 0, "ns per call");
        assert!(Path::new(&project.path("build/bench.json")).exists());
        expect(
            &project.plugin(&["bench", "--time", "20", "--max-regress", "1000000%"]),
            0,
            " %",
        );
        shown_in_a_broker(&project, kind);
    }
}

#[test]
fn a_project_in_rust_is_built_tested_and_runs() {
    for kind in ["auth", "acl", "transform", "bridge"] {
        let name = if kind == "bridge" {
            "my-bridge"
        } else {
            "my-plugin"
        };
        let project = Project::new(name, kind, "rust");
        let file = format!("build/lib{}.so", name.replace('-', "_"));
        expect(
            &project.plugin(&["build", "--debug"]),
            0,
            &format!("built {file}"),
        );
        let mut own = Command::new(env!("CARGO"));
        own.args(["test", "--quiet", "--lib"])
            .current_dir(&project.folder);
        for (name, value) in project.command().get_envs() {
            own.env(name, value.unwrap_or_default());
        }
        let own = own.env("JACKFIELD_PLUGIN", project.path(&file)).output();
        let own = own.expect("cargo runs");
        assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stdout));
        match kind {
            "bridge" => {
                a_bridge_carries(&project, &file);
                continue;
            }
            "store" => {
                a_store_keeps(&project, &file);
                continue;
            }
            _ => {}
        }
        let options = project_options(kind);
        expect(
            &project.plugin(&["test", &file, "--options", options]),
            0,
            "11 steps passed",
        );
        let replayed = project.plugin(&["replay", &file, "tests/calls.jsonl", "--options", options]);
        expect(&replayed, 0, "0 differ");
        shown_in_a_broker(&project, kind);
    }
}

const fn project_options(kind: &str) -> &'static str {
    match kind.as_bytes() {
        b"auth" => r#"{"users":{"anna":"open sesame"}}"#,
        b"acl" => r#"{"root":"device"}"#,
        _ => r#"{"factor":1.8,"offset":32}"#,
    }
}

/// What a bridge carries out arrives at the other side. Its calls need no broker to be tested, and have none to be recorded.
fn a_bridge_carries(project: &Project, file: &str) {
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time limit");
    let to = peer.local_addr().expect("an address");
    let options = format!(r#"{{"bind":"127.0.0.1:0","peer":"{to}"}}"#);
    expect(
        &project.plugin(&["test", file, "--options", &options]),
        0,
        "11 steps passed",
    );
    expect(
        &project.plugin(&["bench", file, "--options", &options]),
        1,
        "nothing to measure",
    );
    let config = [("bind", "127.0.0.1:0".to_owned()), ("peer", to.to_string())];
    let [bind, to] = config.map(|(key, value)| format!("plugins.my_bridge.config.{key}='{value}'"));
    let broker = project.broker(&["--set", &bind, "--set", &to]);
    assert_eq!(publish(&broker, "out/kitchen", "20", None).code, 0);
    let mut datagram = [0; 100];
    let len = peer.recv(&mut datagram).expect("a datagram");
    assert_eq!(&datagram[..len], b"out/kitchen\n20");
    broker.stop();
}

/// What was retained is there after the broker was stopped.
fn a_store_keeps(project: &Project, file: &str) {
    let log = project.path("records.log");
    let options = format!(r#"{{"file":"{log}"}}"#);
    expect(
        &project.plugin(&["test", file, "--options", &options]),
        0,
        "11 steps passed",
    );
    let at = format!("plugins.my_store.config.file='{log}'");
    let broker = project.broker(&["--set", &at]);
    let port = broker.port();
    let args = ["pub", "-p", &port, "-q", "1", "-r", "-t", "kitchen", "-m", "20"];
    assert_eq!(run(&args).code, 0);
    broker.stop();
    let broker = project.broker(&["--set", &at]);
    let port = broker.port();
    let got = run(&["sub", "-p", &port, "-v", "-t", "kitchen", "-C", "1", "-W", "20"]);
    assert_eq!(got.out, "kitchen 20\n");
    broker.stop();
}

#[test]
fn a_bridge_in_c_is_built_tested_and_carries() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("my-bridge", "bridge", "c");
    expect(&project.plugin(&["build"]), 0, "built build/my_bridge.so");
    a_bridge_carries(&project, "build/my_bridge.so");
}

#[test]
fn a_store_in_c_is_built_tested_and_keeps() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("my-store", "store", "c");
    expect(&project.plugin(&["build"]), 0, "built build/my_store.so");
    a_store_keeps(&project, "build/my_store.so");
}

/// A plugin that ends its process is found, and the one that asks lives on.
#[test]
fn a_plugin_that_crashes_is_named_with_what_it_was_asked() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("crash", "transform", "c");
    let source = project.read("plugin.c");
    let crash = "  if (in->payload.len == 0) *(volatile int *)0 = 1;\n  double number";
    project.write("plugin.c", &source.replace("  double number", crash));
    let tested = project.plugin(&["test"]);
    expect(&tested, 1, "FAILED payloads");
    assert!(
        tested.out.contains("SIGSEGV") && tested.out.contains("so would the broker"),
        "{}",
        tested.out
    );
    let json = project.plugin(&["test", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&json.out).expect("one JSON object");
    assert_eq!((json.code, &found["ok"]), (1, &false.into()));
}

#[test]
fn another_answer_is_a_difference() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("drift", "transform", "c");
    expect(&project.plugin(&["build"]), 0, "built");
    let options = r#"{"factor":2,"offset":32}"#;
    let replayed = project.plugin(&["replay", "build/drift.so", "tests/calls.jsonl", "-o", options]);
    expect(&replayed, 1, r#"now:  {"payload":"72","verdict":"continue"}"#);
    assert!(replayed.out.ends_with("5 calls, 2 differ\n"), "{}", replayed.out);
}

/// A source changes, and so does what the broker's plugin says; a source that doesn't compile changes nothing.
#[test]
fn a_change_of_a_source_is_swapped_in() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("lively", "transform", "c");
    let folder = project.path("");
    let bind = "listeners.main.bind='127.0.0.1:0'";
    let mut dev = Running::start(&["plugin", "dev", &folder, "--set", bind]);
    let line = dev.tells("main is listening on");
    let address = line
        .split_whitespace()
        .nth(4)
        .expect("an address")
        .trim_end_matches('.');
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let publish = |message: &str| {
        let args = [
            "pub",
            "-p",
            &port,
            "-V",
            "5",
            "-q",
            "1",
            "-i",
            "c1",
            "-t",
            "celsius/x",
            "-m",
            message,
        ];
        run(&args).code
    };
    assert_eq!(publish("20"), 0);
    assert!(
        dev.line()
            .starts_with("publish c1 celsius/x 20 -> continue payload=68 (")
    );
    let source = project.read("plugin.c");
    project.write("plugin.c", &source.replace("not a number", "none"));
    dev.tells("swapped");
    assert_ne!(publish("warm"), 0);
    assert!(
        dev.line()
            .starts_with("publish c1 celsius/x warm -> reject reason=153 text=none (")
    );
    project.write("plugin.c", "junk");
    dev.tells("goes on as it was");
    assert_eq!(publish("20"), 0);
    dev.signal(rustix::process::Signal::INT);
    assert_eq!(dev.end().code, 0);
}

/// What a broker asks a plugin is written down, and put to it again without a broker.
#[test]
fn a_recording_of_a_broker_is_replayed() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("taped", "transform", "c");
    expect(&project.plugin(&["build"]), 0, "built");
    let record = format!("taped={}", project.path("tape.jsonl"));
    let broker = project.broker(&["--record", &record]);
    assert_eq!(publish(&broker, "celsius/a", "21.5", None).code, 0);
    assert_eq!(publish(&broker, "elsewhere", "21.5", None).code, 0);
    let ended = broker.stop();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let tape = project.read("tape.jsonl");
    assert_eq!(tape.lines().count(), 1, "what passes it by isn't asked: {tape}");
    assert!(tape.contains(r#""payload":"70.7""#), "{tape}");
    let options = project_options("transform");
    expect(
        &project.plugin(&["replay", "build/taped.so", "tape.jsonl", "-o", options]),
        0,
        "1 calls, 0 differ",
    );
    let config = project.path("jackfield.toml");
    let other = run(&["run", "--config", &config, "--record", "nobody=x.jsonl"]);
    assert_ne!(other.code, 0);
}

#[test]
fn a_file_is_described_pinned_and_signed() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("sealed", "auth", "c");
    expect(&project.plugin(&["build"]), 0, "built");
    let inspected = project.plugin(&["inspect", "build/sealed.so", "--json"]);
    let facts: serde_json::Value = serde_json::from_str(&inspected.out).expect("one JSON object");
    assert_eq!(
        (&facts["kind"], &facts["id"], &facts["abi"], &facts["hooks"][0]),
        (
            &"native".into(),
            &"sealed".into(),
            &"1.0".into(),
            &"authenticate".into()
        )
    );

    expect(&project.plugin(&["lock", "--check"]), 1, "jackfield plugin lock");
    expect(&project.plugin(&["lock"]), 0, "is new");
    let locked = project.read("jackfield.toml");
    assert!(locked.starts_with("# A broker with sealed in it"), "{locked}");
    assert!(
        locked.contains(facts["sha256"].as_str().expect("a digest")),
        "{locked}"
    );
    expect(&project.plugin(&["lock", "--check"]), 0, "is that of the file");
    // Folders are beside the configuration, wherever one stands.
    expect(
        &run(&["plugin", "lock", &project.path("jackfield.toml")]),
        0,
        "is that of the file",
    );

    expect(
        &project.plugin(&["keygen", "secret.key"]),
        0,
        "public_key = \"ed25519:",
    );
    expect(&project.plugin(&["keygen", "secret.key"]), 74, "secret.key");
    let signed = project.plugin(&["sign", "build/sealed.so", "--key", "secret.key"]);
    expect(&signed, 0, "wrote build/sealed.so.sig");
    let key = signed.out.split('"').nth(1).expect("the public key");
    expect(
        &project.plugin(&["verify", "build/sealed.so", "-p", key]),
        0,
        "is good",
    );
    expect(
        &project.plugin(&["inspect", "build/sealed.so", "--public-key", key]),
        0,
        "signature  good",
    );
    let other = project.plugin(&["keygen", "other.key"]);
    let other = other.out.split('"').nth(1).expect("the public key").to_owned();
    expect(
        &project.plugin(&["verify", "build/sealed.so", "-p", &other]),
        1,
        "not that of this file and key",
    );
}

#[test]
fn a_library_for_another_abi_names_both_and_what_to_do() {
    if !can_compile_c() {
        return;
    }
    let project = Project::new("newer", "auth", "c");
    let source = project.read("plugin.c");
    project.write(
        "plugin.c",
        &source.replace(".abi_minor_needed = 0", ".abi_minor_needed = 900"),
    );
    expect(&project.plugin(&["build"]), 0, "built");
    let inspected = project.plugin(&["inspect", "build/newer.so"]);
    expect(&inspected, 1, "built for ABI 1.900, this broker has 1.");
    assert!(inspected.err.contains("rebuild it"), "{}", inspected.err);
}

#[test]
fn mistakes_are_met_with_what_to_do() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| place.path().join(name).display().to_string();
    expect(&run(&["plugin", "new", &at("My_Plugin")]), 2, "my-auth");
    expect(&run(&["plugin", "build", &at("")]), 1, "jackfield plugin new");
    std::fs::write(place.path().join("file"), "text").expect("a file can be written");
    expect(&run(&["plugin", "inspect", &at("file")]), 1, "no shared library");
    expect(&run(&["plugin", "inspect", &at("")]), 2, "plugin build");
    expect(&run(&["plugin", "new", &at("a"), "--lang", "c"]), 0, "Next:");
    expect(&run(&["plugin", "new", &at("a"), "--lang", "c"]), 1, "not empty");
    std::fs::write(
        place.path().join("a/plugin.toml"),
        "name = 'a'\nlang = 'c'\n[build]\nrun = ['x']\nfile = 'x'\ntools = { no-such-tool = 'apt-get install it' }\n",
    )
    .expect("a file can be written");
    expect(&run(&["plugin", "build", &at("a")]), 1, "apt-get install it");
}
