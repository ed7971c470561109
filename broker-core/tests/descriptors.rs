//! Out of file descriptors: new connections wait or are refused, those that are there go on, and all is well again when some
//! are free. A process of its own, because the limit is the process's.
#![forbid(unsafe_code)]

mod common;

use std::net::TcpStream;

use broker_types::Limits;
use common::{Client, Connect, Running, open};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn open_files() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").expect("this is Linux").count();
    u64::try_from(files).expect("a small number")
}

fn set_limit(current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(current),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("lower than the hard limit");
}

#[test]
fn without_descriptors_old_connections_go_on_and_new_ones_come_in_later() {
    let mut limits = Limits::default();
    // So that the limit of the process is reached before the listener's own.
    limits.connections_max = Some(10_000);
    let running = Running::start(open().limits(limits));
    let mut steady = running.connect(&Connect::v5("steady"));
    let before = getrlimit(Resource::Nofile).current.unwrap_or(1024);
    // Room for three clients that are accepted, and one that isn't.
    set_limit(open_files() + 7);
    let crowd: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(running.addr).ok())
        .take(8)
        .collect();
    assert!(!crowd.is_empty());
    running.until("accepting fails", |handle| handle.counts().accept_exhausted > 0);
    for _ in 0..1000 {
        steady.expect_quiet();
    }
    // Each failure is followed by a pause: it doesn't spin.
    let failures = running.handle().counts().accept_exhausted;
    assert!(
        failures < 500,
        "{failures} failures while a thousand PINGREQ were answered"
    );
    drop(crowd);
    running.until("the crowd is gone", |handle| handle.gauges().connections == 1);
    set_limit(before);
    let mut late: Client = running.connect(&Connect::v5("late"));
    late.expect_quiet();
    steady.expect_quiet();
}
