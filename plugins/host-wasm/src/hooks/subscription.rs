//! Subscriptions and unsubscriptions.

use broker_types::SubscriptionFilter;
use plugin_api::{
    Cx, Fault, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, async_trait,
};

use super::{Hooks, Who, who};
use crate::bindings::exported::subscribe;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::message::{denial, protocol, qos_in, qos_out};
use crate::state::More;

struct OnSubscribe {
    who: Who,
    edit: SubscribeEdit,
}

impl Ask for OnSubscribe {
    type Answer = subscribe::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<subscribe::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let edit = &self.edit;
        let (requested, filter) = (edit.requested.to_string(), edit.filter.to_string());
        let request = subscribe::Request {
            requested: &requested,
            filter: &filter,
            max_qos: qos_out(edit.max_qos),
            no_local: edit.no_local,
            identifier: edit.id.map(|id| id.get()),
            subscriber_class: edit.class,
        };
        let function = offered(&exports.subscribe)?.func_on_subscribe();
        let (verdict,) = caller.call(function, (who(), request)).await?;
        Ok(verdict)
    }
}

#[async_trait]
impl Subscribe for Hooks {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        let ask = OnSubscribe {
            who: cx.client.clone(),
            edit: edit.clone(),
        };
        match self.guest.ask_owned(ask).await? {
            subscribe::Verdict::Keep => Ok(SubscribeFlow::Continue),
            subscribe::Verdict::Change(change) => {
                apply(change, edit)?;
                Ok(SubscribeFlow::Continue)
            }
            subscribe::Verdict::Stop(change) => {
                apply(change, edit)?;
                Ok(SubscribeFlow::Stop)
            }
            subscribe::Verdict::Deny(given) => Ok(SubscribeFlow::Reject(denial(given)?)),
        }
    }
}

fn apply(change: subscribe::Edit, edit: &mut SubscribeEdit) -> Result<(), Fault> {
    if let Some(filter) = change.filter {
        edit.filter = parse(&filter)?;
    }
    if let Some(qos) = change.max_qos {
        edit.max_qos = edit.max_qos.min(qos_in(qos));
    }
    edit.class = change.subscriber_class.unwrap_or(edit.class);
    Ok(())
}

fn parse(filter: &str) -> Result<SubscriptionFilter, Fault> {
    SubscriptionFilter::parse(filter).map_err(|error| protocol(error.to_string()))
}

struct OnUnsubscribe {
    who: Who,
    filter: String,
}

impl Ask for OnUnsubscribe {
    type Answer = Option<String>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Option<String>> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let function = offered(&exports.unsubscribe)?.func_on_unsubscribe();
        let (filter,) = caller.call(function, (who(), self.filter.as_str())).await?;
        Ok(filter)
    }
}

#[async_trait]
impl Unsubscribe for Hooks {
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        let ask = OnUnsubscribe {
            who: cx.client.clone(),
            filter: edit.filter.to_string(),
        };
        if let Some(filter) = self.guest.ask_owned(ask).await? {
            edit.filter = parse(&filter)?;
        }
        Ok(())
    }
}
