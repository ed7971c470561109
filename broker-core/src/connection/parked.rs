//! A packet that waits for a plugin. It owns what it needs, so its connection can go on writing; nothing behind it is
//! looked at before it is done, except PINGREQ.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use broker_proto::{PacketType, Subscribe, SubscribeOptions, Token, Unsubscribe};
use broker_types::{Message, PacketId, QoS, ReasonCode, SubscriptionFilter, SubscriptionId, TopicFilter};
use plugin_api::{ClientView, SubscribeEdit, UnsubscribeEdit};

use super::publish::Settled;
use super::run::{Connection, short};
use crate::engine::listener::ListenerState;
use crate::engine::retain::Feeds;
use crate::engine::session::Session;
use crate::engine::shard::Shard;
use crate::engine::subscribe::Wish;
use crate::hooks::{ChainSet, ControlOutcome, FaultAction, FilterOutcome, HookMask, Outcome};
use crate::routing::SubscriptionOptions;

/// Filters of one SUBSCRIBE or UNSUBSCRIBE that are looked at before others get their turn.
const SLICE: usize = 256;

/// A packet on its way through plugins.
pub(super) struct Parked(Pin<Box<dyn Future<Output = Resumed>>>);

/// What came of it.
pub(super) enum Resumed {
    /// A PUBLISH was decided about.
    Published(Settled),
    /// A SUBSCRIBE was carried out.
    Subscribed {
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
        feeds: Feeds,
    },
    /// An UNSUBSCRIBE was carried out.
    Unsubscribed {
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
    },
    /// A control request was answered.
    Controlled {
        token: Option<Token>,
        outcome: ControlOutcome,
        reply: Option<Message>,
    },
    /// A re-authentication has come a step further.
    Challenged(super::reauthenticate::Reauthenticated),
    /// The connection is closed without a word.
    Close,
}

impl Parked {
    /// Sets `job` on its way.
    pub(super) fn new(job: impl Future<Output = Resumed> + 'static) -> Self {
        Self(Box::pin(job))
    }

    /// Returns what came of it if nobody needs time.
    pub(super) fn try_now(&mut self) -> Option<Resumed> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(resumed) => Some(resumed),
            Poll::Pending => None,
        }
    }

    /// Goes on. After [`Self::try_now`] this must be called once more, to be woken at all.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Resumed> {
        self.0.as_mut().poll(cx)
    }
}

/// Who asks.
struct Asker {
    shard: Rc<Shard>,
    session: Arc<Session>,
    listener: Arc<ListenerState>,
    chain: Arc<ChainSet>,
    client: Arc<ClientView>,
}

impl Asker {
    fn of(connection: &Connection) -> Self {
        Self {
            shard: connection.shard.clone(),
            session: connection.session.clone(),
            listener: connection.listener.clone(),
            chain: connection.chain.clone(),
            client: connection.client.clone(),
        }
    }

    /// Waits until what was changed is durable, if the Session is to be. False: it never will be.
    async fn durable(&self) -> bool {
        let journal = match &self.session.lock().kept {
            Some(kept) => kept.journal().clone(),
            None => return true,
        };
        journal.settled().await
    }

