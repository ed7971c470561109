//! The embedding program as a client of its own broker, and as a bringer of connections. A link is an MQTT 5.0 client whose
//! packets never leave the process: it passes the same chain, has the same Session, limits and flow control as any other,
//! so there is one set of rules. `docs/decisions/0012-links-speak-mqtt.md` says why, and what it costs.
//!
//! | file | subject |
//! |---|---|
//! | `builder` | who the link is, and its way in |
//! | `driver` | the task on a shard that speaks MQTT for it |
//! | `serve` | streams that the program brings |

mod builder;
mod driver;
mod serve;

use std::sync::Arc;

use broker_proto::{SubscribeOptions, Token};
use broker_types::{Message, QoS, ReasonCode, SubscriptionId};
use tokio::sync::{mpsc, oneshot};

pub use builder::LinkBuilder;
use driver::{Command, Ended};

/// Why a link can't do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The broker refused it, and says why.
    #[error("refused: {}", .0)]
    Refused(ReasonCode),
    /// The connection has ended, for this reason.
    #[error("the link has ended: {}", .0)]
    Ended(ReasonCode),
    /// The message waited, and expired or was larger than the broker takes.
    #[error("the message was dropped before the broker took it")]
    Dropped,
    /// What was asked makes no sense, as a Topic Filter of more than 65,535 bytes.
    #[error("{0}")]
    Invalid(String),
    /// No listener has this name.
    #[error("there is no listener `{0}`")]
    NoListener(String),
    /// The broker has stopped.
    #[error("the broker has stopped")]
    Stopped,
}

/// The program's own connection to its broker. Usable from any runtime. Dropping it ends the connection without DISCONNECT, so
/// that its Will Message is published; [`Self::close`] ends it in order.
///
/// ```no_run
/// # async fn example(broker: broker_core::Broker) -> Result<(), Box<dyn std::error::Error>> {
/// use broker_types::{Message, QoS, TopicName};
///
/// let mut link = broker.handle().link("dashboard").username("svc").connect().await?;
/// link.subscribe("dev/+/status", QoS::AtLeastOnce).await?;
/// link.publish(Message::new(TopicName::new("dev/all/report")?, "now")).await?;
/// while let Some(received) = link.recv().await {
///     println!("{}", received.message.topic);
///     received.ack();
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "the link ends when it is dropped"]
pub struct Link {
    sender: LinkSender,
    deliveries: mpsc::Receiver<Received>,
    session_present: bool,
    client_id: String,
}

/// The half of a [`Link`] that asks things of the broker: to be cloned and used while another task receives. The connection
/// lives as long as the link.
#[derive(Clone, Debug)]
pub struct LinkSender {
    commands: mpsc::Sender<Command>,
    ended: Arc<Ended>,
}

/// A message that came.
#[derive(Debug)]
#[must_use = "a message with QoS 1 or 2 that isn't acknowledged comes again with the next connection"]
pub struct Received {
    /// The message, with the QoS it is delivered with.
    pub message: Message,
    /// The Subscription Identifiers of the subscriptions that it matched.
    pub subscription_ids: Vec<SubscriptionId>,
    answer: Option<Answer>,
}

/// Which message, and what is said about it.
type Ack = (Token, ReasonCode);

/// How a message with QoS 1 or 2 is acknowledged.
#[derive(Debug)]
struct Answer {
    token: Token,
    /// Has at most as many as messages are out: the link's Receive Maximum.
    ack: mpsc::UnboundedSender<Ack>,
}

impl Received {
    /// Acknowledges a message with QoS 1 or 2; does nothing for QoS 0. Messages that aren't acknowledged use up the Receive
    /// Maximum of the link, then no more come.
    pub fn ack(self) {
        self.answer(ReasonCode::Success);
    }

    /// Refuses a message with QoS 1 or 2, with a Reason Code of 0x80 or above. The broker drops it.
    pub fn refuse(self, reason: ReasonCode) {
        self.answer(reason);
    }

    fn answer(self, reason: ReasonCode) {
        if let Some(Answer { token, ack }) = self.answer {
            // The connection may be gone; then the message comes again.
            let _ = ack.send((token, reason));
        }
    }
}

