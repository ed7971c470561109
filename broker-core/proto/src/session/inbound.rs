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
use super::received::ReceivedIds;
use super::topic_alias::IncomingAliases;
use crate::AckKind;
use crate::packet::Publish;

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

/// The responsibility for one packet, handed out by [`Inbound`] and given back with [`Inbound::accept`]. Stale once it was
/// given back, or with another connection: then it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

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
    ledger: VecDeque<Entry>,
    first: u64,
    /// Entries without an outcome.
    outstanding: usize,
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
            ledger: VecDeque::new(),
            first: 0,
            outstanding: 0,
            under_way: 0,
            received,
            aliases: IncomingAliases::default(),
        }
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
                if self.received.state(id).is_some() {
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
    /// to be durable first. `None` when the identifier is unknown, which is answered without any doing, in 5.0 with 0x92.
    ///
    /// # Errors
    /// The PUBLISH was not answered yet, so the Client can't have known that it may release it.
    pub fn handle_pubrel(&mut self, id: PacketId) -> Result<Option<Token>, ProtocolError> {
        match self.received.state(id) {
            Some(true) => Ok(Some(self.expect(AckKind::PubComp, id))),
            Some(false) => Err(ProtocolError::AckUnexpected {
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
        let Some(entry) = self.ledger.get_mut(index).filter(|entry| entry.outcome.is_none()) else {
            return;
        };
        entry.outcome = Some(reason);
        self.outstanding -= 1;
        match entry.kind {
            AckKind::PubAck | AckKind::PubRel => {}
            AckKind::PubRec if self.v5 && reason.is_error() => self.received.remove(entry.packet_id),
            AckKind::PubRec => self.received.accept(entry.packet_id),
            AckKind::PubComp => self.received.remove(entry.packet_id),
        }
    }

    /// Returns the next answer that may leave. It counts as sent.
    #[inline]
    pub fn poll_ack(&mut self) -> Option<AckOut> {
        let reason = self.ledger.front()?.outcome?;
        let Entry { packet_id, kind, .. } = self.ledger.pop_front()?;
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
        self.outstanding
    }

    /// Returns the identifiers remembered so far.
    #[must_use]
    pub const fn received(&self) -> &ReceivedIds {
        &self.received
    }

    /// The connection ended: returns what the Session goes on remembering. Messages whose token is still out were never
    /// accepted; the Client will send them again.
    #[must_use]
    pub fn into_received(mut self) -> ReceivedIds {
        self.received.settle();
        self.received
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
        let token = Token(self.first + self.ledger.len() as u64);
        self.ledger.push_back(Entry {
            packet_id,
            kind,
            outcome: None,
        });
        self.outstanding += 1;
        token
    }

    /// Notes an answer that nobody has to accept.
    fn answer(&mut self, kind: AckKind, packet_id: PacketId, reason: ReasonCode) {
        self.ledger.push_back(Entry {
            packet_id,
            kind,
            outcome: Some(reason),
        });
    }
}
