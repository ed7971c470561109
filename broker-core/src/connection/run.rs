//! The loop of an established connection. Each wake: look at what others want of it, go on with what waits, read once,
//! hand every complete packet on, append all answers at once.
//!
//! Reads go into a buffer of the shard; the connection owns bytes only while a packet is incomplete. A large packet is
//! read into memory of its own, which grows with what has arrived, never with what was promised.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use broker_proto::{
    AckProperties, AnswerLimits, Decoder, Disconnect, Inbound, Packet, PacketType, ProtocolError, Seldom,
    Token, UserBlock, WriteBuf,
};
use broker_types::{PacketId, ProtocolVersion, ReasonCode};
use bytes::Bytes;
use plugin_api::{ClientView, EventKind};
use tokio::time::Sleep;

use super::Open;
use super::held::Looking;
use super::parked::Parked;
use super::publish::Rate;
use crate::engine::attach::Ending;
use crate::engine::core::tell;
use crate::engine::listener::{Admission, ListenerState};
use crate::engine::retain::Feeds;
use crate::engine::seats::{Occupant, Occupy};
use crate::engine::session::{Kick, Session, State};
use crate::engine::shard::{READ_BYTES, Shard, write_out};
use crate::engine::wheel::BeatKey;
use crate::hooks::{AclCache, ChainSet, InterestCache};
use crate::net::{Read, Socket};

/// Packets that are at least so long are read into memory of their own.
const LARGE_PACKET: usize = 32 * 1024;
/// Memory for a large packet that has just begun.
const LARGE_START: usize = 64 * 1024;
/// Bytes that are read ahead while a packet waits for a plugin: enough to see a PINGREQ, and the end.
const AHEAD_MAX: usize = 16 * 1024;
/// Memory for that when nothing has come yet.
const AHEAD_MIN: usize = 256;
/// Packets that are handed on before others get their turn: a read can bring sixty times as many.
const TURN_PACKETS: usize = 1024;
/// How long the owner waits for another shard to finish writing before it says goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// An established connection.
pub(super) struct Connection {
    pub(super) shard: Rc<Shard>,
    pub(super) session: Arc<Session>,
    pub(super) socket: Arc<Socket>,
    pub(super) listener: Arc<ListenerState>,
    pub(super) chain: Arc<ChainSet>,
    pub(super) client: Arc<ClientView>,
    pub(super) version: ProtocolVersion,
    pub(super) decoder: Decoder,
    pub(super) inbound: Inbound,
    /// Bytes that came and weren't handed on yet.
    pub(super) partial: Seldom<Vec<u8>>,
    /// Length of the packet that begins `partial`, once it is known to be incomplete.
    pub(super) awaited: u32,
    /// What of `partial` is counted.
    pub(super) partial_bytes: u32,
    /// `partial` may begin with whole packets: handing on stopped before its end, or hasn't begun.
    pub(super) more: bool,
    /// The other end has closed; what came before is still served.
    closed: bool,
    /// What listening brought in the present wake.
    heard: Heard,
    /// What the client takes of Reason Strings.
    pub(super) answers: AnswerLimits,
    pub(super) beat: Option<BeatKey>,
    /// The client answered something in the present burst, so that there may be room to send.
    pub(super) answered: bool,
    /// The packet that waits for a plugin.
    pub(super) parked: Option<Box<Parked>>,
    /// Bytes of `partial` that were looked at for PINGREQ packets.
    pub(super) looked_ahead: u32,
    /// PINGREQ packets in `partial` that were answered already.
    pub(super) pings_ahead: u32,
    /// Retained Messages on their way.
    pub(super) feeds: Feeds,
    /// The Session Expiry Interval that the CONNECT asked for, in seconds, and the longest that the client may have.
    pub(super) session_expiry: u32,
    pub(super) session_expiry_max: u32,
    /// Absent until something in it is needed.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) acl: AclCache,
    pub(super) interest: InterestCache,
    /// The Session was given back.
    detached: bool,
    /// Its place at the listener; absent before it has its seat.
    admission: Option<Admission>,
}

