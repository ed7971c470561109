//! A Network Connection to a broker and the client on it. Reads, writes and keeps the connection alive while somebody
//! waits for the next event; does nothing in between.

use std::io;
use std::time::{Instant, SystemTime};

use broker_proto::{
    Client, ClientError, ClientEvent, ClientLimits, ConnAck, Connect, Delivered, Disconnect,
    SubscribeFilters, SubscribeOptions, Token, UnsubscribeFilters, UserBlock, Will,
};
use broker_types::{
    ConnectReturnCode, Message, ProtocolVersion, ReasonCode, SubscriptionId, Timestamp, TopicRef,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::sleep;

use super::args::{Connection, Peer};
use super::properties::Packet;
use crate::cli::exit::{Exit, Failure, Outcome};

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A connection that is up.
pub(crate) struct Link {
    client: Client,
    reader: Reader,
    writer: Writer,
    buffer: Vec<u8>,
    started: Instant,
    debug: bool,
    version: ProtocolVersion,
    end: End,
}

/// What DISCONNECT says.
struct End {
    session_expiry: Option<u32>,
    user: broker_types::Properties,
}

type Reader = Box<dyn AsyncRead + Unpin>;
type Writer = Box<dyn AsyncWrite + Unpin>;

/// What happened on the connection.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A message came; give it to [`Link::accept`] when it is taken care of.
    Message(Incoming),
    /// The broker took a message, or refused it.
    Published(ReasonCode),
    /// A message was given up before it was sent.
    Dropped,
    /// The answer to SUBSCRIBE, one code for each filter.
    Subscribed(Vec<ReasonCode>),
    /// Something that only matters for the connection.
    Other,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: broker_types::Properties,
    pub(crate) expiry: Option<u32>,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) at: SystemTime,
    token: Option<Token>,
}

impl Link {
    /// Connects, and waits until the broker has accepted.
    pub(crate) async fn open(args: &Connection, limits: ClientLimits) -> Result<Self, Failure> {
        let (reader, writer) = dial(&args.peer()).await?;
        let properties = &args.properties;
        let end = End {
            session_expiry: properties.number(Packet::Disconnect, "session-expiry-interval")?,
            user: properties.message(Packet::Disconnect)?,
        };
        let mut link = Self {
            client: Client::new(limits),
            reader,
            writer,
            buffer: vec![0; READ_BYTES],
            started: Instant::now(),
            debug: args.debug,
            version: args.protocol_version,
            end,
        };
        send_connect(&mut link.client, args)?;
        link.log("CONNECT sent");
        link.wait_for_connack().await?;
        Ok(link)
    }

