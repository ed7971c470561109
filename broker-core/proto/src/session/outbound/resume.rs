//! A Session goes on: with a new connection, which must get again what was under way, or in a new life of the broker. Or it
//! doesn't, and some of what was meant for it goes to others.

use std::collections::VecDeque;
use std::sync::Arc;

use broker_types::{PacketId, QoS, ReasonCode, Timestamp};

use super::connection::Connection;
use super::{Outbound, OutboundLimits, Peer, Pumped};
use crate::AckKind;
use crate::seldom::Seldom;
use crate::session::OutboundSnapshot;
use crate::session::inflight::{Phase, Slot};
use crate::stored::{Stored, remaining_expiry};
use crate::write_buf::WriteBuf;

impl Outbound {
    /// A connection begins. Everything that is under way is sent again in its original order, PUBLISH with DUP or, where
    /// PUBREC came, PUBREL `[MQTT-4.4.0-1]`, then what waits. CONNACK must be in `out` already. What the Client's Receive
    /// Maximum or a full buffer holds back follows with [`Self::pump`].
    pub fn connect(&mut self, now: Timestamp, peer: &Peer, out: &mut WriteBuf) -> Pumped {
        self.connect_held(peer);
        self.pump(now, out)
    }

    /// As [`Self::connect`], but nothing is sent yet: for an owner that looks at each message with [`Self::next_ready`].
    pub fn connect_held(&mut self, peer: &Peer) {
        self.connection = Some(Connection::new(peer, &self.limits));
        self.resend = Seldom::new();
        if self.inflight.len() == 0 {
            return;
        }
        let mut again: Vec<_> = self
            .inflight
            .iter_mut()
            .map(|slot| {
                slot.counted = false;
                (slot.seq, slot.packet_id)
            })
            .collect();
        again.sort_unstable();
        self.resend.make().extend(again.into_iter().map(|(_, id)| id));
    }

    /// The connection ended. What was under way stays so; QoS 0 messages that wait are dropped (unless `queue_qos0`),
    /// and so is what the Client knew of Topic Aliases. Returns how many messages were dropped.
    pub fn disconnect(&mut self) -> usize {
        self.connection = None;
        self.resend = Seldom::new();
        self.inflight.shrink();
        let dropped = match self.limits.queue_qos0 {
            true => 0,
            false => self.retain_queued(|queued| queued.terms.qos != QoS::AtMostOnce),
        };
        self.queue.shrink();
        dropped
    }

    /// Takes out the messages of Shared Subscriptions that another member may get, in order: those that wait, and with
    /// `under_way` also QoS 1 messages that were sent and not acknowledged. Never a QoS 2 message that was sent
    /// `[MQTT-4.8.2-4]`, `[MQTT-4.8.2-5]`.
    pub fn take_shared(&mut self, under_way: bool) -> Vec<Arc<Stored>> {
        let mut taken = Vec::new();
        if under_way {
            let again = |slot: &&Slot| slot.terms.shared && slot.terms.qos == QoS::AtLeastOnce;
            let mut sent: Vec<_> = self
                .inflight
                .iter()
                .filter(again)
                .filter_map(|slot| Some((slot.seq, slot.packet_id, Arc::clone(slot.message.as_ref()?))))
                .collect();
            sent.sort_unstable_by_key(|(seq, ..)| *seq);
            for (_, id, message) in sent {
                self.finish(id);
                taken.push(message);
            }
        }
        let waiting = self.queue.iter().filter(|queued| queued.terms.shared);
        taken.extend(waiting.map(|queued| Arc::clone(&queued.message)));
        self.retain_queued(|queued| !queued.terms.shared);
        taken
    }

    /// Returns everything that has to survive, or to be given to others when the Session ends.
    #[must_use]
    pub fn snapshot(&self) -> OutboundSnapshot {
        let mut inflight: Vec<_> = self.inflight.iter().map(Slot::snapshot).collect();
        inflight.sort_unstable_by_key(|slot| slot.seq);
        OutboundSnapshot {
            next_seq: self.next_seq,
            next_packet_id: self.inflight.position(),
            inflight,
            queued: self.queue.iter().cloned().collect(),
            behind: self.queue.behind(),
            behind_bytes: self.queue.behind_bytes(),
        }
    }

    /// Returns a sending half that continues from `snapshot`, not connected. Of two messages with the same Packet
    /// Identifier the second is left out.
    #[must_use]
    pub fn restore(limits: impl Into<Arc<OutboundLimits>>, snapshot: OutboundSnapshot) -> Self {
        let mut outbound = Self::new(limits);
        outbound.next_seq = snapshot.next_seq;
        outbound.inflight.set_position(snapshot.next_packet_id);
        for slot in snapshot.inflight {
            outbound.inflight.restore(slot.into());
        }
        for queued in snapshot.queued {
            outbound.queue.push(queued);
        }
        outbound.queue.push_behind(snapshot.behind, snapshot.behind_bytes);
        outbound
    }

    /// Sends what a new connection must get again, as far as there is room.
    pub(super) fn send_again(&mut self, now: Timestamp, out: &mut WriteBuf) -> Pumped {
        let mut pumped = Pumped::default();
        while let Some(&id) = self.resend.front() {
            match self.repeat(now, id, out) {
                Repeat::Held => break,
                Repeat::Publish { payload_bytes } => {
                    pumped.sent += 1;
                    pumped.payload_bytes += payload_bytes;
                }
                Repeat::PubRel => pumped.released += 1,
                Repeat::Over => {}
                Repeat::Lost => _ = self.finish(id),
                Repeat::TooLarge => {
                    pumped.too_large += 1;
                    self.finish(id);
                }
            }
            self.resend.made().map(VecDeque::pop_front);
        }
        pumped
    }

    fn repeat(&mut self, now: Timestamp, id: PacketId, out: &mut WriteBuf) -> Repeat {
        let Some(connection) = self
            .connection
            .as_mut()
            .filter(|connection| !connection.is_full(out))
        else {
            return Repeat::Held;
        };
        let Some(slot) = self.inflight.get_mut(id) else {
            return Repeat::Over;
        };
        if slot.phase == Phase::Released {
            AckKind::PubRel.encode(connection.version, id, ReasonCode::Success, out.frames());
            return Repeat::PubRel;
        }
        let Some(message) = &slot.message else {
            return Repeat::Lost;
        };
        if connection.quota == 0 {
            return Repeat::Held;
        }
        // [MQTT-4.3.3-7]: what was sent once doesn't expire any more, its interval only counts down.
        let expiry = remaining_expiry(message.expiry(), message.received_at(), now).unwrap_or(Some(0));
        let lent = message.message();
        let mut publish = lent.publish(slot.terms.qos, slot.terms.retain, expiry, slot.terms.ids());
        publish.dup = true;
        publish.packet_id = Some(id);
        if !connection.fit(&mut publish) {
            return Repeat::TooLarge;
        }
        connection.write(&lent, &publish, out);
        connection.quota -= 1;
        slot.counted = true;
        let payload_bytes = message.payload().len();
        Repeat::Publish { payload_bytes }
    }
}

/// What became of a message that must be sent again.
enum Repeat {
    /// There is no room for it now.
    Held,
    /// It was sent.
    Publish { payload_bytes: usize },
    /// PUBREL was sent.
    PubRel,
    /// The Client doesn't take packets of its size any more `[MQTT-3.1.2-25]`.
    TooLarge,
    /// It was not kept, because the Session was to end with its connection.
    Lost,
    /// It was answered meanwhile, with what the Client remembered of the last connection.
    Over,
}
