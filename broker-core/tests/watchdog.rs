//! A plugin that computes inside a hook holds up its shard; it is seen doing so, and counted.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker_core::{Broker, Chain, Listener};
use plugin_api::AuthVerdict;

/// A CONNECT of 3.1.1 without anything.
const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn who_holds_a_shard_up_is_seen() {
    let enough = Arc::new(AtomicBool::new(false));
    let seen = enough.clone();
    let chain = Chain::new().authenticate(move |_| {
        while !seen.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        AuthVerdict::allow()
    });
    let listener = Listener::tcp("127.0.0.1:0").name("main").with_chain(chain);
    let broker = Broker::builder().shards(1).listener(listener).start().await;
    let broker = broker.expect("it starts");
    let mut client = TcpStream::connect(broker.addr("main").expect("it is open")).expect("loopback");
    client.write_all(CONNECT).expect("sent");
    let until = Instant::now() + DEADLINE;
    let stalls = || {
        let counts = broker.handle().plugin_counts();
        let plugins = counts.iter().flat_map(|(_, plugins)| plugins);
        plugins.map(|plugin| plugin.stalls).sum::<u64>()
    };
    while stalls() == 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    let stalls = stalls();
    enough.store(true, Ordering::Relaxed);
    assert_eq!(stalls, 1, "one call, seen however often");
    let mut connack = [0; 4];
    client.read_exact(&mut connack).expect("an answer");
    assert_eq!(connack, [0x20, 2, 0, 0]);
    broker.shutdown(DEADLINE).await;
}
