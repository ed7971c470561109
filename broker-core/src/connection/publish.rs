//! The way of a PUBLISH: checks, authorize, publish chain, retained, routes, and only then its acknowledgement. Everything
//! that answers at once is done before the next packet is looked at, and borrows the packet from the read buffer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use broker_proto::{Incoming, MessageRef, Payload, Publish, Token};
use broker_types::{Message, PacketId, Properties, QoS, ReasonCode, Source, TopicName, TopicRef};
use bytes::Bytes;
use plugin_api::{
    AclItem, AclRequest, Action, ClientView, ControlRequest, Denial, Durability, MessageEdit, MessageParts,
    Patch,
};
use tokio::time::{Instant, Sleep};

use super::parked::{Parked, Resumed};
use super::run::{Connection, End};
use crate::engine::delivery::{Publisher, mounted};
use crate::engine::memory::Pressure;
use crate::hooks::{
    ChainSet, ControlOutcome, Decision, FaultAction, HookMask, Outcome, PendingAuthorize, Published, Step,
    Verdict,
};
use crate::store::{Waiter, stored_len};

/// The least that is read at a time from a client whose bytes are limited.
const SLOW_READ_MIN: usize = 1024;

/// A message whose chain has been asked.
pub(super) struct Settled {
    pub(super) token: Option<Token>,
    pub(super) packet_id: Option<PacketId>,
    pub(super) message: Message,
    pub(super) published: Published,
}

/// What may be left of a client's rate limits; negative: it is ahead of them.
pub(super) struct Rate {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// A token bucket that holds one second's worth.
struct Bucket {
    per_second: f64,
    left: f64,
    /// When it was filled last.
    filled: Instant,
}

impl Connection {
    /// Takes an Application Message. `shared` is its payload if the memory may be kept.
    pub(super) fn publish(&mut self, publish: &Publish<'_>, shared: Option<&Bytes>) -> Result<(), End> {
        self.count_received(publish);
        self.spend_message();
        let Incoming::Message { topic, token } = self.inbound.handle_publish(publish)? else {
            return Ok(());
        };
        let topic = topic.as_ref();
        if let Some(reason) = self.objection(topic, publish) {
            let given = Given {
                token,
                packet_id: publish.packet_id,
            };
            return self.refuse(given, Denial::new(reason), true);
        }
        if !self.has_memory_for(publish.qos) {
            return self.refuse_for_memory(token);
        }
        let parts = MessageParts {
            topic,
            payload: publish.payload,
            shared_payload: shared,
            properties: publish.properties.as_bytes(),
            shared_properties: None,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            expiry: publish.expiry,
            source: Source::Client,
        };
        let hooked = HookMask::AUTHORIZE.or(HookMask::PUBLISH);
        if !self.chain.mask().has(hooked) && !topic.is_dollar() {
            let given = Given {
                token,
                packet_id: publish.packet_id,
            };
            return self.pass(given, &parts);
        }
        self.ask(token, publish.packet_id, &parts)
    }

    fn count_received(&self, publish: &Publish<'_>) {
        let metrics = &self.shard.metrics;
        let by_qos = match publish.qos {
            QoS::AtMostOnce => &metrics.publishes_received_qos0,
            QoS::AtLeastOnce => &metrics.publishes_received_qos1,
            QoS::ExactlyOnce => &metrics.publishes_received_qos2,
        };
        by_qos.one();
        metrics.publish_bytes_received.add(publish.payload.len() as u64);
    }

    /// Tells whether there is memory to take a message.
    #[inline]
    fn has_memory_for(&self, qos: QoS) -> bool {
        match self.shard.pressure() {
            Pressure::None | Pressure::Sessions => true,
            Pressure::QoS0 => qos != QoS::AtMostOnce,
            Pressure::Publishes => false,
        }
    }

