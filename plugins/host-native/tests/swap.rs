//! Native instances take each other's place in a broker while clients send: what one has counted the next counts on, and no
//! message is lost, doubled or out of order.
#![deny(unsafe_code)]

#[path = "../../../broker-core/tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use broker_core::{BrokerBuilder, Chain, Use};
use common::{Client, Connect, PATIENCE, Running, with_chain};
use plugin_sdk::native::Exported;
use plugin_sdk::prelude::*;

/// Writes behind each payload how many it has seen.
struct Counting(AtomicU64);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

impl Plugin for Counting {
    type Config = Options;

    fn create(_: Options, _: Host) -> Result<Self, String> {
        Ok(Self(AtomicU64::new(0)))
    }

    fn save_state(&self) -> Option<Vec<u8>> {
        Some(self.0.load(Ordering::SeqCst).to_be_bytes().to_vec())
    }

    fn load_state(&self, _: &str, state: &[u8]) -> Result<(), Fault> {
        let state = state.try_into()?;
        self.0.store(u64::from_be_bytes(state), Ordering::SeqCst);
        Ok(())
    }
}

impl Publish for Counting {
    fn publish(&self, _: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let payload = [message.payload(), format!(" {count}").as_bytes()].concat();
        message.set_payload(&payload)?;
        Ok(Flow::Continue)
    }
}

plugin_sdk::export_plugin!(Counting: publish);

#[allow(unsafe_code, reason = "the entry of this test's own plugin")]
fn builder() -> BrokerBuilder {
    // SAFETY: the trait promises that the entry is one, for as long as the process lives.
    let plugin = unsafe { plugin_host_native::linked(Counting::entry(), "counting", "{}") };
    let used = Use::new("counting", plugin.expect("it is made")).timeout(PATIENCE);
    with_chain(Chain::new().plugin(used)).shards(2)
}

#[test]
fn a_native_plugin_is_swapped_under_load_and_counts_on() {
    let swaps = std::env::var("JACKFIELD_SWAPS")
        .ok()
        .and_then(|swaps| swaps.parse().ok());
    let mut broker = Running::start(builder());
    let stop = Arc::new(AtomicBool::new(false));
    // Each hears itself, so nobody is quicker than who takes it.
    let clients: Vec<_> = (0..3)
        .map(|n| {
            let (addr, stop) = (broker.addr, stop.clone());
            std::thread::spawn(move || {
                let id = format!("c{n}");
                let mut client = Client::connect(addr, &Connect::v4(&id));
                client.subscribe(&id, 1);
                let (mut sent, mut counts) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    for id_of_packet in 1..=8 {
                        sent += 1;
                        client.publish(&id, sent.to_string().as_bytes(), 1, id_of_packet);
                    }
                    let mut acked = 0;
                    while acked < 8 || counts.len() < sent {
                        let packet = client.next().expect("nobody is disconnected");
                        if packet.kind() == 4 {
                            acked += 1;
                            continue;
                        }
                        let (_, packet_id, payload) = packet.publish(4);
                        client.ack(4, packet_id);
                        let text = String::from_utf8(payload).expect("text");
                        let (number, count) = text.split_once(' ').expect("counted");
                        assert_eq!(
                            number.parse(),
                            Ok(counts.len() + 1),
                            "lost, doubled or out of order"
                        );
                        counts.push(count.parse::<usize>().expect("a number"));
                    }
                }
                counts
            })
        })
        .collect();
    for _ in 0..swaps.unwrap_or(100) {
        broker.reload_in_time(builder()).expect("swapped");
    }
    stop.store(true, Ordering::Relaxed);
    let counts = clients.into_iter().map(|client| client.join().expect("served"));
    let mut counts: Vec<usize> = counts.flatten().collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=counts.len()).collect::<Vec<_>>(), "state was lost");
    assert_eq!(broker.handle().reloads().swaps_back, 0);
    broker.shutdown(PATIENCE);
}