    async fn wait_for_connack(&mut self) -> Outcome {
        loop {
            match self.client.poll_event(now(self.started)) {
                Ok(Some(ClientEvent::Connected(connack))) => {
                    if self.debug {
                        log_connack(&connack);
                    }
                    return Ok(());
                }
                Ok(Some(ClientEvent::Refused(connack))) => return Err(refusal(&connack, self.version)),
                // Whatever else comes before CONNACK is against the protocol, and the client says so.
                Ok(Some(_)) => {}
                Ok(None) => self.exchange().await?,
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Returns the next event, if it needs no waiting.
    pub(crate) fn ready(&mut self) -> Result<Option<Happened>, Failure> {
        let event = self
            .client
            .poll_event(now(self.started))
            .map_err(|error| broken(&error))?;
        event.map(happened).transpose()
    }

    /// Waits for the next event. Safe to be dropped half-way.
    pub(crate) async fn next(&mut self) -> Result<Happened, Failure> {
        loop {
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            self.exchange().await?;
        }
    }

    /// Publishes a message. Waits where too many are under way.
    pub(crate) fn publish(&mut self, message: &Message) -> Outcome {
        match self.client.publish(now(self.started), message) {
            Delivered::Sent { .. } | Delivered::Queued { .. } => {
                self.log(format_args!(
                    "PUBLISH {} ({} bytes)",
                    message.topic,
                    message.payload.len()
                ));
                Ok(())
            }
            Delivered::Dropped(reason) => Err(Failure::new(
                Exit::Failed,
                format!("the message was not sent: {reason:?}"),
            )),
            other => Err(Failure::new(
                Exit::Internal,
                format!("the message was not sent: {other:?}"),
            )),
        }
    }

    /// Returns how many QoS 1 and 2 messages have no answer yet or were not sent yet.
    pub(crate) fn unfinished(&self) -> usize {
        let (under_way, waiting) = self.client.unfinished();
        under_way + waiting
    }

    /// Subscribes to all `filters` with one packet.
    pub(crate) fn subscribe(
        &mut self,
        filters: &[String],
        options: SubscribeOptions,
        id: Option<SubscriptionId>,
    ) -> Outcome {
        self.log(format_args!("SUBSCRIBE {}", filters.join(" ")));
        let filters = SubscribeFilters::collect(filters.iter().map(|filter| (filter.as_str(), options)));
        let sent = filters
            .map_err(ClientError::from)
            .and_then(|filters| self.client.subscribe(filters, id));
        sent.map(drop)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }

    /// Unsubscribes from all `filters` with one packet.
    pub(crate) fn unsubscribe(&mut self, filters: &[String]) -> Outcome {
        self.log(format_args!("UNSUBSCRIBE {}", filters.join(" ")));
        let filters = UnsubscribeFilters::collect(filters.iter().map(String::as_str));
        let sent = filters
            .map_err(ClientError::from)
            .and_then(|filters| self.client.unsubscribe(filters));
        sent.map(drop)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
    }

    /// Acknowledges a message.
    pub(crate) fn accept(&mut self, message: &Incoming) {
        if let Some(token) = message.token {
            self.client.accept(token, ReasonCode::Success);
        }
    }

    /// Writes all that waits.
    pub(crate) async fn flush(&mut self) -> Outcome {
        while !self.client.output().is_empty() {
            write_some(&mut self.client, &mut self.writer).await?;
        }
        self.writer.flush().await.map_err(|error| lost(&error))
    }

    /// Ends the connection in order.
    pub(crate) async fn close(mut self) -> Outcome {
        self.log("DISCONNECT sent");
        let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
        disconnect.session_expiry = self.end.session_expiry;
        disconnect.properties.user = UserBlock::from(&self.end.user);
        self.client
            .disconnect(&disconnect)
            .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        self.flush().await?;
        // The broker may have closed first; what was to be said is said.
        let _ = self.writer.shutdown().await;
        Ok(())
    }

    /// One round: writes what waits, or reads what comes, or keeps the connection alive.
    async fn exchange(&mut self) -> Outcome {
        let now_millis = now(self.started);
        let timeout = self.client.poll_timeout();
        let waits = !self.client.output().is_empty();
        tokio::select! {
            biased;
            written = write_some(&mut self.client, &mut self.writer), if waits => written,
            read = self.reader.read(&mut self.buffer) => match read {
                Ok(0) => Err(Failure::new(Exit::Unavailable, "the broker closed the connection")),
                Ok(count) => {
                    self.client.handle_input(&self.buffer[..count]);
                    Ok(())
                }
                Err(error) => Err(lost(&error)),
            },
            () = sleep(timeout.since(now_millis)), if timeout != Timestamp::NEVER => {
                self.client.handle_timeout(now(self.started)).map_err(|error| broken(&error))
            }
        }
    }

    fn log(&self, what: impl std::fmt::Display) {
        if self.debug {
            eprintln!("{what}");
        }
    }
}

fn now(started: Instant) -> Timestamp {
    Timestamp::ZERO + started.elapsed()
}

async fn write_some(client: &mut Client, writer: &mut Writer) -> Outcome {
    let mut slices = [io::IoSlice::new(&[]); 16];
    let used = client.output().io_slices(&mut slices);
    let count = writer
        .write_vectored(&slices[..used])
        .await
        .map_err(|error| lost(&error))?;
    client.output().advance(count);
    Ok(())
}

async fn dial(peer: &Peer) -> Result<(Reader, Writer), Failure> {
    match peer {
        Peer::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| Failure::io(path.display(), &error))?;
            let (reader, writer) = stream.into_split();
            Ok((Box::new(reader), Box::new(writer)))
        }
        Peer::Tcp {
            host,
            port,
            from,
            nodelay,
        } => {
            let failed = |error: &io::Error| {
                let failure = Failure::io(format_args!("{host}:{port}"), error);
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        failure.hint("no broker listens there; `jackfield` starts one")
                    }
                    _ => failure,
                }
            };
            let unknown = |error: io::Error| Failure::new(Exit::Unavailable, format!("{host}: {error}"));
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in lookup_host((host.as_str(), *port)).await.map_err(unknown)? {
                let connecting = async {
                    let Some(from) = from else {
                        return TcpStream::connect(address).await;
                    };
                    let socket = if from.is_ipv4() {
                        TcpSocket::new_v4()?
                    } else {
                        TcpSocket::new_v6()?
                    };
                    socket.bind((*from, 0).into())?;
                    socket.connect(address).await
                };
                match connecting.await {
                    Ok(stream) => {
                        stream.set_nodelay(*nodelay).map_err(|error| failed(&error))?;
                        let (reader, writer) = stream.into_split();
                        return Ok((Box::new(reader), Box::new(writer)));
                    }
                    Err(error) => last = error,
                }
            }
            Err(failed(&last))
        }
    }
}

