//! Filters that clients subscribe to and leave.

use alloc::string::String;

use super::denial;
use crate::wasm::bindings::base::jackfield::plugin::types::Client;
use crate::wasm::bindings::subscribe::exports::jackfield::plugin::subscribe;
use crate::wasm::bindings::unsubscribe::exports::jackfield::plugin::unsubscribe;
use crate::wasm::instance::{Export, Exported, plugin, said};
use crate::wasm::message::{from_qos, to_qos};
use crate::{Cx, QoS, Subscribe, SubscribeEdit, SubscribeFlow, Subscription, Unsubscribe};

fn edit(edit: SubscribeEdit) -> subscribe::Edit {
    subscribe::Edit {
        filter: edit.filter,
        max_qos: edit.max_qos.map(to_qos),
        subscriber_class: edit.class,
    }
}

impl<P: Exported + Subscribe> subscribe::Guest for Export<P> {
    fn on_subscribe(who: &Client, request: subscribe::Request) -> subscribe::Verdict {
        let share = request.requested.strip_prefix("$share/");
        let subscription = Subscription {
            filter: &request.filter,
            share: share.and_then(|rest| rest.split('/').next()),
            qos: from_qos(request.max_qos),
            no_local: request.no_local,
            id: request.identifier.unwrap_or(0),
        };
        match said(plugin::<P>().subscribe(&Cx::new(who), &subscription)) {
            SubscribeFlow::Continue(changes) if changes == SubscribeEdit::default() => {
                subscribe::Verdict::Keep
            }
            SubscribeFlow::Continue(changes) => subscribe::Verdict::Change(edit(changes)),
            SubscribeFlow::Stop(changes) => subscribe::Verdict::Stop(edit(changes)),
            SubscribeFlow::Reject(refusal) => subscribe::Verdict::Deny(denial(refusal)),
        }
    }
}

impl<P: Exported + Unsubscribe> unsubscribe::Guest for Export<P> {
    fn on_unsubscribe(who: &Client, filter: String) -> Option<String> {
        let subscription = Subscription {
            filter: &filter,
            share: None,
            qos: QoS::AtMostOnce,
            no_local: false,
            id: 0,
        };
        said(plugin::<P>().unsubscribe(&Cx::new(who), &subscription))
    }
}
