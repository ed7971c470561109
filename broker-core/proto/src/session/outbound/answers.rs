//! What the Client's answers change. None of them sends a waiting message: answers come in batches, and
//! [`Outbound::pump`] is called once behind them.

use broker_types::{PacketId, QoS, ReasonCode};

use super::{Outbound, Progress, Record};
use crate::AckKind;
use crate::session::ProtocolError;
use crate::session::inflight::Phase;
use crate::write_buf::WriteBuf;

impl Outbound {
    /// PUBACK came. One with 0x80 and above ends the delivery too `[MQTT-4.4.0-2]`.
    ///
    /// # Errors
    /// The Packet Identifier stands for a QoS 2 message.
    #[inline]
    pub fn handle_puback(&mut self, id: PacketId) -> Result<Progress, ProtocolError> {
        match self.inflight.get_mut(id) {
            Some(slot) if slot.terms.qos != QoS::AtLeastOnce => Err(unexpected(AckKind::PubAck, id)),
            Some(_) => Ok(self.finish(id)),
            None => Ok(Progress::Unchanged),
        }
    }

    /// PUBREC came. An unknown Packet Identifier is answered too, in 5.0 with 0x92, so that the Client can forget it.
    ///
    /// # Errors
    /// The Packet Identifier stands for a QoS 1 message.
    pub fn handle_pubrec(
        &mut self,
        id: PacketId,
        reason: ReasonCode,
        out: &mut WriteBuf,
    ) -> Result<Progress, ProtocolError> {
        let Some(connection) = &self.connection else {
            return Ok(Progress::Unchanged);
        };
        let mut answer = ReasonCode::Success;
        let mut progress = Progress::Unchanged;
        match self.inflight.get_mut(id) {
            Some(slot) if slot.terms.qos != QoS::ExactlyOnce => return Err(unexpected(AckKind::PubRec, id)),
            Some(_) if reason.is_error() => return Ok(self.finish(id)),
            None if reason.is_error() => return Ok(Progress::Unchanged),
            None => answer = ReasonCode::PacketIdentifierNotFound,
            Some(slot) if slot.phase == Phase::Sent => {
                slot.phase = Phase::Released;
                slot.message = None;
                progress = Progress::Released { seq: slot.seq };
            }
            Some(_) => {}
        }
        AckKind::PubRel.encode(connection.version, id, answer, out.frames());
        if let Progress::Released { seq } = progress {
            self.record(Record::Released { seq });
        }
        Ok(progress)
    }

    /// PUBCOMP came, with whatever Reason Code.
    ///
    /// # Errors
    /// The Packet Identifier is under way, but no PUBREL was sent for it.
    pub fn handle_pubcomp(&mut self, id: PacketId) -> Result<Progress, ProtocolError> {
        match self.inflight.get_mut(id) {
            Some(slot) if slot.phase != Phase::Released => Err(unexpected(AckKind::PubComp, id)),
            Some(_) => Ok(self.finish(id)),
            None => Ok(Progress::Unchanged),
        }
    }

    /// Takes a message out of those under way; a place that it took of the Receive Maximum is free again (section 4.9).
    pub(super) fn finish(&mut self, id: PacketId) -> Progress {
        let Some(slot) = self.inflight.remove(id) else {
            return Progress::Unchanged;
        };
        if let Some(connection) = self.connection.as_mut().filter(|_| slot.counted) {
            connection.quota += 1;
        }
        self.record(Record::Finished { seq: slot.seq });
        Progress::Finished { seq: slot.seq }
    }
}

const fn unexpected(kind: AckKind, packet_id: PacketId) -> ProtocolError {
    ProtocolError::AckUnexpected { kind, packet_id }
}
