//! Changing subscriptions, and unsubscriptions as they were changed.

use broker_types::{SubscriptionFilter, TopicFilter};
use plugin_abi::{self as abi, values::*};
use plugin_api::{
    Cx, Fault, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, async_trait,
};

use super::authorize::qos;
use super::{Hooks, ONE};
use crate::ask::{Form, Question, Shown, size_32};
use crate::border::lend;
use crate::message::protocol;
use crate::side::Table;
use crate::sink::Attached;

/// The No Local bit of the Subscription Options.
const NO_LOCAL: u32 = 1 << 2;

/// A filter of a SUBSCRIBE or UNSUBSCRIBE.
struct Filter {
    subscribes: bool,
    filter: SubscriptionFilter,
    options: u32,
    id: u32,
}

impl Question for Filter {
    fn form(&self) -> Form {
        ONE
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let function = if self.subscribes {
            table.0.subscribe
        } else {
            table.0.unsubscribe
        };
        let Some(function) = function else {
            return JF_EUNSUP;
        };
        let asked = abi::SubIn {
            size: size_32::<abi::SubIn>(),
            options: self.options,
            filter: lend(Some(self.filter.filter.as_str())),
            share: lend(self.filter.share.as_ref().map(broker_types::ShareName::as_str)),
            sub_id: self.id,
            rsv: 0,
        };
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
    }
}

/// Takes another filter; the share stays.
fn rewrite(attached: &mut Attached, filter: &mut SubscriptionFilter) -> Result<(), Fault> {
    if let Some(text) = attached.take_field(JF_O_FILTER) {
        filter.filter = TopicFilter::new(text).map_err(|error| protocol(error.to_string()))?;
    }
    Ok(())
}

#[async_trait]
impl Subscribe for Hooks {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        let no_local = if edit.no_local { NO_LOCAL } else { 0 };
        let question = Filter {
            subscribes: true,
            filter: edit.filter.clone(),
            options: u32::from(edit.max_qos.bits()) | no_local,
            id: edit.id.map_or(0, broker_types::SubscriptionId::get),
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        let mut attached = reply.take(0);
        let flow = match reply.verdict(0).verdict {
            JF_V_CONTINUE => SubscribeFlow::Continue,
            JF_V_STOP => SubscribeFlow::Stop,
            JF_V_REJECT => return Ok(SubscribeFlow::Reject(reply.denial(0, &mut attached)?)),
            _ => return Err(reply.unknown(0)),
        };
        rewrite(&mut attached, &mut edit.filter)?;
        if let Some(max) = attached.number(JF_O_MAX_QOS) {
            edit.max_qos = edit.max_qos.min(qos(max)?);
        }
        if let Some(class) = attached.number(JF_O_SUB_CLASS) {
            edit.class = u32::try_from(class)
                .map_err(|_| protocol(format!("there is no subscriber class {class}")))?;
        }
        Ok(flow)
    }
}

#[async_trait]
impl Unsubscribe for Hooks {
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        let question = Filter {
            subscribes: false,
            filter: edit.filter.clone(),
            options: 0,
            id: 0,
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        if reply.verdict(0).verdict != JF_V_CONTINUE {
            return Err(reply.unknown(0));
        }
        rewrite(&mut reply.take(0), &mut edit.filter)
    }
}
