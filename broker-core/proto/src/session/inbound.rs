//! The receiving half of a Session while it is connected: which PUBLISH is a message, which is one seen before, and which
//! answer may leave when. It belongs to the task that reads the connection. It delivers nothing and encodes nothing but
//! answers.
//!
//! **An answer exists only once somebody took the responsibility** with [`Inbound::accept`]; nothing in here
//! acknowledges by itself. Answers leave in the order in which their packets came `[MQTT-4.6.0-2]`, `[MQTT-4.6.0-3]`,
//! whatever the order of acceptance: one ledger holds them all.
//!
//! Cost of a QoS 1 PUBLISH: one place of six bytes in the ledger, pushed and popped; QoS 2 besides one identifier in
//! [`ReceivedIds`], usually at an end of it. No allocation in the steady state.

use std::collections::VecDeque;

use broker_types::{PacketId, ProtocolVersion, QoS, ReasonCode, TopicName, TopicRef};

use super::ProtocolError;
use super::received::{ReceivedIds, Stage};
use super::topic_alias::IncomingAliases;
use crate::packet::Publish;
use crate::{AckKind, Seldom};

/// What the Client was told in CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundLimits {
    /// Our Receive Maximum; at least 1. Clients before 5.0 know none and are only slowed by not being read, see
    /// [`Inbound::outstanding`].
    pub receive_maximum: u16,
    /// Our Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Our Maximum QoS.
    pub maximum_qos: QoS,
    /// Whether RETAIN may be set.
    pub retain_available: bool,
}

/// The responsibility for one packet, handed out by an [`Inbound`] and given back with [`Inbound::accept`], once; after that
/// it does nothing. It belongs to this one connection: the numbers of the next begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// The first of all.
    pub(crate) const FIRST: Self = Self(0);
}

/// What a PUBLISH turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// An Application Message.
    Message {
        /// Where it goes.
        topic: IncomingTopic<'a>,
        /// To be given back when it is taken care of; `None` with QoS 0.
        token: Option<Token>,
    },
    /// A QoS 2 message that came before. It is answered without any doing and must not be delivered `[MQTT-4.3.3-10]`.
    Duplicate,
}

/// The Topic Name of an incoming message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingTopic<'a> {
    /// It stood in the packet.
    Named(TopicRef<'a>),
    /// A Topic Alias stood for it.
    Aliased(TopicName),
}

impl IncomingTopic<'_> {
    /// Lends the Topic Name.
    #[inline]
    #[must_use]
    pub fn as_ref(&self) -> TopicRef<'_> {
        match self {
            Self::Named(topic) => *topic,
            Self::Aliased(topic) => topic.as_ref(),
        }
    }
}

/// An answer that may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckOut {
    /// PUBACK, PUBREC or PUBCOMP.
    pub kind: AckKind,
    /// The Packet Identifier that is answered.
    pub packet_id: PacketId,
    /// How it ended; 3.1 and 3.1.1 can't say it.
    pub reason: ReasonCode,
}

impl AckOut {
    /// Appends it, without Reason String and User Properties.
    #[inline]
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        self.kind.encode(version, self.packet_id, self.reason, out);
    }
}

/// The receiving half of a Session.
#[derive(Debug)]
pub struct Inbound {
    v5: bool,
    limits: InboundLimits,
    /// Answers in order of arrival; the first has the number `first`.
    ledger: Seldom<VecDeque<Entry>>,
    first: u64,
    /// Entries without an outcome.
    outstanding: u32,
    /// PUBLISH packets that count against the Receive Maximum.
    under_way: u16,
    received: ReceivedIds,
    aliases: IncomingAliases,
}

/// One answer of the ledger.
#[derive(Clone, Copy, Debug)]
struct Entry {
    packet_id: PacketId,
    kind: AckKind,
    /// Absent until it is accepted.
    outcome: Option<ReasonCode>,
}

impl Inbound {
    /// Returns the receiving half for a new connection of a Session that remembers `received`.
    #[must_use]
    pub fn new(version: ProtocolVersion, limits: InboundLimits, received: ReceivedIds) -> Self {
        Self {
            v5: version.is_v5(),
            limits,
            ledger: Seldom::new(),
            first: 0,
            outstanding: 0,
            under_way: 0,
            received,
            aliases: IncomingAliases::default(),
        }
    }

