//! What holds for the present connection of a Session only: what its Client takes, and what it has been told.

use broker_types::{ProtocolVersion, QoS};

use super::{OutboundLimits, Peer};
use crate::outgoing::write_publish;
use crate::packet::Publish;
use crate::session::topic_alias::{ALIAS_LEN_MAX, ALIAS_TOPIC_MIN, OutgoingAliases};
use crate::stored::{MessageRef, Payload};
use crate::varint;
use crate::write_buf::WriteBuf;

/// The largest packet there is: one byte, four of Remaining Length, and what they can say.
pub(crate) const PACKET_SIZE_MAX: u32 = 1 + 4 + varint::MAX as u32;

/// What holds for the present connection only.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) version: ProtocolVersion,
    pub(super) resumable: bool,
    /// PUBLISH packets with QoS 1 and 2 that may still be sent (section 4.9).
    pub(super) quota: u16,
    packet_size_max: u32,
    outbox_bytes_max: usize,
    aliases: Option<Box<OutgoingAliases>>,
}

impl Connection {
    pub(super) fn new(peer: &Peer, limits: &OutboundLimits) -> Self {
        let aliases = peer.version.is_v5() && peer.topic_alias_maximum > 0;
        Self {
            version: peer.version,
            resumable: peer.resumable,
            quota: peer.receive_maximum.min(limits.inflight_max),
            packet_size_max: peer
                .packet_size_max
                .unwrap_or(PACKET_SIZE_MAX)
                .min(PACKET_SIZE_MAX),
            outbox_bytes_max: peer.outbox_bytes_max,
            aliases: aliases.then(|| Box::new(OutgoingAliases::new(peer.topic_alias_maximum))),
        }
    }

    #[inline]
    pub(super) const fn outbox_bytes_max(&self) -> usize {
        self.outbox_bytes_max
    }

    #[inline]
    pub(super) fn is_full(&self, out: &WriteBuf) -> bool {
        out.len() >= self.outbox_bytes_max
    }

    /// Tells whether a message may leave now, with so many `under_way`.
    #[inline]
    pub(super) fn has_room(
        &self,
        qos: QoS,
        under_way: usize,
        limits: &OutboundLimits,
        out: &WriteBuf,
    ) -> bool {
        let may_leave =
            qos == QoS::AtMostOnce || self.quota > 0 && under_way < usize::from(limits.inflight_max);
        may_leave && !self.is_full(out)
    }

    /// Returns whether the Client takes a packet of this size; if so, lets a Topic Alias stand for a long topic.
    #[inline]
    pub(super) fn fit(&mut self, publish: &mut Publish<'_>) -> bool {
        let size = publish.encoded_len(self.version);
        let max = self.packet_size_max as usize;
        // mqtt.js (5.x) forgets the topic of a QoS 2 message that came with an alias alone, so those keep theirs.
        if let Some(aliases) = &mut self.aliases
            && let Some(topic) = publish.topic
            && publish.qos != QoS::ExactlyOnce
            && topic.as_str().len() >= ALIAS_TOPIC_MIN
            && size + ALIAS_LEN_MAX <= max
        {
            let (alias, known) = aliases.assign(topic.as_str());
            publish.topic_alias = Some(alias);
            if known {
                publish.topic = None;
            }
        }
        size <= max
    }

    /// Appends a message that was kept.
    pub(super) fn write(&self, message: &MessageRef<'_>, publish: &Publish<'_>, out: &mut WriteBuf) {
        let body = match message.payload {
            Payload::Shared(body) => Some(body.clone()),
            Payload::Borrowed(_) => None,
        };
        write_publish(publish, self.version, body, out);
    }
}