impl Link {
    /// Returns the next message; `None` when the connection has ended. Safe to be dropped half-way. Up to 64 messages wait for
    /// it, and more in the Session.
    pub async fn recv(&mut self) -> Option<Received> {
        self.deliveries.recv().await
    }

    /// Returns a message that has come already.
    pub fn try_recv(&mut self) -> Option<Received> {
        self.deliveries.try_recv().ok()
    }

    /// Returns a half that publishes and subscribes while another task receives.
    #[must_use]
    pub fn sender(&self) -> LinkSender {
        self.sender.clone()
    }

    /// Tells whether the broker had a Session for this Client Identifier.
    #[must_use]
    pub const fn session_present(&self) -> bool {
        self.session_present
    }

    /// Returns its Client Identifier, also if the broker chose it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Publishes a message, see [`LinkSender::publish`].
    ///
    /// # Errors
    /// As there.
    pub async fn publish(&self, message: Message) -> Result<(), LinkError> {
        self.sender.publish(message).await
    }

    /// Subscribes, see [`LinkSender::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<QoS, LinkError> {
        self.sender.subscribe(filter, qos).await
    }

    /// Unsubscribes, see [`LinkSender::unsubscribe`].
    ///
    /// # Errors
    /// As there.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), LinkError> {
        self.sender.unsubscribe(filter).await
    }

    /// Ends the connection with DISCONNECT: its Will Message is not published. Returns when the broker has got it.
    pub async fn close(self) {
        // Whatever ended it before is as good.
        let _ = self.sender.ask(|done| Command::Disconnect { done }).await;
    }
}

impl LinkSender {
    /// Publishes a message. With QoS 0 it returns when the broker may take it; with QoS 1 and 2 when the broker has acknowledged
    /// it, as safe as the store makes it. Where too much is under way, it waits.
    ///
    /// # Errors
    /// A plugin or a limit refuses it, it was dropped, or the link has ended: then it isn't known whether the broker has it.
    pub async fn publish(&self, message: Message) -> Result<(), LinkError> {
        self.ask(|done| Command::Publish {
            message: Box::new(message),
            done,
        })
        .await?
    }

    /// Subscribes to a Topic Filter, which may be one of a Shared Subscription, and returns the QoS that was granted.
    ///
    /// # Errors
    /// A plugin or a limit refuses it, or the link has ended.
    pub async fn subscribe(&self, filter: &str, qos: QoS) -> Result<QoS, LinkError> {
        let options = SubscribeOptions {
            qos,
            ..SubscribeOptions::default()
        };
        self.subscribe_with(filter, options, None).await
    }

    /// Subscribes with all options of MQTT 5.0 and a Subscription Identifier.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub async fn subscribe_with(
        &self,
        filter: &str,
        options: SubscribeOptions,
        id: Option<SubscriptionId>,
    ) -> Result<QoS, LinkError> {
        let filter = filter.to_owned();
        let reason = self.ask(|done| Command::Subscribe {
            filter,
            options,
            id,
            done,
        });
        match reason.await?? {
            ReasonCode::Success => Ok(QoS::AtMostOnce),
            ReasonCode::GrantedQoS1 => Ok(QoS::AtLeastOnce),
            ReasonCode::GrantedQoS2 => Ok(QoS::ExactlyOnce),
            refused => Err(LinkError::Refused(refused)),
        }
    }

    /// Unsubscribes from a Topic Filter. That there was no such subscription is no error.
    ///
    /// # Errors
    /// A plugin refuses it, or the link has ended.
    pub async fn unsubscribe(&self, filter: &str) -> Result<(), LinkError> {
        let filter = filter.to_owned();
        let reason = self.ask(|done| Command::Unsubscribe { filter, done }).await??;
        match reason.is_error() {
            true => Err(LinkError::Refused(reason)),
            false => Ok(()),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, LinkError> {
        let (done, answer) = oneshot::channel();
        if self.commands.send(command(done)).await.is_err() {
            return Err(self.ended.error());
        }
        answer.await.map_err(|_| self.ended.error())
    }
}
