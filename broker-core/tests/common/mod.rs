//! A broker on a port of its own, and a client that is nothing but a socket and bytes made by hand: whatever the codec believes,
//! it can be sent here. Every wait has a bound, so a test that would hang fails.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_core::{Broker, BrokerBuilder, Chain, Handle, Listener, Reload, ReloadError, Reloaded, Use};
use broker_types::TopicFilter;
use plugin_api::{
    Answer, Capabilities, Cx, Flow, MessageEdit, Needs, Patch, Plugin, PluginInfo, Publish, Scoped,
};
use tokio::sync::Semaphore;

/// The longest that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that runs, and the runtime that its handle is awaited on.
pub(crate) struct Running {
    pub(crate) broker: Option<Broker>,
    pub(crate) addr: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    /// Starts `builder`, which has one TCP listener at least.
    pub(crate) fn start(builder: BrokerBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let broker = runtime.block_on(builder.start()).expect("the broker starts");
        let addr = broker.addr(&broker.listeners()[0].0).expect("a TCP listener");
        Self {
            broker: Some(broker),
            addr,
            runtime,
        }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.broker.as_ref().expect("it runs").handle()
    }

    pub(crate) fn connect(&self, connect: &Connect<'_>) -> Client {
        Client::connect(self.addr, connect)
    }

    /// Waits until `true_of` holds for the broker.
    pub(crate) fn until(&self, what: &str, true_of: impl Fn(&Handle) -> bool) {
        let (handle, begin) = (self.handle(), Instant::now());
        while !true_of(&handle) {
            assert!(begin.elapsed() < PATIENCE, "never: {what}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs")
    }

    /// Waits for `future`.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Changes the broker.
    pub(crate) fn reload(&self, reload: impl Into<Reload>) -> Result<Reloaded, ReloadError> {
        self.block_on(self.handle().reload(reload))
    }

    /// Changes the broker, however long plugins take to hand their state on: the machine may be busy.
    pub(crate) fn reload_in_time(&self, builder: BrokerBuilder) -> Result<Reloaded, ReloadError> {
        self.reload(Reload::from(builder).swap_pause(PATIENCE))
    }

    pub(crate) fn shutdown(&mut self, deadline: Duration) -> broker_core::Shutdown {
        let broker = self.broker.take().expect("it runs");
        self.runtime.block_on(broker.shutdown(deadline))
    }
}

/// A broker that lets anybody in on one TCP port.
pub(crate) fn open() -> BrokerBuilder {
    Broker::builder().listener(Listener::tcp("127.0.0.1:0").anonymous(true))
}

/// A broker that lets anybody in on one TCP port, with this chain.
pub(crate) fn with_chain(chain: Chain) -> BrokerBuilder {
    let listener = Listener::tcp("127.0.0.1:0").anonymous(true);
    Broker::builder().listener(listener.with_chain(chain))
}

/// A chain whose publish hook lets messages to `slow` wait until there is a permit for each.
pub(crate) fn gated(gate: &Arc<Semaphore>) -> Chain {
    let gate = Arc::new(Gate(gate.clone()));
    Chain::new().plugin(Use::new("gate", gate).timeout(2 * PATIENCE))
}

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Plugin for Gate {
    fn info(&self) -> PluginInfo {
        PluginInfo::default()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            publish: Some(Scoped {
                hook: Arc::new(self.clone()),
                filters: vec![TopicFilter::new("slow").expect("a filter")],
                needs: Needs::default(),
            }),
            ..Capabilities::default()
        }
    }
}

impl Publish for Gate {
    fn publish(&self, _: &Cx<'_>, _: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let gate = self.0.clone();
        Answer::later(async move {
            gate.acquire().await.expect("open").forget();
            Ok((Flow::Continue, Patch::default()))
        })
    }
}

/// What a CONNECT says.
#[derive(Clone, Copy)]
pub(crate) struct Connect<'a> {
    pub(crate) level: u8,
    pub(crate) id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    /// Session Expiry Interval; not sent when 0.
    pub(crate) expiry: u32,
    pub(crate) receive_maximum: u16,
    /// Topic, payload, delay.
    pub(crate) will: Option<(&'a str, &'a [u8], u32)>,
}

impl<'a> Connect<'a> {
    pub(crate) const fn v5(id: &'a str) -> Self {
        Self {
            level: 5,
            id,
            clean: true,
            keep_alive: 0,
            expiry: 0,
            receive_maximum: 0,
            will: None,
        }
    }

    pub(crate) const fn v4(id: &'a str) -> Self {
        Self {
            level: 4,
            ..Self::v5(id)
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = text("MQTT");
        let will = if self.will.is_some() { 0x04 } else { 0 };
        body.extend([self.level, u8::from(self.clean) << 1 | will]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            let mut properties = Vec::new();
            if self.expiry > 0 {
                properties.push(0x11);
                properties.extend(self.expiry.to_be_bytes());
            }
            if self.receive_maximum > 0 {
                properties.push(0x21);
                properties.extend(self.receive_maximum.to_be_bytes());
            }
            body.push(u8::try_from(properties.len()).expect("few"));
            body.extend(properties);
        }
        body.extend(text(self.id));
        if let Some((topic, payload, delay)) = self.will {
            if self.level == 5 {
                body.extend([5, 0x18]);
                body.extend(delay.to_be_bytes());
            }
            body.extend(text(topic));
            body.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
            body.extend(payload);
        }
        frame(0x10, &body)
    }
}

/// A text with its length before it.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A packet with its fixed header.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let digit = u8::try_from(rest % 128).expect("below 128");
        rest /= 128;
        bytes.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(crate) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// A packet that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Topic, Packet Identifier (0 with QoS 0) and payload of a PUBLISH to a client of `level`.
    pub(crate) fn publish(&self, level: u8) -> (String, u16, Vec<u8>) {
        assert_eq!(self.kind(), 3, "a PUBLISH, not {self:?}");
        let len = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let topic = String::from_utf8(self.body[2..2 + len].to_vec()).expect("text");
        let mut at = 2 + len;
        let mut id = 0;
        if self.qos() > 0 {
            id = u16::from_be_bytes([self.body[at], self.body[at + 1]]);
            at += 2;
        }
        if level == 5 {
            assert!(self.body[at] < 128, "few properties");
            at += 1 + usize::from(self.body[at]);
        }
        (topic, id, self.body[at..].to_vec())
    }

