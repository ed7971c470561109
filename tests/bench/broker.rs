//! The brokers under test: how each is started, from a small configuration, and what its process costs.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use broker_loadgen::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::rows::{Row, Table};

/// What the configuration file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    broker: Vec<Broker>,
}

/// How to start a broker. Of several with one name, the first that takes part in a row is the one that does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broker {
    /// What it is called in the report.
    pub(crate) name: String,
    /// Program and arguments. `{port}` is where to listen on 127.0.0.1, `{config}` a file with `config` in it, `{self}`
    /// this program, `{built}` the folder of the programs that were built with it.
    command: Vec<String>,
    /// The text of its configuration file; `{port}` here too.
    #[serde(default)]
    config: String,
    /// The table it stands in.
    #[serde(default)]
    pub(crate) table: Table,
    /// The rows it takes part in, by the beginnings of their names; absent: all.
    rows: Option<Vec<String>>,
}

/// A broker that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) process: Process,
    child: Child,
    _config: NamedTempFile,
}

/// Reads the configuration of the brokers, or that in the tree.
pub(crate) fn brokers(file: Option<&Path>) -> io::Result<Vec<Broker>> {
    let text = match file {
        Some(path) => fs::read_to_string(path)?,
        None => include_str!("brokers.toml").to_owned(),
    };
    let file: File = toml::from_str(&text).map_err(io::Error::other)?;
    Ok(file.broker)
}

impl Broker {
    /// Whether it takes part in a row.
    pub(crate) fn plays(&self, row: &Row) -> bool {
        let named = |start: &String| row.name.starts_with(start.as_str());
        self.table == row.table && self.rows.as_ref().is_none_or(|rows| rows.iter().any(named))
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        // Some tell a format by its name.
        let config = tempfile::Builder::new().suffix(".toml").tempfile()?;
        fs::write(config.path(), self.config.replace("{port}", &port.to_string()))?;
        let program = std::env::current_exe()?;
        let built = program.ancestors().nth(2).unwrap_or(&program);
        let words: Vec<_> = self
            .command
            .iter()
            .map(|word| {
                word.replace("{port}", &port.to_string())
                    .replace("{config}", &config.path().to_string_lossy())
                    .replace("{self}", &program.to_string_lossy())
                    .replace("{built}", &built.to_string_lossy())
            })
            .collect();
        let (name, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::other(format!("{}: no command", self.name)))?;
        let child = Command::new(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let mut running = Running {
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            process: Process(child.id()),
            child,
            _config: config,
        };
        running.wait_until_it_listens(&self.name)?;
        Ok(running)
    }
}

impl Running {
    fn wait_until_it_listens(&mut self, name: &str) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.addr).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{name} did not start: {status}")));
            }
            if began.elapsed() > START_MAX {
                return Err(io::Error::other(format!("{name} does not listen")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked politely first: a profiler around the broker writes its result when it ends.
        let pid = Pid::from_child(&self.child);
        let _gone = kill_process(pid, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < END_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

const START_MAX: Duration = Duration::from_secs(20);
const END_MAX: Duration = Duration::from_secs(5);