    /// Checks what a filter may look like here, whatever plugins think of it.
    fn check(&self, text: &str, id: Option<SubscriptionId>) -> Result<SubscriptionFilter, ReasonCode> {
        let limits = &self.listener.limits;
        let too_deep = || memchr::memchr_iter(b'/', text.as_bytes()).count() >= limits.topic_levels_max;
        if text.len() > limits.topic_bytes_max || text.len() >= limits.topic_levels_max && too_deep() {
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let filter = SubscriptionFilter::parse(text).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if filter.share.is_some() && !limits.shared_available {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if filter.filter.has_wildcard() && !limits.wildcard_available {
            return Err(ReasonCode::WildcardSubscriptionsNotSupported);
        }
        if id.is_some() && !limits.subscription_ids_available {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        Ok(filter)
    }

    /// Puts the mount before a filter.
    fn mounted(&self, filter: &SubscriptionFilter) -> Result<SubscriptionFilter, ReasonCode> {
        let mount = &self.client.mount;
        if mount.is_empty() {
            return Ok(filter.clone());
        }
        let text = format!("{mount}{}", filter.filter);
        let filter_mounted = TopicFilter::new(text).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        Ok(SubscriptionFilter {
            share: filter.share.clone(),
            filter: filter_mounted,
        })
    }
}

/// A SUBSCRIBE that is being carried out.
pub(super) struct SubscribeJob {
    asker: Asker,
    packet_id: PacketId,
    id: Option<SubscriptionId>,
    filters: Vec<(Result<SubscriptionFilter, ReasonCode>, SubscribeOptions)>,
}

impl SubscribeJob {
    pub(super) fn new(connection: &Connection, packet: &Subscribe<'_>) -> Self {
        let asker = Asker::of(connection);
        let id = packet.subscription_id;
        let check = |(text, options): (&str, SubscribeOptions)| (asker.check(text, id), options);
        let filters = packet.filters.iter().map(check).collect();
        Self {
            packet_id: packet.packet_id,
            id,
            filters,
            asker,
        }
    }

    /// Asks who is to be asked, subscribes, and collects the codes for SUBACK, one for each filter, in order
    /// `[MQTT-3.8.4-6]`.
    pub(super) async fn run(self) -> Resumed {
        let Self {
            asker,
            packet_id,
            id,
            filters,
        } = self;
        let mut allowed: Vec<Result<QoS, ReasonCode>> = filters
            .iter()
            .map(|(filter, options)| match filter {
                Ok(_) => Ok(options.qos.min(asker.listener.limits.maximum_qos)),
                Err(reason) => Err(*reason),
            })
            .collect();
        if asker.chain.mask().has(HookMask::AUTHORIZE)
            && authorize(&asker, &filters, &mut allowed).await.is_err()
        {
            return Resumed::Close;
        }
        let mut reasons = Vec::with_capacity(filters.len());
        let mut feeds = Feeds::default();
        for (at, ((filter, asked), allowed)) in filters.into_iter().zip(allowed).enumerate() {
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
            let reason = match (filter, allowed) {
                (Err(reason), _) | (_, Err(reason)) => reason,
                (Ok(filter), Ok(qos)) => match change(&asker, filter, qos, asked, id).await {
                    Err(FilterError::Close) => return Resumed::Close,
                    Err(FilterError::Refused(reason)) => reason,
                    Ok(wish) => {
                        let requested = wish.requested.clone();
                        let (reason, feed) =
                            asker
                                .shard
                                .subscribe(&asker.session, &asker.client, &asker.chain, wish);
                        if let Some(feed) = feed {
                            feeds.begin(requested, feed);
                        }
                        reason
                    }
                },
            };
            reasons.push(reason);
        }
        if !asker.durable().await {
            return Resumed::Close;
        }
        Resumed::Subscribed {
            packet_id,
            reasons,
            feeds,
        }
    }
}

/// Why a filter isn't subscribed to.
enum FilterError {
    Refused(ReasonCode),
    Close,
}

/// Asks the authorizers about all filters at once. An error: the connection is to be closed.
async fn authorize(
    asker: &Asker,
    filters: &[(Result<SubscriptionFilter, ReasonCode>, SubscribeOptions)],
    allowed: &mut [Result<QoS, ReasonCode>],
) -> Result<(), ()> {
    let good = || {
        filters
            .iter()
            .filter_map(|(filter, options)| Some((filter.as_ref().ok()?, options)))
    };
    let asked = good().map(|(filter, options)| (filter, options.qos));
    let decisions = asker.chain.authorize_filters(&asker.client, asked).await;
    let open = allowed.iter_mut().filter(|allowed| allowed.is_ok());
    for (allowed, decision) in open.zip(decisions) {
        *allowed = match decision.outcome {
            Outcome::Allow { max_qos } => allowed.map(|qos| qos.min(max_qos)),
            Outcome::Deny(denial) => Err(suback_reason(denial.reason)),
            Outcome::Fault(FaultAction::Disconnect) => return Err(()),
            Outcome::Fault(_) => Err(ReasonCode::ImplementationSpecificError),
        };
    }
    Ok(())
}

/// Lets plugins change a subscription, and returns what is to be made.
async fn change(
    asker: &Asker,
    filter: SubscriptionFilter,
    qos: QoS,
    asked: SubscribeOptions,
    id: Option<SubscriptionId>,
) -> Result<Wish, FilterError> {
    let mut edit = SubscribeEdit {
        requested: filter.clone(),
        filter,
        max_qos: qos,
        no_local: asked.no_local,
        id,
        class: 0,
    };
    if asker.chain.mask().has(HookMask::SUBSCRIBE) {
        let outcome = asker.chain.subscribe(&asker.client, vec![edit]).await.pop();
        edit = match outcome {
            Some(FilterOutcome::Go(edit)) => edit,
            Some(FilterOutcome::Reject(denial)) => {
                return Err(FilterError::Refused(suback_reason(denial.reason)));
            }
            Some(FilterOutcome::Close) | None => return Err(FilterError::Close),
        };
    }
    let routed = asker.mounted(&edit.filter).map_err(FilterError::Refused)?;
    let options = SubscriptionOptions {
        qos: edit.max_qos.min(qos),
        no_local: asked.no_local,
        retain_as_published: asked.retain_as_published,
        id,
        class: edit.class,
    };
    Ok(Wish {
        requested: edit.requested,
        routed,
        options,
        asked,
    })
}

/// An UNSUBSCRIBE that is being carried out.
pub(super) struct UnsubscribeJob {
    asker: Asker,
    packet_id: PacketId,
    filters: Vec<Result<SubscriptionFilter, ReasonCode>>,
}

impl UnsubscribeJob {
    pub(super) fn new(connection: &Connection, packet: &Unsubscribe<'_>) -> Self {
        let parse = |text: &str| SubscriptionFilter::parse(text).map_err(|_| ReasonCode::TopicFilterInvalid);
        let filters = packet.filters.iter().map(parse).collect();
        Self {
            asker: Asker::of(connection),
            packet_id: packet.packet_id,
            filters,
        }
    }

    /// Gives the subscriptions up, and collects the codes for UNSUBACK, one for each filter, in order `[MQTT-3.11.3-2]`.
    pub(super) async fn run(self) -> Resumed {
        let Self {
            asker,
            packet_id,
            filters,
        } = self;
        let mut reasons = Vec::with_capacity(filters.len());
        for (at, filter) in filters.into_iter().enumerate() {
            if at % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
            reasons.push(match filter {
                Err(reason) => reason,
                Ok(filter) => match unsubscribe(&asker, filter).await {
                    Some(reason) => reason,
                    None => return Resumed::Close,
                },
            });
        }
        if !asker.durable().await {
            return Resumed::Close;
        }
        Resumed::Unsubscribed { packet_id, reasons }
    }
}

/// Gives one subscription up. `None`: the connection is to be closed.
async fn unsubscribe(asker: &Asker, filter: SubscriptionFilter) -> Option<ReasonCode> {
    let known = asker.session.lock().subscriptions.get(&filter).is_some();
    let mut filter = filter;
    if !known && asker.chain.mask().has(HookMask::UNSUBSCRIBE) {
        let edit = UnsubscribeEdit {
            requested: filter.clone(),
            filter,
        };
        match asker.chain.unsubscribe(&asker.client, vec![edit]).await.pop() {
            Some(FilterOutcome::Go(edit)) => filter = edit.filter,
            Some(FilterOutcome::Reject(denial)) => return Some(denial.reason),
            Some(FilterOutcome::Close) | None => return None,
        }
    }
    Some(
        asker
            .shard
            .unsubscribe(&asker.session, &asker.client, &asker.chain, &filter),
    )
}

/// Returns the code that SUBACK can carry for a refusal.
fn suback_reason(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::UnspecifiedError
        | ReasonCode::ImplementationSpecificError
        | ReasonCode::NotAuthorized
        | ReasonCode::TopicFilterInvalid
        | ReasonCode::PacketIdentifierInUse
        | ReasonCode::QuotaExceeded
        | ReasonCode::SharedSubscriptionsNotSupported
        | ReasonCode::SubscriptionIdentifiersNotSupported
        | ReasonCode::WildcardSubscriptionsNotSupported => reason,
        _ => ReasonCode::NotAuthorized,
    }
}

impl Connection {
    /// Answers PINGREQ packets that stand behind a packet that waits, as far as they have come.
    pub(super) fn answer_pings_ahead(&mut self) {
        let mut at = self.looked_ahead as usize;
        while let Ok(Some(len)) = self.decoder.frame_len(&self.partial[at..]) {
            if at + len > self.partial.len() {
                break;
            }
            if self.partial[at] >> 4 == 12 {
                self.pings_ahead += 1;
                self.shard.replies().extend_from_slice(&[0xD0, 0]);
                self.shard.metrics.sent.one(PacketType::PingResp);
            }
            at += len;
        }
        self.looked_ahead = short(at);
    }
}