    pub(crate) fn qos(&self) -> u8 {
        self.first >> 1 & 3
    }

    pub(crate) fn is_dup(&self) -> bool {
        self.first & 8 != 0
    }

    /// The Packet Identifier that an acknowledgement begins with.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }
}

/// A client made of bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) level: u8,
    came: Vec<u8>,
    at: usize,
}

impl Client {
    /// Opens a connection and sends nothing.
    pub(crate) fn open(addr: SocketAddr, level: u8) -> Self {
        let stream = TcpStream::connect(addr).expect("the broker listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        stream.set_write_timeout(Some(PATIENCE)).expect("a bound");
        Self {
            stream,
            level,
            came: Vec::new(),
            at: 0,
        }
    }

    /// Connects and is let in.
    pub(crate) fn connect(addr: SocketAddr, connect: &Connect<'_>) -> Self {
        Self::connect_present(addr, connect).0
    }

    /// Connects, is let in, and returns whether the Session was present.
    pub(crate) fn connect_present(addr: SocketAddr, connect: &Connect<'_>) -> (Self, bool) {
        let mut client = Self::open(addr, connect.level);
        client.send(&connect.bytes());
        let ack = client.expect(2);
        assert_eq!(ack.body[1], 0, "let in");
        (client, ack.body[0] == 1)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// Reads the next packet; `None`: the broker has closed.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        self.try_next()
            .map(|packet| packet.expect("something comes before patience ends"))
    }

    /// Reads the next packet; `None`: the broker has closed; `Some(None)`: nothing came within the read timeout.
    pub(crate) fn try_next(&mut self) -> Option<Option<Packet>> {
        loop {
            if let Some(packet) = self.take() {
                return Some(Some(packet));
            }
            let mut buf = [0; 64 * 1024];
            match self.stream.read(&mut buf) {
                Ok(0) => return None,
                Ok(n) => {
                    self.came.drain(..self.at);
                    self.at = 0;
                    self.came.extend(&buf[..n]);
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Some(None);
                }
                Err(error) => panic!("reading: {error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Packet> {
        let came = &self.came[self.at..];
        let (mut len, mut digits) = (0, 0);
        loop {
            let byte = *came.get(1 + digits)?;
            len |= usize::from(byte & 0x7F) << (7 * digits);
            digits += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let body = came.get(1 + digits..1 + digits + len)?.to_vec();
        let first = came[0];
        self.at += 1 + digits + len;
        Some(Packet { first, body })
    }

    /// Reads a packet of this type.
    pub(crate) fn expect(&mut self, kind: u8) -> Packet {
        let packet = self
            .next()
            .unwrap_or_else(|| panic!("closed instead of packet type {kind}"));
        assert_eq!(packet.kind(), kind, "{packet:?}");
        packet
    }

    /// Reads a PUBLISH and returns topic and payload as texts.
    pub(crate) fn message(&mut self) -> (String, String) {
        let level = self.level;
        let (topic, _, payload) = self.expect(3).publish(level);
        (topic, String::from_utf8(payload).expect("text"))
    }

    /// Nothing is under way to this client: the next thing that comes is the answer to a PINGREQ.
    pub(crate) fn expect_quiet(&mut self) {
        self.send(&PINGREQ);
        self.expect(13);
    }

    /// The broker closes, perhaps after a DISCONNECT with this Reason Code.
    pub(crate) fn expect_end(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some(packet) = self.next() {
            if packet.kind() == 14 {
                reason = Some(packet.body.first().copied().unwrap_or(0));
            }
        }
        reason
    }

    pub(crate) fn publish_bytes(&self, topic: &str, payload: &[u8], qos: u8, id: u16) -> Vec<u8> {
        let mut body = text(topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        if self.level == 5 {
            body.push(0);
        }
        body.extend(payload);
        frame(0x30 | qos << 1, &body)
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, id: u16) {
        let bytes = self.publish_bytes(topic, payload, qos, id);
        self.send(&bytes);
    }

    pub(crate) fn subscribe_bytes(&self, filters: &[&str], qos: u8) -> Vec<u8> {
        let mut body = vec![0, 9];
        if self.level == 5 {
            body.push(0);
        }
        for filter in filters {
            body.extend(text(filter));
            body.push(qos);
        }
        frame(0x82, &body)
    }

    /// Subscribes and waits for SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let bytes = self.subscribe_bytes(&[filter], qos);
        self.send(&bytes);
        let ack = self.expect(9);
        assert!(ack.body.last().is_some_and(|reason| *reason <= 2), "{ack:?}");
    }

    /// Acknowledges with PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(crate) fn ack(&mut self, kind: u8, id: u16) {
        let flags = if kind == 6 { 2 } else { 0 };
        let [high, low] = id.to_be_bytes();
        self.send(&[kind << 4 | flags, 2, high, low]);
    }

    /// Closes without a DISCONNECT.
    pub(crate) fn cut(self) {
        // Gone already is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
