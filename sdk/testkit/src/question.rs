//! One call of a hook as a value: what is asked, how to ask it, and what was said. Everything else here makes questions
//! and reads verdicts, so each hook is called in one place.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{Message, QoS, ReasonCode, Source, TopicName};
use bytes::Bytes;
use plugin_api::{
    AcceptVerdict, AclDecision, AclItem, AclRequest, AclVerdict, Action, Answer, AuthRequest, AuthVerdict,
    Capabilities, ClientView, ConnectEdit, ConnectFlow, ControlRequest, Cx, DeliverFlow, Denial, Event,
    ExchangePhase, ExchangeRequest, ExchangeVerdict, Fault, FaultKind, Flow, Incoming, MessageEdit,
    MessageParts, Patch, RetainVerdict, ShareMember, SubscribeEdit, SubscribeFlow, UnsubscribeEdit, WillFlow,
};

/// The time a call may take, as it is told to the plugin.
const BUDGET: Duration = Duration::from_secs(5);

/// One thing that an authorizer decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The Topic Name, or the Topic Filter of a subscription.
    pub topic: String,
    /// The QoS wanted.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Share Name.
    pub share: Option<String>,
}

/// What a hook is asked. It owns everything, so that it can be asked again.
#[derive(Clone, Debug)]
pub enum Question {
    /// May this Network Connection begin?
    Accept(Incoming),
    /// What becomes of this CONNECT?
    Connect(Arc<ClientView>, ConnectEdit),
    /// Who is this, with this Password?
    Authenticate(Arc<ClientView>, Option<Vec<u8>>),
    /// What follows in this exchange?
    Exchange {
        /// The client.
        client: Arc<ClientView>,
        /// Where the exchange stands.
        phase: ExchangePhase,
        /// Its number.
        exchange: u64,
        /// The Authentication Method.
        method: String,
        /// The Authentication Data.
        data: Option<Vec<u8>>,
    },
    /// May the client do this?
    Authorize(Arc<ClientView>, Action, Vec<Item>),
    /// What becomes of this subscription?
    Subscribe(Arc<ClientView>, SubscribeEdit),
    /// Which filter is given up?
    Unsubscribe(Arc<ClientView>, UnsubscribeEdit),
    /// What becomes of this message?
    Publish(Arc<ClientView>, Message, Source),
    /// Is it retained?
    Retain(Message),
    /// What do the subscribers of this class get?
    Deliver(u32, Message),
    /// What becomes of this Will Message?
    Will(Arc<ClientView>, Message),
    /// This happened.
    Events(Vec<Event>),
    /// What is the answer to this request?
    Control(Arc<ClientView>, TopicName, Bytes),
    /// Which member of this group gets it?
    SharePick {
        /// The Share Name.
        share: String,
        /// The Topic Filter.
        filter: String,
        /// The members.
        members: Vec<ShareMember>,
        /// The message.
        message: Message,
    },
}

/// What a hook said. A fault is none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// About a Network Connection.
    Accept(AcceptVerdict),
    /// About a CONNECT, and what was changed of it.
    Connect(ConnectFlow, ConnectEdit),
    /// About credentials.
    Authenticate(AuthVerdict),
    /// About a step of an exchange.
    Exchange(ExchangeVerdict),
    /// About each item.
    Authorize(Vec<AclDecision>),
    /// About a subscription, and what was changed of it.
    Subscribe(SubscribeFlow, SubscribeEdit),
    /// About an unsubscription: what was changed of it.
    Unsubscribe(UnsubscribeEdit),
    /// About a message, and its changes.
    Publish(Flow, Patch),
    /// About retaining.
    Retain(RetainVerdict),
    /// About a message on its way out, and its changes.
    Deliver(DeliverFlow, Patch),
    /// About a Will Message, and its changes.
    Will(WillFlow, Patch),
    /// Events were noted.
    Noted,
    /// The reply to a request, or why there is none.
    Control(Result<Vec<u8>, ReasonCode>),
    /// A member of a group; `None`: the broker may choose.
    SharePick(Option<usize>),
    /// The hook isn't called: the message's topic or size is none that the plugin wants.
    PassedBy,
}

