//! One Application Message on its way to any number of receivers: encoded once per layout, kept once for all.
//!
//! Cost per receiver with a layout seen before: one copy of the frame and two bytes of Packet Identifier. The first
//! receiver of a layout gets its frame encoded in place (one copy of topic, properties and payload), so that a message
//! with a single receiver is never copied twice; only the second makes the frame that is then repeated. Payloads of
//! 16 KiB and more are passed by reference. Nothing is allocated for a message, except for the shared copy when
//! somebody has to keep it, and for a large payload that came borrowed.

use std::sync::Arc;

use broker_types::{ProtocolVersion, QoS, SubscriptionId, Timestamp, TopicRef};
use bytes::Bytes;

use crate::ledger::Ledger;
use crate::packet::Publish;
use crate::stored::{Expired, MessageRef, Payload, Stored, remaining_expiry};
use crate::write_buf::{SHARED_BODY_MIN, WriteBuf};

/// Layouts whose frames are kept; what comes beyond is encoded for each receiver.
const LAYOUTS_MAX: usize = 8;

/// Reusable memory for encoding; a shard keeps one.
#[derive(Debug, Default)]
pub struct OutgoingScratch {
    frames: Vec<u8>,
    layouts: Vec<Encoded>,
    /// Where messages that somebody keeps are entered.
    ledger: Option<Ledger>,
}

impl OutgoingScratch {
    /// Returns one that owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: Vec::new(),
            layouts: Vec::new(),
            ledger: None,
        }
    }

    /// Enters in `ledger` what is made of messages to be kept.
    #[must_use]
    pub fn with_ledger(ledger: Ledger) -> Self {
        Self {
            ledger: Some(ledger),
            ..Self::new()
        }
    }
}

/// What decides how the frame of one Application Message looks, apart from its Packet Identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    v5: bool,
    qos: QoS,
    retain: bool,
    expiry: Option<u32>,
    subscription_id: Option<SubscriptionId>,
}

impl Layout {
    /// Returns the layout of a frame that others may get too; a Topic Alias or several Subscription Identifiers are
    /// nearly always for one receiver.
    #[inline]
    fn of(publish: &Publish<'_>, version: ProtocolVersion) -> Option<Self> {
        let v5 = version.is_v5();
        let subscription_id = match &*publish.subscription_ids {
            [] => None,
            _ if !v5 => None,
            [id] => Some(*id),
            _ => return None,
        };
        publish.topic_alias.is_none().then_some(Self {
            v5,
            qos: publish.qos,
            retain: publish.retain,
            expiry: publish.expiry.filter(|_| v5),
            subscription_id,
        })
    }
}

/// A layout that was used for the message at hand, and its frame in [`OutgoingScratch::frames`] (of a large payload only
/// what stands before it). The frame is empty until it is needed a second time.
#[derive(Debug)]
struct Encoded {
    layout: Layout,
    start: usize,
    end: usize,
    packet_id_at: Option<usize>,
}

/// One Application Message on its way out.
#[derive(Debug)]
pub struct Outgoing<'m> {
    message: MessageRef<'m>,
    received_at: Timestamp,
    /// A borrowed large payload, once copied.
    body: Option<Bytes>,
    shared: Option<Arc<Stored>>,
    scratch: &'m mut OutgoingScratch,
}

impl<'m> Outgoing<'m> {
    /// Sends `message`, which came in at `received_at`.
    #[must_use]
    pub fn new(message: MessageRef<'m>, received_at: Timestamp, scratch: &'m mut OutgoingScratch) -> Self {
        scratch.frames.clear();
        scratch.layouts.clear();
        Self {
            message,
            received_at,
            body: None,
            shared: None,
            scratch,
        }
    }

    /// Sends a message that is kept already, a Retained Message for example; whoever has to keep it shares it.
    #[must_use]
    pub fn from_stored(stored: &'m Arc<Stored>, scratch: &'m mut OutgoingScratch) -> Self {
        let mut outgoing = Self::new(stored.message(), stored.received_at(), scratch);
        outgoing.shared = Some(Arc::clone(stored));
        outgoing
    }

