//! Stopping: in order, by dropping, and with clients and plugins that don't help. What was taken is given back.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use broker_core::{Broker, Chain};
use jackfield_tests::alone::alone;
use jackfield_tests::wire::{Version, publish, will};
use plugin_api::{AuthVerdict, Capabilities, Flow, Patch, Plugin, PluginInfo, async_trait};

use crate::park::block_on;
use crate::{client, open, start, with_chain};

/// Open files and threads of this process.
pub(crate) fn held() -> (usize, usize) {
    let count = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// A start, a little traffic, an end.
fn cycle(number: usize) {
    let broker = start(open());
    let mut guest = client(&broker, "a").connect();
    guest.subscribe("t", 1).publish("t", "x", 1);
    assert_eq!(guest.pending(), ["x"]);
    if number.is_multiple_of(2) {
        block_on(broker.shutdown(Duration::from_secs(5)));
        guest.expect_error(0x8b);
    } else {
        drop(broker);
        guest.drain();
    }
}

/// What is held when nothing runs. The first broker leaves a pair of sockets, which tokio keeps for signals, once for a
/// process. The one that warms up ends in order: then its threads are gone when it is.
fn held_after_warm_up() -> (usize, usize) {
    cycle(0);
    held()
}

/// Waits for what happens soon: dropping a broker doesn't wait for its threads.
#[track_caller]
pub(crate) fn settles(what: &str, settled: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(5);
    while !settled() {
        assert!(Instant::now() < until, "{what}: {:?}", held());
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn two_hundred_lives_leave_no_file_and_no_thread() {
    alone("ends::two_hundred_lives_leave_no_file_and_no_thread", || {
        let before = held_after_warm_up();
        (0..200).for_each(cycle);
        settles("more than before", || {
            let after = held();
            after.0 <= before.0 && after.1 <= before.1
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_broker_that_is_dropped_ends_its_threads() {
    alone("ends::a_broker_that_is_dropped_ends_its_threads", || {
        let before = held_after_warm_up();
        let broker = start(open());
        let addr = broker.addr("main").expect("it has this listener");
        let mut clients: Vec<_> = (0..20)
            .map(|i| client(&broker, &i.to_string()).connect())
            .collect();
        assert!(held().1 > before.1, "its work is done by its own threads");
        drop(broker);
        for client in &mut clients {
            client.drain();
        }
        drop(clients);
        settles("threads", || held() <= before);
        assert!(std::net::TcpStream::connect(addr).is_err(), "somebody listens");
    });
}

/// In order: a Will Message is published, what waits is written, every client is told.
#[test]
fn an_end_in_order_is_told_to_everybody() {
    let broker = start(open());
    let mut five = client(&broker, "five").will(will("gone", "x")).connect();
    let addr = five.socket().peer_addr().expect("connected");
    let mut three = jackfield_tests::wire::Connect::new(addr, Version::V311, "three").connect();
    let mut publisher = client(&broker, "p").connect();
    three.subscribe("t", 1);
    publisher.publish("t", "last", 1);
    let left = block_on(broker.shutdown(Duration::from_secs(5)));
    assert_eq!(left.cut, 0);
    five.expect_error(0x8b);
    three.expect_publish("t", "last");
    three.expect_closed();
}

struct Stopped(std::sync::mpsc::Sender<()>);

#[async_trait]
impl Plugin for Stopped {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "stopped".into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn stop(&self, _: Duration) {
        self.0.send(()).expect("the test waits");
    }
}

#[test]
fn plugins_are_stopped_once() {
    let (stopped, stops) = channel();
    let plugin: Arc<dyn Plugin> = Arc::new(Stopped(stopped));
    let used = |name: &str| broker_core::Use::new(name, plugin.clone());
    let broker = start(with_chain(Chain::new().plugin(used("one"))));
    block_on(broker.shutdown(Duration::from_secs(5)));
    assert_eq!(stops.try_iter().count(), 1);
}

/// The deadline holds with clients that never finish their CONNECT, one whose authenticator never answers, and one
/// whose message a plugin never lets go.
#[test]
fn nobody_holds_up_the_end() {
    let (arrived, arrivals) = channel();
    let at_publish = arrived.clone();
    let chain = Chain::new()
        .authenticate_async(move |request| {
            let arrived = arrived.clone();
            Box::pin(async move {
                if request.client_id == "parked" {
                    arrived.send(()).expect("the test waits");
                    std::future::pending::<()>().await;
                }
                Ok(AuthVerdict::allow())
            })
        })
        .on_publish_async("parked", move |_, _| {
            at_publish.send(()).expect("the test waits");
            async {
                std::future::pending::<()>().await;
                Ok((Flow::Continue, Patch::default()))
            }
        });
    let broker: Broker = start(with_chain(chain));
    let half_open: Vec<_> = (0..50).map(|_| client(&broker, "x").open()).collect();
    let mut cut_short = client(&broker, "y").open();
    cut_short.send(b"\x10\x20\x00\x04MQ".to_vec());
    let mut parked = client(&broker, "parked").sent();
    arrivals.recv().expect("the authenticator is asked");
    let mut waiting = client(&broker, "waiting").connect();
    waiting.send(publish("parked", "x").qos(1, 1));
    arrivals.recv().expect("the publish hook is asked");

    let deadline = Duration::from_secs(1);
    let begin = Instant::now();
    block_on(broker.shutdown(deadline));
    // once for clients and once for plugins, and a machine that has other work
    assert!(
        begin.elapsed() < 2 * deadline + Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    for mut client in half_open {
        client.drain();
    }
    parked.drain();
    waiting.drain();
    cut_short.drain();
}

struct NeverStops;

#[async_trait]
impl Plugin for NeverStops {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "never".into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn stop(&self, _: Duration) {
        std::future::pending().await
    }
}

#[test]
fn who_did_not_stop_in_time_is_named() {
    let chain = Chain::new().plugin(broker_core::Use::new("lingers", Arc::new(NeverStops)));
    let broker = start(with_chain(chain));
    let guest = client(&broker, "a").connect();
    let left = block_on(broker.shutdown(Duration::from_millis(50)));
    assert!(!left.is_clean());
    assert_eq!((left.connections, left.cut), (1, 0));
    assert_eq!(left.late_plugins, ["lingers".into()]);
    let text = left.to_string();
    assert!(
        text.starts_with("connections ended in order: 1, plugin `lingers` didn't stop in time; took "),
        "{text}"
    );
    drop(guest);
}

/// A plugin that doesn't return has its thread for good. The others end, and the program hears of it.
#[test]
fn a_plugin_that_blocks_a_thread_does_not_hold_up_the_end() {
    let (arrived, arrivals) = channel();
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let chain = Chain::new().on_publish("block", move |_, _| {
        arrived.send(()).expect("the test waits");
        // Until the test is over.
        let _ = released.lock().expect("nobody panicked").recv();
        Flow::Continue
    });
    let broker = start(with_chain(chain));
    let mut guest = client(&broker, "a").connect();
    guest.send(publish("block", "x"));
    arrivals.recv().expect("it is called");
    let left = block_on(broker.shutdown(Duration::from_millis(50)));
    assert_eq!(left.stuck_threads.len(), 1, "{left}");
    assert!(!left.is_clean());
    drop(release);
}