    /// Memory runs out: QoS 0 is dropped, others are refused with 0x97. 3.1 and 3.1.1 can't say that, so their connection
    /// ends and the client sends the message again later.
    #[cold]
    fn refuse_for_memory(&mut self, token: Option<Token>) -> Result<(), End> {
        self.shard.metrics.messages_refused_memory.one();
        if token.is_some() && !self.version.is_v5() {
            return Err(End::because(ReasonCode::QuotaExceeded));
        }
        self.accept(token, ReasonCode::QuotaExceeded);
        Ok(())
    }

    /// Tells why a message can't be taken whatever plugins think of it.
    #[inline]
    fn objection(&self, topic: TopicRef<'_>, publish: &Publish<'_>) -> Option<ReasonCode> {
        let limits = &self.listener.limits;
        let text = topic.as_str();
        if text.len() > limits.topic_bytes_max
            // A topic has at most as many levels as bytes, and one more.
            || text.len() >= limits.topic_levels_max
                && memchr::memchr_iter(b'/', text.as_bytes()).count() >= limits.topic_levels_max
        {
            return Some(ReasonCode::TopicNameInvalid);
        }
        if limits.check_payload_format {
            let properties = Properties::from_checked(Bytes::copy_from_slice(publish.properties.as_bytes()));
            if properties.payload_is_utf8() && std::str::from_utf8(publish.payload).is_err() {
                return Some(ReasonCode::PayloadFormatInvalid);
            }
        }
        // What the broker says of itself is not for clients to say.
        text.starts_with("$SYS/").then_some(ReasonCode::NotAuthorized)
    }

    /// Asks the chain: may it, and what becomes of it.
    fn ask(
        &mut self,
        token: Option<Token>,
        packet_id: Option<PacketId>,
        parts: &MessageParts<'_>,
    ) -> Result<(), End> {
        let given = Given { token, packet_id };
        if self.chain.mask().has(HookMask::AUTHORIZE) {
            let item = publish_item(parts);
            let now = self.shard.now();
            let stamp = self.chain.stamp(self.session.invalidations());
            let known = self.acl.get(stamp, now, Action::Publish, &item).cloned();
            let outcome = match known {
                Some(outcome) => outcome,
                None => {
                    let mut decisions = [Decision::default()];
                    let request = AclRequest {
                        action: Action::Publish,
                        items: &[item],
                    };
                    match self.chain.authorize(&self.client, &request, &mut decisions) {
                        Step::Now(()) => {}
                        Step::Later(pending) => {
                            let message = MessageEdit::new(*parts).to_message();
                            let asking = Asking::of(self, given, message);
                            return self.park(Parked::new(asking.authorize_then_publish(pending)));
                        }
                    }
                    let [decision] = decisions;
                    self.acl.put(stamp, now, Action::Publish, &item, &decision);
                    decision.outcome
                }
            };
            if let Some(verdict) = refusal(&outcome, parts.qos) {
                return self.conclude(given, verdict, Duration::ZERO, Vec::new(), parts, None);
            }
        }
        if parts.topic.as_str().starts_with("$CONTROL/") {
            let message = MessageEdit::new(*parts).to_message();
            return self.park(Parked::new(Asking::of(self, given, message).control()));
        }
        if !self.chain.mask().has(HookMask::PUBLISH) {
            return self.pass(given, parts);
        }
        let slots = self.interest.get(&self.chain, parts.topic).publish;
        if slots.is_empty() {
            return self.pass(given, parts);
        }
        let mut edit = MessageEdit::new(*parts);
        match self.chain.publish(&self.client, slots, &mut edit) {
            Step::Now(Published {
                verdict,
                throttle,
                emitted,
            }) => {
                let patch = edit.take_kept();
                self.conclude(given, verdict, throttle, emitted, parts, patch.as_deref())
            }
            Step::Later(pending) => {
                let message = edit.to_message();
                let asking = Asking::of(self, given, message);
                self.park(Parked::new(async move {
                    let (published, patch) = pending.await;
                    asking.settled(published, patch)
                }))
            }
        }
    }