    /// Returns the message.
    #[inline]
    #[must_use]
    pub const fn message(&self) -> &MessageRef<'m> {
        &self.message
    }

    /// Returns the Topic Name.
    #[must_use]
    pub const fn topic(&self) -> TopicRef<'m> {
        self.message.topic
    }

    /// Returns the QoS it was published with.
    #[inline]
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.message.qos
    }

    /// Returns when it came in.
    #[must_use]
    pub const fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Returns the copy that all who keep the message share; made on first need.
    pub fn shared(&mut self) -> &Arc<Stored> {
        if self.shared.is_none() {
            let large = self.message.payload.as_bytes().len() >= SHARED_BODY_MIN;
            let body = large.then(|| self.body());
            let stored = Stored::with_body(&self.message, self.received_at, body);
            self.shared = Some(Arc::new(stored.entered(self.scratch.ledger.as_ref())));
        }
        self.shared.as_ref().expect("it was just made")
    }

    /// Returns what is left of the Message Expiry Interval.
    #[inline]
    pub(crate) fn remaining_expiry(&self, now: Timestamp) -> Result<Option<u32>, Expired> {
        remaining_expiry(self.message.expiry, self.received_at, now)
    }

    /// Appends `publish`, which was made from [`Self::message`], to `out`. Its size must be one that the protocol can
    /// express.
    #[inline]
    pub(crate) fn write(&mut self, publish: &Publish<'_>, version: ProtocolVersion, out: &mut WriteBuf) {
        let Some(layout) = Layout::of(publish, version) else {
            return self.write_once(publish, version, out);
        };
        if let Some(index) = self.scratch.layouts.iter().position(|e| e.layout == layout) {
            return self.write_again(index, publish, version, out);
        }
        if self.scratch.layouts.len() < LAYOUTS_MAX {
            self.scratch.layouts.push(Encoded {
                layout,
                start: 0,
                end: 0,
                packet_id_at: None,
            });
        }
        self.write_once(publish, version, out);
    }

    /// Encodes the frame in place.
    fn write_once(&mut self, publish: &Publish<'_>, version: ProtocolVersion, out: &mut WriteBuf) {
        let body = (publish.payload.len() >= SHARED_BODY_MIN).then(|| self.body());
        write_publish(publish, version, body, out);
    }

    /// Copies the frame of a layout that was used before.
    fn write_again(
        &mut self,
        index: usize,
        publish: &Publish<'_>,
        version: ProtocolVersion,
        out: &mut WriteBuf,
    ) {
        let OutgoingScratch { frames, layouts, .. } = &mut *self.scratch;
        let encoded = &mut layouts[index];
        let large = publish.payload.len() >= SHARED_BODY_MIN;
        if encoded.end == 0 {
            encoded.start = frames.len();
            encoded.packet_id_at = encode_head(publish, version, frames).map(|at| at - encoded.start);
            if !large {
                frames.extend_from_slice(publish.payload);
            }
            encoded.end = frames.len();
        }
        let start = out.frames().len();
        out.push_frame(&frames[encoded.start..encoded.end]);
        if let (Some(id), Some(at)) = (publish.packet_id, encoded.packet_id_at) {
            out.frames()[start + at..start + at + 2].copy_from_slice(&id.get().to_be_bytes());
        }
        if large {
            out.push_body(self.body());
        }
    }

    /// Returns the payload by reference; a borrowed one is copied once.
    fn body(&mut self) -> Bytes {
        match self.message.payload {
            Payload::Shared(bytes) => Bytes::clone(bytes),
            payload => {
                let ledger = self.scratch.ledger.as_ref();
                let copy = || payload.to_counted_bytes(ledger);
                self.body.get_or_insert_with(copy).clone()
            }
        }
    }
}

