//! A broker as a part of another program: nothing of it is global, everything it takes it gives back, and it works on any
//! runtime or none.
#![forbid(unsafe_code)]

mod ends;
mod handle;
mod link;
mod park;
mod serve;
mod start;

use broker_core::{Broker, BrokerBuilder, Chain, Listener};
use jackfield_tests::wire::{Connect, Version};

use park::block_on;

/// A broker with one listener that lets everybody in.
fn open() -> BrokerBuilder {
    with_chain(Chain::new())
}

fn with_chain(chain: Chain) -> BrokerBuilder {
    let listener = Listener::tcp("127.0.0.1:0").name("main").anonymous(true);
    Broker::builder().shards(2).listener(listener.with_chain(chain))
}

#[track_caller]
fn start(builder: BrokerBuilder) -> Broker {
    block_on(builder.start()).expect("the broker starts")
}

/// Starts a CONNECT of MQTT 5.0 to the listener `main`.
fn client(broker: &Broker, id: &str) -> Connect {
    let addr = broker.addr("main").expect("it has this listener");
    Connect::new(addr, Version::V5, id)
}
