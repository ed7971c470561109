//! What a Client knows and does, apart from cutting its input into packets: the state of its connection and of its
//! Session.

use std::collections::VecDeque;
use std::time::Duration;

use broker_types::{Message, PacketId, ProtocolVersion, QoS, ReasonCode, Timestamp};

use super::requests::{REQUEST_ID_MIN, Requests};
use super::{ClientError, ClientEvent, ClientLimits};
use crate::packet::{Ack, AckKind, ConnAck, Connect, Packet, PacketType};
use crate::{
    AnswerLimits, Delivered, Delivery, Inbound, InboundLimits, Incoming, MessageRef, Outbound,
    OutboundSnapshot, Outgoing, OutgoingScratch, Peer, Progress, Queued, ReceivedIds, Record, Token,
    WriteBuf,
};

/// Everything but the input, which events borrow from.
#[derive(Debug)]
pub(super) struct State {
    limits: ClientLimits,
    link: Link,
    outbound: Outbound,
    /// What is remembered of QoS 2 while there is no connection.
    received: ReceivedIds,
    /// The first token of the next connection.
    next_token: Token,
    pub(super) output: WriteBuf,
    scratch: OutgoingScratch,
    requests: Requests,
    /// What became of messages; told before anything else.
    pub(super) done: VecDeque<ClientEvent<'static>>,
}

#[derive(Debug)]
enum Link {
    Down,
    Connecting(Hello),
    Up(Box<Up>),
}

/// What must be remembered of CONNECT until CONNACK comes.
#[derive(Debug)]
struct Hello {
    version: ProtocolVersion,
    clean_start: bool,
    keep_alive: u16,
    limits: InboundLimits,
}

/// What there is while the connection is up.
#[derive(Debug)]
struct Up {
    version: ProtocolVersion,
    inbound: Inbound,
    keep_alive: KeepAlive,
    maximum_qos: QoS,
    retain_available: bool,
    packet_size_max: u32,
}

/// When to ask whether the Server is alive: regularly, whatever else is sent, so that a dead Server is noticed too.
#[derive(Debug)]
struct KeepAlive {
    interval: Duration,
    due: Timestamp,
    /// PINGREQ has no answer yet.
    asked: bool,
}