fn send_connect(client: &mut Client, args: &Connection) -> Outcome {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let properties = &args.properties;
    let client_id = args.client_id()?;
    let password = args.password();
    let user = properties.message(Packet::Connect)?;
    let will_properties = properties.message(Packet::Will)?;
    let version = args.protocol_version;

    let mut connect = Connect::new(version, &client_id);
    connect.clean_start = !args.disable_clean_session;
    connect.keep_alive = args.keep_alive;
    connect.username = args.username();
    connect.password = password.as_deref().map(str::as_bytes);
    connect.session_expiry = args.session_expiry();
    connect.user = UserBlock::from(&user);
    let number = |name| properties.number::<u32>(Packet::Connect, name);
    if let Some(seconds) = number("session-expiry-interval")? {
        connect.session_expiry = seconds;
    }
    connect.packet_size_max = number("maximum-packet-size")?;
    if let Some(count) = properties.number(Packet::Connect, "receive-maximum")? {
        connect.receive_maximum = count;
    }
    if let Some(highest) = properties.number(Packet::Connect, "topic-alias-maximum")? {
        connect.topic_alias_maximum = highest;
    }
    connect.request_response_information = number("request-response-information")? == Some(1);
    connect.request_problem_information = number("request-problem-information")? != Some(0);
    if let Some(topic) = &args.will.topic {
        connect.will = Some(Will {
            topic: TopicRef::new(topic).map_err(|error| usage(&error))?,
            payload: args.will.payload.as_bytes(),
            qos: args.will.qos,
            retain: args.will.retain,
            delay: properties
                .number(Packet::Will, "will-delay-interval")?
                .unwrap_or(0),
            expiry: properties.number(Packet::Will, "message-expiry-interval")?,
            properties: (&will_properties).into(),
        });
    }
    client.connect(&connect).map_err(|error| usage(&error))
}

fn happened(event: ClientEvent<'_>) -> Result<Happened, Failure> {
    Ok(match event {
        ClientEvent::Message {
            topic,
            publish,
            token,
        } => Happened::Message(Incoming {
            topic: topic.as_ref().as_str().to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos.bits(),
            retain: publish.retain,
            properties: publish.properties.to_properties(),
            expiry: publish.expiry,
            subscription_ids: publish.subscription_ids.iter().map(|id| id.get()).collect(),
            at: SystemTime::now(),
            token,
        }),
        ClientEvent::Published { reason, .. } => Happened::Published(reason),
        ClientEvent::Dropped { .. } => Happened::Dropped,
        ClientEvent::Subscribed(suback) => Happened::Subscribed(suback.reasons.into_owned()),
        ClientEvent::Disconnected(disconnect) => {
            let text = disconnect
                .properties
                .reason_string
                .map_or(String::new(), |text| format!(": {text}"));
            let message = format!("the broker ended the connection: {}{text}", disconnect.reason);
            // It goes away in the end, whether it says so first or not.
            let exit = match disconnect.reason {
                ReasonCode::ServerShuttingDown => Exit::Unavailable,
                _ => Exit::Failed,
            };
            return Err(Failure::new(exit, message));
        }
        _ => Happened::Other,
    })
}

/// A refused CONNECT ends with its code: the Return Code of 3.1.1 or the Reason Code of 5.0.
fn refusal(connack: &ConnAck<'_>, version: ProtocolVersion) -> Failure {
    let code = if version.is_v5() {
        connack.reason.byte()
    } else {
        ConnectReturnCode::from(connack.reason) as u8
    };
    let text = connack
        .properties
        .reason_string
        .map_or(String::new(), |text| format!(": {text}"));
    Failure::refused(
        code,
        format!("the broker refused the connection: {}{text}", connack.reason),
    )
}

fn broken(error: &ClientError) -> Failure {
    Failure::new(Exit::Failed, format!("the broker broke the protocol: {error}"))
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("the connection is lost: {error}"))
}

fn log_connack(connack: &ConnAck<'_>) {
    eprintln!(
        "CONNACK {}, session present: {}",
        connack.reason, connack.session_present
    );
    if let Some(id) = connack.assigned_client_id {
        eprintln!("  the Client Identifier is {id}");
    }
}
