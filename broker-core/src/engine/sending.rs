//! Everything that makes a Session's sending half do something, in two ways: straight into the connection's output, or,
//! for a Session that must survive the broker, with its records written and the output held back until they are durable.
//! All of it under the Session's lock.

use std::sync::Arc;

use broker_proto::{
    Delivered, Delivery, Outbound, Outgoing, Progress, ProtocolError, Pumped, Stored, WriteBuf,
};
use broker_types::{PacketId, QoS, ReasonCode, Timestamp};

use super::session::{Link, Session, State};
use super::shard::Shard;
use crate::store::{Group, Journal, Kept, Moment, Waiter};

impl State {
    /// Delivers a message: it leaves, waits or is dropped.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        shard: &Shard,
        session: &Arc<Session>,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
    ) -> Delivered {
        if self.kept.is_some() {
            return self.deliver_kept(shard, session, message, how, Outbound::deliver);
        }
        let Self { outbound, link, .. } = self;
        match link.as_deref_mut() {
            None => outbound.deliver(shard.now(), message, how, &mut WriteBuf::new()),
            Some(link) => {
                shard.lend_buffer(&mut link.out);
                outbound.deliver(shard.now(), message, how, &mut link.out)
            }
        }
    }

    /// Lets a message wait, even if it could leave.
    pub(crate) fn enqueue(
        &mut self,
        shard: &Shard,
        session: &Arc<Session>,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
    ) -> Delivered {
        if self.kept.is_none() {
            return self.outbound.enqueue(shard.now(), message, how);
        }
        self.deliver_kept(shard, session, message, how, |outbound, now, message, how, _| {
            outbound.enqueue(now, message, how)
        })
    }

    #[inline(never)]
    fn deliver_kept(
        &mut self,
        shard: &Shard,
        session: &Arc<Session>,
        message: &mut Outgoing<'_>,
        how: &Delivery<'_>,
        deliver: impl FnOnce(
            &mut Outbound,
            Timestamp,
            &mut Outgoing<'_>,
            &Delivery<'_>,
            &mut WriteBuf,
        ) -> Delivered,
    ) -> Delivered {
        let qos = how.qos.min(message.qos());
        let stays = qos != QoS::AtMostOnce || self.listener.limits.queue_qos0;
        // Nothing has to wait for QoS 1, which may be doubled.
        let way = match &self.link {
            Some(link) if qos != QoS::ExactlyOnce && link.staging.is_empty() => Way::Straight,
            _ => Way::IfNotFull,
        };
        let run = |outbound: &mut Outbound, out: &mut WriteBuf, kept: &mut Kept| {
            let delivered = deliver(outbound, shard.now(), message, how, out);
            if stays {
                let mut transaction = shard.transaction();
                let stored = message.shared();
                kept.delivered(
                    delivered,
                    how,
                    qos,
                    stored,
                    transaction.as_mut(),
                    shard.core.moment(),
                );
            }
            delivered
        };
        self.recorded(session, way, None, run)
    }

    /// Sends what waits as far as there is room.
    #[inline]
    pub(crate) fn pump(&mut self, session: &Arc<Session>, now: Timestamp) -> Pumped {
        let Self {
            outbound, link, kept, ..
        } = self;
        match (link, kept) {
            (None, _) => Pumped::default(),
            (Some(link), None) => outbound.pump(now, &mut link.out),
            (Some(_), Some(_)) if !outbound.is_waiting() => Pumped::default(),
            (Some(_), Some(_)) => self.recorded(session, Way::IfNotFull, None, |outbound, out, _| {
                outbound.pump(now, out)
            }),
        }
    }

    /// Sends again what must be, and returns the first message that waits if it may leave now.
    pub(crate) fn next_ready(&mut self, session: &Arc<Session>, now: Timestamp) -> (Pumped, Option<Next>) {
        let next = |outbound: &mut Outbound, out: &mut WriteBuf| {
            let (pumped, queued) = outbound.next_ready(now, out);
            let next = queued.map(|queued| Next {
                seq: queued.seq,
                message: queued.message.clone(),
                qos: queued.terms.qos,
                retain: queued.terms.retain,
            });
            (pumped, next)
        };
        let Self {
            outbound, link, kept, ..
        } = self;
        match (link, kept) {
            (None, _) => (Pumped::default(), None),
            (Some(link), None) => next(outbound, &mut link.out),
            (Some(_), Some(_)) => self.recorded(session, Way::IfNotFull, None, |outbound, out, _| {
                next(outbound, out)
            }),
        }
    }

    /// Sends the first message that waits, or `edited` in its place.
    pub(crate) fn send_next(
        &mut self,
        shard: &Shard,
        session: &Arc<Session>,
        seq: u64,
        edited: Option<Arc<Stored>>,
    ) -> Option<Delivered> {
        let now = shard.now();
        let Self {
            outbound, link, kept, ..
        } = self;
        match (link, kept) {
            (None, _) => None,
            (Some(link), None) => outbound.send_next(now, seq, edited, &mut link.out),
            (Some(_), Some(_)) => {
                let copy = edited.clone();
                let edited_at = edited.as_ref().map(|edited| (edited, shard.core.moment()));
                self.recorded(session, Way::IfNotFull, edited_at, |outbound, out, _| {
                    outbound.send_next(now, seq, copy, out)
                })
            }
        }
    }

    /// Drops the first message that waits.
    pub(crate) fn skip_next(&mut self, session: &Arc<Session>, seq: u64) {
        self.outbound.skip_next(seq);
        self.note_records(session);
    }

    /// PUBREC came; PUBREL leaves when that is known for good.
    ///
    /// # Errors
    /// The Packet Identifier stands for a QoS 1 message.
    pub(crate) fn pubrec(
        &mut self,
        session: &Arc<Session>,
        packet_id: PacketId,
        reason: ReasonCode,
    ) -> Result<Progress, ProtocolError> {
        let Self {
            outbound, link, kept, ..
        } = self;
        match (link, kept) {
            (None, _) => Ok(Progress::Unchanged),
            (Some(link), None) => outbound.handle_pubrec(packet_id, reason, &mut link.out),
            (Some(_), Some(_)) => self.recorded(session, Way::Always, None, |outbound, out, _| {
                outbound.handle_pubrec(packet_id, reason, out)
            }),
        }
    }

    /// Writes down what changed without any output.
    #[inline]
    pub(crate) fn note_records(&mut self, session: &Arc<Session>) {
        if let Some(kept) = &mut self.kept {
            kept.take_records(&mut self.outbound, None, None);
            kept.refill(session, &self.outbound);
        }
    }

    /// Lets the sending half of a Session that has records do something, writes what changed, and holds the output back
    /// that relies on it.
    fn recorded<T>(
        &mut self,
        session: &Arc<Session>,
        way: Way,
        edited: Option<(&Arc<Stored>, Moment)>,
        run: impl FnOnce(&mut Outbound, &mut WriteBuf, &mut Kept) -> T,
    ) -> T {
        let Self {
            outbound, link, kept, ..
        } = self;
        let kept = kept.as_deref_mut().expect("only called with records");
        let mut nowhere = WriteBuf::new();
        let mut staged = None;
        let out = match link.as_deref_mut() {
            None => &mut nowhere,
            Some(link) => {
                let full = outbound.is_full(&link.out);
                match way {
                    Way::Straight => &mut link.out,
                    // It sees that this one is full and adds nothing.
                    Way::IfNotFull if full => &mut link.out,
                    Way::IfNotFull | Way::Always => {
                        staged = Some(kept.journal().clone());
                        link.staging.open()
                    }
                }
            }
        };
        let done = run(outbound, out, kept);
        let until = kept.take_records(outbound, None, edited);
        kept.refill(session, outbound);
        if let (Some(link), Some(journal)) = (link, staged) {
            link.staged(session, until, &journal);
        }
        done
    }
}

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Into the connection's output.
    Straight,
    /// Behind what is held back, unless the connection's output is full.
    IfNotFull,
    /// Behind what is held back.
    Always,
}

/// The first message that waits.
#[derive(Debug)]
pub(crate) struct Next {
    pub(crate) seq: u64,
    pub(crate) message: Arc<Stored>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Link {
    /// Notes what the output relies on that was staged last.
    pub(crate) fn staged(&mut self, session: &Arc<Session>, until: Option<Group>, journal: &Journal) {
        if let Some(group) = self.staging.close(until, &mut self.out)
            && journal.wait(group, Waiter::Output(session.clone())).is_some()
        {
            self.staging.release(Some(group), &mut self.out);
        }
    }
}
