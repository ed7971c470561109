//! The commands against a broker in the same process, started from a configuration file as `run` does. What needs a
//! process of its own (signals, the terminal) is not here.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{CommandFactory, Parser, ValueEnum};
use jackfield::Broker;
use jackfield::assemble::assemble;
use jackfield::config_file::Sources;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::source::{load, loaders};
use super::*;

/// A broker whose files are in a folder of its own.
struct Running {
    broker: Broker,
    _folder: tempfile::TempDir,
}

impl Running {
    /// Waits until the Retained Message of `topic` has this QoS.
    async fn retains(&self, topic: &str, qos: u8) {
        let topic = broker_types::TopicName::new(topic).unwrap();
        let handle = self.broker.handle();
        while handle
            .retained(&topic)
            .is_none_or(|message| message.qos.bits() != qos)
        {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Starts what `text` says; `DIR` in it is the folder, in which `files` are.
    async fn start(text: &str, files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let file = folder.path().join("jackfield.toml");
        fs::write(&file, text.replace("DIR", &dir)).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let loaded = load(&sources).await.unwrap_or_else(|report| panic!("{report}"));
        let builder = assemble(&loaded.settings, &loaders()).await.unwrap();
        Self {
            broker: builder.start().await.unwrap(),
            _folder: folder,
        }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.broker.addr(listener).unwrap()
    }

    /// Runs `pub` or `sub` with the port of `listener` in place of `PORT`; returns the exit code and what was printed.
    async fn run(&self, listener: &str, command_line: &str) -> (u8, String) {
        let port = self.address(listener).port().to_string();
        let words = ["jackfield"].into_iter().chain(command_line.split_whitespace());
        let words = words.map(|word| if word == "PORT" { port.as_str() } else { word });
        let mut out = Vec::new();
        let outcome = match Cli::try_parse_from(words).unwrap().command {
            Some(Command::Publish(command)) => command.publish().await,
            Some(Command::Subscribe(command)) => command.until_the_end(&mut out).await,
            other => panic!("{other:?}"),
        };
        (code(&outcome), String::from_utf8(out).unwrap())
    }
}

fn code(outcome: &Outcome) -> u8 {
    outcome.as_ref().err().map_or(0, |failure| failure.code())
}

const OPEN: &str = "[listeners.main]\nbind = '127.0.0.1:0'\nanonymous = true\n";

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn completions_know_every_command_and_flag() {
    for shell in clap_complete::Shell::value_variants() {
        let script = String::from_utf8(completions::script(*shell)).unwrap();
        for word in ["chain", "explain", "log-level", "repeat-delay", "retain-handling"] {
            assert!(script.contains(word), "{shell} {word}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man1");
    let words = ["jackfield", "man", "--dir", dir.to_str().unwrap()];
    assert_eq!(
        code(&Cli::try_parse_from(words).unwrap().command.unwrap().run()),
        0
    );
    for (page, word) in [
        ("jackfield", "jackfield\\-chain(1)"),
        ("jackfield-pub", "repeat\\-delay"),
        ("jackfield-chain-show", "jackfield.toml"),
    ] {
        let text = fs::read_to_string(dir.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(word), "{page}: {text}");
    }
    assert!(!dir.join("jackfield-help.1").exists());
}

#[test]
fn what_is_asked_for_may_be_mistyped() {
    let asked = |code: &str| Cli::try_parse_from(["jackfield", "explain", code]);
    assert!(asked("open_listener").is_ok());
    let told = asked("open_listner").unwrap_err().to_string();
    assert!(told.contains("open_listener"), "{told}");
}

#[test]
fn no_command_runs_the_broker() {
    let cli = Cli::try_parse_from(["jackfield", "--listen", "1884", "--set", "a=b"]).unwrap();
    assert!(cli.command.is_none());
    let cli = Cli::try_parse_from(["jackfield", "run", "--listen", "1884"]).unwrap();
    assert!(matches!(cli.command, Some(Command::Run(_))));
}

#[tokio::test]
async fn what_is_published_is_printed() {
    let running = Running::start(OPEN, &[]).await;
    for version in ["31", "311", "5"] {
        for qos in 0..3 {
            // 3.1 has to name itself, by its process, and here both are one: `sub` would take the Session over.
            let publish = format!("pub -i p -p PORT -V {version} -q {qos} -t a/b -m hello -r");
            assert_eq!(running.run("main", &publish).await.0, 0, "{publish}");
            // With QoS 0 nobody says when the broker has it.
            running.retains("a/b", qos).await;
            let subscribe = format!("sub -p PORT -V {version} -q 2 -t a/# -C 1 -F %t|%p|%q|%r");
            let (code, printed) = running.run("main", &subscribe).await;
            assert_eq!(
                (code, printed),
                (0, format!("a/b|hello|{qos}|1\n")),
                "{subscribe}"
            );
        }
    }
}

#[tokio::test]
async fn a_message_is_taken_by_a_client_that_waits() {
    let running = Running::start(OPEN, &[]).await;
    let (mut seen, out) = tokio::io::duplex(1024);
    let port = running.address("main").port().to_string();
    let sub = [
        "jackfield",
        "sub",
        "-p",
        &port,
        "-t",
        "ready",
        "-t",
        "a",
        "-v",
        "-C",
        "2",
    ];
    let Some(Command::Subscribe(command)) = Cli::try_parse_from(sub).unwrap().command else {
        panic!()
    };
    let publish = async {
        // The retained message says that the subscription is there.
        let mut line = [0; 8];
        seen.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"ready 1\n");
        let sent = running.run("main", "pub -p PORT -q 2 -t a -m x").await;
        assert_eq!(sent.0, 0);
        seen.read_exact(&mut line[..4]).await.unwrap();
        assert_eq!(&line[..4], b"a x\n");
    };
    assert_eq!(running.run("main", "pub -p PORT -t ready -m 1 -r").await.0, 0);
    let (outcome, ()) = tokio::join!(command.until_the_end(Pipe(out)), publish);
    assert_eq!(code(&outcome), 0);
}

/// Writing that never waits, to a reader in the same task.
struct Pipe(DuplexStream);

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut writing = Box::pin(self.0.write(bytes));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match writing.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(written) => written,
            std::task::Poll::Pending => Err(std::io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn sub_ends_when_it_was_told_to() {
    let running = Running::start(OPEN, &[]).await;
    assert_eq!(
        running.run("main", "sub -p PORT -t a -E").await,
        (0, String::new())
    );
    for topic in ["r/1", "r/2", "r/3"] {
        let publish = format!("pub -p PORT -r -t {topic} -m {topic} -D publish content-type text");
        assert_eq!(running.run("main", &publish).await.0, 0);
    }
    let (_, printed) = running.run("main", "sub -p PORT -t r/+ -T r/2 -C 2 --json").await;
    let topics: Vec<_> = printed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|json| (json["topic"].clone(), json["properties"]["content-type"].clone()))
        .collect();
    assert!(topics.contains(&("r/1".into(), "text".into())), "{printed}");
    assert!(topics.contains(&("r/3".into(), "text".into())), "{printed}");
    let (_, printed) = running
        .run("main", "sub -p PORT -t r/# --remove-retained -C 3")
        .await;
    assert_eq!(printed.lines().count(), 3);
    tokio::time::pause();
    assert_eq!(
        running.run("main", "sub -p PORT -t r/# -W 9").await,
        (27, String::new())
    );
}

#[tokio::test]
async fn only_known_clients_come_in_and_each_has_its_part_of_the_tree() {
    let users = plugin_auth_file::add("", "anna", b"secret").unwrap();
    let rules =
        "[[rules]]\nwho = { user = '*' }\nallow = ['publish', 'subscribe']\ntopics = ['plant/%u/#']\n";
    let text = "[plugins.users]\nuse = 'builtin:auth-file'\nconfig.file = 'DIR/users'\n\
                [plugins.acl]\nuse = 'builtin:acl-file'\nconfig.file = 'DIR/acl.toml'\n\
                [chains]\ndefault = ['users', 'acl']\n\
                [listeners.main]\nbind = '127.0.0.1:0'\n";
    let running = Running::start(text, &[("users", users), ("acl.toml", rules.to_owned())]).await;
    for (version, refused) in [("5", 0x86), ("311", 4)] {
        let wrong = format!("pub -p PORT -V {version} -u anna -P wrong -t plant/anna/x -n");
        assert_eq!(running.run("main", &wrong).await.0, refused, "{wrong}");
    }
    assert_eq!(
        running.run("main", "pub -p PORT -t plant/anna/x -n").await.0,
        0x87
    );
    for (topic, code) in [("plant/anna/x", 0), ("plant/bob/x", 1)] {
        let publish = format!("pub -p PORT -u anna -P secret -q 1 -t {topic} -n");
        assert_eq!(running.run("main", &publish).await.0, code, "{publish}");
        let subscribe = format!("sub -p PORT -u anna -P secret --quiet -E -t {topic}");
        assert_eq!(running.run("main", &subscribe).await.0, code, "{subscribe}");
    }
}

#[tokio::test]
async fn a_listener_has_its_own_mount_versions_and_limits() {
    let text = format!(
        "{OPEN}[listeners.tenant]\nbind = '127.0.0.1:0'\nanonymous = true\nmount = 'tenant/'\nprotocols = ['5.0']\n\
         limits.maximum_qos = 1\n[chains]\n"
    );
    let running = Running::start(&text, &[]).await;
    assert_eq!(running.run("tenant", "pub -p PORT -t a -m x -r").await.0, 0);
    let (_, printed) = running.run("main", "sub -p PORT -t # -v -C 1").await;
    assert_eq!(printed, "tenant/a x\n");
    let (_, printed) = running.run("tenant", "sub -p PORT -t # -v -C 1").await;
    assert_eq!(printed, "a x\n");
    assert_eq!(running.run("tenant", "pub -p PORT -V 311 -t a -n").await.0, 1);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unavailable() {
    let running = Running::start(OPEN, &[]).await;
    let address = running.address("main");
    running.broker.shutdown(Duration::from_secs(5)).await;
    let words = [
        "jackfield",
        "pub",
        "-p",
        &address.port().to_string(),
        "-t",
        "a",
        "-n",
    ];
    let Some(Command::Publish(command)) = Cli::try_parse_from(words).unwrap().command else {
        panic!()
    };
    assert_eq!(code(&command.publish().await), 69);
}

#[tokio::test]
async fn mistakes_in_a_plugins_files_are_mistakes_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("j.toml");
    let text = "[plugins.users]\nuse = 'builtin:auth-file'\nconfig = { file = 'DIR/absent', wach = true }\n\
                [plugins.more]\nuse = 'builtin:auth-file'\nconfig = { file = 'DIR/absent' }\n\
                [chains]\ndefault = ['users', 'more']\n[listeners.main]\nbind = '127.0.0.1:0'\n";
    fs::write(&file, text.replace("DIR", &folder.path().display().to_string())).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let report = load(&sources).await.unwrap_err();
    let codes: Vec<_> = report.iter().map(|found| found.code.as_str()).collect();
    assert_eq!(codes, ["unknown_key", "bad_option"], "{report}");
}
