//! The task that speaks MQTT for a link. It runs on the shard that serves the other end, so the two wake each other without
//! changing threads.
//!
//! Everything is bounded: commands wait in a channel while too much is under way, and nothing is read while messages wait to be
//! received; then the Session queues, and the limits of every client hold.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use broker_proto::{
    Client, ClientEvent, Delivered, Disconnect, SubscribeFilters, SubscribeOptions, UnsubscribeFilters,
};
use broker_types::{Message, PacketId, QoS, ReasonCode, SubscriptionId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::{Ack, Answer, LinkError, Received};
use crate::clock::{Clock, Ticks};
use crate::net::LocalStream;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 16 * 1024;
/// While more than this waits to be written, or to be answered, commands wait.
const OUTPUT_BYTES: usize = 256 * 1024;
const UNFINISHED: usize = 1024;
/// What is said of a broker that went without a word.
const GONE: ReasonCode = ReasonCode::UnspecifiedError;
/// Slices of one write.
const SLICES: usize = 16;

/// What the program asks of its link. Whoever waits for `done` and finds it dropped knows that the link has ended.
#[derive(Debug)]
pub(super) enum Command {
    Publish {
        message: Box<Message>,
        done: oneshot::Sender<Result<(), LinkError>>,
    },
    Subscribe {
        filter: String,
        options: SubscribeOptions,
        id: Option<SubscriptionId>,
        done: oneshot::Sender<Result<ReasonCode, LinkError>>,
    },
    Unsubscribe {
        filter: String,
        done: oneshot::Sender<Result<ReasonCode, LinkError>>,
    },
    Disconnect {
        done: oneshot::Sender<()>,
    },
}

/// What the broker said when it let the link in.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) session_present: bool,
    pub(super) assigned_client_id: Option<String>,
}

/// How a link ended, once it has.
#[derive(Debug, Default)]
pub(super) struct Ended(OnceLock<ReasonCode>);

impl Ended {
    /// Returns why a link that was connected can do nothing any more.
    pub(super) fn error(&self) -> LinkError {
        self.0
            .get()
            .map_or(LinkError::Stopped, |reason| LinkError::Ended(*reason))
    }

    /// Returns why a link was not let in.
    pub(super) fn refusal(&self) -> LinkError {
        self.0
            .get()
            .map_or(LinkError::Stopped, |reason| LinkError::Refused(*reason))
    }
}

pub(super) struct Driver {
    client: Client,
    stream: LocalStream,
    clock: Clock,
    ticks: Ticks,
    commands: mpsc::Receiver<Command>,
    deliveries: mpsc::Sender<Received>,
    /// Goes with every message to be acknowledged.
    ack: mpsc::UnboundedSender<Ack>,
    acks: mpsc::UnboundedReceiver<Ack>,
    ended: Arc<Ended>,
    /// Messages that were read and wait for a place among the deliveries.
    arrived: VecDeque<Received>,
    /// Who waits for the acknowledgement of a message.
    published: HashMap<u64, oneshot::Sender<Result<(), LinkError>>>,
    /// Who waits for SUBACK or UNSUBACK.
    requests: HashMap<PacketId, oneshot::Sender<Result<ReasonCode, LinkError>>>,
}

/// What ends a link from within.
enum End {
    /// The broker said so, or went.
    Broker(ReasonCode),
    /// The program wants it in order.
    Disconnect(oneshot::Sender<()>),
    /// The program dropped it.
    Dropped,
}