/// What few connections need.
#[derive(Default)]
pub(super) struct Rare {
    /// The Authentication Method of the CONNECT.
    pub(super) auth_method: Option<Box<str>>,
    /// Nothing is read before.
    pub(super) throttled: Option<Pin<Box<Sleep>>>,
    /// The socket takes nothing; then the connection is given up.
    pub(super) stalled: Option<Pin<Box<Sleep>>>,
    /// What was granted ends.
    pub(super) expires: Option<Pin<Box<Sleep>>>,
    /// Reason Strings of answers that wait for their turn.
    pub(super) texts: Vec<(PacketId, String)>,
    /// What was taken care of and waits to be durable, in order of arrival.
    pub(super) committing: VecDeque<(Token, ReasonCode)>,
    /// What is left of the client's rate limits.
    pub(super) rate: Option<Rate>,
    /// A look at the first message that waits.
    pub(super) looking: Option<Box<Looking>>,
    /// A re-authentication under way.
    pub(super) exchanging: Option<super::reauthenticate::Exchanging>,
}

/// Why a connection ends.
pub(super) struct End {
    /// What its Session is told.
    pub(super) ending: Ending,
    /// Whether a 5.0 client is told why.
    pub(super) say: bool,
    /// Reason String.
    pub(super) text: Option<Arc<str>>,
}

impl End {
    /// The broker ends it.
    pub(super) fn because(reason: ReasonCode) -> Self {
        let ending = Ending {
            reason,
            by_server: true,
            will: true,
            expiry: None,
        };
        Self {
            ending,
            say: true,
            text: None,
        }
    }

    /// The broker ends it, and says why in words.
    pub(super) fn with_text(reason: ReasonCode, text: impl Into<Arc<str>>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::because(reason)
        }
    }

    /// Nobody is told: the other end has gone, or gets no answer.
    pub(super) fn silent(reason: ReasonCode, by_server: bool) -> Self {
        let ending = Ending {
            reason,
            by_server,
            will: true,
            expiry: None,
        };
        Self {
            ending,
            say: false,
            text: None,
        }
    }
}

impl From<Kick> for End {
    fn from(kick: Kick) -> Self {
        let ending = Ending {
            reason: kick.reason,
            by_server: true,
            will: kick.will,
            expiry: None,
        };
        Self {
            ending,
            say: !kick.silent,
            text: kick.text,
        }
    }
}

impl From<ProtocolError> for End {
    fn from(error: ProtocolError) -> Self {
        Self::with_text(error.reason(), error.to_string())
    }
}

/// What others want of the connection.
struct Signals {
    kick: Option<Kick>,
    blocked: bool,
    held: bool,
    outbox_full: bool,
    settled: Vec<(Token, ReasonCode)>,
}

/// What was heard of the client in one wake.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It wasn't listened to: it is made to wait, or takes nothing.
    Unknown,
    /// Nothing came.
    Nothing,
    /// Something came.
    Something,
}

impl Occupy for Connection {
    fn go_on(self: Pin<Box<Self>>, cx: &mut Context<'_>) -> Option<Occupant> {
        let mut connection = Pin::into_inner(self);
        match connection.poll(cx) {
            Poll::Pending => Some(Box::into_pin(connection)),
            Poll::Ready(end) => {
                let ending: Occupant = Box::pin(async {
                    connection.finish(end).await;
                    None
                });
                ending.go_on(cx)
            }
        }
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "the parts of a connection, each named where it is made"
)]
impl Connection {
    pub(super) fn new(
        shard: Rc<Shard>,
        session: Arc<Session>,
        socket: Arc<Socket>,
        listener: Arc<ListenerState>,
        chain: Arc<ChainSet>,
        client: Arc<ClientView>,
        decoder: Decoder,
        inbound: Inbound,
        answers: AnswerLimits,
    ) -> Box<Self> {
        Box::new(Self {
            version: client.version,
            partial_bytes: 0,
            shard,
            session,
            socket,
            listener,
            chain,
            client,
            decoder,
            inbound,
            partial: Seldom::new(),
            awaited: 0,
            more: false,
            closed: false,
            heard: Heard::Unknown,
            answers,
            beat: None,
            answered: false,
            parked: None,
            looked_ahead: 0,
            pings_ahead: 0,
            feeds: Feeds::default(),
            session_expiry: 0,
            session_expiry_max: 0,
            rare: None,
            acl: AclCache::default(),
            interest: InterestCache::default(),
            detached: false,
            admission: None,
        })
    }

