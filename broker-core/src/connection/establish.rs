//! From the first byte to CONNACK: one CONNECT, the hooks that decide about it, the Session.

use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{
    AckProperties, AnswerLimits, Auth, ConnAck, Connect, DecodeError, Decoder, Granted, Inbound,
    InboundLimits, Packet, Peer as PeerLimits, PropertyBlock, Refusal, UserBlock, keep_alive_limit,
};
use broker_types::{ClientId, Message, PropertiesBuilder, ProtocolVersion, ReasonCode, TopicName};
use bytes::Bytes;
use plugin_api::{
    AuthRequest, ClientView, ConnectEdit, Denial, EventKind, ExchangePhase, ExchangeRequest, Grant,
};

use super::origin::{Identity, Origin};
use super::packets::describe;
use super::publish::Rate;
use super::run::Connection;
use crate::engine::attach::Opening;
use crate::engine::core::tell;
use crate::engine::delivery::mounted;
use crate::engine::listener::ListenerState;
use crate::engine::memory::PartialBytes;
use crate::engine::session::Will;
use crate::engine::shard::Shard;
use crate::hooks::{AuthOutcome, ChainSet, ConnectOutcome, ExchangeOutcome, ExchangeOwner, HookMask};
use crate::net::{Read, Socket};

/// Steps of an enhanced authentication, and the time they may take in all.
pub(super) const EXCHANGE_ROUNDS: usize = 16;
const EXCHANGE_TIME: Duration = Duration::from_secs(10);
/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes that are read ahead while plugins are waited for.
const AHEAD_MAX: usize = 16 * 1024;
/// Bytes that the first read makes room for.
const FIRST_READ: usize = 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("nothing more came")]
    Gone,
    #[error("no CONNECT came in time")]
    Late,
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    #[error("{0} is not spoken here")]
    Version(ProtocolVersion),
    #[error("refused: {0}")]
    Limit(#[from] Refusal),
    #[error("client `{client_id}` refused: {}", denial.reason)]
    Denied { client_id: ClientId, denial: Denial },
    #[error("client `{0}` closed without an answer")]
    Closed(ClientId),
}

impl Failure {
    /// Returns whose authentication failed.
    pub(super) fn refused(&self) -> Option<&ClientId> {
        match self {
            Self::Denied { client_id, .. } | Self::Closed(client_id) => Some(client_id),
            _ => None,
        }
    }

    /// Returns the code that was sent.
    pub(super) fn reason(&self) -> Option<ReasonCode> {
        match self {
            Self::Denied { denial, .. } => Some(denial.reason),
            _ => None,
        }
    }
}

/// A connection before it has a Session.
struct Newcomer {
    shard: Rc<Shard>,
    listener: Arc<ListenerState>,
    chain: Arc<ChainSet>,
    socket: Arc<Socket>,
    origin: Origin,
    decoder: Decoder,
    /// Bytes that came and weren't used.
    came: Vec<u8>,
    /// What of them is counted.
    came_bytes: PartialBytes,
}

/// Reads CONNECT, asks everybody, and takes the Session. A client that is refused has been told so when this returns.
pub(super) async fn establish(
    shard: &Rc<Shard>,
    listener: &Arc<ListenerState>,
    socket: Arc<Socket>,
    origin: Origin,
) -> Result<Box<Connection>, Failure> {
    let limits = &listener.limits;
    let mut newcomer = Newcomer {
        shard: shard.clone(),
        listener: listener.clone(),
        // Who says nothing keeps no chain that has been replaced.
        chain: shard.core.no_chain.clone(),
        socket,
        origin,
        decoder: Decoder::server(limits.packet_size_max, limits.connect_size_max),
        came: Vec::new(),
        came_bytes: PartialBytes::new(shard.clone()),
    };
    let deadline = tokio::time::timeout(limits.connect_timeout, newcomer.next_frame());
    let frame = match deadline.await {
        Ok(frame) => frame?,
        Err(_) => return Err(Failure::Late),
    };
    let decoder = newcomer.decoder.clone();
    let connect = match decoder.decode(&frame) {
        Ok(Packet::Connect(connect)) => connect,
        Ok(_) => unreachable!("the decoder takes nothing but CONNECT first"),
        Err(error) => {
            newcomer.refuse_malformed(&frame, &error).await;
            return Err(error.into());
        }
    };
    newcomer.decoder.set_version(connect.version);
    newcomer.chain = listener.chain.load_full();
    newcomer.connected(&connect).await
}

