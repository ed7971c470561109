//! Asking again whether the subscriptions of connected clients may be, after their chain has changed.

use std::rc::Rc;
use std::sync::Arc;

use broker_types::{QoS, ReasonCode, SubscriptionFilter};

use crate::engine::session::{Kick, Session};
use crate::engine::shard::Shard;
use crate::hooks::{Decision, HookMask, Outcome};

/// Sessions that are asked about before others get their turn.
const SLICE: usize = 64;

/// Asks about all subscriptions of connected clients. Returns how many were given up.
pub(super) async fn reauthorize(shard: &Rc<Shard>) -> usize {
    let mut connected = Vec::new();
    shard.core.sessions.for_each(|session| {
        if session.is_connected() {
            connected.push(session.clone());
        }
    });
    let mut dropped = 0;
    for (at, session) in connected.iter().enumerate() {
        if at % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
        dropped += ask_about(shard, session).await;
    }
    dropped
}

async fn ask_about(shard: &Rc<Shard>, session: &Arc<Session>) -> usize {
    let (held, client, chain) = {
        let state = session.lock();
        let Some(link) = state.link.as_deref() else {
            return 0;
        };
        let held: Vec<(SubscriptionFilter, QoS)> = { state.subscriptions.iter() }
            .map(|held| (held.requested.clone(), held.options.qos))
            .collect();
        (held, link.client.clone(), link.chain.clone())
    };
    if held.is_empty() || !chain.mask().has(HookMask::AUTHORIZE) {
        return 0;
    }
    let asked = held.iter().map(|(filter, qos)| (filter, *qos));
    let decisions = chain.authorize_filters(&client, asked).await;
    let denied = |decision: &Decision| matches!(decision.outcome, Outcome::Deny(_));
    let lost = { held.iter().zip(&decisions) }.filter(|(_, decision)| denied(decision));
    let lost = lost
        .map(|((filter, _), _)| shard.unsubscribe(session, &client, &chain, filter))
        .filter(|reason| *reason == ReasonCode::Success)
        .count();
    if lost > 0 && client.version.is_v5() {
        // Otherwise it would wait for messages that don't come.
        shard
            .core
            .kick_handle(client.handle, Kick::because(ReasonCode::NotAuthorized));
    }
    lost
}
