//! What SUBSCRIBE and UNSUBSCRIBE change, once everybody has been asked.

use std::sync::Arc;

use broker_proto::{RetainHandling, SubscribeOptions};
use broker_types::{ReasonCode, SubscriptionFilter};
use plugin_api::{ClientView, EventKind};

use super::core::tell;
use super::retain::Feed;
use super::session::Session;
use super::shard::Shard;
use super::subscriptions::Held;
use crate::connection::describe;
use crate::hooks::ChainSet;
use crate::routing::{Subscribed, SubscriptionOptions};

/// One subscription that was asked for and may be made.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The filter as the client knows it.
    pub(crate) requested: SubscriptionFilter,
    /// The filter for the routes: with the mount, and as plugins changed it.
    pub(crate) routed: SubscriptionFilter,
    /// What goes into the routes; the QoS is the granted one.
    pub(crate) options: SubscriptionOptions,
    /// What the client asked for.
    pub(crate) asked: SubscribeOptions,
}

impl Shard {
    /// Makes a subscription, or replaces the one there is `[MQTT-3.8.4-3]`. Returns the code for SUBACK, and the Retained Messages to
    /// send.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        client: &ClientView,
        chain: &ChainSet,
        wish: Wish,
    ) -> (ReasonCode, Option<Feed>) {
        let Wish {
            requested,
            routed,
            options,
            asked,
        } = wish;
        let mut state = session.lock();
        let limit = state.listener.limits.subscriptions_max;
        if state.ended || state.link_of(client.handle).is_none() {
            return (ReasonCode::UnspecifiedError, None);
        }
        if state.subscriptions.len() >= limit && state.subscriptions.get(&requested).is_none() {
            return (ReasonCode::QuotaExceeded, None);
        }
        let held = Held::new(requested.clone(), routed.clone(), options);
        if let Some(kept) = &state.kept {
            kept.put_subscription(&held);
        }
        // A plugin may map the filter differently than last time.
        if let Some(before) = state
            .subscriptions
            .insert(held)
            .filter(|before| *before.routed() != routed)
        {
            self.core.routes.unsubscribe(session.id, before.routed());
        }
        let made = self.core.routes.subscribe(session, &routed, options);
        drop(state);
        tell(chain.events(), EventKind::Subscribed, |event| {
            describe(event, client);
            event.topic = Some(routed.to_string().into());
        });
        // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]; a Shared Subscription gets no Retained Messages (section 4.8.2).
        let retained = routed.share.is_none()
            && match asked.retain_handling {
                RetainHandling::SendAlways => true,
                RetainHandling::SendIfNew => made == Subscribed::New,
                RetainHandling::DoNotSend => false,
            };
        let feed = retained.then(|| Feed::new(routed.filter, options.qos, options.id, options.class));
        (ReasonCode::granted(options.qos), feed)
    }

    /// Gives a subscription up. Returns the code for UNSUBACK.
    pub(crate) fn unsubscribe(
        &self,
        session: &Arc<Session>,
        client: &ClientView,
        chain: &ChainSet,
        requested: &SubscriptionFilter,
    ) -> ReasonCode {
        let mut state = session.lock();
        if state.link_of(client.handle).is_none() {
            return ReasonCode::UnspecifiedError;
        }
        let Some(held) = state.subscriptions.remove(requested) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        if let Some(kept) = &state.kept {
            kept.delete_subscription(requested);
        }
        self.core.routes.unsubscribe(session.id, held.routed());
        state.gave_up_at = self.core.routes.generation();
        drop(state);
        tell(chain.events(), EventKind::Unsubscribed, |event| {
            describe(event, client);
            event.topic = Some(held.routed().to_string().into());
        });
        ReasonCode::Success
    }
}