impl Newcomer {
    /// Reads until a whole packet is there, and takes it out.
    async fn next_frame(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(len) = self.decoder.frame_len(&self.came)?
                && len <= self.came.len()
            {
                let rest = self.came.split_off(len);
                let frame = std::mem::replace(&mut self.came, rest);
                self.shard.metrics.received.frame(&frame);
                return Ok(frame);
            }
            if !self.read_more().await? {
                return Err(Failure::Gone);
            }
        }
    }

    /// Waits for more bytes. False: the client has closed its half.
    async fn read_more(&mut self) -> Result<bool, Failure> {
        // Bytes are kept only as they come; what the packet promises to be reserves nothing.
        if self.came.capacity() == self.came.len() {
            self.came.reserve_exact(self.came.len().max(FIRST_READ));
            self.came_bytes.set(self.came.capacity());
        }
        match poll_fn(|_| self.socket.poll_read_to_end_of(&mut self.came)).await {
            Ok(Read::More(n) | Read::Drained(n)) => {
                self.shard.metrics.bytes_received.add(n as u64);
                Ok(true)
            }
            Ok(Read::Closed) => Ok(false),
            Err(_) => Err(Failure::Gone),
        }
    }

    /// Waits for plugins, unless the client goes meanwhile: then they are told to stop by being dropped, and nobody gets a
    /// Session after the one who has it now.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.gone() => Err(Failure::Gone),
        }
    }

    /// Waits until the client goes without having sent anything but its CONNECT. One that sent more and closed its half still
    /// gets it done.
    async fn gone(&mut self) {
        while self.came.len() < AHEAD_MAX {
            match self.read_more().await {
                Ok(true) => {}
                Ok(false) if !self.came.is_empty() => break,
                Ok(false) | Err(_) => return,
            }
        }
        std::future::pending().await
    }

    /// Decides about a CONNECT.
    async fn connected(mut self, connect: &Connect<'_>) -> Result<Box<Connection>, Failure> {
        let version = connect.version;
        if !self.listener.protocols.contains(&version) {
            self.refuse(
                connect,
                &Denial::new(ReasonCode::UnsupportedProtocolVersion),
                None,
            )
            .await;
            return Err(Failure::Version(version));
        }
        let limits = self.listener.limits.clone();
        let granted = match Granted::check(connect, &limits) {
            Ok(granted) => granted,
            Err(refusal) => {
                self.refuse(connect, &Denial::new(refusal.reason()), None).await;
                return Err(refusal.into());
            }
        };
        if self.shard.core.is_stopping() {
            let denial = Denial::new(ReasonCode::ServerShuttingDown);
            return Err(self
                .deny(connect, ClientId::from(connect.client_id), denial, None)
                .await);
        }
        let mut view = self.first_view(connect, granted.assign_client_id);
        let mut terms = Terms {
            keep_alive: granted.keep_alive,
            session_expiry: granted.session_expiry,
            session_expiry_max: limits.session_expiry_max.unwrap_or(u32::MAX),
            user: Vec::new(),
            server_reference: None,
            expires_in: None,
        };
        if self.chain.mask().has(HookMask::CONNECT) {
            view = self.hook_connect(connect, view, &mut terms).await?;
        }
        let (view, auth_data) = self.authenticate(connect, view, &mut terms).await?;
        let client = Arc::new(view);
        let will = match self.will(connect, &client) {
            Ok(will) => will,
            Err(reason) => {
                return Err(self
                    .deny(connect, client.id.clone(), Denial::new(reason), None)
                    .await);
            }
        };
        let opening = Opening {
            client: client.clone(),
            listener: self.listener.clone(),
            chain: self.chain.clone(),
            socket: self.socket.clone(),
            clean_start: connect.clean_start,
            expiry: terms.session_expiry,
            will,
            peer: PeerLimits::new(connect, &limits, terms.session_expiry),
        };
        let answers = answer_limits(connect);
        let user = terms.user_properties();
        let conn_ack = |present: bool, out: &mut Vec<u8>| {
            let told = Granted {
                client_id: client.id.as_str(),
                keep_alive: terms.keep_alive,
                session_expiry: terms.session_expiry,
                session_present: present,
                auth_data: auth_data.as_deref(),
                properties: AckProperties {
                    reason_string: None,
                    user: (&user).into(),
                },
                ..granted.clone()
            };
            let mut ack = told.conn_ack(connect, &limits);
            ack.server_reference = terms.server_reference.as_deref();
            Packet::ConnAck(Box::new(ack)).encode_within(version, &answers, out)
        };
        // [MQTT-3.1.2-24]: a client that takes no packet of this size can't be told anything.
        if conn_ack(false, &mut Vec::new()).is_err() {
            return Err(Failure::Closed(client.id.clone()));
        }
        let welcome = |present: bool, out: &mut Vec<u8>| {
            conn_ack(present, out).expect("it has the same length whether the Session is present or not");
        };
        self.shard.read_clock();
        let attached = match self.shard.attach(opening, welcome).await {
            Ok(attached) => attached,
            Err(reason) => {
                return Err(self
                    .deny(connect, client.id.clone(), Denial::new(reason), None)
                    .await);
            }
        };
        self.shard.metrics.connects_accepted.one();
        tell(self.chain.events(), EventKind::Connected, |event| {
            describe(event, &client)
        });
        tracing::debug!(client_id = %client.id, listener = %self.listener.name, peer = %self.origin.peer, %version, "connected");
        let inbound = Inbound::new(version, InboundLimits::from(&*limits), attached.received);
        let mut connection = Connection::new(
            self.shard,
            attached.session,
            self.socket,
            self.listener,
            self.chain,
            client,
            self.decoder,
            inbound,
            answers,
        );
        connection.session_expiry = connect.session_expiry;
        connection.session_expiry_max = terms.session_expiry_max;
        if let Some(method) = connect.auth_method {
            connection.rare_mut().auth_method = Some(method.into());
        }
        if let Some(time) = terms.expires_in {
            connection.rare_mut().expires = Some(Box::pin(tokio::time::sleep(time)));
        }
        if let Some(rate) = Rate::new(&limits) {
            connection.rare_mut().rate = Some(rate);
        }
        connection.more = !self.came.is_empty();
        if !self.came.is_empty() {
            *connection.partial.make() = self.came;
        }
        connection.watch(terms.keep_alive);
        Ok(connection)
    }

    /// Returns what is known of the client before anybody is asked.
    fn first_view(&self, connect: &Connect<'_>, assign: bool) -> ClientView {
        ClientView {
            handle: self.shard.core.new_handle(),
            id: match assign {
                true => assigned_client_id(),
                false => ClientId::from(connect.client_id),
            },
            username: connect.username.map(Into::into),
            authenticated: false,
            listener: self.listener.name.clone(),
            peer: self.origin.peer,
            version: connect.version,
            clean_start: connect.clean_start,
            mount: self.listener.mount.clone(),
            attributes: Arc::default(),
            certificate: self.origin.certificate(),
            unrestricted: false,
        }
    }

    async fn hook_connect(
        &mut self,
        connect: &Connect<'_>,
        view: ClientView,
        terms: &mut Terms,
    ) -> Result<ClientView, Failure> {
        let edit = ConnectEdit {
            client_id: view.id.clone(),
            username: view.username.clone(),
            clean_start: connect.clean_start,
            keep_alive_cap: None,
            session_expiry_cap: None,
            mount: view.mount.clone(),
            user_properties: Vec::new(),
            server_reference: None,
        };
        let view = Arc::new(view);
        let chain = self.chain.clone();
        match self.unless_gone(chain.connect(&view, edit)).await? {
            ConnectOutcome::Close => Err(Failure::Closed(view.id.clone())),
            ConnectOutcome::Reject(denial, edit) => {
                terms.user = edit.user_properties;
                terms.server_reference = edit.server_reference;
                Err(self.deny(connect, view.id.clone(), denial, Some(terms)).await)
            }
            ConnectOutcome::Go(edit) => {
                let edit = *edit;
                if let Some(cap) = edit
                    .keep_alive_cap
                    .filter(|cap| connect.version.is_v5() && *cap > 0)
                    && (terms.keep_alive == 0 || terms.keep_alive > cap)
                {
                    terms.keep_alive = cap;
                }
                terms.cap_session_expiry(edit.session_expiry_cap);
                terms.user = edit.user_properties;
                terms.server_reference = edit.server_reference;
                let mut view = Arc::unwrap_or_clone(view);
                if !edit.client_id.as_str().is_empty() {
                    view.id = edit.client_id;
                }
                view.username = edit.username;
                view.mount = edit.mount;
                Ok(view)
            }
        }
    }

    /// Asks who the client is. Returns it as the plugins see it from now on, and Authentication Data for the CONNACK.
    async fn authenticate(
        &mut self,
        connect: &Connect<'_>,
        view: ClientView,
        terms: &mut Terms,
    ) -> Result<(ClientView, Option<Vec<u8>>), Failure> {
        if let Some(identity) = self.origin.identity() {
            return Ok((vouched_for(view, identity), None));
        }
        if let Some(method) = connect.auth_method {
            return self.exchange(connect, method, view, terms).await;
        }
        let client = Arc::new(view);
        let sni = self.origin.sni().map(str::to_owned);
        let request = AuthRequest {
            client_id: client.id.as_str(),
            username: client.username.as_deref(),
            password: connect.password,
            certificate: client.certificate.as_deref(),
            sni: sni.as_deref(),
            version: connect.version,
            clean_start: connect.clean_start,
        };
        let (chain, anonymous) = (self.chain.clone(), self.listener.anonymous);
        let outcome = self
            .unless_gone(chain.authenticate(&client, &request, anonymous))
            .await?;
        let mut view = Arc::unwrap_or_clone(client);
        match outcome {
            AuthOutcome::Allow { grant, authenticated } => {
                apply_grant(&mut view, *grant, authenticated, terms);
                Ok((view, None))
            }
            AuthOutcome::Anonymous => {
                view.username = None;
                Ok((view, None))
            }
            AuthOutcome::Refuse(denial) => Err(self.deny(connect, view.id, denial, Some(terms)).await),
            AuthOutcome::Close => Err(Failure::Closed(view.id)),
        }
    }

    /// Enhanced authentication (section 4.12): challenge and response until somebody is content.
    async fn exchange(
        &mut self,
        connect: &Connect<'_>,
        method: &str,
        view: ClientView,
        terms: &mut Terms,
    ) -> Result<(ClientView, Option<Vec<u8>>), Failure> {
        let Some(owner) = self.chain.exchange_owner(method) else {
            let denial = Denial::new(ReasonCode::BadAuthenticationMethod);
            return Err(self.deny(connect, view.id, denial, Some(terms)).await);
        };
        let client = Arc::new(view);
        let number = client.handle.0;
        let outcome = {
            let rounds = self.rounds(connect, method, &owner, &client);
            tokio::time::timeout(EXCHANGE_TIME, rounds).await
        };
        let id = client.id.clone();
        let ended = match outcome {
            Ok(Ok(ended)) => ended,
            Ok(Err(failure)) => {
                abandon(&owner, &client, method, number).await;
                return Err(failure);
            }
            Err(_) => {
                abandon(&owner, &client, method, number).await;
                return Err(self
                    .deny(connect, id, Denial::not_authorized(), Some(terms))
                    .await);
            }
        };
        match ended {
            ExchangeOutcome::Success { grant, data } => {
                let mut view = Arc::unwrap_or_clone(client);
                apply_grant(&mut view, *grant, true, terms);
                Ok((view, data))
            }
            ExchangeOutcome::Deny(denial) => Err(self.deny(connect, id, denial, Some(terms)).await),
            ExchangeOutcome::Challenge(_) => {
                abandon(&owner, &client, method, number).await;
                Err(self
                    .deny(connect, id, Denial::not_authorized(), Some(terms))
                    .await)
            }
            ExchangeOutcome::Close => Err(Failure::Closed(id)),
        }
    }

    async fn rounds(
        &mut self,
        connect: &Connect<'_>,
        method: &str,
        owner: &ExchangeOwner,
        client: &Arc<ClientView>,
    ) -> Result<ExchangeOutcome, Failure> {
        let mut data = connect.auth_data.map(<[u8]>::to_vec);
        let mut phase = ExchangePhase::Start;
        for _ in 0..EXCHANGE_ROUNDS {
            let request = ExchangeRequest {
                phase,
                exchange: client.handle.0,
                method,
                data: data.as_deref(),
            };
            let challenge = match self.unless_gone(owner.step(client, &request)).await? {
                ExchangeOutcome::Challenge(challenge) => challenge,
                ended => return Ok(ended),
            };
            self.send(&challenge_packet(method, &challenge), &answer_limits(connect))
                .await;
            let frame = self.next_frame().await?;
            // [MQTT-3.1.2-30]: until CONNACK the client may send nothing but AUTH and DISCONNECT.
            match self.decoder.decode(&frame)? {
                Packet::Auth(auth)
                    if auth.reason == ReasonCode::ContinueAuthentication && auth.method == Some(method) =>
                {
                    data = auth.data.map(<[u8]>::to_vec);
                    phase = ExchangePhase::Continue;
                }
                Packet::Auth(auth) if auth.method != Some(method) => {
                    return Ok(ExchangeOutcome::Deny(Denial::new(
                        ReasonCode::BadAuthenticationMethod,
                    )));
                }
                Packet::Disconnect(_) => return Err(Failure::Gone),
                _ => return Ok(ExchangeOutcome::Deny(Denial::new(ReasonCode::ProtocolError))),
            }
        }
        Ok(ExchangeOutcome::Challenge(Vec::new()))
    }

    fn will(&self, connect: &Connect<'_>, client: &Arc<ClientView>) -> Result<Option<Box<Will>>, ReasonCode> {
        let Some(will) = &connect.will else {
            return Ok(None);
        };
        // What the broker says of itself is not for clients to say.
        if will.topic.as_str().starts_with("$SYS/") {
            return Err(ReasonCode::NotAuthorized);
        }
        let topic: TopicName = mounted(will.topic, &client.mount).ok_or(ReasonCode::TopicNameInvalid)?;
        let message = Message {
            topic,
            payload: Bytes::copy_from_slice(will.payload),
            qos: will.qos,
            retain: will.retain,
            properties: PropertyBlock::to_properties(&will.properties),
            expiry: will.expiry,
        };
        Ok(Some(Box::new(Will {
            message,
            delay: will.delay,
            client: client.clone(),
            timer: None,
            record: None,
        })))
    }

    /// Refuses a client and says who it was.
    async fn deny(
        &self,
        connect: &Connect<'_>,
        client_id: ClientId,
        denial: Denial,
        terms: Option<&mut Terms>,
    ) -> Failure {
        self.refuse(connect, &denial, terms.as_deref()).await;
        Failure::Denied { client_id, denial }
    }

    /// Sends a CONNACK that refuses.
    async fn refuse(&self, connect: &Connect<'_>, denial: &Denial, terms: Option<&Terms>) {
        let user = terms.map(Terms::user_properties).unwrap_or_default();
        let ack = ConnAck {
            server_reference: terms.and_then(|terms| terms.server_reference.as_deref()),
            properties: AckProperties {
                reason_string: denial.text.as_deref(),
                user: UserBlock::from(&user),
            },
            ..ConnAck::new(connack_reason(denial.reason))
        };
        let packet = Packet::ConnAck(Box::new(ack));
        let mut bytes = Vec::new();
        if packet
            .encode_within(connect.version, &answer_limits(connect), &mut bytes)
            .is_ok()
        {
            self.write(&bytes).await;
        }
        self.socket.shutdown();
    }

    /// Tells a client whose CONNECT makes no sense, as far as its version is known `[MQTT-3.1.2-2]`.
    async fn refuse_malformed(&self, frame: &[u8], error: &DecodeError) {
        let code = error.reason;
        match protocol_level(frame) {
            Some(5..) => self.write(&[0x20, 3, 0, code.byte(), 0]).await,
            // 3.1 and 3.1.1 have a code for nothing else that can be wrong here.
            Some(_) | None if code == ReasonCode::UnsupportedProtocolVersion => {
                self.write(&[0x20, 2, 0, 1]).await
            }
            _ => {}
        }
        self.socket.shutdown();
    }

    async fn send(&self, packet: &Packet<'_>, answers: &AnswerLimits) {
        let mut bytes = Vec::new();
        if packet
            .encode_within(ProtocolVersion::V5, answers, &mut bytes)
            .is_ok()
        {
            self.write(&bytes).await;
        }
    }

    /// Writes a few bytes to a client that has no Session yet; gives up if it doesn't take them.
    async fn write(&self, mut bytes: &[u8]) {
        let metrics = &self.shard.metrics;
        metrics.sent.frame(bytes);
        let write = async {
            while !bytes.is_empty() {
                poll_fn(|_| self.socket.poll_write_ready()).await;
                match self.socket.try_send(&[IoSlice::new(bytes)]) {
                    Ok(sent) => {
                        metrics.bytes_sent.add(sent as u64);
                        bytes = &bytes[sent..];
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(REFUSAL_TIME, write).await;
    }
}

/// What plugins may still change of what a client gets.
struct Terms {
    keep_alive: u16,
    session_expiry: u32,
    session_expiry_max: u32,
    user: Vec<(String, String)>,
    server_reference: Option<String>,
    expires_in: Option<Duration>,
}

impl Terms {
    fn cap_session_expiry(&mut self, cap: Option<Duration>) {
        if let Some(cap) = cap {
            let cap = u32::try_from(cap.as_secs()).unwrap_or(u32::MAX);
            self.session_expiry_max = self.session_expiry_max.min(cap);
            self.session_expiry = self.session_expiry.min(cap);
        }
    }

    fn user_properties(&self) -> broker_types::Properties {
        let builder = PropertiesBuilder::new();
        let all = self
            .user
            .iter()
            .fold(builder, |builder, (name, value)| builder.user(name, value));
        // The chain has checked them.
        all.build().unwrap_or_default()
    }
}

/// The embedding program says who it is; nobody is asked.
fn vouched_for(mut view: ClientView, identity: &Identity) -> ClientView {
    view.username.clone_from(&identity.username);
    view.authenticated = true;
    view.unrestricted = identity.unrestricted;
    view
}

fn apply_grant(view: &mut ClientView, grant: Grant, authenticated: bool, terms: &mut Terms) {
    view.authenticated = authenticated;
    if let Some(username) = grant.username {
        view.username = Some(username.into());
    }
    if let Some(id) = grant.client_id.filter(|id| !id.is_empty()) {
        view.id = ClientId::new(id);
    }
    if let Some(mount) = grant.mount {
        view.mount = mount.into();
    }
    if !grant.attributes.is_empty() {
        view.attributes = grant.attributes.into();
    }
    terms.cap_session_expiry(grant.session_expiry_cap);
    terms.expires_in = grant.expires_in;
}

pub(super) async fn abandon(owner: &ExchangeOwner, client: &Arc<ClientView>, method: &str, exchange: u64) {
    let request = ExchangeRequest {
        phase: ExchangePhase::Abandoned,
        exchange,
        method,
        data: None,
    };
    owner.step(client, &request).await;
}

pub(super) fn challenge_packet<'a>(method: &'a str, data: &'a [u8]) -> Packet<'a> {
    Packet::Auth(Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some(method),
        data: Some(data),
        properties: AckProperties::EMPTY,
    })
}

fn answer_limits(connect: &Connect<'_>) -> AnswerLimits {
    AnswerLimits {
        packet_size_max: connect.packet_size_max.unwrap_or(u32::MAX),
        problem_information: connect.request_problem_information,
    }
}

/// Returns the Protocol Version byte of a CONNECT, whatever else is wrong with it.
fn protocol_level(frame: &[u8]) -> Option<u8> {
    let body = frame.iter().skip(1).position(|byte| byte & 0x80 == 0)? + 2;
    let name_len = usize::from(u16::from_be_bytes([*frame.get(body)?, *frame.get(body + 1)?]));
    frame.get(body + 2 + name_len).copied()
}

/// Returns an identifier that nobody can guess `[MQTT-3.1.3-6]`.
fn assigned_client_id() -> ClientId {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    let digits = b"abcdefghijklmnopqrstuvwxyz234567";
    let text = bytes
        .iter()
        .flat_map(|byte| [byte >> 5, byte & 31])
        .map(|i| char::from(digits[usize::from(i)]));
    ClientId::new(format!("auto-{}", text.collect::<String>()))
}

/// Returns the code that CONNACK can carry for a refusal.
fn connack_reason(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::UnspecifiedError
        | ReasonCode::MalformedPacket
        | ReasonCode::ProtocolError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::UnsupportedProtocolVersion
        | ReasonCode::ClientIdentifierNotValid
        | ReasonCode::BadUserNameOrPassword
        | ReasonCode::NotAuthorized
        | ReasonCode::ServerUnavailable
        | ReasonCode::ServerBusy
        | ReasonCode::Banned
        | ReasonCode::BadAuthenticationMethod
        | ReasonCode::TopicNameInvalid
        | ReasonCode::PacketTooLarge
        | ReasonCode::QuotaExceeded
        | ReasonCode::PayloadFormatInvalid
        | ReasonCode::RetainNotSupported
        | ReasonCode::QoSNotSupported
        | ReasonCode::UseAnotherServer
        | ReasonCode::ServerMoved
        | ReasonCode::ConnectionRateExceeded => reason,
        // A server on its way out is one that isn't available.
        ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
        _ => ReasonCode::NotAuthorized,
    }
}

impl Connection {
    /// Watches the Keep Alive, if there is one `[MQTT-3.1.2-22]`.
    fn watch(&mut self, keep_alive_secs: u16) {
        if let Some(within) = keep_alive_limit(keep_alive_secs) {
            let now = self.shard.now();
            let beat = self
                .shard
                .wheel
                .borrow_mut()
                .watch(now, within, self.socket.clone());
            self.beat = Some(beat);
        }
    }
}
