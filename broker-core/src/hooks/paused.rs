//! Standing in for an instance while its state is handed on: whoever calls waits at a gate, and is answered by the instance
//! that the gate is opened with. A connection that waits is parked like one whose plugin is slow, so nothing is lost and the
//! order stays.
//!
//! The hooks that have to answer at once (accept, retain, the choice in Shared Subscriptions) can't wait; the instance that
//! is on its way out answers them to the last.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use broker_types::{Message, ReasonCode, Source, TopicRef};
use plugin_api::{
    AclDecision, AclRequest, Action, Answer, AuthRequest, AuthVerdict, Authenticate, Authorize, Capabilities,
    Connect, ConnectEdit, ConnectFlow, Control, ControlRequest, Cx, Deliver, DeliverFlow, Denial, Event,
    Events, Exchange, ExchangeRequest, ExchangeVerdict, Fault, Flow, MessageEdit, MessageParts, Patch,
    Publish, Scoped, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, Will, WillFlow,
};
use tokio::sync::watch;

use super::authorize::OwnedItem;
use super::instance::Instance;

/// Who holds the gate. Dropped without a word, it makes all who wait fail.
pub(crate) struct Gate(watch::Sender<Option<Arc<Capabilities>>>);

impl Gate {
    /// Lets those who wait go on, to `instance`.
    pub(crate) fn open(self, instance: &Instance) {
        self.0.send_replace(Some(Arc::new(instance.offered.clone())));
    }
}

/// Those who wait.
#[derive(Clone)]
struct Waiting(watch::Receiver<Option<Arc<Capabilities>>>);

impl Waiting {
    async fn opened(&self) -> Result<Arc<Capabilities>, Fault> {
        let mut gate = self.0.clone();
        let opened = gate.wait_for(Option::is_some).await;
        let opened = opened.ok().and_then(|opened| opened.clone());
        opened.ok_or_else(|| Fault::backend("it was being swapped when the broker stopped"))
    }
}

/// Returns what stands in chains for `before` until the gate is opened. It counts as a use of `after`, and its calls may take
/// longer by `patience`.
pub(crate) fn pause(before: &Instance, after: &Instance, patience: Duration) -> (Arc<Instance>, Gate) {
    let (gate, waiting) = watch::channel(None);
    let waiting = Arc::new(Waiting(waiting));
    let had = &before.offered;
    let offered = Capabilities {
        accept: had.accept.clone(),
        connect: had.connect.as_ref().map(|_| waiting.clone() as _),
        authenticate: had.authenticate.as_ref().map(|_| waiting.clone() as _),
        exchange: { had.exchange.as_ref() }.map(|(methods, _)| (methods.clone(), waiting.clone() as _)),
        authorize: had.authorize.as_ref().map(|_| waiting.clone() as _),
        authorize_receive: had.authorize_receive,
        subscribe: had.subscribe.as_ref().map(|_| waiting.clone() as _),
        unsubscribe: had.unsubscribe.as_ref().map(|_| waiting.clone() as _),
        publish: { had.publish.as_ref() }.map(|scoped| scope(scoped, waiting.clone() as _)),
        retain: had.retain.clone(),
        deliver: { had.deliver.as_ref() }.map(|scoped| scope(scoped, waiting.clone() as _)),
        will: had.will.as_ref().map(|_| waiting.clone() as _),
        events: { had.events.as_ref() }.map(|(mask, _)| (*mask, waiting.clone() as _)),
        control: { had.control.as_ref() }.map(|(prefixes, _)| (prefixes.clone(), waiting.clone() as _)),
        share_pick: had.share_pick.clone(),
        session_store: None,
        bridge: None,
    };
    let instance = Instance {
        plugin: after.plugin.clone(),
        offered,
        at_work: after.at_work.clone(),
        patience,
    };
    (Arc::new(instance), Gate(gate))
}

fn scope<H: ?Sized>(like: &Scoped<H>, hook: Arc<H>) -> Scoped<H> {
    Scoped {
        hook,
        filters: like.filters.clone(),
        needs: like.needs,
    }
}

/// Returns the hook if it wants this message: its interest may not be what its predecessor's was.
fn wanting<'s, H: ?Sized>(
    scoped: Option<&'s Scoped<H>>,
    topic: TopicRef<'_>,
    payload: usize,
) -> Option<&'s H> {
    let scoped = scoped?;
    let wants = scoped.filters.is_empty() || scoped.filters.iter().any(|filter| filter.matches(topic));
    (wants && payload <= scoped.needs.payload_bytes_max).then_some(&*scoped.hook)
}

#[async_trait]
impl Connect for Waiting {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        match &self.opened().await?.connect {
            Some(hook) => hook.connect(cx, edit).await,
            None => Ok(ConnectFlow::Continue),
        }
    }
}

#[async_trait]
impl Authenticate for Waiting {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        match &self.opened().await?.authenticate {
            Some(hook) => hook.authenticate(cx, request).await,
            None => Ok(AuthVerdict::Skip),
        }
    }
}