impl Question {
    /// Returns the hook's name in the configuration.
    #[must_use]
    pub const fn hook(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept",
            Self::Connect(..) => "connect",
            Self::Authenticate(..) => "authenticate",
            Self::Exchange { .. } => "exchange",
            Self::Authorize(..) => "authorize",
            Self::Subscribe(..) => "subscribe",
            Self::Unsubscribe(..) => "unsubscribe",
            Self::Publish(..) => "publish",
            Self::Retain(_) => "retain",
            Self::Deliver(..) => "deliver",
            Self::Will(..) => "will",
            Self::Events(_) => "events",
            Self::Control(..) => "control",
            Self::SharePick { .. } => "share-pick",
        }
    }

    /// Returns the length of the payload that comes with it.
    #[must_use]
    pub const fn payload_bytes(&self) -> usize {
        match self {
            Self::Publish(_, message, _)
            | Self::Retain(message)
            | Self::Deliver(_, message)
            | Self::Will(_, message)
            | Self::SharePick { message, .. } => message.payload.len(),
            Self::Control(_, _, payload) => payload.len(),
            _ => 0,
        }
    }

    /// Puts the question to a plugin, as a broker would: a message that the plugin doesn't want passes it by, and after a
    /// fault nothing of its changes is kept. `None`: the plugin hasn't this hook.
    pub async fn ask(&self, hooks: &Capabilities) -> Option<Result<Verdict, Fault>> {
        Some(match self {
            Self::Accept(incoming) => hooks.accept.as_ref()?.accept(incoming).map(Verdict::Accept),
            Self::Connect(client, edit) => {
                let mut edit = edit.clone();
                let flow = hooks.connect.as_ref()?.connect(&cx(client), &mut edit).await;
                flow.map(|flow| Verdict::Connect(flow, edit))
            }
            Self::Authenticate(client, password) => {
                let hook = hooks.authenticate.as_ref()?;
                let request = request(client, password.as_deref());
                hook.authenticate(&cx(client), &request)
                    .await
                    .map(Verdict::Authenticate)
            }
            Self::Exchange {
                client,
                phase,
                exchange,
                method,
                data,
            } => {
                let request = ExchangeRequest {
                    phase: *phase,
                    exchange: *exchange,
                    method,
                    data: data.as_deref(),
                };
                let (_, hook) = hooks.exchange.as_ref()?;
                hook.exchange(&cx(client), &request).await.map(Verdict::Exchange)
            }
            Self::Authorize(client, action, items) => authorize(hooks, client, *action, items).await?,
            Self::Subscribe(client, edit) => {
                let mut edit = edit.clone();
                let hook = hooks.subscribe.as_ref()?;
                let flow = hook.subscribe(&cx(client), &mut edit).await;
                flow.map(|flow| Verdict::Subscribe(flow, edit))
            }
            Self::Unsubscribe(client, edit) => {
                let mut edit = edit.clone();
                let hook = hooks.unsubscribe.as_ref()?;
                let done = hook.unsubscribe(&cx(client), &mut edit).await;
                done.map(|()| Verdict::Unsubscribe(edit))
            }
            Self::Publish(client, message, source) => publish(hooks, client, message, *source).await?,
            Self::Retain(message) => hooks.retain.as_ref()?.retain(message).map(Verdict::Retain),
            Self::Deliver(class, message) => deliver(hooks, *class, message).await?,
            Self::Will(client, message) => {
                let hook = hooks.will.as_ref()?;
                let mut edit = MessageEdit::new(MessageParts::of(message, Source::Will));
                let flow = hook.will(&cx(client), &mut edit).await;
                flow.map(|flow| Verdict::Will(flow, changes(&mut edit)))
            }
            Self::Events(batch) => {
                let (mask, hook) = hooks.events.as_ref()?;
                let wanted: Vec<_> = batch
                    .iter()
                    .filter(|event| mask.contains(event.kind))
                    .cloned()
                    .collect();
                match &wanted[..] {
                    [] => Ok(Verdict::PassedBy),
                    wanted => hook.notify(wanted).await.map(|()| Verdict::Noted),
                }
            }
            Self::Control(client, topic, payload) => {
                let request = ControlRequest {
                    topic: topic.as_ref(),
                    payload,
                };
                let (_, hook) = hooks.control.as_ref()?;
                hook.control(&cx(client), &request).await.map(Verdict::Control)
            }
            Self::SharePick {
                share,
                filter,
                members,
                message,
            } => Ok(Verdict::SharePick(
                hooks.share_pick.as_ref()?.pick(share, filter, members, message),
            )),
        })
    }
}