impl State {
    pub(super) fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            link: Link::Down,
            outbound: outbound(Outbound::new(limits.outbound())),
            received: ReceivedIds::new(),
            next_token: Token::FIRST,
            output: WriteBuf::new(),
            scratch: OutgoingScratch::new(),
            requests: Requests::default(),
            done: VecDeque::new(),
        }
    }

    pub(super) fn connect(&mut self, connect: &Connect<'_>) -> Result<(), ClientError> {
        connect.put(self.output.frames())?;
        self.link = Link::Connecting(Hello::new(connect));
        Ok(())
    }

    pub(super) fn handle_packet<'a>(
        &mut self,
        now: Timestamp,
        packet: Packet<'a>,
    ) -> Result<Option<ClientEvent<'a>>, ClientError> {
        match (&mut self.link, packet) {
            (Link::Connecting(_), Packet::ConnAck(connack)) => self.handle_connack(now, connack).map(Some),
            (Link::Connecting(_) | Link::Up(_), Packet::Auth(auth)) => Ok(Some(ClientEvent::Auth(auth))),
            (Link::Connecting(_) | Link::Up(_), Packet::Disconnect(disconnect)) => {
                self.close();
                Ok(Some(ClientEvent::Disconnected(disconnect)))
            }
            (Link::Up(up), Packet::Publish(publish)) => match up.inbound.handle_publish(&publish)? {
                Incoming::Message { topic, token } => Ok(Some(ClientEvent::Message {
                    topic,
                    publish,
                    token,
                })),
                Incoming::Duplicate => {
                    up.acknowledge(&mut self.output);
                    Ok(None)
                }
            },
            (Link::Up(up), Packet::PubRel(ack)) => {
                if let Some(token) = up.inbound.handle_pubrel(ack.packet_id)? {
                    up.inbound.accept(token, ReasonCode::Success);
                }
                up.acknowledge(&mut self.output);
                Ok(None)
            }
            (Link::Up(_), Packet::PubAck(ack)) => self.handle_answer(AckKind::PubAck, &ack),
            (Link::Up(_), Packet::PubRec(ack)) => self.handle_answer(AckKind::PubRec, &ack),
            (Link::Up(_), Packet::PubComp(ack)) => self.handle_answer(AckKind::PubComp, &ack),
            (Link::Up(_), Packet::SubAck(answer)) => {
                self.requests.finish(answer.packet_id, PacketType::SubAck)?;
                Ok(Some(ClientEvent::Subscribed(answer)))
            }
            (Link::Up(_), Packet::UnsubAck(answer)) => {
                self.requests.finish(answer.packet_id, PacketType::UnsubAck)?;
                Ok(Some(ClientEvent::Unsubscribed(answer)))
            }
            (Link::Up(up), Packet::PingResp) => {
                up.keep_alive.asked = false;
                Ok(Some(ClientEvent::Pong))
            }
            (_, packet) => Err(ClientError::Unexpected(packet.packet_type())),
        }
    }

    fn handle_connack<'a>(
        &mut self,
        now: Timestamp,
        connack: Box<ConnAck<'a>>,
    ) -> Result<ClientEvent<'a>, ClientError> {
        if connack.reason.is_error() {
            self.close();
            return Ok(ClientEvent::Refused(connack));
        }
        let Link::Connecting(hello) = std::mem::replace(&mut self.link, Link::Down) else {
            return Err(ClientError::Unexpected(PacketType::ConnAck));
        };
        if hello.clean_start && connack.session_present {
            return Err(ClientError::SessionUnexpected);
        }
        // 3.1 doesn't say whether it has the Session.
        let assumed = hello.version == ProtocolVersion::V31 && !hello.clean_start;
        let peer = Peer {
            version: hello.version,
            receive_maximum: connack.receive_maximum,
            packet_size_max: connack.packet_size_max,
            topic_alias_maximum: connack.topic_alias_maximum.min(self.limits.topic_alias_out_max),
            outbox_bytes_max: self.limits.outbox_bytes_max,
            resumable: true,
        };
        if !connack.session_present && !assumed {
            self.forget_session();
        }
        let received = std::mem::take(&mut self.received);
        let inbound = Inbound::new(hello.version, hello.limits, received).with_next_token(self.next_token);
        self.link = Link::Up(Box::new(Up::new(now, &hello, inbound, &connack)));
        self.outbound.connect_held(&peer);
        self.pump(now);
        Ok(ClientEvent::Connected(connack))
    }

    /// The Server has no Session, so there is none `[MQTT-3.2.2-5]`. What it had not acknowledged is published anew; what it
    /// had received is done.
    fn forget_session(&mut self) {
        self.received = ReceivedIds::new();
        if self.outbound.inflight() == 0 {
            return;
        }
        let old = self.outbound.snapshot();
        let mut queued = Vec::with_capacity(old.inflight.len() + old.queued.len());
        for slot in old.inflight {
            match slot.message {
                Some(message) => queued.push(Queued {
                    seq: slot.seq,
                    message,
                    terms: slot.terms,
                }),
                None => self.done.push_back(ClientEvent::Published {
                    seq: slot.seq,
                    reason: ReasonCode::Success,
                }),
            }
        }
        queued.extend(old.queued);
        let anew = OutboundSnapshot {
            inflight: Vec::new(),
            queued,
            ..old
        };
        self.outbound = outbound(Outbound::restore(self.limits.outbound(), anew));
    }

    fn handle_answer<'a>(
        &mut self,
        kind: AckKind,
        ack: &Ack<'_>,
    ) -> Result<Option<ClientEvent<'a>>, ClientError> {
        let progress = match kind {
            AckKind::PubAck => self.outbound.handle_puback(ack.packet_id)?,
            AckKind::PubRec => self
                .outbound
                .handle_pubrec(ack.packet_id, ack.reason, &mut self.output)?,
            AckKind::PubComp | AckKind::PubRel => self.outbound.handle_pubcomp(ack.packet_id)?,
        };
        // They say what the event will say.
        self.forget_records();
        Ok(match progress {
            Progress::Finished { seq } => Some(ClientEvent::Published {
                seq,
                reason: ack.reason,
            }),
            Progress::Released { .. } | Progress::Unchanged => None,
        })
    }

    pub(super) fn publish(&mut self, now: Timestamp, message: &Message) -> Delivered {
        let (maximum_qos, retain_available) = self.up().map_or((QoS::ExactlyOnce, true), |up| {
            (up.maximum_qos, up.retain_available)
        });
        let how = Delivery {
            qos: message.qos.min(maximum_qos),
            retain: message.retain && retain_available,
            ids: &[],
            shared: false,
        };
        let mut outgoing = Outgoing::new(MessageRef::from(message), now, &mut self.scratch);
        let delivered = self.outbound.deliver(now, &mut outgoing, &how, &mut self.output);
        self.note_dropped();
        delivered
    }

    /// Sends what waits as far as there is room.
    pub(super) fn pump(&mut self, now: Timestamp) {
        loop {
            let (_, ready) = self.outbound.next_ready(now, &mut self.output);
            let ready = ready.map(|queued| queued.seq);
            self.note_dropped();
            let Some(seq) = ready else {
                return;
            };
            match self.outbound.send_next(now, seq, None, &mut self.output) {
                // QoS 0 is finished now, not dropped.
                Some(Delivered::Sent { .. }) => self.forget_records(),
                _ => self.note_dropped(),
            }
        }
    }

    /// Messages that are finished without an answer of the Server were dropped.
    fn note_dropped(&mut self) {
        while let Some(record) = self.outbound.poll_record() {
            match record {
                Record::Finished { seq } => self.done.push_back(ClientEvent::Dropped { seq }),
                Record::Sent { .. } | Record::Released { .. } => {}
            }
        }
    }

    fn forget_records(&mut self) {
        while self.outbound.poll_record().is_some() {}
    }

    pub(super) fn request<'a>(
        &mut self,
        packet: impl FnOnce(PacketId) -> Packet<'a>,
    ) -> Result<PacketId, ClientError> {
        let Link::Up(up) = &self.link else {
            return Err(ClientError::NotConnected);
        };
        let packet_id = self.requests.next_id().ok_or(ClientError::TooManyRequests)?;
        let limits = AnswerLimits {
            packet_size_max: up.packet_size_max,
            ..AnswerLimits::default()
        };
        packet(packet_id).encode_within(up.version, &limits, self.output.frames())?;
        self.requests.start(packet_id);
        Ok(packet_id)
    }

    pub(super) fn accept(&mut self, token: Token, reason: ReasonCode) {
        if let Link::Up(up) = &mut self.link {
            up.inbound.accept(token, reason);
            up.acknowledge(&mut self.output);
        }
    }

    pub(super) fn ping(&mut self) -> Result<(), ClientError> {
        self.up().ok_or(ClientError::NotConnected)?;
        self.output.push_frame(&PINGREQ);
        Ok(())
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) -> Result<(), ClientError> {
        match &mut self.link {
            Link::Up(up) if now >= up.keep_alive.due => up.keep_alive.ask(now, &mut self.output),
            Link::Down | Link::Connecting(_) | Link::Up(_) => Ok(()),
        }
    }

    pub(super) fn close(&mut self) {
        if let Link::Up(mut up) = std::mem::replace(&mut self.link, Link::Down) {
            self.next_token = up.inbound.next_token();
            self.received = up.inbound.take_received();
        }
        self.outbound.disconnect();
        self.note_dropped();
        self.requests = Requests::default();
    }

    pub(super) fn timeout(&self) -> Timestamp {
        self.up().map_or(Timestamp::NEVER, |up| up.keep_alive.due)
    }

    pub(super) fn outstanding(&self) -> usize {
        self.up().map_or(0, |up| up.inbound.outstanding())
    }

    pub(super) fn unfinished(&self) -> (usize, usize) {
        (self.outbound.inflight(), self.outbound.queued_messages())
    }

    fn up(&self) -> Option<&Up> {
        match &self.link {
            Link::Up(up) => Some(up),
            Link::Down | Link::Connecting(_) => None,
        }
    }

    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        match &self.link {
            Link::Down => None,
            Link::Connecting(hello) => Some(hello.version),
            Link::Up(up) => Some(up.version),
        }
    }
}

