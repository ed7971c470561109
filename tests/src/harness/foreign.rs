//! Another broker's program in place of ours, to see whether a test fails because of the broker or because of itself.
//!
//! Made for mosquitto's command line and configuration. It has no clock that a test could advance, so time is waited
//! for, and of the limits it takes only those it knows.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use broker_types::Limits;
use tempfile::TempDir;

/// A running process; killed on drop.
#[derive(Debug)]
pub(super) struct Foreign {
    addr: SocketAddr,
    child: Child,
    _home: TempDir,
}

impl Foreign {
    pub(super) fn start(program: &OsStr, limits: &Limits) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let addr = free_address();
        let conf = home.path().join("broker.conf");
        std::fs::write(&conf, configuration(addr, limits)).expect("the configuration can be written");
        let mut child = Command::new(program)
            .arg("-c")
            .arg(&conf)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker's program runs");
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut line = String::new();
        while !line.contains("running") {
            line.clear();
            let count = log.read_line(&mut line).expect("its log can be read");
            assert!(count > 0, "{} ended before it was ready", program.display());
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            addr,
            child,
            _home: home,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets real time pass.
pub(super) fn wait(by: Duration) {
    assert!(
        by < Duration::from_secs(5),
        "this broker has no clock to advance by {by:?}"
    );
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(by);
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

fn configuration(addr: SocketAddr, limits: &Limits) -> String {
    let keep_alive = limits
        .keep_alive_max
        .map_or(String::new(), |secs| format!("max_keepalive {secs}\n"));
    format!(
        "user root\nallow_anonymous true\nlog_dest stderr\n{keep_alive}listener {port} {ip}\nmax_qos {qos}\nmax_packet_size {packet}\n\
         max_topic_alias {alias}\nretain_available {retain}\n",
        port = addr.port(),
        ip = addr.ip(),
        qos = limits.maximum_qos as u8,
        packet = limits.packet_size_max,
        alias = limits.topic_alias_maximum,
        retain = limits.retain_available,
    )
}