impl Driver {
    pub(super) fn new(
        client: Client,
        stream: LocalStream,
        clock: Clock,
        commands: mpsc::Receiver<Command>,
        deliveries: mpsc::Sender<Received>,
        ended: Arc<Ended>,
    ) -> Self {
        let (ack, acks) = mpsc::unbounded_channel();
        Self {
            client,
            stream,
            ticks: clock.ticks(),
            clock,
            commands,
            deliveries,
            ack,
            acks,
            ended,
            arrived: VecDeque::new(),
            published: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    /// Runs until the link ends.
    pub(super) async fn run(mut self, welcome: oneshot::Sender<Welcome>) {
        let mut buffer = vec![0; READ_BYTES];
        let mut welcome = Some(welcome);
        let end = loop {
            if let Err(end) = self.take_events(&mut welcome) {
                break end;
            }
            if let Err(end) = self.turn(&mut buffer).await {
                break end;
            }
        };
        match end {
            End::Broker(reason) => _ = self.ended.0.set(reason),
            End::Dropped => {}
            End::Disconnect(done) => {
                let goodbye = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
                if self.client.disconnect(&goodbye).is_ok() {
                    while !self.client.output().is_empty()
                        && write_some(&mut self.client, &self.stream).await.is_ok()
                    {}
                }
                _ = self.ended.0.set(ReasonCode::NORMAL_DISCONNECTION);
                // The broker closes when it has read it.
                self.stream.finish();
                while poll_fn(|cx| self.stream.poll_receive(cx, &mut buffer)).await > 0 {}
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// Waits for one thing and does it.
    async fn turn(&mut self, buffer: &mut [u8]) -> Result<(), End> {
        let writes = !self.client.output().is_empty();
        let (under_way, waiting) = self.client.unfinished();
        let free = under_way + waiting < UNFINISHED && self.client.output().len() < OUTPUT_BYTES;
        let timed = self.client.poll_timeout() != Timestamp::NEVER;
        let reads = self.arrived.is_empty();
        let Self {
            client,
            stream,
            ticks,
            commands,
            deliveries,
            acks,
            arrived,
            ..
        } = self;
        let command = tokio::select! {
            place = deliveries.reserve(), if !reads => {
                let place = place.map_err(|_| End::Dropped)?;
                if let Some(received) = arrived.pop_front() {
                    place.send(received);
                }
                None
            }
            () = deliveries.closed() => return Err(End::Dropped),
            sent = write_some(client, stream), if writes => {
                sent.map_err(|_| End::Broker(GONE))?;
                None
            }
            Some((token, reason)) = acks.recv() => {
                client.accept(token, reason);
                None
            }
            count = poll_fn(|cx| stream.poll_receive(cx, buffer)), if reads => {
                if count == 0 {
                    return Err(End::Broker(GONE));
                }
                client.handle_input(&buffer[..count]);
                None
            }
            () = ticks.next(), if timed => {
                let alive = client.handle_timeout(self.clock.now());
                alive.map_err(|_| End::Broker(ReasonCode::KeepAliveTimeout))?;
                None
            }
            Some(command) = commands.recv(), if free => Some(command),
        };
        command.map_or(Ok(()), |command| self.obey(command))
    }

    fn obey(&mut self, command: Command) -> Result<(), End> {
        match command {
            Command::Publish { message, done } => self.publish(&message, done),
            Command::Subscribe {
                filter,
                options,
                id,
                done,
            } => {
                let filters = SubscribeFilters::collect([(filter.as_str(), options)]).map_err(Into::into);
                let sent = filters.and_then(|filters| self.client.subscribe(filters, id));
                self.asked(sent, done);
            }
            Command::Unsubscribe { filter, done } => {
                let filters = UnsubscribeFilters::collect([filter.as_str()]).map_err(Into::into);
                let sent = filters.and_then(|filters| self.client.unsubscribe(filters));
                self.asked(sent, done);
            }
            Command::Disconnect { done } => return Err(End::Disconnect(done)),
        }
        Ok(())
    }

    fn publish(&mut self, message: &Message, done: oneshot::Sender<Result<(), LinkError>>) {
        let seq = match self.client.publish(self.clock.now(), message) {
            Delivered::Sent {
                under_way: Some((seq, _)),
            } => seq,
            Delivered::Queued { seq, .. } if message.qos > QoS::AtMostOnce => seq,
            Delivered::Sent { under_way: None } | Delivered::Queued { .. } => {
                // Whoever asked may have gone.
                let _ = done.send(Ok(()));
                return;
            }
            _ => {
                let _ = done.send(Err(LinkError::Dropped));
                return;
            }
        };
        self.published.insert(seq, done);
    }

    fn asked(
        &mut self,
        sent: Result<PacketId, broker_proto::ClientError>,
        done: oneshot::Sender<Result<ReasonCode, LinkError>>,
    ) {
        match sent {
            Ok(packet_id) => _ = self.requests.insert(packet_id, done),
            Err(error) => {
                // Whoever asked may have gone.
                let _ = done.send(Err(LinkError::Invalid(error.to_string())));
            }
        }
    }

    /// Takes what happened; nothing is left when this returns.
    fn take_events(&mut self, welcome: &mut Option<oneshot::Sender<Welcome>>) -> Result<(), End> {
        loop {
            let event = match self.client.poll_event(self.clock.now()) {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Broker(error.reason().unwrap_or(ReasonCode::ProtocolError))),
            };
            match event {
                ClientEvent::Connected(ack) => {
                    let welcome = welcome.take().map(|welcome| {
                        welcome.send(Welcome {
                            session_present: ack.session_present,
                            assigned_client_id: ack.assigned_client_id.map(str::to_owned),
                        })
                    });
                    // Whoever wanted to connect may have gone.
                    if !matches!(welcome, Some(Ok(()))) {
                        return Err(End::Dropped);
                    }
                }
                ClientEvent::Refused(ack) => return Err(End::Broker(ack.reason)),
                ClientEvent::Disconnected(disconnect) => return Err(End::Broker(disconnect.reason)),
                ClientEvent::Message {
                    topic,
                    publish,
                    token,
                } => {
                    let message = Message {
                        topic: topic.as_ref().to_owned(),
                        payload: bytes::Bytes::copy_from_slice(publish.payload),
                        qos: publish.qos,
                        retain: publish.retain,
                        properties: publish.properties.to_properties(),
                        expiry: publish.expiry,
                    };
                    let ack = &self.ack;
                    self.arrived.push_back(Received {
                        message,
                        subscription_ids: publish.subscription_ids.to_vec(),
                        answer: token.map(|token| Answer {
                            token,
                            ack: ack.clone(),
                        }),
                    });
                }
                ClientEvent::Published { seq, reason } => {
                    if let Some(done) = self.published.remove(&seq) {
                        // Whoever asked may have gone.
                        let _ = done.send(match reason.is_error() {
                            true => Err(LinkError::Refused(reason)),
                            false => Ok(()),
                        });
                    }
                }
                ClientEvent::Dropped { seq } => {
                    if let Some(done) = self.published.remove(&seq) {
                        let _ = done.send(Err(LinkError::Dropped));
                    }
                }
                ClientEvent::Subscribed(ack) => {
                    let reason = ack.reasons.first().copied();
                    answer(&mut self.requests, ack.packet_id, reason);
                }
                ClientEvent::Unsubscribed(ack) => {
                    let reason = ack.reasons.first().copied();
                    answer(&mut self.requests, ack.packet_id, reason);
                }
                _ => {}
            }
        }
    }
}

fn answer(
    requests: &mut HashMap<PacketId, oneshot::Sender<Result<ReasonCode, LinkError>>>,
    packet_id: PacketId,
    reason: Option<ReasonCode>,
) {
    if let Some(done) = requests.remove(&packet_id) {
        // Whoever asked may have gone.
        let _ = done.send(Ok(reason.unwrap_or(ReasonCode::UnspecifiedError)));
    }
}

async fn write_some(client: &mut Client, stream: &LocalStream) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let used = client.output().io_slices(&mut slices);
    let count = poll_fn(|cx| stream.poll_send(cx, &slices[..used])).await?;
    client.output().advance(count);
    Ok(())
}
