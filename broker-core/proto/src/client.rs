//! The other end of a connection: an MQTT Client without I/O, for the commands that publish and subscribe, for bridges
//! and for tests. It is made of the same halves as the Server's Session, so there is one set of rules for Packet
//! Identifiers, flow control, sending again and QoS 2. It doesn't reconnect, subscribe again or wait: its driver does.
//!
//! The driver feeds what it reads ([`Client::handle_input`]), takes events until there is none ([`Client::poll_event`]; also
//! after it has written, because what waited for room may leave then), writes what is to be written ([`Client::output`]) and
//! arms one timer ([`Client::poll_timeout`]). That CONNACK comes in time is for the driver to see.
//!
//! Messages that were published and not acknowledged survive the connection: they are sent again when the Server still
//! has the Session, and published anew when it has not.

mod event;
mod requests;
mod state;
#[cfg(test)]
mod tests;

use broker_types::{Message, PacketId, ProtocolVersion, ReasonCode, SubscriptionId, Timestamp};

pub use self::event::{ClientError, ClientEvent, ClientLimits};
use self::state::State;
use crate::packet::{
    Auth, Connect, Disconnect, Packet, Subscribe, SubscribeFilters, Unsubscribe, UnsubscribeFilters,
    UserBlock,
};
use crate::{Decoder, Delivered, Token, WriteBuf};

/// An MQTT Client and its Session State.
#[derive(Debug)]
pub struct Client {
    input: Vec<u8>,
    /// How much of `input` has been decoded.
    read: usize,
    decoder: Decoder,
    state: State,
}

impl Client {
    /// Returns a Client without a connection and without Session State.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Self {
        Self {
            input: Vec::new(),
            read: 0,
            decoder: Decoder::client(ProtocolVersion::V5, 0),
            state: State::new(limits),
        }
    }

    /// Begins on a new Network Connection with CONNECT; whatever was there before is gone as with [`Self::handle_close`].
    /// Its Maximum Packet Size bounds what is read, also before 5.0.
    ///
    /// # Errors
    /// A field of it is too long.
    pub fn connect(&mut self, connect: &Connect<'_>) -> Result<(), ClientError> {
        self.handle_close();
        self.state.connect(connect)?;
        self.decoder = Decoder::client(connect.version, connect.packet_size_max.unwrap_or(u32::MAX));
        Ok(())
    }

    /// Takes bytes that came. Call [`Self::poll_event`] until there is none before the next.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// Decodes up to the next thing worth telling.
    ///
    /// # Errors
    /// The Server broke the protocol; the connection can't go on.
    pub fn poll_event(&mut self, now: Timestamp) -> Result<Option<ClientEvent<'_>>, ClientError> {
        loop {
            if let Some(event) = self.state.done.pop_front() {
                return Ok(Some(event));
            }
            let unread = &self.input[self.read..];
            let Some(frame) = self.decoder.frame_len(unread)?.and_then(|len| unread.get(..len)) else {
                self.state.pump(now);
                return Ok(self.state.done.pop_front());
            };
            self.read += frame.len();
            if let Some(event) = self.state.handle_packet(now, self.decoder.decode(frame)?)? {
                return Ok(Some(event));
            }
        }
    }

    /// Returns what is to be written; the driver takes from it what it has written.
    pub const fn output(&mut self) -> &mut WriteBuf {
        &mut self.state.output
    }

    /// Returns when [`Self::handle_timeout`] is due; [`Timestamp::NEVER`] if nothing is.
    #[must_use]
    pub fn poll_timeout(&self) -> Timestamp {
        self.state.timeout()
    }

    /// Sends PINGREQ if it is due.
    ///
    /// # Errors
    /// The one before has no answer yet.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Result<(), ClientError> {
        self.state.handle_timeout(now)
    }

    /// The Network Connection is gone, or will be. Session State stays; what was to be written is forgotten.
    pub fn handle_close(&mut self) {
        self.input.clear();
        self.read = 0;
        self.state.close();
        self.state.output.clear();
    }

    /// Publishes a message: at once if it may leave, else it waits or is dropped, as the answer says. Where the Server can't do
    /// it as it is, QoS is lowered to its Maximum QoS `[MQTT-3.2.2-11]` and RETAIN is not set `[MQTT-3.2.2-14]`.
    pub fn publish(&mut self, now: Timestamp, message: &Message) -> Delivered {
        self.state.publish(now, message)
    }

    /// Subscribes and returns the Packet Identifier that the answer will have. Requests without an answer are forgotten with
    /// the connection.
    ///
    /// # Errors
    /// There is no connection, or the packet is too large for the Server.
    pub fn subscribe(
        &mut self,
        filters: SubscribeFilters<'_>,
        subscription_id: Option<SubscriptionId>,
    ) -> Result<PacketId, ClientError> {
        self.state.request(|packet_id| {
            Packet::Subscribe(Subscribe {
                packet_id,
                subscription_id,
                user: UserBlock::EMPTY,
                filters,
            })
        })
    }

    /// Unsubscribes and returns the Packet Identifier that the answer will have.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn unsubscribe(&mut self, filters: UnsubscribeFilters<'_>) -> Result<PacketId, ClientError> {
        self.state.request(|packet_id| {
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                user: UserBlock::EMPTY,
                filters,
            })
        })
    }

    /// Gives a token back: the message is taken care of, or refused for `reason`. Its acknowledgement leaves when those
    /// before it have.
    pub fn accept(&mut self, token: Token, reason: ReasonCode) {
        self.state.accept(token, reason);
    }

    /// Returns how many tokens are out. A driver that lets messages wait stops reading at a bound.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.state.outstanding()
    }

    /// Returns how many QoS 1 and 2 messages the Server has not acknowledged and how many messages wait.
    #[must_use]
    pub fn unfinished(&self) -> (usize, usize) {
        self.state.unfinished()
    }

    /// Asks whether the Server is alive.
    ///
    /// # Errors
    /// There is no connection.
    pub fn ping(&mut self) -> Result<(), ClientError> {
        self.state.ping()
    }

    /// Sends a step of enhanced authentication.
    ///
    /// # Errors
    /// There is no connection, it is older than 5.0, or a field is too long.
    pub fn authenticate(&mut self, auth: &Auth<'_>) -> Result<(), ClientError> {
        let version = self.state.version().ok_or(ClientError::NotConnected)?;
        auth.put(version, &auth.properties, self.state.output.frames())?;
        Ok(())
    }

    /// Ends the connection with DISCONNECT: [`Self::output`] is to be written, then the connection closed.
    ///
    /// # Errors
    /// There is no connection, or a field is too long.
    pub fn disconnect(&mut self, disconnect: &Disconnect<'_>) -> Result<(), ClientError> {
        let version = self.state.version().ok_or(ClientError::NotConnected)?;
        disconnect.put(version, &disconnect.properties, self.state.output.frames())?;
        self.state.close();
        Ok(())
    }
}
