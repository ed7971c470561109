//! Who may publish, subscribe and receive: one verdict for each topic, all in one call.

use std::time::Duration;

use broker_types::QoS;
use plugin_abi::{self as abi, Str, values::*};
use plugin_api::{AclDecision, AclItem, AclRequest, AclVerdict, Action, Answer, Authorize, Cx, Fault};
use smallvec::SmallVec;

use super::{DECISION, Hooks};
use crate::ask::{Form, Question, Reply, Shown, Step, size_32};
use crate::border::lend;
use crate::message::protocol;
use crate::side::Table;

/// What is asked, lent.
struct Lent<'a> {
    action: Action,
    items: &'a [AclItem<'a>],
}

impl Question for Lent<'_> {
    fn form(&self) -> Form {
        Form {
            outs: self.items.len(),
            ..DECISION
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let topics: SmallVec<[Str; 4]> = self.items.iter().map(|item| lend(Some(item.topic))).collect();
        let qos: SmallVec<[u8; 8]> = self.items.iter().map(|item| item.qos.bits()).collect();
        let retain = self.items.iter().any(|item| item.retain);
        put(table, shown, self.action, &topics, &qos, retain)
    }
}

/// What is asked, for another thread.
struct Owned {
    action: Action,
    topics: Vec<String>,
    qos: Vec<u8>,
    retain: bool,
}

impl Question for Owned {
    fn form(&self) -> Form {
        Form {
            outs: self.topics.len(),
            ..DECISION
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let topics: SmallVec<[Str; 4]> = self.topics.iter().map(|topic| lend(Some(topic))).collect();
        put(table, shown, self.action, &topics, &self.qos, self.retain)
    }
}

fn put(table: &Table, shown: &Shown<'_>, action: Action, topics: &[Str], qos: &[u8], retain: bool) -> i32 {
    let Some(function) = table.0.authorize else {
        return JF_EUNSUP;
    };
    let asked = abi::AclIn {
        size: size_32::<abi::AclIn>(),
        action: match action {
            Action::Publish => 1,
            Action::Subscribe => 2,
            Action::Receive => 3,
        },
        topics: topics.as_ptr(),
        qos: qos.as_ptr(),
        n: topics.len(),
        retain: retain.into(),
        rsv: 0,
    };
    // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns, and there are as
    // many verdicts and QoS as topics.
    unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.outs.as_ptr()) }
}

impl Authorize for Hooks {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let (action, items, out_len) = (request.action, request.items, out.len());
        if self.0.interest.pooled() {
            let question = Owned {
                action,
                topics: items.iter().map(|item| item.topic.to_owned()).collect(),
                qos: items.iter().map(|item| item.qos.bits()).collect(),
                retain: items.iter().any(|item| item.retain),
            };
            return match self.0.queue(Some(cx.into()), question) {
                Ok(waiting) => Answer::later(async move { all(&waiting.await?, out_len) }),
                Err(fault) => Answer::fault(fault),
            };
        }
        match self.0.ask(Some(cx.into()), &Lent { action, items }) {
            Step::Now(Ok(reply)) => {
                for (i, place) in out.iter_mut().enumerate() {
                    match decision(&reply, i) {
                        Ok(decided) => *place = decided,
                        Err(fault) => return Answer::fault(fault),
                    }
                }
                Answer::now(())
            }
            Step::Now(Err(fault)) => Answer::fault(fault),
            Step::Later(waiting) => Answer::later(async move { all(&waiting.await?, out_len) }),
        }
    }
}

fn all(reply: &Reply, items: usize) -> Result<Vec<AclDecision>, Fault> {
    (0..items).map(|i| decision(reply, i)).collect()
}

fn decision(reply: &Reply, i: usize) -> Result<AclDecision, Fault> {
    let mut attached = reply.take(i);
    let verdict = match reply.verdict(i).verdict {
        JF_V_SKIP => AclVerdict::Skip,
        JF_V_ALLOW => match attached.number(JF_O_MAX_QOS) {
            None => AclVerdict::Allow,
            Some(max) => AclVerdict::AllowMaxQos(qos(max)?),
        },
        JF_V_DENY => AclVerdict::Deny(reply.denial(i, &mut attached)?),
        _ => return Err(reply.unknown(i)),
    };
    let cache_for = attached.number(JF_O_CACHE_MS).map(|millis| match millis {
        u64::MAX => AclDecision::FOREVER,
        millis => Duration::from_millis(millis),
    });
    Ok(AclDecision { verdict, cache_for })
}

/// Reads a QoS.
pub(super) fn qos(number: u64) -> Result<QoS, Fault> {
    let qos = u8::try_from(number).ok().and_then(QoS::from_bits);
    qos.ok_or_else(|| protocol(format!("there is no QoS {number}")))
}