    /// Returns it as what sits at a seat from now on, open for as long as it lives.
    pub(super) fn seated(mut self: Box<Self>, open: Open) -> Occupant {
        self.admission = open.into_admission();
        Box::into_pin(self)
    }

    /// Returns what few connections need, to note something in it.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.shard.read_clock();
        self.heard = Heard::Unknown;
        let late = self.socket.take_late();
        if self.parked.is_none() {
            self.follow_chain();
        }
        let signals = match self.signals() {
            Some(Signals { kick: Some(kick), .. }) => return Poll::Ready(kick.into()),
            Some(signals) => signals,
            // Another connection has the Session.
            None => return Poll::Ready(End::silent(ReasonCode::SessionTakenOver, true)),
        };
        match self.advance(cx, signals) {
            // [MQTT-3.1.2-22], unless something has come meanwhile, or would if it were read.
            Ok(()) if late && self.heard == Heard::Nothing => {
                Poll::Ready(End::because(ReasonCode::KeepAliveTimeout))
            }
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Takes the listener's present chain for what comes next.
    #[inline]
    fn follow_chain(&mut self) {
        if self.chain.generation() != self.listener.chain.generation() {
            self.renew_chain();
        }
    }

    #[cold]
    fn renew_chain(&mut self) {
        let mut state = self.session.lock();
        state.follow_chain();
        if let Some(link) = state.link_of(self.client.handle) {
            self.chain = link.chain.clone();
        }
    }

    /// Looks at what others want. `None`: the Session is no longer this connection's.
    fn signals(&mut self) -> Option<Signals> {
        let mut state = self.session.lock();
        let State { outbound, link, .. } = &mut *state;
        let link = link
            .as_deref_mut()
            .filter(|link| link.handle() == self.client.handle)?;
        let outbox_full = outbound.is_full(&link.out);
        link.wants_drained |= outbox_full;
        // What was held back may have been released by a thread that writes nothing.
        self.shard.appended(&self.session, link);
        self.answered |= std::mem::take(&mut link.refilled);
        let (kick, settled) = match &mut link.notes {
            None => (None, Vec::new()),
            Some(notes) => (notes.kick.take(), std::mem::take(&mut notes.settled)),
        };
        Some(Signals {
            kick,
            settled,
            blocked: link.blocked,
            held: link.held,
            outbox_full,
        })
    }

    fn advance(&mut self, cx: &mut Context<'_>, signals: Signals) -> Result<(), End> {
        if signals.blocked {
            self.unblock(cx)?;
        }
        if let Some(rare) = &mut self.rare
            && let Some(expires) = &mut rare.expires
            && expires.as_mut().poll(cx).is_ready()
        {
            return Err(End::because(ReasonCode::MaximumConnectTime));
        }
        self.shard.replies().clear();
        for (token, reason) in signals.settled {
            self.inbound.accept(token, reason);
            let committing = &mut self.rare_mut().committing;
            // Nearly always the first.
            if let Some(at) = committing.iter().position(|(waiting, _)| *waiting == token) {
                committing.remove(at);
            }
        }
        let result = self.serve(cx, signals.held, signals.outbox_full);
        self.count_partial();
        self.answer();
        result
    }

    /// Goes on with what waits, then reads.
    fn serve(&mut self, cx: &mut Context<'_>, held: bool, outbox_full: bool) -> Result<(), End> {
        if held {
            self.look_at_waiting(cx);
        }
        if !self.feeds.is_empty() {
            self.feeds.advance(&self.shard, &self.session);
        }
        loop {
            if self.is_throttled(cx)? {
                return Ok(());
            }
            if let Some(parked) = &mut self.parked {
                let Poll::Ready(resumed) = parked.poll(cx) else {
                    return self.read_ahead().map(drop);
                };
                self.parked = None;
                self.resume(resumed)?;
                if self.parked.is_none() {
                    self.follow_chain();
                }
                continue;
            }
            if outbox_full {
                return Ok(());
            }
            if self.is_waiting_for_acceptance() {
                self.read_ahead()?;
                // What it waits for will never come.
                return match self.closed && self.shard.core.has_store_failed() {
                    true => Err(End::silent(ReasonCode::UnspecifiedError, false)),
                    false => Ok(()),
                };
            }
            if !self.more {
                break;
            }
            self.hand_on_partial()?;
            if self.more && !self.is_held_up() {
                cx.waker().wake_by_ref();
                return Ok(());
            }
        }
        if self.closed {
            return Err(End::silent(ReasonCode::UnspecifiedError, false));
        }
        self.read(cx)
    }

    /// Tells whether the client is made to wait. Meanwhile a little is read ahead.
    fn is_throttled(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while let Some(rare) = &mut self.rare
            && let Some(throttled) = &mut rare.throttled
        {
            if throttled.as_mut().poll(cx).is_ready() {
                rare.throttled = None;
            } else if !self.read_ahead()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether the next packet has to wait: for one before it, or because the client is made to.
    fn is_held_up(&self) -> bool {
        let throttled = self.rare.as_ref().is_some_and(|rare| rare.throttled.is_some());
        self.parked.is_some() || throttled || self.is_waiting_for_acceptance()
    }

    /// Tells whether as many packets wait to be accepted as may: then nothing more is read.
    fn is_waiting_for_acceptance(&self) -> bool {
        self.inbound.outstanding() >= usize::from(self.listener.limits.receive_maximum)
    }

    /// Reads once and hands on what is complete. If there may be more, the task runs again after the others.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            let large = self.awaited as usize >= LARGE_PACKET;
            let read = if large {
                self.read_large()
            } else {
                self.read_small()
            };
            let read = match read {
                Poll::Pending => {
                    self.heard_nothing();
                    return Ok(());
                }
                Poll::Ready(read) => read?,
            };
            if self.is_held_up() || self.more {
                // What waits is to be polled for the first time, or others have their turn first.
                cx.waker().wake_by_ref();
                return Ok(());
            }
            if matches!(read, Read::More(_)) {
                cx.waker().wake_by_ref();
                return Ok(());
            }
        }
    }

    fn read_small(&mut self) -> Poll<Result<Read, End>> {
        let shard = self.shard.clone();
        let mut buf = shard.take_read_buf();
        let have = self.partial.len();
        if buf.len() < have + READ_BYTES / 2 {
            buf.resize(have + READ_BYTES, 0);
        }
        buf[..have].copy_from_slice(&self.partial);
        let rate = self.rare.as_ref().and_then(|rare| rare.rate.as_ref());
        let most = rate.map_or(usize::MAX, Rate::read_max);
        let end = buf.len().min(have.saturating_add(most));
        let read = self.socket.poll_read(&mut buf[have..end]);
        let result = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(read) => Poll::Ready(self.came(read, &buf, have)),
        };
        shard.put_read_buf(buf);
        result
    }