    /// Goes on with a message that had to wait.
    pub(super) fn settle(&mut self, settled: Settled) -> Result<(), End> {
        let Settled {
            token,
            packet_id,
            message,
            published,
        } = settled;
        let Published {
            verdict,
            throttle,
            emitted,
        } = published;
        let given = Given { token, packet_id };
        self.conclude(
            given,
            verdict,
            throttle,
            emitted,
            &MessageParts::of(&message, Source::Client),
            None,
        )
    }

    /// Does what the chain decided.
    fn conclude(
        &mut self,
        given: Given,
        verdict: Verdict,
        throttle: Duration,
        emitted: Vec<Message>,
        parts: &MessageParts<'_>,
        patch: Option<&Patch>,
    ) -> Result<(), End> {
        if !throttle.is_zero() {
            self.throttle(throttle);
        }
        if let Some(trace) = self.chain.trace() {
            let patch = patch.cloned().unwrap_or_default();
            trace.conclude(
                &verdict,
                &emitted,
                MessageEdit::with_patch(*parts, patch).to_message(),
            );
        }
        // What was emitted is taken before the acknowledgement leaves.
        for message in &emitted {
            self.shard.publish_own(message);
        }
        match verdict {
            Verdict::Pass => match patch {
                None => self.pass(given, parts),
                Some(patch) => {
                    let message = MessageEdit::with_patch(*parts, patch.clone()).to_message();
                    self.pass(given, &MessageParts::of(&message, Source::Client))
                }
            },
            Verdict::Drop => {
                self.accept(given.token, ReasonCode::Success);
                Ok(())
            }
            Verdict::Reject(denial) => self.refuse(given, denial, false),
            Verdict::Disconnect(denial) => {
                self.shard.metrics.messages_refused.one();
                Err(End {
                    text: denial.text.map(Into::into),
                    ..End::because(denial.reason)
                })
            }
            Verdict::Fault(FaultAction::Drop) => {
                self.accept(given.token, ReasonCode::Success);
                Ok(())
            }
            Verdict::Fault(FaultAction::Disconnect) => {
                Err(End::silent(ReasonCode::ImplementationSpecificError, true))
            }
            // 3.1.1 can't say that it went wrong: without an acknowledgement the client sends it again.
            Verdict::Fault(FaultAction::Deny) if !self.version.is_v5() && given.token.is_some() => {
                Err(End::silent(ReasonCode::ImplementationSpecificError, true))
            }
            Verdict::Fault(FaultAction::Deny) => {
                self.refuse(given, Denial::new(ReasonCode::ImplementationSpecificError), false)
            }
        }
    }

    /// Takes the responsibility: the message is retained, routed, and then acknowledged.
    fn pass(&mut self, given: Given, parts: &MessageParts<'_>) -> Result<(), End> {
        let absolute: Option<TopicName> = match self.client.mount.is_empty() {
            true => None,
            false => match mounted(parts.topic, &self.client.mount) {
                None => {
                    self.accept(given.token, ReasonCode::TopicNameInvalid);
                    return Ok(());
                }
                topic => topic,
            },
        };
        let message = MessageRef {
            topic: absolute.as_ref().map_or(parts.topic, TopicName::as_ref),
            payload: match parts.shared_payload {
                Some(bytes) => Payload::Shared(bytes),
                None => Payload::Borrowed(parts.payload),
            },
            qos: parts.qos,
            retain: parts.retain,
            properties: parts.properties,
            expiry: parts.expiry,
        };
        if self.shard.core.journal.is_some() {
            return self.pass_durably(given, &message);
        }
        let reason = self.take(&message);
        self.accept(given.token, reason);
        Ok(())
    }

