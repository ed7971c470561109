//! What each Control Packet of an established connection does. PUBLISH has its own file.

use std::borrow::Cow;

use broker_proto::{
    Ack, AckKind, AckOut, AckProperties, Disconnect, Outbound, Packet, PacketType, Progress, ProtocolError,
    SubAck, Subscribe, UnsubAck, Unsubscribe, UserBlock,
};
use broker_types::{PacketId, ReasonCode};
use bytes::Bytes;
use plugin_api::{ClientView, Event, EventKind};

use super::parked::{Parked, Resumed, SubscribeJob, UnsubscribeJob};
use super::run::{Connection, End};
use crate::engine::attach::Ending;
use crate::engine::core::tell;

/// Fills in who an event is about.
pub(crate) fn describe(event: &mut Event, client: &ClientView) {
    event.client = Some(client.handle);
    event.client_id = Some(client.id.clone());
    event.username.clone_from(&client.username);
    event.listener = Some(client.listener.clone());
    event.peer = Some(client.peer);
}

impl Connection {
    /// Does what the packet in `frame` says. `shared` is the same frame if its memory may be kept.
    pub(super) fn packet(&mut self, frame: &[u8], shared: Option<&Bytes>) -> Result<(), End> {
        self.shard.metrics.received.frame(frame);
        let packet = self
            .decoder
            .decode(frame)
            .map_err(|error| self.malformed(&error))?;
        match packet {
            Packet::Publish(publish) => {
                let payload = shared.map(|frame| frame.slice_ref(publish.payload));
                self.publish(&publish, payload.as_ref())
            }
            Packet::PubAck(ack) => self.finished(&ack, Outbound::handle_puback),
            Packet::PubRec(ack) => self.pubrec(&ack),
            Packet::PubRel(ack) => {
                if let Some(token) = self.inbound.handle_pubrel(ack.packet_id)? {
                    self.released(token, ack.packet_id);
                }
                Ok(())
            }
            Packet::PubComp(ack) => self.finished(&ack, Outbound::handle_pubcomp),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::PingReq => {
                if self.pings_ahead > 0 {
                    self.pings_ahead -= 1;
                } else {
                    self.reply(&Packet::PingResp);
                }
                Ok(())
            }
            Packet::Disconnect(disconnect) => Err(self.disconnected(&disconnect)),
            Packet::Auth(auth) => self.auth(&auth),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => Err(self.protocol_error("a second CONNECT")),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                unreachable!("the decoder refuses what only a server sends")
            }
        }
    }

    /// Appends a packet to this burst's answers.
    pub(super) fn reply(&mut self, packet: &Packet<'_>) {
        // A packet the client can't take is not sent [MQTT-3.1.2-24].
        match packet.encode_within(self.version, &self.answers, &mut self.shard.replies()) {
            Ok(()) => self.shard.metrics.sent.one(packet.packet_type()),
            Err(error) => tracing::debug!(client_id = %self.client.id, %error, "an answer is not sent"),
        }
    }

    /// Appends an acknowledgement, with the Reason String that belongs to it.
    pub(super) fn encode_ack(&mut self, ack: AckOut) {
        let text = match ack.reason.is_error() {
            false => None,
            true => self.rare.as_mut().and_then(|rare| {
                let at = rare.texts.iter().position(|(id, _)| *id == ack.packet_id)?;
                Some(rare.texts.swap_remove(at))
            }),
        };
        let Some((_, text)) = text else {
            ack.encode(self.version, &mut self.shard.replies());
            self.shard.metrics.sent.one(match ack.kind {
                AckKind::PubAck => PacketType::PubAck,
                AckKind::PubRec => PacketType::PubRec,
                AckKind::PubRel => PacketType::PubRel,
                AckKind::PubComp => PacketType::PubComp,
            });
            return;
        };
        let full = Ack {
            properties: AckProperties {
                reason_string: Some(&text),
                user: UserBlock::EMPTY,
            },
            ..Ack::new(ack.packet_id, ack.reason)
        };
        let packet = match ack.kind {
            AckKind::PubAck => Packet::PubAck(full),
            AckKind::PubRec => Packet::PubRec(full),
            AckKind::PubRel => Packet::PubRel(full),
            AckKind::PubComp => Packet::PubComp(full),
        };
        self.reply(&packet);
    }

    /// The client broke a rule.
    pub(super) fn protocol_error(&self, what: &'static str) -> End {
        self.shard.metrics.protocol_errors.one();
        End::with_text(ReasonCode::ProtocolError, what)
    }

    /// PUBACK or PUBCOMP came.
    fn finished(
        &mut self,
        ack: &Ack<'_>,
        handle: impl FnOnce(&mut Outbound, PacketId) -> Result<Progress, ProtocolError>,
    ) -> Result<(), End> {
        let progress = {
            let mut state = self.session.lock();
            if state.link_of(self.client.handle).is_none() {
                return Ok(());
            }
            let progress = handle(&mut state.outbound, ack.packet_id);
            state.note_records(&self.session);
            progress
        };
        self.progressed(ack, progress?);
        Ok(())
    }

    fn pubrec(&mut self, ack: &Ack<'_>) -> Result<(), End> {
        let progress = {
            let mut state = self.session.lock();
            let state = &mut *state;
            let Some(link) = state
                .link
                .as_deref_mut()
                .filter(|link| link.handle() == self.client.handle)
            else {
                return Ok(());
            };
            self.shard.lend_buffer(&mut link.out);
            let progress = state.pubrec(&self.session, ack.packet_id, ack.reason);
            self.shard.output_added(&self.session, state);
            if let Ok(Progress::Released { .. }) = progress {
                self.shard.metrics.sent.one(PacketType::PubRel);
            }
            progress
        };
        self.progressed(ack, progress?);
        Ok(())
    }

    fn progressed(&mut self, ack: &Ack<'_>, progress: Progress) {
        self.answered = true;
        if let Progress::Finished { .. } = progress {
            tell(self.chain.events(), EventKind::Acked, |event| {
                describe(event, &self.client);
                event.reason = Some(ack.reason);
            });
        }
    }

    fn subscribe(&mut self, packet: &Subscribe<'_>) -> Result<(), End> {
        self.park(Parked::new(SubscribeJob::new(self, packet).run()))
    }

    fn unsubscribe(&mut self, packet: &Unsubscribe<'_>) -> Result<(), End> {
        self.park(Parked::new(UnsubscribeJob::new(self, packet).run()))
    }

    /// Does a job that may have to wait. One that needn't is done when this returns.
    pub(super) fn park(&mut self, mut parked: Parked) -> Result<(), End> {
        match parked.try_now() {
            Some(resumed) => self.resume(resumed),
            None => {
                self.parked = Some(Box::new(parked));
                Ok(())
            }
        }
    }

    /// Goes on where a packet had to wait.
    pub(super) fn resume(&mut self, resumed: Resumed) -> Result<(), End> {
        match resumed {
            Resumed::Published(settled) => self.settle(settled),
            Resumed::Subscribed {
                packet_id,
                reasons,
                feeds,
            } => {
                self.feeds.append(feeds);
                self.reply(&Packet::SubAck(SubAck {
                    packet_id,
                    reasons: Cow::Owned(reasons),
                    properties: AckProperties::EMPTY,
                }));
                // SUBACK first: Retained Messages may come before it, but no client expects that.
                self.answer();
                self.feeds.advance(&self.shard, &self.session);
                Ok(())
            }
            Resumed::Unsubscribed { packet_id, reasons } => {
                if !self.feeds.is_empty() {
                    self.feeds.stop_unsubscribed(&self.session);
                }
                self.reply(&Packet::UnsubAck(UnsubAck {
                    packet_id,
                    reasons: Cow::Owned(reasons),
                    properties: AckProperties::EMPTY,
                }));
                Ok(())
            }
            Resumed::Controlled {
                token,
                outcome,
                reply,
            } => self.controlled(token, outcome, reply),
            Resumed::Challenged(step) => self.challenged(step),
            Resumed::Close => Err(End::silent(ReasonCode::UnspecifiedError, true)),
        }
    }

    fn disconnected(&self, packet: &Disconnect<'_>) -> End {
        // [MQTT-3.14.2-2]: a Session that was to end with the connection can't be kept now.
        if self.session_expiry == 0 && packet.session_expiry.is_some_and(|expiry| expiry != 0) {
            return self.protocol_error("the session expiry interval was zero and must stay so");
        }
        let ending = Ending {
            reason: packet.reason,
            by_server: false,
            will: packet.reason != ReasonCode::NORMAL_DISCONNECTION,
            expiry: packet
                .session_expiry
                .map(|expiry| expiry.min(self.session_expiry_max)),
        };
        End {
            ending,
            say: false,
            text: None,
        }
    }

    /// Notes the Reason String of an answer that is still to come.
    pub(super) fn note_text(&mut self, packet_id: Option<PacketId>, text: Option<String>) {
        if let (Some(id), Some(text), true) = (packet_id, text, self.version.is_v5()) {
            self.rare_mut().texts.push((id, text));
        }
    }
}
