//! A bridge to UDP: each message becomes a datagram, each datagram a message. A datagram is a Topic Name, a line feed, and the
//! payload.
//!
//! The broker has a queue for what is to be carried, tries again, and maps topics; a bridge only carries. Both directions are
//! async: with the SDK's feature `tokio` they run inside a runtime of the instance, so its sockets can be awaited.
#![deny(unsafe_code)]

use std::net::SocketAddr;

use plugin_sdk::prelude::*;
use tokio::net::UdpSocket;

/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where datagrams go, like `127.0.0.1:9000`.
    to: String,
    /// Where datagrams come in, like `127.0.0.1:9001`; port 0: any.
    listen: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Udp {
    to: SocketAddr,
    socket: UdpSocket,
}

impl Plugin for Udp {
    type Config = Options;

    /// A socket costs nothing and says at once whether the address is one of this machine's.
    fn create(options: Options, host: Host) -> Result<Self, String> {
        let to = address("to", &options.to)?;
        let socket = std::net::UdpSocket::bind(address("listen", &options.listen)?)
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                UdpSocket::from_std(socket)
            })
            .map_err(|error| format!("{}: {error}", options.listen))?;
        if let Ok(here) = socket.local_addr() {
            host.log(Level::Info, &format!("datagrams come in at {here}"));
        }
        Ok(Self { to, socket })
    }

    fn check(options: &Options) -> Result<(), String> {
        address("to", &options.to)?;
        address("listen", &options.listen).map(drop)
    }
}

fn address(name: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{name}` must be an address and a port like `127.0.0.1:9000`, not `{text}`"))
}

impl Bridge for Udp {
    async fn egress(&self, batch: &[OwnedMessage]) -> Result<usize, Fault> {
        for (sent, message) in batch.iter().enumerate() {
            let mut datagram = message.topic.clone().into_bytes();
            datagram.push(b'\n');
            datagram.extend_from_slice(&message.payload);
            if datagram.len() > DATAGRAM_BYTES_MAX {
                // No datagram can have it, now or later.
                continue;
            }
            if let Err(error) = self.socket.send_to(&datagram, self.to).await {
                return if sent > 0 { Ok(sent) } else { Err(error.into()) };
            }
        }
        Ok(batch.len())
    }

    async fn ingress(&self) -> Result<Vec<OwnedMessage>, Fault> {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let (len, _) = self.socket.recv_from(&mut datagram).await?;
            // What is no message of ours is dropped.
            if let Some(message) = read(&datagram[..len]) {
                return Ok(vec![message]);
            }
        }
    }
}

fn read(datagram: &[u8]) -> Option<OwnedMessage> {
    let at = datagram.iter().position(|byte| *byte == b'\n')?;
    let topic = std::str::from_utf8(&datagram[..at]).ok()?;
    let name = !topic.is_empty() && !topic.contains(['+', '#', '\0']);
    name.then(|| OwnedMessage {
        topic: topic.to_owned(),
        payload: datagram[at + 1..].to_vec(),
        ..OwnedMessage::default()
    })
}

plugin_sdk::export_plugin!(Udp: bridge);
