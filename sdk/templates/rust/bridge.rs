//! Carries messages over UDP: one datagram for each, the Topic Name, a line end, the payload. Nobody says whether it arrived,
//! so this is for what comes again anyway, like measurements.
#![deny(unsafe_code)]

use std::net::UdpSocket;
use std::sync::OnceLock;
use std::time::Duration;

use plugin_sdk::prelude::*;

/// What stands under `config` in the broker's configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The address where datagrams come in, like `127.0.0.1:7001`.
    bind: String,
    /// The address where they go to.
    peer: String,
}

struct {{type}} {
    options: Options,
    socket: OnceLock<UdpSocket>,
}

impl Plugin for {{type}} {
    type Config = Options;

    fn create(options: Options, _host: Host) -> Result<Self, String> {
        Ok(Self { options, socket: OnceLock::new() })
    }

    /// Its calls wait for the network, so they are made where waiting is allowed.
    fn interest(&self) -> Interest {
        Interest { blocking: true, ..Interest::default() }
    }

    fn start(&self) -> Result<(), Fault> {
        let socket = UdpSocket::bind(&self.options.bind)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        // Started once.
        let _ = self.socket.set(socket);
        Ok(())
    }
}

impl Bridge for {{type}} {
    async fn egress(&self, batch: &[OwnedMessage]) -> Result<usize, Fault> {
        for message in batch {
            let datagram = [message.topic.as_bytes(), b"\n", &message.payload[..]].concat();
            self.socket()?.send_to(&datagram, &self.options.peer)?;
        }
        Ok(batch.len())
    }

    async fn ingress(&self) -> Result<Vec<OwnedMessage>, Fault> {
        let mut datagram = vec![0; 65_536];
        let len = match self.socket()?.recv(&mut datagram) {
            Ok(len) => len,
            // Nothing has come; the broker asks again.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut parts = datagram[..len].splitn(2, |byte| *byte == b'\n');
        let (Some(topic), Some(payload)) = (parts.next(), parts.next()) else {
            return Ok(Vec::new());
        };
        Ok(vec![OwnedMessage {
            topic: String::from_utf8(topic.to_vec())?,
            payload: payload.to_vec(),
            ..OwnedMessage::default()
        }])
    }
}

impl {{type}} {
    fn socket(&self) -> Result<&UdpSocket, Fault> {
        self.socket.get().ok_or_else(|| Fault("it isn't started".to_string()))
    }
}

plugin_sdk::export_plugin!({{type}}: bridge);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use plugin_testkit::plugin_api::types::{Message, TopicName};
    use plugin_testkit::{Harness, json};

    use super::{{type}};

    #[test]
    fn messages_go_over_and_come_back() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = json!({ "bind": "127.0.0.1:0", "peer": peer.local_addr().unwrap().to_string() });
        let plugin = Harness::load::<{{type}}>(options).unwrap();
        let message = Message::new(TopicName::new("a/b").unwrap(), "1\n2");
        assert_eq!(plugin.egress(&[message.clone()]), Ok(1));
        let mut datagram = [0; 100];
        let (len, from) = peer.recv_from(&mut datagram).unwrap();
        assert_eq!(&datagram[..len], b"a/b\n1\n2");
        peer.send_to(&datagram[..len], from).unwrap();
        assert_eq!(plugin.ingress().unwrap(), [message]);
    }
}