    /// Begins with the token `next`, which is [`Self::next_token`] of the connection before: for an owner of several, so
    /// that a token of then is stale and not the one of another message.
    pub(crate) const fn with_next_token(mut self, next: Token) -> Self {
        self.first = next.0;
        self
    }

    /// Returns the token that comes next.
    pub(crate) fn next_token(&self) -> Token {
        Token(self.first + self.ledger.len() as u64)
    }

    /// Takes a PUBLISH apart: checks what the Client was told, resolves its Topic Alias and finds out whether it came
    /// before. Allocates only when a Topic Alias gets a new topic.
    ///
    /// # Errors
    /// The rule that was broken; the connection must end.
    #[inline]
    pub fn handle_publish<'a>(&mut self, publish: &Publish<'a>) -> Result<Incoming<'a>, ProtocolError> {
        if publish.qos > self.limits.maximum_qos {
            return Err(ProtocolError::QoSNotSupported(publish.qos));
        }
        if publish.retain && !self.limits.retain_available {
            return Err(ProtocolError::RetainNotSupported);
        }
        let topic = match (publish.topic, publish.topic_alias) {
            (Some(topic), None) => IncomingTopic::Named(topic),
            (topic, Some(alias)) => self.resolve(topic, alias)?,
            (None, None) => return Err(ProtocolError::TopicMissing),
        };
        let token = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(id)) => {
                self.count()?;
                Some(self.expect(AckKind::PubAck, id))
            }
            (QoS::ExactlyOnce, Some(id)) => {
                if self.received.stage(id).is_some() {
                    self.answer(AckKind::PubRec, id, ReasonCode::Success);
                    return Ok(Incoming::Duplicate);
                }
                self.count()?;
                self.received.begin(id);
                Some(self.expect(AckKind::PubRec, id))
            }
            // The decoder gives exactly these two an identifier.
            (QoS::AtMostOnce, _) | (_, None) => None,
        };
        Ok(Incoming::Message { topic, token })
    }

    /// PUBREL came. The identifier is forgotten and PUBCOMP may leave when the token is given back: forgetting may have
    /// to be durable first. `None` when it is answered without any doing: PUBREL came a second time, or the identifier is
    /// unknown (in 5.0: 0x92).
    ///
    /// # Errors
    /// The PUBLISH was not answered yet, so the Client can't have known that it may release it.
    pub fn handle_pubrel(&mut self, id: PacketId) -> Result<Option<Token>, ProtocolError> {
        match self.received.stage(id) {
            Some(Stage::Accepted) => {
                self.received.advance(id, Stage::Released);
                Ok(Some(self.expect(AckKind::PubComp, id)))
            }
            // Sent again: its answer leaves right behind that of the first.
            Some(Stage::Released) => {
                self.answer(AckKind::PubComp, id, ReasonCode::Success);
                Ok(None)
            }
            Some(Stage::Looked) => Err(ProtocolError::AckUnexpected {
                kind: AckKind::PubRel,
                packet_id: id,
            }),
            None => {
                self.answer(AckKind::PubComp, id, ReasonCode::PacketIdentifierNotFound);
                Ok(None)
            }
        }
    }

    /// Gives a token back: the packet is taken care of, or refused for `reason`. Its answer leaves when those before it
    /// have. A refused QoS 2 message is over `[MQTT-4.3.3-9]`; before 5.0 the Client can't be told and goes on to PUBREL.
    #[inline]
    pub fn accept(&mut self, token: Token, reason: ReasonCode) {
        let index = usize::try_from(token.0.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        let ledger = self.ledger.made();
        let entry = ledger.and_then(|ledger| ledger.get_mut(index));
        let Some(entry) = entry.filter(|entry| entry.outcome.is_none()) else {
            return;
        };
        entry.outcome = Some(reason);
        self.outstanding -= 1;
        match entry.kind {
            AckKind::PubAck | AckKind::PubRel => {}
            AckKind::PubRec if self.v5 && reason.is_error() => self.received.remove(entry.packet_id),
            AckKind::PubRec => self.received.advance(entry.packet_id, Stage::Accepted),
            AckKind::PubComp => self.received.remove(entry.packet_id),
        }
    }

    /// Tells whether a token that is out stands for a QoS 2 message, which must be remembered.
    #[must_use]
    pub fn is_exactly_once(&self, token: Token) -> bool {
        let index = usize::try_from(token.0.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        let entry = self.ledger.get(index);
        entry.is_some_and(|entry| entry.kind == AckKind::PubRec && entry.outcome.is_none())
    }

    /// Returns the next answer that may leave. It counts as sent.
    #[inline]
    pub fn poll_ack(&mut self) -> Option<AckOut> {
        let ledger = self.ledger.made()?;
        let reason = ledger.front()?.outcome?;
        let Entry { packet_id, kind, .. } = ledger.pop_front()?;
        self.first += 1;
        // Section 4.9: PUBACK, PUBCOMP, and a PUBREC that refuses. A message of an earlier connection was not counted on this
        // one, yet its PUBCOMP gives a place back: the Client may gain what it had under way then, never lose.
        if kind != AckKind::PubRec || reason.is_error() {
            self.under_way = self.under_way.saturating_sub(1);
        }
        Some(AckOut {
            kind,
            packet_id,
            reason,
        })
    }

    /// Returns how many tokens are out. The driver stops reading at its bound.
    #[inline]
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.outstanding as usize
    }

    /// Returns the identifiers remembered so far.
    #[must_use]
    pub const fn received(&self) -> &ReceivedIds {
        &self.received
    }

    /// The connection ended: returns what the Session goes on remembering. Messages whose token is still out were never
    /// accepted; the Client will send them again.
    #[must_use]
    pub fn take_received(&mut self) -> ReceivedIds {
        self.received.settle();
        std::mem::take(&mut self.received)
    }

    fn resolve<'a>(
        &mut self,
        topic: Option<TopicRef<'a>>,
        alias: u16,
    ) -> Result<IncomingTopic<'a>, ProtocolError> {
        let maximum = self.limits.topic_alias_maximum;
        if alias == 0 || alias > maximum {
            return Err(ProtocolError::TopicAliasInvalid { alias, maximum });
        }
        match topic {
            Some(topic) => {
                self.aliases.set(alias, topic);
                Ok(IncomingTopic::Named(topic))
            }
            None => self.aliases.get(alias).cloned().map(IncomingTopic::Aliased),
        }
    }

    /// Counts a PUBLISH against the Receive Maximum, which Clients before 5.0 don't know.
    #[inline]
    fn count(&mut self) -> Result<(), ProtocolError> {
        if self.v5 {
            if self.under_way == self.limits.receive_maximum {
                return Err(ProtocolError::ReceiveMaximumExceeded(self.limits.receive_maximum));
            }
            self.under_way += 1;
        }
        Ok(())
    }

    /// Notes an answer that somebody has to accept.
    #[inline]
    fn expect(&mut self, kind: AckKind, packet_id: PacketId) -> Token {
        let token = self.next_token();
        self.ledger.make().push_back(Entry {
            packet_id,
            kind,
            outcome: None,
        });
        self.outstanding += 1;
        token
    }

    /// Notes an answer that nobody has to accept.
    fn answer(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        self.ledger.make().push_back(Entry {
            packet_id,
            kind,
            outcome: Some(reason),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const V5: ProtocolVersion = ProtocolVersion::V5;
    const V311: ProtocolVersion = ProtocolVersion::V311;

    const LIMITS: InboundLimits = InboundLimits {
        receive_maximum: 3,
        topic_alias_maximum: 2,
        maximum_qos: QoS::ExactlyOnce,
        retain_available: true,
    };

    fn id(id: u16) -> PacketId {
        PacketId::new(id).unwrap()
    }

    fn publish(qos: u8, packet_id: u16) -> Publish<'static> {
        Publish {
            qos: QoS::from_bits(qos).unwrap(),
            packet_id: (qos > 0).then(|| id(packet_id)),
            ..Publish::new(TopicRef::new("t").unwrap(), b"")
        }
    }

    fn token(incoming: Result<Incoming<'_>, ProtocolError>) -> Token {
        match incoming {
            Ok(Incoming::Message {
                token: Some(token), ..
            }) => token,
            other => panic!("{other:?}"),
        }
    }

    /// Takes all answers that may leave, as lines.
    fn answers(inbound: &mut Inbound) -> Vec<String> {
        std::iter::from_fn(|| inbound.poll_ack())
            .map(|ack| format!("{:?} #{} {:02X}", ack.kind, ack.packet_id, ack.reason.byte()))
            .collect()
    }

    #[test]
    fn v5_4_6_0_2_answers_leave_in_the_order_of_arrival_once_accepted() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        let a = token(inbound.handle_publish(&publish(1, 1)));
        let b = token(inbound.handle_publish(&publish(2, 2)));
        let c = token(inbound.handle_publish(&publish(1, 3)));
        assert_eq!(inbound.outstanding(), 3);
        inbound.accept(c, ReasonCode::Success);
        inbound.accept(b, ReasonCode::NoMatchingSubscribers);
        assert!(answers(&mut inbound).is_empty());
        inbound.accept(a, ReasonCode::NotAuthorized);
        assert_eq!(inbound.outstanding(), 0);
        assert_eq!(
            answers(&mut inbound),
            ["PubAck #1 87", "PubRec #2 10", "PubAck #3 00"]
        );
        // Given back twice, or after it left.
        inbound.accept(a, ReasonCode::Success);
        inbound.accept(c, ReasonCode::Success);
        assert!(answers(&mut inbound).is_empty());
        assert_eq!(inbound.outstanding(), 0);
    }

    #[test]
    fn qos_0_is_not_answered() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        let incoming = inbound.handle_publish(&publish(0, 0)).unwrap();
        assert!(matches!(incoming, Incoming::Message { token: None, .. }));
        assert!(answers(&mut inbound).is_empty());
    }

    #[test]
    fn v5_4_3_3_10_a_qos_2_message_is_delivered_once_until_it_is_released() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        let a = token(inbound.handle_publish(&publish(2, 1)));
        assert_eq!(inbound.handle_publish(&publish(2, 1)), Ok(Incoming::Duplicate));
        assert!(answers(&mut inbound).is_empty());
        inbound.accept(a, ReasonCode::Success);
        assert_eq!(inbound.handle_publish(&publish(2, 1)), Ok(Incoming::Duplicate));
        assert_eq!(answers(&mut inbound), ["PubRec #1 00"; 3]);

        // It is remembered until PUBCOMP may leave.
        let released = inbound.handle_pubrel(id(1)).unwrap().unwrap();
        assert!(answers(&mut inbound).is_empty());
        assert!(inbound.received().contains(id(1)));
        inbound.accept(released, ReasonCode::Success);
        assert!(!inbound.received().contains(id(1)));
        assert_eq!(answers(&mut inbound), ["PubComp #1 00"]);

        // [MQTT-4.3.3-12]; a second PUBREL from before changes nothing.
        inbound.accept(released, ReasonCode::Success);
        token(inbound.handle_publish(&publish(2, 1)));
    }

    /// Found by the model below: the second PUBREL of an exchange had a token of its own, and giving it back late forgot the
    /// identifier of the next message, which was then delivered twice.
    #[test]
    fn a_second_pubrel_is_answered_behind_the_first_and_forgets_nothing() {
        let mut inbound = Inbound::new(V5, LIMITS, [id(1)].into_iter().collect());
        let released = inbound.handle_pubrel(id(1)).unwrap().unwrap();
        assert_eq!(inbound.handle_pubrel(id(1)), Ok(None));
        assert!(answers(&mut inbound).is_empty());
        inbound.accept(released, ReasonCode::Success);
        token(inbound.handle_publish(&publish(2, 1)));
        assert_eq!(answers(&mut inbound), ["PubComp #1 00"; 2]);
        assert_eq!(inbound.handle_publish(&publish(2, 1)), Ok(Incoming::Duplicate));
    }

    #[test]
    fn v5_4_3_3_9_a_refused_qos_2_message_is_new_when_it_comes_again() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        let refused = token(inbound.handle_publish(&publish(2, 1)));
        inbound.accept(refused, ReasonCode::QuotaExceeded);
        assert_eq!(answers(&mut inbound), ["PubRec #1 97"]);
        assert!(inbound.received().is_empty());
        token(inbound.handle_publish(&publish(2, 1)));

        // 3.1.1 can't say it, so the exchange goes on.
        let mut inbound = Inbound::new(V311, LIMITS, ReceivedIds::new());
        let refused = token(inbound.handle_publish(&publish(2, 1)));
        inbound.accept(refused, ReasonCode::QuotaExceeded);
        let ack = inbound.poll_ack().unwrap();
        let mut out = Vec::new();
        ack.encode(V311, &mut out);
        assert_eq!(out, [0x50, 2, 0, 1]);
        assert!(inbound.handle_pubrel(id(1)).unwrap().is_some());
    }

    #[test]
    fn pubrel_for_nothing_is_answered_and_before_pubrec_refused() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        assert_eq!(inbound.handle_pubrel(id(7)), Ok(None));
        assert_eq!(answers(&mut inbound), ["PubComp #7 92"]);
        token(inbound.handle_publish(&publish(2, 1)));
        let error = inbound.handle_pubrel(id(1)).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::ProtocolError);
    }

    #[test]
    fn a_lost_connection_forgets_what_nobody_accepted() {
        let mut inbound = Inbound::new(V5, LIMITS, [id(9)].into_iter().collect());
        let accepted = token(inbound.handle_publish(&publish(2, 1)));
        inbound.accept(accepted, ReasonCode::Success);
        token(inbound.handle_publish(&publish(2, 2)));
        let received = inbound.take_received();
        assert!(received.iter().eq([id(1), id(9)]));

        let mut inbound = Inbound::new(V5, LIMITS, received);
        assert_eq!(inbound.handle_publish(&publish(2, 9)), Ok(Incoming::Duplicate));
        token(inbound.handle_publish(&publish(2, 2)));
    }

    #[test]
    fn v5_3_3_4_7_receive_maximum() {
        // What gives a place back: PUBACK, a PUBREC that refuses, PUBCOMP; and only when it leaves.
        for (qos, reason, pubrel) in [
            (1, ReasonCode::Success, false),
            (2, ReasonCode::NotAuthorized, false),
            (2, ReasonCode::Success, true),
        ] {
            let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
            let first = token(inbound.handle_publish(&publish(qos, 1)));
            for other in [2, 3] {
                token(inbound.handle_publish(&publish(2, other)));
            }
            let fourth = publish(1, 4);
            let exceeded = Err(ProtocolError::ReceiveMaximumExceeded(3));
            assert_eq!(inbound.handle_publish(&fourth), exceeded);
            // QoS 0 and what came before need no place.
            assert!(inbound.handle_publish(&publish(0, 0)).is_ok());
            assert_eq!(inbound.handle_publish(&publish(2, 3)), Ok(Incoming::Duplicate));
            inbound.accept(first, reason);
            assert_eq!(inbound.handle_publish(&fourth), exceeded);
            inbound.poll_ack().unwrap();
            if pubrel {
                assert_eq!(inbound.handle_publish(&fourth), exceeded);
                // PUBCOMP leaves behind the other answers.
                for later in [1, 2, 3] {
                    inbound.accept(Token(later), ReasonCode::Success);
                }
                let released = inbound.handle_pubrel(id(1)).unwrap().unwrap();
                inbound.accept(released, ReasonCode::Success);
                assert_eq!(answers(&mut inbound).last().unwrap(), "PubComp #1 00");
            }
            token(inbound.handle_publish(&fourth));
        }
    }

    #[test]
    fn before_5_0_there_is_no_receive_maximum() {
        let mut inbound = Inbound::new(V311, LIMITS, ReceivedIds::new());
        for packet_id in 1..100 {
            token(inbound.handle_publish(&publish(1, packet_id)));
        }
        assert_eq!(inbound.outstanding(), 99);
    }

    #[test]
    fn what_is_not_offered_is_refused() {
        let mut inbound = Inbound::new(
            V5,
            InboundLimits {
                maximum_qos: QoS::AtLeastOnce,
                retain_available: false,
                ..LIMITS
            },
            ReceivedIds::new(),
        );
        let reason = |result: Result<Incoming<'_>, ProtocolError>| result.unwrap_err().reason();
        assert_eq!(
            reason(inbound.handle_publish(&publish(2, 1))),
            ReasonCode::QoSNotSupported
        );
        let retained = Publish {
            retain: true,
            ..publish(0, 0)
        };
        assert_eq!(
            reason(inbound.handle_publish(&retained)),
            ReasonCode::RetainNotSupported
        );
        token(inbound.handle_publish(&publish(1, 1)));
    }

    #[test]
    fn topic_aliases_are_resolved_up_to_the_maximum() {
        let mut inbound = Inbound::new(V5, LIMITS, ReceivedIds::new());
        let aliased = |topic: Option<&'static str>, alias| Publish {
            topic: topic.map(|topic| TopicRef::new(topic).unwrap()),
            topic_alias: Some(alias),
            ..publish(0, 0)
        };
        let mut topic = |topic, alias| match inbound.handle_publish(&aliased(topic, alias)) {
            Ok(Incoming::Message { topic, .. }) => Ok(topic.as_ref().to_string()),
            Ok(Incoming::Duplicate) => panic!(),
            Err(error) => Err(error.reason()),
        };
        assert_eq!(topic(None, 2), Err(ReasonCode::ProtocolError));
        assert_eq!(topic(Some("a"), 2), Ok("a".to_owned()));
        assert_eq!(topic(None, 2), Ok("a".to_owned()));
        assert_eq!(topic(Some("b"), 2), Ok("b".to_owned()));
        assert_eq!(topic(None, 2), Ok("b".to_owned()));
        assert_eq!(topic(Some("a"), 3), Err(ReasonCode::TopicAliasInvalid));
        assert_eq!(topic(None, 0), Err(ReasonCode::TopicAliasInvalid));
        let neither = Publish {
            topic: None,
            ..publish(0, 0)
        };
        assert_eq!(inbound.handle_publish(&neither), Err(ProtocolError::TopicMissing));
    }

    proptest! {
        /// Packets, acceptance and answers in any order: each packet is answered once, in order, and a QoS 2 message is new
        /// exactly when its identifier was not in use.
        #[test]
        fn answers_keep_their_order(ops in prop::collection::vec((0u8..5, 1u16..6, any::<prop::sample::Index>()), 1..120)) {
            let limits = InboundLimits { receive_maximum: u16::MAX, ..LIMITS };
            let mut inbound = Inbound::new(V5, limits, ReceivedIds::new());
            let mut tokens = Vec::new();
            let mut expected = VecDeque::new();
            let mut pending = HashSet::new();
            let (mut held, mut released) = (HashSet::new(), HashSet::new());
            for (op, number, index) in ops {
                match op {
                    0 => {
                        let token = token(inbound.handle_publish(&publish(1, number)));
                        expected.push_back((AckKind::PubAck, number));
                        tokens.push((token, AckKind::PubAck, number));
                    }
                    1 => match inbound.handle_publish(&publish(2, number)).unwrap() {
                        Incoming::Duplicate => {
                            prop_assert!(held.contains(&number) || pending.contains(&number));
                            expected.push_back((AckKind::PubRec, number));
                        }
                        Incoming::Message { token, .. } => {
                            prop_assert!(!held.contains(&number) && pending.insert(number));
                            expected.push_back((AckKind::PubRec, number));
                            tokens.push((token.unwrap(), AckKind::PubRec, number));
                        }
                    },
                    2 => match inbound.handle_pubrel(id(number)) {
                        Err(_) => prop_assert!(pending.contains(&number)),
                        Ok(token) => {
                            prop_assert_eq!(token.is_some(), held.contains(&number) && released.insert(number));
                            expected.push_back((AckKind::PubComp, number));
                            tokens.extend(token.map(|token| (token, AckKind::PubComp, number)));
                        }
                    },
                    3 if !tokens.is_empty() => {
                        let (token, kind, number) = tokens.swap_remove(index.index(tokens.len()));
                        inbound.accept(token, ReasonCode::Success);
                        match kind {
                            AckKind::PubRec => {
                                pending.remove(&number);
                                held.insert(number);
                            }
                            AckKind::PubComp => {
                                held.remove(&number);
                                released.remove(&number);
                            }
                            AckKind::PubAck | AckKind::PubRel => {}
                        }
                    }
                    _ => {
                        while let Some(ack) = inbound.poll_ack() {
                            let first = expected.pop_front();
                            prop_assert_eq!(first, Some((ack.kind, ack.packet_id.get())));
                        }
                    }
                }
                prop_assert_eq!(inbound.outstanding(), tokens.len());
                let mut remembered: Vec<_> = held.iter().copied().collect();
                remembered.sort_unstable();
                prop_assert!(inbound.received().iter().map(PacketId::get).eq(remembered));
            }
        }
    }
}
