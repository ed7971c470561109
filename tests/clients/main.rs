//! Other people's clients against this broker: mosquitto's, paho for Python, mqtt.js. What they say is the judge. A client
//! that isn't installed is named in one line and not run; the gate installs them and makes absence a failure.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jackfield::{Broker, Chain, Listener};

/// A run of a client may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    port: String,
    broker: Broker,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn start(listener: Listener, chain: Chain) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let builder = Broker::builder()
            .listener(listener.chain("chain"))
            .chain("chain", chain)
            .shards(2);
        let broker = runtime.block_on(builder.start()).unwrap();
        let port = broker.addr("listener-0").unwrap().port().to_string();
        Self {
            port,
            broker,
            runtime,
        }
    }

    fn open() -> Self {
        Self::start(Listener::tcp("127.0.0.1:0").anonymous(true), Chain::new())
    }

    fn stop(self) {
        let shutdown = self
            .runtime
            .block_on(self.broker.shutdown(Duration::from_secs(5)));
        assert_eq!(shutdown.cut, 0, "connections were left");
    }
}

/// Returns the program if it is there; says so if not.
fn found(what: &str, program: PathBuf) -> Option<PathBuf> {
    let there = match program.components().count() {
        1 => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|dir| dir.join(&program).is_file()),
        _ => program.exists(),
    };
    if there {
        return Some(program);
    }
    assert!(
        std::env::var_os("JACKFIELD_CI").is_none(),
        "{what} is not installed"
    );
    eprintln!("not run: {what} is not installed");
    None
}

fn clients_dir() -> PathBuf {
    std::env::var_os("JACKFIELD_CLIENTS").map_or_else(|| PathBuf::from("target/clients"), PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "clients", name].iter().collect()
}

/// Waits for a client and returns what it wrote.
fn finish(mut child: Child, what: &str) -> Output {
    let deadline = Instant::now() + PATIENCE;
    // The clients end by themselves; this only bounds one that hangs.
    let watchdog = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if ended
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_err()
        {
            let _ = Command::new("kill").args(["-9", &watchdog.to_string()]).status();
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    guard.join().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    output
}

fn spawn(program: &PathBuf, args: &[&str]) -> Child {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn python(name: &str, args: &[&str]) {
    let Some(python) = found("paho-mqtt for Python", clients_dir().join("venv/bin/python")) else {
        return;
    };
    let path = script(name);
    let mut all = vec![path.to_str().unwrap()];
    all.extend(args);
    finish(spawn(&python, &all), name);
}

fn node(name: &str, args: &[&str]) {
    let module = clients_dir().join("node_modules/mqtt");
    let Some(module) = found("mqtt.js", module) else {
        return;
    };
    let Some(node) = found("node", PathBuf::from("node")) else {
        return;
    };
    let (path, module) = (script(name), std::fs::canonicalize(module).unwrap());
    let mut all = vec![path.to_str().unwrap(), module.to_str().unwrap()];
    all.extend(args);
    finish(spawn(&node, &all), name);
}

#[test]
fn mosquitto_pub_and_sub_meet_in_every_version_and_qos() {
    let Some(publisher) = found("mosquitto_pub", PathBuf::from("mosquitto_pub")) else {
        return;
    };
    let Some(subscriber) = found("mosquitto_sub", PathBuf::from("mosquitto_sub")) else {
        return;
    };
    let rig = Rig::open();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            // Retained, so that it makes no difference who is first.
            let topic = format!("a/{version}/{qos}/t");
            let message = [
                "-p", &rig.port, "-V", version, "-t", &topic, "-q", qos, "-m", "hi", "-r",
            ];
            finish(spawn(&publisher, &message), "mosquitto_pub");
            let filter = format!("a/{version}/{qos}/#");
            let wanted = [
                "-p", &rig.port, "-V", version, "-t", &filter, "-q", qos, "-C", "1", "-W", "5", "-v",
            ];
            let output = finish(spawn(&subscriber, &wanted), "mosquitto_sub");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{topic} hi\n"));
        }
    }
    rig.stop();
}

#[test]
fn mosquitto_is_refused_with_a_wrong_password() {
    let Some(publisher) = found("mosquitto_pub", PathBuf::from("mosquitto_pub")) else {
        return;
    };
    let chain = Chain::new().authenticate(|request| match request.password {
        Some(b"right") => plugin_api::AuthVerdict::allow(),
        _ => plugin_api::AuthVerdict::bad_credentials(),
    });
    let rig = Rig::start(Listener::tcp("127.0.0.1:0"), chain);
    let run = |password| {
        let args = ["-p", &rig.port, "-t", "a", "-m", "x", "-u", "me", "-P", password];
        spawn(&publisher, &args).wait_with_output().unwrap()
    };
    assert!(run("right").status.success());
    let refused = run("wrong");
    assert_eq!(refused.status.code(), Some(4), "the return code of CONNACK");
    rig.stop();
}

#[test]
fn paho_speaks_5_0_with_everything() {
    let rig = Rig::open();
    python("paho5.py", &[&rig.port]);
    rig.stop();
}

#[test]
fn paho_speaks_3_1_1() {
    let rig = Rig::open();
    python("paho311.py", &[&rig.port]);
    rig.stop();
}

#[test]
fn mqtt_js_speaks_5_0_and_3_1_1() {
    let rig = Rig::open();
    node("mqttjs.cjs", &[&rig.port]);
    rig.stop();
}
