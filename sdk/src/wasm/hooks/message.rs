//! Messages: on their way in and out, Wills, what is retained.

use alloc::string::String;
use alloc::vec::Vec;

use super::{denial, millis, seconds};
use crate::wasm::bindings::base::jackfield::plugin::types::{Client, Message as Given, NewMessage, Patch};
use crate::wasm::bindings::deliver::exports::jackfield::plugin::deliver;
use crate::wasm::bindings::retained::exports::jackfield::plugin::retained;
use crate::wasm::bindings::share_pick::exports::jackfield::plugin::share_pick;
use crate::wasm::bindings::transform::exports::jackfield::plugin::transform::{self, Outcome, Verdict};
use crate::wasm::bindings::will::exports::jackfield::plugin::will;
use crate::wasm::instance::{Export, Exported, plugin, said};
use crate::wasm::message::{Allowed, Shown};
use crate::{
    Cx, Deliver, DeliverFlow, Flow, Message, Publish, Retain, RetainVerdict, ShareMember, SharePick, Will,
};

const UNCHANGED: Patch = Patch {
    topic: None,
    payload: None,
    qos: None,
    retain: None,
    properties: None,
};

impl<P: Exported + Publish> transform::Guest for Export<P> {
    fn on_publish(who: &Client, message: Given<'_>) -> Verdict {
        let shown = Shown::new(message);
        let mut message = Message::new(&shown, Allowed::EditAndEmit);
        let flow = said(plugin::<P>().publish(&Cx::new(who), &mut message));
        let (patch, emitted) = message.into_changes();
        verdict(flow, patch, emitted)
    }
}

/// Says it in the shortest form that holds all of it: each field costs time to copy.
fn verdict(flow: Flow, patch: Option<Patch>, emit: Vec<NewMessage>) -> Verdict {
    let quiet = emit.is_empty();
    let outcome = |flow, patch: Option<Patch>, emit| {
        let patch = patch.unwrap_or(UNCHANGED);
        Verdict::Outcome(Outcome { flow, patch, emit })
    };
    match (flow, patch) {
        (Flow::Continue, None) if quiet => Verdict::Keep,
        (Flow::Continue, Some(patch)) if quiet => Verdict::Change(patch),
        (Flow::Continue, None) => Verdict::KeepAndEmit(emit),
        (Flow::Continue, patch) => outcome(transform::Flow::Next, patch, emit),
        (Flow::Stop, patch) if quiet => Verdict::Stop(patch.unwrap_or(UNCHANGED)),
        (Flow::Stop, patch) => outcome(transform::Flow::Stop, patch, emit),
        (Flow::Drop, _) if quiet => Verdict::Drop,
        (Flow::Drop, _) => Verdict::Emit(emit),
        (Flow::Throttle(time), None) if quiet => Verdict::ThrottleMs(millis(time)),
        (Flow::Throttle(time), patch) => outcome(transform::Flow::ThrottleMs(millis(time)), patch, emit),
        (Flow::Reject(refusal), _) => Verdict::Reject(denial(refusal)),
        (Flow::Disconnect(refusal), _) => Verdict::Disconnect(denial(refusal)),
    }
}

impl<P: Exported + Deliver> deliver::Guest for Export<P> {
    fn on_deliver(class: u32, message: Given<'_>) -> deliver::Verdict {
        let shown = Shown::new(message);
        let mut message = Message::new(&shown, Allowed::Edit);
        let flow = said(plugin::<P>().deliver(class, &mut message));
        match (flow, message.into_changes().0) {
            (DeliverFlow::Continue, None) => deliver::Verdict::Keep,
            (DeliverFlow::Continue, Some(patch)) => deliver::Verdict::Change(patch),
            (DeliverFlow::Stop, patch) => deliver::Verdict::Stop(patch.unwrap_or(UNCHANGED)),
            (DeliverFlow::Drop, _) => deliver::Verdict::Drop,
        }
    }
}

impl<P: Exported + Will> will::Guest for Export<P> {
    fn on_will(who: &Client, message: Given<'_>) -> will::Verdict {
        let shown = Shown::new(message);
        let mut message = Message::new(&shown, Allowed::Edit);
        let flow = said(plugin::<P>().will(&Cx::new(who), &mut message));
        match (flow, message.into_changes().0) {
            (DeliverFlow::Continue, None) => will::Verdict::Keep,
            (DeliverFlow::Continue, Some(patch)) => will::Verdict::Change(patch),
            (DeliverFlow::Stop, patch) => will::Verdict::Stop(patch.unwrap_or(UNCHANGED)),
            (DeliverFlow::Drop, _) => will::Verdict::Drop,
        }
    }
}

impl<P: Exported + Retain> retained::Guest for Export<P> {
    fn on_retain(message: Given<'_>) -> retained::Verdict {
        let shown = Shown::new(message);
        let message = Message::new(&shown, Allowed::Read);
        match said(plugin::<P>().retain(&message)) {
            RetainVerdict::Store => retained::Verdict::Store,
            RetainVerdict::StoreFor(time) => retained::Verdict::StoreFor(seconds(time)),
            RetainVerdict::Pass => retained::Verdict::Pass,
        }
    }
}

impl<P: Exported + SharePick> share_pick::Guest for Export<P> {
    fn on_pick(
        share: String,
        _filter: String,
        members: Vec<share_pick::Member>,
        message: Given<'_>,
    ) -> Option<u32> {
        let shown = Shown::new(message);
        let message = Message::new(&shown, Allowed::Read);
        let members = members.iter().map(|member| ShareMember {
            client: None,
            inflight: member.inflight,
        });
        let picked = plugin::<P>().pick(&share, &members.collect::<Vec<_>>(), &message)?;
        u32::try_from(picked).ok()
    }
}