impl Hello {
    fn new(connect: &Connect<'_>) -> Self {
        Self {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            limits: InboundLimits {
                receive_maximum: connect.receive_maximum,
                topic_alias_maximum: connect.topic_alias_maximum,
                maximum_qos: QoS::ExactlyOnce,
                retain_available: true,
            },
        }
    }
}

impl Up {
    fn new(now: Timestamp, hello: &Hello, inbound: Inbound, connack: &ConnAck<'_>) -> Self {
        Self {
            version: hello.version,
            inbound,
            // [MQTT-3.2.2-21]
            keep_alive: KeepAlive::new(now, connack.server_keep_alive.unwrap_or(hello.keep_alive)),
            maximum_qos: connack.maximum_qos,
            retain_available: connack.retain_available,
            packet_size_max: connack.packet_size_max.unwrap_or(u32::MAX),
        }
    }

    fn acknowledge(&mut self, output: &mut WriteBuf) {
        while let Some(ack) = self.inbound.poll_ack() {
            ack.encode(self.version, output.frames());
        }
    }
}

impl KeepAlive {
    /// Asks after three quarters of the time, so that what the network takes doesn't matter `[MQTT-3.1.2-20]`.
    fn new(now: Timestamp, secs: u16) -> Self {
        let interval = match secs {
            0 => Duration::MAX,
            secs => Duration::from_millis(u64::from(secs) * 750),
        };
        Self {
            interval,
            due: now + interval,
            asked: false,
        }
    }

    fn ask(&mut self, now: Timestamp, output: &mut WriteBuf) -> Result<(), ClientError> {
        if self.asked {
            return Err(ClientError::ServerSilent);
        }
        self.asked = true;
        self.due = now + self.interval;
        output.push_frame(&PINGREQ);
        Ok(())
    }
}

/// Leaves the Packet Identifiers of requests alone.
const fn outbound(outbound: Outbound) -> Outbound {
    outbound.with_packet_id_max(REQUEST_ID_MIN - 1)
}

const PINGREQ: [u8; 2] = [0xC0, 0];