    fn came(&mut self, read: io::Result<Read>, buf: &[u8], have: usize) -> Result<Read, End> {
        let read = self.check_read(read)?;
        let (Read::More(n) | Read::Drained(n)) = read else {
            unreachable!("a close was turned into an end")
        };
        let bytes = &buf[..have + n];
        self.heard();
        let used = self.burst(bytes)?;
        self.partial = Seldom::new();
        if used < bytes.len() {
            self.partial.make().extend_from_slice(&bytes[used..]);
        }
        self.look_ahead(used);
        Ok(read)
    }

    /// Reads into the packet's own memory, which never grows to more than twice of what has arrived.
    fn read_large(&mut self) -> Poll<Result<Read, End>> {
        let (have, awaited) = (self.partial.len(), self.awaited as usize);
        // Room that is left over from other packets would take bytes of the next one.
        self.partial.make().shrink_to(awaited);
        if self.partial.capacity() == have || self.partial.capacity() < LARGE_START.min(awaited) {
            let room = (have * 2).clamp(LARGE_START.min(awaited), awaited);
            if !self.shard.may_hold_partial(room - have) {
                self.shard.metrics.partial_refused.one();
                let end = End::with_text(
                    ReasonCode::QuotaExceeded,
                    "no memory for large packets at present",
                );
                return Poll::Ready(Err(end));
            }
            self.partial.make().reserve_exact(room - have);
            self.count_partial();
        }
        let read = ready!(self.socket.poll_read_to_end_of(self.partial.make()));
        let read = match self.check_read(read) {
            Ok(read) => read,
            Err(end) => return Poll::Ready(Err(end)),
        };
        self.heard();
        if self.partial.len() == awaited {
            self.awaited = 0;
            let frame: Bytes = self.shard.ledger().share(self.partial.take());
            self.count_partial();
            if let Err(end) = self.packet(&frame, Some(&frame)) {
                return Poll::Ready(Err(end));
            }
        }
        Poll::Ready(Ok(read))
    }