#[async_trait]
impl Exchange for Waiting {
    async fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        match &self.opened().await?.exchange {
            Some((methods, hook)) if methods.iter().any(|method| method == request.method) => {
                hook.exchange(cx, request).await
            }
            _ => Ok(ExchangeVerdict::Deny(Denial::new(
                ReasonCode::BadAuthenticationMethod,
            ))),
        }
    }
}

impl Authorize for Waiting {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        _: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let (gate, client, budget, action) = (self.clone(), cx.client.clone(), cx.budget, request.action);
        let items: Vec<_> = request.items.iter().map(OwnedItem::from).collect();
        Answer::later(async move {
            let opened = gate.opened().await?;
            let Some(hook) = &opened.authorize else {
                return Ok(vec![AclDecision::default(); items.len()]);
            };
            if action == Action::Receive && !opened.authorize_receive {
                return Ok(vec![AclDecision::default(); items.len()]);
            }
            let (answer, out) = {
                let items: Vec<_> = items.iter().map(OwnedItem::lend).collect();
                let mut out = vec![AclDecision::default(); items.len()];
                let (client, items) = (&client, &*items);
                let request = AclRequest { action, items };
                (hook.authorize(&Cx { client, budget }, &request, &mut out), out)
            };
            match answer {
                Answer::Now(answer) => answer.map(|()| out),
                Answer::Later(answer) => answer.await,
            }
        })
    }
}

#[async_trait]
impl Subscribe for Waiting {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        match &self.opened().await?.subscribe {
            Some(hook) => hook.subscribe(cx, edit).await,
            None => Ok(SubscribeFlow::Continue),
        }
    }
}

#[async_trait]
impl Unsubscribe for Waiting {
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        match &self.opened().await?.unsubscribe {
            Some(hook) => hook.unsubscribe(cx, edit).await,
            None => Ok(()),
        }
    }
}

impl Publish for Waiting {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let (gate, client, budget) = (self.clone(), cx.client.clone(), cx.budget);
        let owned = Owned::of(message);
        Answer::later(async move {
            let opened = gate.opened().await?;
            owned
                .ask(&opened.publish, Flow::Continue, |hook, message| {
                    hook.publish(
                        &Cx {
                            client: &client,
                            budget,
                        },
                        message,
                    )
                })
                .await
        })
    }
}

impl Deliver for Waiting {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        let (gate, owned) = (self.clone(), Owned::of(message));
        Answer::later(async move {
            let opened = gate.opened().await?;
            owned
                .ask(&opened.deliver, DeliverFlow::Continue, |hook, message| {
                    hook.deliver(class, message)
                })
                .await
        })
    }
}

#[async_trait]
impl Will for Waiting {
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        match &self.opened().await?.will {
            Some(hook) => hook.will(cx, message).await,
            None => Ok(WillFlow::Continue),
        }
    }
}

#[async_trait]
impl Events for Waiting {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        match &self.opened().await?.events {
            Some((mask, hook)) if batch.iter().all(|event| mask.contains(event.kind)) => {
                hook.notify(batch).await
            }
            Some((mask, hook)) => {
                let wanted = batch.iter().filter(|event| mask.contains(event.kind));
                hook.notify(&wanted.cloned().collect::<Vec<_>>()).await
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Control for Waiting {
    async fn control(
        &self,
        cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        match &self.opened().await?.control {
            Some((_, hook)) => hook.control(cx, request).await,
            None => Ok(Err(ReasonCode::NotAuthorized)),
        }
    }
}

/// A message that waits, as the slots before left it.
struct Owned {
    message: Message,
    source: Source,
    dup: bool,
}

impl Owned {
    fn of(message: &MessageEdit<'_>) -> Self {
        Self {
            message: message.to_message(),
            source: message.source(),
            dup: message.dup(),
        }
    }

    /// Asks the hook that is there now, if it wants the message.
    async fn ask<H: ?Sized, F>(
        &self,
        scoped: &Option<Scoped<H>>,
        otherwise: F,
        ask: impl FnOnce(&H, &mut MessageEdit<'_>) -> Answer<F, (F, Patch)>,
    ) -> Result<(F, Patch), Fault> {
        let (topic, payload) = (self.message.topic.as_ref(), self.message.payload.len());
        let answer = match wanting(scoped.as_ref(), topic, payload) {
            None => return Ok((otherwise, Patch::default())),
            Some(hook) => {
                let mut edit = MessageEdit::new(MessageParts {
                    dup: self.dup,
                    ..MessageParts::of(&self.message, self.source)
                });
                match ask(hook, &mut edit) {
                    Answer::Later(answer) => Err(answer),
                    Answer::Now(answer) => {
                        Ok(answer.map(|flow| (flow, edit.drafted().cloned().unwrap_or_default())))
                    }
                }
            }
        };
        match answer {
            Ok(answer) => answer,
            Err(later) => later.await,
        }
    }
}
