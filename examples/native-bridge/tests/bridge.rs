//! The bridge from its library, with a socket at its other end.
#![forbid(unsafe_code)]

use std::net::UdpSocket;
use std::time::Duration;

use plugin_testkit::plugin_api::types::{Message, TopicName};
use plugin_testkit::{Harness, json};

/// Starts the bridge, from the library that cargo builds beside this test.
fn bridge(to: &str) -> Result<Harness, String> {
    let test = std::env::current_exe().expect("it runs");
    let options = json!({ "to": to, "listen": "127.0.0.1:0" });
    Harness::open(&test.with_file_name("libexample_native_bridge.so"), options)
        .map_err(|error| error.to_string())
}

fn message(topic: &str, payload: impl Into<Vec<u8>>) -> Message {
    Message::new(TopicName::new(topic).expect("a topic"), payload.into())
}

#[test]
fn messages_go_out_and_come_back() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    other
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a socket");
    let address = other.local_addr().expect("bound").to_string();
    let bridge = bridge(&address).expect("it starts");
    let batch = [
        message("a/b", "one"),
        message("c", vec![b'x'; 70_000]),
        message("c", "two"),
    ];
    assert_eq!(bridge.egress(&batch), Ok(3));
    let mut datagram = [0; 100];
    for expected in ["a/b\none", "c\ntwo"] {
        let (len, from) = other.recv_from(&mut datagram).expect("a datagram");
        assert_eq!(&datagram[..len], expected.as_bytes());
        for answer in [&b"no line"[..], b"+/x\nno topic", b"back\nhere"] {
            other.send_to(answer, from).expect("sent");
        }
    }
    for _ in 0..2 {
        let came = bridge.ingress().expect("it comes");
        assert_eq!(
            (came[0].topic.as_str(), &came[0].payload[..]),
            ("back", &b"here"[..])
        );
    }
    bridge.stop();
}

#[test]
fn an_address_that_is_none_is_told() {
    let told = bridge("somewhere").expect_err("it is none");
    assert!(told.contains("`to` must be an address and a port"), "{told}");
}
