//! The hooks: each trait of `plugin-api` over one interface of the contract. A file says what goes in and what the verdicts mean; making
//! the call is the affair of [`crate::guest`].

mod accept;
mod authorize;
mod bridge;
mod connection;
mod control;
mod events;
mod exchange;
mod message;
mod share_pick;
mod store;
mod subscription;
mod swap;

use std::sync::Arc;

use plugin_api::{Capabilities, ClientView, Fault, Scoped};
use wasmtime::component::Resource;

use crate::guest::Guest;
use crate::manifest::Wants;
use crate::services::{Client, MessageView};

use exchange::Exchanges;
pub(crate) use store::caps;
pub(crate) use swap::{Health, Load, Save};

/// All hooks of one guest; which of them are asked is in what it exports.
#[derive(Debug)]
pub(crate) struct Hooks {
    guest: Arc<Guest>,
    needs_payload: bool,
    exchanges: Exchanges,
}

/// The client of a call that runs later, too.
type Who = Arc<ClientView>;

/// Returns the handle by which a guest asks about the client that was lent.
fn who() -> Resource<Client> {
    Resource::new_borrow(0)
}

/// Returns the handle by which a guest asks about the rest of the message that was lent.
fn more() -> Resource<MessageView> {
    Resource::new_borrow(0)
}

/// Returns what a guest takes part in, apart from its session store.
///
/// # Errors
/// It offers something that it can't do.
pub(crate) fn capabilities(guest: &Arc<Guest>, wants: &Wants) -> Result<Capabilities, Fault> {
    let has = &guest.code.indices;
    let hooks = Arc::new(Hooks {
        guest: guest.clone(),
        needs_payload: wants.needs.payload,
        exchanges: Exchanges::default(),
    });
    let at_once = has.accept.is_some() || has.retained.is_some() || has.share_pick.is_some();
    if at_once && guest.is_single() {
        let why =
            "accept, retained and share-pick must answer at once, and a serial guest or a provider can't";
        return Err(crate::message::protocol(why));
    }
    let mut offered = Capabilities::default();
    if has.accept.is_some() {
        offered.accept = Some(hooks.clone());
    }
    if has.connection.is_some() {
        offered.connect = Some(hooks.clone());
    }
    if has.authenticate.is_some() {
        offered.authenticate = Some(hooks.clone());
    }
    if has.enhanced_auth.is_some() {
        if wants.auth_methods.is_empty() {
            return Err(crate::message::protocol(
                "it has enhanced-auth and no method for it",
            ));
        }
        offered.exchange = Some((wants.auth_methods.clone(), hooks.clone()));
    }
    if has.authorize.is_some() {
        offered.authorize = Some(hooks.clone());
        offered.authorize_receive = wants.receive;
    }
    if has.subscribe.is_some() {
        offered.subscribe = Some(hooks.clone());
    }
    if has.unsubscribe.is_some() {
        offered.unsubscribe = Some(hooks.clone());
    }
    if has.transform.is_some() {
        offered.publish = Some(Scoped {
            hook: hooks.clone(),
            filters: wants.publish_filters.clone(),
            needs: wants.needs,
        });
    }
    if has.retained.is_some() {
        offered.retain = Some(hooks.clone());
    }
    if has.deliver.is_some() {
        offered.deliver = Some(Scoped {
            hook: hooks.clone(),
            filters: wants.deliver_filters.clone(),
            needs: wants.needs,
        });
    }
    if has.will.is_some() {
        offered.will = Some(hooks.clone());
    }
    if has.events.is_some() {
        offered.events = Some((wants.events, hooks.clone()));
    }
    if has.control.is_some() {
        if wants.control_prefixes.is_empty() {
            return Err(crate::message::protocol("it has control and no prefix for it"));
        }
        offered.control = Some((wants.control_prefixes.clone(), hooks.clone()));
    }
    if has.share_pick.is_some() {
        offered.share_pick = Some(hooks.clone());
    }
    if has.bridge.is_some() {
        offered.bridge = Some(hooks);
    }
    Ok(offered)
}
