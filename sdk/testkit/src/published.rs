//! What became of a message, as a test wants to ask it.

use broker_types::{Message, Properties, QoS};
use plugin_api::{DeliverFlow, Denial, Fault, Flow, Patch, WillFlow};

use crate::question::Verdict;

/// What `publish` made of a message.
#[derive(Clone, Debug)]
pub struct Published {
    original: Message,
    said: Result<Option<(Flow, Patch)>, Fault>,
}

impl Published {
    pub(crate) fn new(original: Message, said: Result<Verdict, Fault>) -> Self {
        let said = said.map(|verdict| match verdict {
            Verdict::Publish(flow, patch) => Some((flow, patch)),
            _ => None,
        });
        Self { original, said }
    }

    /// Returns how the chain goes on. A message that the plugin isn't interested in goes on.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn flow(&self) -> &Flow {
        self.kept().map_or(&Flow::Continue, |(flow, _)| flow)
    }

    /// Tells whether the plugin wasn't asked: it isn't interested in this topic or size.
    #[must_use]
    pub fn passed_by(&self) -> bool {
        matches!(self.said, Ok(None))
    }

    /// Returns why there is no verdict, if the hook faulted.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.said.as_ref().err()
    }

    /// Tells whether the message is acknowledged and goes nowhere.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn dropped(&self) -> bool {
        *self.flow() == Flow::Drop
    }

    /// Returns the refusal, if the message is refused.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn refused(&self) -> Option<&Denial> {
        match self.flow() {
            Flow::Reject(denial) | Flow::Disconnect(denial) => Some(denial),
            _ => None,
        }
    }

    /// Tells whether the message was changed.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn changed(&self) -> bool {
        self.message() != self.original
    }

    /// Returns the message as it is after this plugin.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn message(&self) -> Message {
        patched(&self.original, self.kept().map(|(_, patch)| patch))
    }

    /// Returns the messages that the plugin sends besides.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn emitted(&self) -> &[Message] {
        self.kept().map_or(&[], |(_, patch)| &patch.emitted)
    }

    /// Returns the Topic Name it goes to.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn topic(&self) -> String {
        self.message().topic.as_str().to_owned()
    }

    /// Returns the payload as text; what isn't UTF-8 is replaced.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message().payload).into_owned()
    }

    #[track_caller]
    fn kept(&self) -> Option<&(Flow, Patch)> {
        match &self.said {
            Ok(kept) => kept.as_ref(),
            Err(fault) => panic!("publish faulted: {fault}"),
        }
    }
}

/// What subscribers get of a message, or of a Will Message that fires.
#[derive(Clone, Debug)]
pub struct Delivered {
    original: Message,
    said: Result<Option<(bool, Patch)>, Fault>,
}

impl Delivered {
    pub(crate) fn new(original: Message, said: Result<Verdict, Fault>) -> Self {
        let said = said.map(|verdict| match verdict {
            Verdict::Deliver(flow, patch) => Some((flow == DeliverFlow::Drop, patch)),
            Verdict::Will(flow, patch) => Some((flow == WillFlow::Drop, patch)),
            _ => None,
        });
        Self { original, said }
    }

    /// Returns the message that they get; `None`: nothing.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        match &self.said {
            Err(fault) => panic!("it faulted: {fault}"),
            Ok(Some((true, _))) => None,
            Ok(kept) => Some(patched(&self.original, kept.as_ref().map(|(_, patch)| patch))),
        }
    }

    /// Returns the payload that they get as text; what isn't UTF-8 is replaced.
    ///
    /// # Panics
    /// The hook faulted.
    #[track_caller]
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let message = self.message()?;
        Some(String::from_utf8_lossy(&message.payload).into_owned())
    }

    /// Returns why there is no verdict, if the hook faulted.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.said.as_ref().err()
    }
}

fn patched(original: &Message, patch: Option<&Patch>) -> Message {
    let mut message = original.clone();
    let Some(patch) = patch.cloned() else {
        return message;
    };
    message.topic = patch.topic.unwrap_or(message.topic);
    message.payload = patch.payload.unwrap_or(message.payload);
    message.qos = patch.qos.map_or(message.qos, |qos: QoS| qos.min(message.qos));
    message.retain = patch.retain.unwrap_or(message.retain);
    message.properties = patch
        .properties
        .unwrap_or_else(|| std::mem::replace(&mut message.properties, Properties::EMPTY));
    message.expiry = patch.expiry.unwrap_or(message.expiry);
    message
}