    /// Counts the bytes that `partial` holds now.
    fn count_partial(&mut self) {
        let (before, now) = (self.partial_bytes, short(self.partial.capacity()));
        self.partial_bytes = now;
        let level = &self.shard.metrics.holds.partial_bytes;
        level.change(before as usize, now as usize);
    }

    fn check_read(&mut self, read: io::Result<Read>) -> Result<Read, End> {
        match read {
            Ok(Read::Closed) | Err(_) => Err(End::silent(ReasonCode::UnspecifiedError, false)),
            Ok(read) => {
                let (Read::More(n) | Read::Drained(n)) = read else {
                    return Ok(read);
                };
                self.shard.metrics.bytes_received.add(n as u64);
                self.spend_bytes(n);
                Ok(read)
            }
        }
    }

    /// Hands on all complete packets of `bytes` until one has to wait. Returns how much that was.
    fn burst(&mut self, bytes: &[u8]) -> Result<usize, End> {
        self.awaited = 0;
        self.more = false;
        let mut at = 0;
        for packets in 0.. {
            if self.is_held_up() || packets == TURN_PACKETS {
                self.more = at < bytes.len();
                break;
            }
            let rest = &bytes[at..];
            match self.decoder.frame_len(rest) {
                Ok(Some(len)) if len <= rest.len() => {
                    at += len;
                    self.packet(&rest[..len], None)?;
                }
                Ok(Some(len)) => {
                    self.awaited = short(len);
                    break;
                }
                Ok(None) => {
                    // Not even that is known; at least one byte more, unless there is none at all.
                    self.awaited = if rest.is_empty() { 0 } else { short(rest.len()) + 1 };
                    break;
                }
                Err(error) => return Err(self.malformed(&error)),
            }
        }
        Ok(at)
    }

    /// Hands on what came while a packet waited.
    fn hand_on_partial(&mut self) -> Result<(), End> {
        let mut bytes = self.partial.take();
        let used = self.burst(&bytes)?;
        bytes.drain(..used);
        if !bytes.is_empty() {
            *self.partial.make() = bytes;
        }
        self.look_ahead(used);
        Ok(())
    }

    /// `used` bytes have gone from `partial`. If its next packet has to wait, PINGREQ packets behind it needn't.
    fn look_ahead(&mut self, used: usize) {
        self.looked_ahead = self.looked_ahead.saturating_sub(short(used));
        if self.more && self.is_held_up() {
            self.answer_pings_ahead();
        }
    }

