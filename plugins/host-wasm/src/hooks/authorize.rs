//! Who may publish, subscribe and receive.

use std::borrow::Cow;
use std::time::Duration;

use broker_types::QoS;
use plugin_api::{AclDecision, AclRequest, AclVerdict, Action, Answer, Authorize, Cx, Fault};

use super::{Hooks, Who, who};
use crate::bindings::exported::authorize;
use crate::exports::offered;
use crate::guest::{Ask, Portable, Reply};
use crate::instance::Instance;
use crate::message::{denial, protocol, qos_in, qos_out};
use crate::state::More;

struct OnAuthorize<'a> {
    who: Who,
    action: Action,
    items: Vec<Item<'a>>,
}

struct Item<'a> {
    topic: Cow<'a, str>,
    share: Option<Cow<'a, str>>,
    qos: QoS,
    retain: bool,
}

impl Ask for OnAuthorize<'_> {
    type Answer = Vec<authorize::Decision>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Vec<authorize::Decision>> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let action = match self.action {
            Action::Publish => authorize::Action::Publish,
            Action::Subscribe => authorize::Action::Subscribe,
            Action::Receive => authorize::Action::Receive,
        };
        let requests = self.items.iter().map(|item| authorize::Request {
            topic: &item.topic,
            qos: qos_out(item.qos),
            retain: item.retain,
            share: item.share.as_deref(),
        });
        let requests: Vec<_> = requests.collect();
        let function = offered(&exports.authorize)?.func_on_authorize();
        let (decisions,) = caller
            .call(function, (who(), action, requests.as_slice()))
            .await?;
        Ok(decisions)
    }
}

impl Portable for OnAuthorize<'_> {
    type Owned = OnAuthorize<'static>;

    fn own(self) -> OnAuthorize<'static> {
        let items = self.items.into_iter().map(|item| Item {
            topic: item.topic.into_owned().into(),
            share: item.share.map(|share| share.into_owned().into()),
            qos: item.qos,
            retain: item.retain,
        });
        OnAuthorize {
            who: self.who,
            action: self.action,
            items: items.collect(),
        }
    }
}

impl Authorize for Hooks {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let items = request.items.iter().map(|item| Item {
            topic: item.topic.into(),
            share: item.share.map(Into::into),
            qos: item.qos,
            retain: item.retain,
        });
        let ask = OnAuthorize {
            who: cx.client.clone(),
            action: request.action,
            items: items.collect(),
        };
        let count = request.items.len();
        match self.guest.ask(ask) {
            Reply::Now(given) => Answer::Now(given.and_then(|given| decisions(given, count)).map(|read| {
                for (place, decision) in out.iter_mut().zip(read) {
                    *place = decision;
                }
            })),
            Reply::Later(later) => Answer::later(async move { decisions(later.await?, count) }),
        }
    }
}

/// Reads one decision for each item.
fn decisions(given: Vec<authorize::Decision>, count: usize) -> Result<Vec<AclDecision>, Fault> {
    if given.len() != count {
        return Err(protocol(format!(
            "it gave {} decisions about {count} topics",
            given.len()
        )));
    }
    given.into_iter().map(decision).collect()
}

fn decision(given: authorize::Decision) -> Result<AclDecision, Fault> {
    Ok(AclDecision {
        verdict: match given.verdict {
            authorize::Verdict::Skip => AclVerdict::Skip,
            authorize::Verdict::Allow => AclVerdict::Allow,
            authorize::Verdict::AllowMaxQos(qos) => AclVerdict::AllowMaxQos(qos_in(qos)),
            authorize::Verdict::Deny(given) => AclVerdict::Deny(denial(given)?),
        },
        cache_for: given.cache_ms.map(|ms| match ms {
            u32::MAX => AclDecision::FOREVER,
            ms => Duration::from_millis(ms.into()),
        }),
    })
}