    /// As [`Self::pass`], with a store that survives the broker: all that the message causes becomes durable at once, and then
    /// it is acknowledged.
    #[inline(never)]
    fn pass_durably(&mut self, given: Given, message: &MessageRef<'_>) -> Result<(), End> {
        let journal = self.shard.core.journal.as_ref();
        if journal.is_some_and(|journal| !journal.takes(stored_len(message.size()))) {
            return self.refuse(given, Denial::new(ReasonCode::QuotaExceeded), true);
        }
        let take = || {
            let reason = self.take(message);
            // A PUBREC that refuses ends the exchange: there is nothing to remember.
            if let (Some(token), Some(packet_id)) = (given.token, given.packet_id)
                && self.inbound.is_exactly_once(token)
                && !reason.is_error()
            {
                self.shard.note_received(&self.session, packet_id);
            }
            reason
        };
        let (reason, waits) = self
            .shard
            .transact(take, |reason| self.acknowledgement(given.token, *reason));
        match given.token {
            Some(token) if waits => self.rare_mut().committing.push_back((token, reason)),
            token => self.accept(token, reason),
        }
        Ok(())
    }

    /// Keeps the message and brings it to everybody. Returns the Reason Code for its acknowledgement.
    #[inline]
    fn take(&self, message: &MessageRef<'_>) -> ReasonCode {
        let now = self.shard.now();
        if message.retain {
            // In 3.1.1 the message itself still goes to those who are subscribed.
            if let Err(reason) = self.shard.keep_retained(Some(&self.chain), message, now)
                && self.version.is_v5()
            {
                return reason;
            }
        }
        let by = Publisher {
            client_id: self.client.id.as_str(),
            session: self.session.id,
        };
        let receivers = self.shard.route(*message, now, by, self.chain.events());
        self.shard.metrics.messages_accepted.one();
        match receivers {
            0 => ReasonCode::NoMatchingSubscribers,
            _ => ReasonCode::Success,
        }
    }

    /// Returns who is told when the message is durable, if its publisher wants to know.
    fn acknowledgement(&self, token: Option<Token>, reason: ReasonCode) -> Option<Waiter> {
        let durable = self.listener.durability > Durability::Memory;
        token.filter(|_| durable).map(|token| Waiter::Acknowledgement {
            session: self.session.clone(),
            handle: self.client.handle,
            token,
            reason,
        })
    }

    /// PUBREL came: PUBCOMP leaves when the Packet Identifier is forgotten for good.
    pub(super) fn released(&mut self, token: Token, packet_id: PacketId) {
        let forgotten = {
            let mut state = self.session.lock();
            let kept = state.kept.as_deref_mut();
            kept.map(|kept| (kept.journal().clone(), kept.delete_received(packet_id)))
        };
        let waiter = self.acknowledgement(Some(token), ReasonCode::Success);
        let waits = match (forgotten, waiter) {
            (Some((journal, group)), Some(waiter)) => journal.wait(group, waiter).is_none(),
            _ => false,
        };
        match waits {
            true => {
                let rare = self.rare.get_or_insert_default();
                rare.committing.push_back((token, ReasonCode::Success));
            }
            false => self.inbound.accept(token, ReasonCode::Success),
        }
    }

    /// Gives the token back, if there is one: now the acknowledgement may leave.
    pub(super) fn accept(&mut self, token: Option<Token>, reason: ReasonCode) {
        if let Some(token) = token {
            self.inbound.accept(token, reason);
        }
    }

    /// Refuses a message: 5.0 is told why; 3.1 and 3.1.1 have no negative acknowledgement, so it is acknowledged and
    /// discarded, or, if the packet itself was beyond a `limit`, the connection ends.
    fn refuse(&mut self, given: Given, denial: Denial, limit: bool) -> Result<(), End> {
        self.shard.metrics.messages_refused.one();
        let v5 = self.version.is_v5();
        if limit && !v5 && denial.reason != ReasonCode::NotAuthorized {
            self.shard.metrics.protocol_errors.one();
            return Err(End::because(denial.reason));
        }
        if v5 {
            self.note_text(given.packet_id.filter(|_| given.token.is_some()), denial.text);
        }
        self.accept(given.token, ack_reason(denial.reason, v5));
        Ok(())
    }