impl Verdict {
    /// Returns the refusal, if it is one.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Connect(ConnectFlow::Reject(denial), _)
            | Self::Authenticate(AuthVerdict::Deny(denial))
            | Self::Exchange(ExchangeVerdict::Deny(denial))
            | Self::Subscribe(SubscribeFlow::Reject(denial), _)
            | Self::Publish(Flow::Reject(denial) | Flow::Disconnect(denial), _) => Some(denial),
            Self::Authorize(decisions) => decisions.iter().find_map(|decision| match &decision.verdict {
                AclVerdict::Deny(denial) => Some(denial),
                _ => None,
            }),
            _ => None,
        }
    }
}

const fn cx(client: &Arc<ClientView>) -> Cx<'_> {
    Cx {
        client,
        budget: BUDGET,
    }
}

fn request<'a>(client: &'a ClientView, password: Option<&'a [u8]>) -> AuthRequest<'a> {
    AuthRequest {
        client_id: client.id.as_str(),
        username: client.username.as_deref(),
        password,
        certificate: client.certificate.as_deref(),
        sni: None,
        version: client.version,
        clean_start: client.clean_start,
    }
}

async fn authorize(
    hooks: &Capabilities,
    client: &Arc<ClientView>,
    action: Action,
    items: &[Item],
) -> Option<Result<Verdict, Fault>> {
    let hook = hooks.authorize.as_ref()?;
    let lent: Vec<AclItem<'_>> = items.iter().map(Item::lend).collect();
    let mut decisions = vec![AclDecision::default(); items.len()];
    let request = AclRequest { action, items: &lent };
    let answer = hook.authorize(&cx(client), &request, &mut decisions);
    Some(match answer {
        Answer::Now(said) => said.map(|()| Verdict::Authorize(decisions)),
        Answer::Later(later) => match later.await {
            Ok(late) if late.len() == items.len() => Ok(Verdict::Authorize(late)),
            Ok(late) => Err(Fault::new(
                FaultKind::Protocol,
                format!("{} decisions about {} topics", late.len(), items.len()),
            )),
            Err(fault) => Err(fault),
        },
    })
}

async fn publish(
    hooks: &Capabilities,
    client: &Arc<ClientView>,
    message: &Message,
    source: Source,
) -> Option<Result<Verdict, Fault>> {
    let scoped = hooks.publish.as_ref()?;
    let passes = message.payload.len() > scoped.needs.payload_bytes_max || !wanted(&scoped.filters, message);
    if passes {
        return Some(Ok(Verdict::PassedBy));
    }
    let mut edit = MessageEdit::new(MessageParts::of(message, source));
    Some(match scoped.hook.publish(&cx(client), &mut edit) {
        Answer::Now(flow) => flow.map(|flow| Verdict::Publish(flow, changes(&mut edit))),
        Answer::Later(later) => later.await.map(|(flow, patch)| Verdict::Publish(flow, patch)),
    })
}

async fn deliver(hooks: &Capabilities, class: u32, message: &Message) -> Option<Result<Verdict, Fault>> {
    let scoped = hooks.deliver.as_ref()?;
    let passes = message.payload.len() > scoped.needs.payload_bytes_max || !wanted(&scoped.filters, message);
    if passes {
        return Some(Ok(Verdict::PassedBy));
    }
    let mut edit = MessageEdit::new(MessageParts::of(message, Source::Client));
    Some(match scoped.hook.deliver(class, &mut edit) {
        Answer::Now(flow) => flow.map(|flow| Verdict::Deliver(flow, changes(&mut edit))),
        Answer::Later(later) => later.await.map(|(flow, patch)| Verdict::Deliver(flow, patch)),
    })
}

fn wanted(filters: &[broker_types::TopicFilter], message: &Message) -> bool {
    filters.is_empty()
        || filters
            .iter()
            .any(|filter| filter.matches(message.topic.as_ref()))
}

/// Returns what a hook that succeeded has changed.
fn changes(edit: &mut MessageEdit<'_>) -> Patch {
    edit.commit();
    edit.take_kept().map_or_else(Patch::default, |kept| *kept)
}

impl Item {
    fn lend(&self) -> AclItem<'_> {
        AclItem {
            topic: &self.topic,
            qos: self.qos,
            retain: self.retain,
            share: self.share.as_deref(),
        }
    }
}