    /// While a packet waits, or the client has to: takes a little more, answers PINGREQ, and notices the end. What came before
    /// the end is still served: a client may publish and leave. True: something came.
    fn read_ahead(&mut self) -> Result<bool, End> {
        let mut came = false;
        while !self.closed && self.partial.len() < AHEAD_MAX && (self.awaited as usize) < LARGE_PACKET {
            let have = self.partial.len();
            if self.partial.capacity() == have {
                self.partial
                    .make()
                    .reserve_exact(have.max(AHEAD_MIN).min(AHEAD_MAX - have));
            }
            let Poll::Ready(read) = self.socket.poll_read_to_end_of(self.partial.make()) else {
                self.heard_nothing();
                break;
            };
            match self.check_read(read) {
                Ok(_) => {
                    came = true;
                    self.more = true;
                    self.heard();
                    self.answer_pings_ahead();
                }
                Err(end) if self.parked.is_none() && !self.more => return Err(end),
                Err(_) => self.closed = true,
            }
        }
        Ok(came)
    }

    /// Notes that the client was heard of.
    fn heard(&mut self) {
        self.heard = Heard::Something;
        if let Some(beat) = self.beat {
            self.shard.wheel.borrow_mut().heard(beat, self.shard.now());
        }
    }

    /// Notes that the client was listened to.
    fn heard_nothing(&mut self) {
        if self.heard == Heard::Unknown {
            self.heard = Heard::Nothing;
        }
    }

    /// Appends the answers of this burst and sends what there is room for now.
    pub(super) fn answer(&mut self) {
        while let Some(ack) = self.inbound.poll_ack() {
            self.encode_ack(ack);
        }
        let answered = std::mem::take(&mut self.answered);
        let mut replies = self.shard.replies();
        if !replies.is_empty() || answered {
            let mut state = self.session.lock();
            let state = &mut *state;
            if let Some(link) = state
                .link
                .as_deref_mut()
                .filter(|link| link.handle() == self.client.handle)
            {
                self.shard.lend_buffer(&mut link.out);
                link.out.push_frame(&replies);
                if answered {
                    if link.looked_at {
                        link.held |= state.outbound.is_waiting();
                        if link.held {
                            link.wake();
                        }
                    } else {
                        let pumped = state.pump(&self.session, self.shard.now());
                        self.shard.count_pumped(pumped);
                    }
                }
                self.shard.output_added(&self.session, state);
            }
        }
        replies.clear();
    }