    /// Ends a control request.
    pub(super) fn controlled(
        &mut self,
        token: Option<Token>,
        outcome: ControlOutcome,
        reply: Option<Message>,
    ) -> Result<(), End> {
        match outcome {
            ControlOutcome::Reply(_) => {
                if let Some(reply) = reply {
                    self.shard.send_to(&self.session, &reply);
                }
                self.accept(token, ReasonCode::Success);
                Ok(())
            }
            ControlOutcome::Refuse(reason) => {
                self.accept(token, ack_reason(reason, self.version.is_v5()));
                Ok(())
            }
            ControlOutcome::Fault(FaultAction::Deny) if self.version.is_v5() || token.is_none() => {
                self.accept(token, ReasonCode::ImplementationSpecificError);
                Ok(())
            }
            ControlOutcome::Fault(_) => Err(End::silent(ReasonCode::ImplementationSpecificError, true)),
        }
    }

    /// Hands nothing more on for so long; of two pauses the one that ends later holds.
    fn throttle(&mut self, time: Duration) {
        let pause = tokio::time::sleep(time);
        let later = |held: &Pin<Box<Sleep>>| held.deadline() < pause.deadline();
        let throttled = &mut self.rare_mut().throttled;
        if throttled.as_ref().is_none_or(later) {
            *throttled = Some(Box::pin(pause));
        }
    }

    /// Counts a message against the rate limit.
    fn spend_message(&mut self) {
        if let Some(rate) = self.rate() {
            let pause = rate.messages.as_mut().and_then(|bucket| bucket.spend(1.0));
            self.slow_down(pause);
        }
    }

    /// Counts bytes against the rate limit.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        if let Some(rate) = self.rate() {
            let pause = rate.bytes.as_mut().and_then(|bucket| bucket.spend(bytes as f64));
            self.slow_down(pause);
        }
    }

    fn rate(&mut self) -> Option<&mut Rate> {
        self.rare.as_mut()?.rate.as_mut()
    }

    fn slow_down(&mut self, pause: Option<Duration>) {
        if let Some(pause) = pause {
            self.shard.metrics.rate_limited.one();
            self.throttle(pause);
        }
    }
}

/// What must be given back for a PUBLISH.
#[derive(Clone, Copy)]
pub(super) struct Given {
    token: Option<Token>,
    packet_id: Option<PacketId>,
}

/// A message whose chain has to be waited for, with all that the waiting needs.
struct Asking {
    chain: Arc<ChainSet>,
    client: Arc<ClientView>,
    given: Given,
    message: Message,
}

impl Asking {
    fn of(connection: &Connection, given: Given, message: Message) -> Self {
        let (chain, client) = (connection.chain.clone(), connection.client.clone());
        Self {
            chain,
            client,
            given,
            message,
        }
    }

    async fn authorize_then_publish(self, pending: PendingAuthorize) -> Resumed {
        let decisions = pending.await;
        let nothing = Decision::default();
        let outcome = &decisions.first().unwrap_or(&nothing).outcome;
        if let Some(verdict) = refusal(outcome, self.message.qos) {
            let published = Published {
                verdict,
                throttle: Duration::ZERO,
                emitted: Vec::new(),
            };
            return self.settled(published, Patch::default());
        }
        if self.message.topic.as_str().starts_with("$CONTROL/") {
            return self.control().await;
        }
        let slots = self.chain.interest(self.message.topic.as_ref()).publish;
        let step = {
            let mut edit = MessageEdit::new(MessageParts::of(&self.message, Source::Client));
            match self.chain.publish(&self.client, slots, &mut edit) {
                Step::Now(published) => Step::Now((published, edit.take_kept().map(|patch| *patch))),
                Step::Later(pending) => Step::Later(pending),
            }
        };
        match step {
            Step::Now((published, patch)) => self.settled(published, patch.unwrap_or_default()),
            Step::Later(pending) => {
                let (published, patch) = pending.await;
                self.settled(published, patch)
            }
        }
    }

