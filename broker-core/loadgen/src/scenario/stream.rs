//! One publisher that waits for acknowledgements only, and one receiver that takes what comes: the two halves of what is
//! kept and handed out later.

use broker_types::ProtocolVersion;

use super::{PATIENCE, waited};
use crate::clients::{Clients, Outs, Talk};
use crate::ledger::Ledger;
use crate::packet::{CONNACK, Frame, PUBACK, PUBLISH, Template, answer, stamp};
use crate::{Faults, LoadError};

/// Publishes one QoS 1 message after the other.
pub(super) struct Publishing {
    pub(super) who: usize,
    pub(super) template: Template,
    /// Where in the topic the message's number stands.
    pub(super) topic_number_at: Option<usize>,
    pub(super) count: u64,
    pub(super) window: u64,
    sent: u64,
    acked: u64,
    refused: u64,
}

impl Publishing {
    pub(super) fn new(who: usize, template: Template, count: u64, window: u64) -> Self {
        Self {
            who,
            template,
            topic_number_at: None,
            count,
            window,
            sent: 0,
            acked: 0,
            refused: 0,
        }
    }

    /// Publishes until all is acknowledged.
    pub(super) fn run(&mut self, clients: &mut Clients) -> Result<(), LoadError> {
        self.round_ends(clients.outs())?;
        waited(clients.talk(PATIENCE, self)?, "publishing")
    }

    /// What the acknowledgements said.
    pub(super) fn faults(&self) -> Faults {
        Faults {
            refused: self.refused,
            ..Faults::default()
        }
    }
}

impl Talk for Publishing {
    fn packet(&mut self, _: &mut Outs, _: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        if frame.kind() == PUBACK {
            self.acked += 1;
            self.refused += u64::from(frame.body().get(2).is_some_and(|&code| code >= 0x80));
        }
        Ok(())
    }

    fn round_ends(&mut self, outs: &mut Outs) -> Result<(), LoadError> {
        let until = (self.acked + self.window).min(self.count);
        if self.sent == until {
            return Ok(());
        }
        outs.send_with(self.who, |out| {
            for number in self.sent..until {
                if let Some(at) = self.topic_number_at {
                    self.template.number_topic(at, number as usize);
                }
                self.template.append(out, 0, number);
            }
        });
        self.sent = until;
        Ok(())
    }

    fn done(&self) -> bool {
        self.acked == self.count
    }
}

/// Takes messages, in any order if they are retained, and acknowledges them.
pub(super) struct Receiving {
    pub(super) version: ProtocolVersion,
    pub(super) ledger: Ledger,
    pub(super) count: u64,
}

impl Receiving {
    /// Takes messages until all came. False: the rest never did.
    pub(super) fn run(&mut self, clients: &mut Clients) -> Result<bool, LoadError> {
        clients.talk(PATIENCE, self)
    }
}

impl Talk for Receiving {
    fn packet(&mut self, outs: &mut Outs, from: usize, frame: &Frame<'_>) -> Result<(), LoadError> {
        match frame.kind() {
            PUBLISH => {}
            CONNACK if frame.body()[1] != 0 => return Err(LoadError::connack(frame, self.version)),
            _ => return Ok(()),
        }
        let (publisher, number) = stamp(frame.payload(self.version))
            .filter(|&(publisher, number)| publisher == 0 && number < self.count)
            .ok_or_else(|| LoadError::unexpected(frame))?;
        if frame.qos() > 0 {
            outs.send(from, &answer(PUBACK, frame.id()));
        }
        self.ledger.note(0, publisher, number);
        Ok(())
    }

    fn done(&self) -> bool {
        self.ledger.received() == self.count
    }
}