    /// Writes what the socket didn't take before.
    fn unblock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let (mut out, taken_at) = {
            let mut state = self.session.lock();
            let Some(link) = state.link_of(self.client.handle) else {
                return Ok(());
            };
            (link.out.take(), link.progress)
        };
        let mut sent = 0;
        let mut failed = None;
        loop {
            match self.socket.poll_write_ready() {
                Poll::Pending => break,
                Poll::Ready(()) => {
                    let (more, result) = write_out(&self.socket, &mut out, usize::MAX, Socket::try_send);
                    sent += more;
                    match result {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        Err(error) => failed = Some(error),
                        Ok(()) => {}
                    }
                }
            }
            break;
        }
        self.shard.metrics.bytes_sent.add(sent as u64);
        let done = out.is_empty();
        let mut state = self.session.lock();
        let state = &mut *state;
        if let Some(link) = state
            .link
            .as_deref_mut()
            .filter(|link| link.handle() == self.client.handle)
        {
            link.out.put_back(out);
            link.progress = if sent > 0 { self.shard.now() } else { taken_at };
            if done {
                link.blocked = false;
                if !link.looked_at {
                    let pumped = state.pump(&self.session, self.shard.now());
                    self.shard.count_pumped(pumped);
                }
                self.shard.output_added(&self.session, state);
                if let Some(link) = state.link.as_deref_mut()
                    && link.out.is_empty()
                    && std::mem::take(&mut link.wants_drained)
                {
                    link.wake();
                }
            }
            self.shard.count_held(&self.session, state);
        }
        if failed.is_some() {
            return Err(End::silent(ReasonCode::UnspecifiedError, false));
        }
        if let Some(rare) = &mut self.rare
            && (done || sent > 0)
        {
            rare.stalled = None;
        }
        if !done {
            let most = self.listener.limits.write_stall_max;
            let rare = self.rare.get_or_insert_default();
            let stalled = rare
                .stalled
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
            if stalled.as_mut().poll(cx).is_ready() {
                self.shard.metrics.write_stalls.one();
                return Err(End::silent(ReasonCode::UnspecifiedError, true));
            }
        }
        Ok(())
    }

    /// Says goodbye and closes.
    async fn finish(mut self: Box<Self>, end: End) {
        if end.ending.reason == ReasonCode::KeepAliveTimeout {
            self.shard.metrics.keep_alive_timeouts.one();
        }
        tracing::debug!(
            client_id = %self.client.id,
            reason = %end.ending.reason,
            by_server = end.ending.by_server,
            text = end.text.as_deref().unwrap_or_default(),
            "connection ends"
        );
        // One writes at a time: a goodbye in the middle of a packet would be noise.
        let unwritten = tokio::time::timeout(GOODBYE_MAX, std::future::poll_fn(|_| self.poll_unwritten()));
        if let Ok(mut out) = unwritten.await {
            self.say_goodbye(&end, &mut out);
        }
        self.detach(&end.ending);
        // It closes when this connection has left its seat, unless a plugin is waited for before.
        if self.rare.as_ref().is_some_and(|rare| rare.exchanging.is_some()) {
            self.socket.shutdown();
        }
        self.abandon_exchange().await;
    }

    /// Takes what is still to be written, once nobody else is writing.
    fn poll_unwritten(&self) -> Poll<WriteBuf> {
        let mut state = self.session.lock();
        let Some(link) = state.link_of(self.client.handle) else {
            // What was taken away is written by nobody.
            return Poll::Ready(WriteBuf::new());
        };
        link.closing = true;
        if link.flushing {
            return Poll::Pending;
        }
        Poll::Ready(link.out.take())
    }

    /// Writes what the system takes at once, and in the end why it ends.
    fn say_goodbye(&self, end: &End, out: &mut WriteBuf) {
        if end.say && self.version.is_v5() {
            let packet = Packet::Disconnect(Disconnect {
                properties: AckProperties {
                    reason_string: end.text.as_deref(),
                    user: UserBlock::EMPTY,
                },
                ..Disconnect::new(end.ending.reason)
            });
            // A client that takes no packet of this size is not told.
            if packet
                .encode_within(self.version, &self.answers, out.frames())
                .is_ok()
            {
                self.shard.metrics.sent.one(PacketType::Disconnect);
            }
        }
        let (sent, _) = write_out(&self.socket, out, usize::MAX, Socket::send);
        self.shard.metrics.bytes_sent.add(sent as u64);
    }

    /// Gives the Session back.
    fn detach(&mut self, ending: &Ending) {
        if std::mem::replace(&mut self.detached, true) {
            return;
        }
        self.shard.read_clock();
        if let Some(beat) = self.beat.take() {
            self.shard.wheel.borrow_mut().forget(beat);
        }
        tell(self.chain.events(), EventKind::Disconnected, |event| {
            super::packets::describe(event, &self.client);
            event.reason = Some(ending.reason);
            event.by_server = ending.by_server;
        });
        // The Session goes on with what it has taken; the next connection is told nothing before it is durable.
        let committing = self
            .rare
            .as_mut()
            .map(|rare| std::mem::take(&mut rare.committing));
        for (token, reason) in committing.into_iter().flatten() {
            self.inbound.accept(token, reason);
        }
        let received = self.inbound.take_received();
        self.shard
            .detach(&self.session, self.client.handle, received, ending);
    }

    /// Notes that the client broke the protocol.
    pub(super) fn malformed(&self, error: &broker_proto::DecodeError) -> End {
        self.shard.metrics.protocol_errors.one();
        End::with_text(error.reason, error.what)
    }
}

/// Returns a number of bytes as it is kept: of a read, or of a packet, which has 256 MiB at most.
pub(super) fn short(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("no packet is so long")
}

impl Drop for Connection {
    /// A panic in this connection: its Session must not stay behind.
    fn drop(&mut self) {
        self.detach(&Ending {
            reason: ReasonCode::UnspecifiedError,
            by_server: true,
            will: true,
            expiry: None,
        });
        self.partial = Seldom::new();
        self.count_partial();
        if let Some(admission) = self.admission.take() {
            super::close(&self.shard, admission);
        }
    }
}