    async fn control(self) -> Resumed {
        let request = ControlRequest {
            topic: self.message.topic.as_ref(),
            payload: &self.message.payload,
        };
        let outcome = self.chain.control(&self.client, &request).await;
        let reply = match &outcome {
            ControlOutcome::Reply(bytes) if !bytes.is_empty() => {
                let topic = TopicName::new(format!("{}/response", self.message.topic)).ok();
                topic.map(|topic| Message::new(topic, bytes.clone()))
            }
            _ => None,
        };
        Resumed::Controlled {
            token: self.given.token,
            outcome,
            reply,
        }
    }

    fn settled(self, published: Published, patch: Patch) -> Resumed {
        let message = match patch.is_empty() {
            true => self.message,
            false => {
                MessageEdit::with_patch(MessageParts::of(&self.message, Source::Client), patch).to_message()
            }
        };
        let Given { token, packet_id } = self.given;
        Resumed::Published(Settled {
            token,
            packet_id,
            message,
            published,
        })
    }
}

impl Rate {
    /// Returns the limits of a listener; `None`: it has none.
    pub(super) fn new(limits: &broker_types::Limits) -> Option<Self> {
        let bucket = |rate: Option<u32>| {
            let per_second = f64::from(rate?.max(1));
            Some(Bucket {
                per_second,
                left: per_second,
                filled: Instant::now(),
            })
        };
        let (messages, bytes) = (bucket(limits.rate_messages), bucket(limits.rate_bytes));
        (messages.is_some() || bytes.is_some()).then_some(Self { messages, bytes })
    }

    /// Returns how much may be read at a time, so that no read is far ahead of the limit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is a positive u32"
    )]
    pub(super) fn read_max(&self) -> usize {
        let bytes = self.bytes.as_ref();
        bytes.map_or(usize::MAX, |bytes| (bytes.per_second as usize).max(SLOW_READ_MIN))
    }
}

impl Bucket {
    /// Takes from it; returns how long to wait if there was too little.
    fn spend(&mut self, amount: f64) -> Option<Duration> {
        let now = Instant::now();
        let since = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + since * self.per_second).min(self.per_second) - amount;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

/// What an authorizer is asked about a PUBLISH.
fn publish_item<'p>(parts: &MessageParts<'p>) -> AclItem<'p> {
    AclItem {
        topic: parts.topic.as_str(),
        qos: parts.qos,
        retain: parts.retain,
        share: None,
    }
}

/// Returns what a decision means for a PUBLISH that it doesn't allow.
fn refusal(outcome: &Outcome, qos: QoS) -> Option<Verdict> {
    match outcome {
        Outcome::Allow { max_qos } if qos <= *max_qos => None,
        Outcome::Allow { .. } => Some(Verdict::Reject(Denial::new(ReasonCode::QoSNotSupported))),
        Outcome::Deny(denial) => Some(Verdict::Reject(denial.clone())),
        Outcome::Fault(action) => Some(Verdict::Fault(*action)),
    }
}

/// Returns the code that PUBACK and PUBREC can carry for a refusal.
fn ack_reason(reason: ReasonCode, v5: bool) -> ReasonCode {
    match reason {
        _ if !v5 => ReasonCode::Success,
        ReasonCode::UnspecifiedError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::NotAuthorized
        | ReasonCode::TopicNameInvalid
        | ReasonCode::PacketIdentifierInUse
        | ReasonCode::QuotaExceeded
        | ReasonCode::PayloadFormatInvalid => reason,
        reason if reason.is_error() => ReasonCode::NotAuthorized,
        _ => ReasonCode::UnspecifiedError,
    }
}
