//! The hooks: each trait of `plugin-api` over one function of the table. A file says how its arguments are lent and what
//! its verdicts mean; making the call is the affair of [`crate::ask`].

mod authorize;
mod bridge;
mod connection;
mod control;
mod events;
mod message;
mod share_pick;
mod store;
mod subscription;

use std::sync::Arc;

use plugin_abi::values::*;
use plugin_api::{Capabilities, Scoped};

use crate::ask::Form;
use crate::instance::Instance;
use crate::sink::OPEN;

pub(crate) use bridge::NativeBridge;
pub(crate) use events::TimerDue;
pub(crate) use store::NativeStore;

/// All hooks of one instance; which of them are asked is in its interest.
#[derive(Clone, Debug)]
pub(crate) struct Hooks(pub(crate) Arc<Instance>);

/// A call with one verdict that may be answered later.
const ONE: Form = Form {
    outs: 1,
    preset: JF_V_CONTINUE,
    rights: OPEN,
    may_wait: true,
};
/// The same for decisions.
const DECISION: Form = Form {
    preset: JF_V_SKIP,
    ..ONE
};
/// A call without a verdict.
const NONE: Form = Form {
    outs: 0,
    may_wait: false,
    ..ONE
};

/// Returns what an instance takes part in, apart from providers.
pub(crate) fn capabilities(instance: &Arc<Instance>) -> Capabilities {
    let hooks = Arc::new(Hooks(instance.clone()));
    let interest = &instance.interest;
    let wants = |hook| interest.wants(hook);
    let mut offered = Capabilities::default();
    if wants(JF_HOOK_ACCEPT) {
        offered.accept = Some(hooks.clone());
    }
    if wants(JF_HOOK_CONNECT) {
        offered.connect = Some(hooks.clone());
    }
    if wants(JF_HOOK_AUTHENTICATE) {
        offered.authenticate = Some(hooks.clone());
    }
    if wants(JF_HOOK_AUTH_EXCHANGE) {
        offered.exchange = Some((interest.methods.clone(), hooks.clone()));
    }
    if wants(JF_HOOK_AUTHORIZE) {
        offered.authorize = Some(hooks.clone());
        offered.authorize_receive = interest.receive;
    }
    if wants(JF_HOOK_SUBSCRIBE) {
        offered.subscribe = Some(hooks.clone());
    }
    if wants(JF_HOOK_UNSUBSCRIBE) {
        offered.unsubscribe = Some(hooks.clone());
    }
    if wants(JF_HOOK_PUBLISH) {
        offered.publish = Some(Scoped {
            hook: hooks.clone(),
            filters: interest.publish_filters.clone(),
            needs: interest.needs,
        });
    }
    if wants(JF_HOOK_RETAIN) {
        offered.retain = Some(hooks.clone());
    }
    if wants(JF_HOOK_DELIVER) {
        offered.deliver = Some(Scoped {
            hook: hooks.clone(),
            filters: interest.deliver_filters.clone(),
            needs: interest.needs,
        });
    }
    if wants(JF_HOOK_WILL) {
        offered.will = Some(hooks.clone());
    }
    if wants(JF_HOOK_EVENT) {
        offered.events = Some((interest.events, hooks.clone()));
    }
    if wants(JF_HOOK_CONTROL) {
        offered.control = Some((interest.prefixes.clone(), hooks.clone()));
    }
    if wants(JF_HOOK_SHARE_PICK) {
        offered.share_pick = Some(hooks);
    }
    offered
}