/// Appends `publish` to `out`, its payload by reference if `body` holds it.
#[inline]
pub(crate) fn write_publish(
    publish: &Publish<'_>,
    version: ProtocolVersion,
    body: Option<Bytes>,
    out: &mut WriteBuf,
) {
    encode_head(publish, version, out.frames());
    match body {
        Some(body) => out.push_body(body),
        None => out.push_frame(publish.payload),
    }
}

fn encode_head(publish: &Publish<'_>, version: ProtocolVersion, out: &mut Vec<u8>) -> Option<usize> {
    publish
        .encode_head(version, out)
        .expect("`outbound.rs` compared its size with what the receiver takes")
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use broker_types::PacketId;
    use proptest::prelude::*;

    use super::*;

    const V5: ProtocolVersion = ProtocolVersion::V5;
    const V311: ProtocolVersion = ProtocolVersion::V311;

    fn message<'a>(payload: Payload<'a>) -> MessageRef<'a> {
        MessageRef {
            topic: TopicRef::new("some/topic").unwrap(),
            payload,
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: &[0x01, 1],
            expiry: None,
        }
    }

    fn written(out: &WriteBuf) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = out.io_slices(&mut slices);
        slices[..used]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    proptest! {
        /// However many receivers with however many layouts: each gets exactly what the codec would have encoded for it.
        #[test]
        fn a_repeated_frame_is_the_frame(
            len in prop_oneof![0usize..300, SHARED_BODY_MIN - 2..SHARED_BODY_MIN + 2],
            shared: bool,
            receivers in prop::collection::vec(
                (any::<bool>(), 0u8..3, any::<bool>(), prop::option::of(0u32..2), prop::collection::vec(1u32..4, 0..3), any::<bool>()),
                1..40,
            ),
        ) {
            let bytes = Bytes::from(vec![7; len]);
            let payload = if shared { Payload::Shared(&bytes) } else { Payload::Borrowed(&bytes) };
            let mut scratch = OutgoingScratch::new();
            // What a message before left behind must not matter.
            for round in 0..2 {
                let mut outgoing = Outgoing::new(message(payload), Timestamp::ZERO, &mut scratch);
                for (i, (v5, qos, retain, expiry, ids, aliased)) in receivers.iter().enumerate() {
                    let version = if *v5 { V5 } else { V311 };
                    let ids: Vec<_> = ids.iter().filter_map(|id| SubscriptionId::new(*id)).collect();
                    let qos = QoS::from_bits(*qos).unwrap();
                    let mut publish = outgoing.message().publish(qos, *retain, *expiry, &ids);
                    publish.packet_id = PacketId::new(i as u16 + 1 + round).filter(|_| qos != QoS::AtMostOnce);
                    publish.topic_alias = aliased.then_some(3);
                    let mut out = WriteBuf::new();
                    outgoing.write(&publish, version, &mut out);
                    let mut expected = Vec::new();
                    publish.encode(version, &mut expected).unwrap();
                    prop_assert_eq!(written(&out), expected);
                }
            }
        }
    }

    #[test]
    fn the_kept_copy_is_made_once_and_shares_a_large_payload() {
        let bytes = vec![7; SHARED_BODY_MIN];
        let mut scratch = OutgoingScratch::new();
        let mut outgoing = Outgoing::new(message(Payload::Borrowed(&bytes)), Timestamp::ZERO, &mut scratch);
        let mut out = WriteBuf::new();
        let publish = outgoing.message().publish(QoS::AtMostOnce, false, None, &[]);
        outgoing.write(&publish, V5, &mut out);
        let first = Arc::clone(outgoing.shared());
        assert!(Arc::ptr_eq(&first, outgoing.shared()));
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(out.io_slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), first.payload().as_ptr());

        let mut scratch = OutgoingScratch::new();
        assert!(Arc::ptr_eq(
            &first,
            Outgoing::from_stored(&first, &mut scratch).shared()
        ));
    }
}
