//! The hooks with one owner: enhanced authentication by method, control requests by prefix, and the choice in Shared
//! Subscriptions.

use std::sync::Arc;

use broker_types::{Message, ReasonCode};
use plugin_api::{
    ClientView, ControlRequest, Cx, Denial, Exchange, ExchangeRequest, ExchangeVerdict, Fault, Grant,
    ShareMember,
};

use super::authenticate::{check_grant, unavailable};
use super::chain::Slot;
use super::guard::unchecked;
use super::{ChainSet, FaultAction};
use crate::chain::OnFault;

/// Topics of control requests begin with this, then the prefix.
const CONTROL: &str = "$CONTROL/";

/// Who runs an Authentication Method. An exchange stays with the owner it began with, whatever becomes of the chain.
#[derive(Clone)]
pub(crate) struct ExchangeOwner(Arc<Slot<dyn Exchange>>);

/// What comes next in an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ExchangeOutcome {
    /// An AUTH with this data; wait for the answer.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Success {
        /// What it is granted.
        grant: Box<Grant>,
        /// Authentication Data for the CONNACK or the last AUTH.
        data: Option<Vec<u8>>,
    },
    /// A CONNACK or DISCONNECT with this reason.
    Deny(Denial),
    /// The connection is closed without a word.
    Close,
}

/// What becomes of a control request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ControlOutcome {
    /// Acknowledged; these bytes, if any, are published to the asking client.
    Reply(Vec<u8>),
    /// This code in PUBACK or PUBREC.
    Refuse(ReasonCode),
    /// Nobody could say; never [`FaultAction::Drop`], which is an empty reply.
    Fault(FaultAction),
}

impl ChainSet {
    /// Returns who runs an Authentication Method; `None`: nobody, which is 0x8C.
    pub(crate) fn exchange_owner(&self, method: &str) -> Option<ExchangeOwner> {
        let owner = self.exchange.iter().find(|owned| owned.name == method)?;
        Some(ExchangeOwner(owner.slot.clone()))
    }

    /// Answers a request to `$CONTROL/…`. Whom a prefix belongs to is decided by the longest that fits.
    pub(crate) async fn control(
        &self,
        client: &Arc<ClientView>,
        request: &ControlRequest<'_>,
    ) -> ControlOutcome {
        let fitting = self
            .control
            .iter()
            .filter(|owned| is_below(request.topic.as_str(), &owned.name));
        let Some(owner) = fitting.max_by_key(|owned| owned.name.len()) else {
            return ControlOutcome::Refuse(ReasonCode::NotAuthorized);
        };
        let guard = &owner.slot.guard;
        let budget = guard.budget();
        let cx = Cx { client, budget };
        match guard
            .run(|| owner.slot.hook.control(&cx, request), unchecked)
            .await
        {
            Ok(Ok(reply)) => ControlOutcome::Reply(reply),
            Ok(Err(reason)) => ControlOutcome::Refuse(reason),
            Err(OnFault::Deny) => ControlOutcome::Fault(FaultAction::Deny),
            Err(OnFault::Disconnect) => ControlOutcome::Fault(FaultAction::Disconnect),
            Err(OnFault::Drop | OnFault::Skip | OnFault::Allow) => ControlOutcome::Reply(Vec::new()),
        }
    }

    /// Lets a plugin choose the member of a shared group; `None`: the broker chooses.
    pub(crate) fn share_pick(
        &self,
        share: &str,
        filter: &str,
        members: &[ShareMember],
        message: &Message,
    ) -> Option<usize> {
        let slot = self.share_pick.as_ref()?;
        let picked = slot
            .guard
            .call(|| Ok(slot.hook.pick(share, filter, members, message)));
        picked.ok().flatten().filter(|index| *index < members.len())
    }
}

impl ExchangeOwner {
    /// Takes one step. There is nobody else to ask, so a fault that should be skipped or allowed denies too.
    pub(crate) async fn step(
        &self,
        client: &Arc<ClientView>,
        request: &ExchangeRequest<'_>,
    ) -> ExchangeOutcome {
        let slot = &*self.0;
        let budget = slot.guard.budget();
        let cx = Cx { client, budget };
        match slot
            .guard
            .run(|| slot.hook.exchange(&cx, request), check_step)
            .await
        {
            Ok(ExchangeVerdict::Challenge(data)) => ExchangeOutcome::Challenge(data),
            Ok(ExchangeVerdict::Success { grant, data }) => ExchangeOutcome::Success { grant, data },
            Ok(ExchangeVerdict::Deny(denial)) => ExchangeOutcome::Deny(denial),
            Err(OnFault::Deny | OnFault::Skip | OnFault::Allow) => ExchangeOutcome::Deny(unavailable()),
            Err(OnFault::Drop | OnFault::Disconnect) => ExchangeOutcome::Close,
        }
    }
}

fn check_step(verdict: &ExchangeVerdict) -> Result<(), Fault> {
    match verdict {
        ExchangeVerdict::Success { grant, .. } => check_grant(grant),
        ExchangeVerdict::Challenge(_) | ExchangeVerdict::Deny(_) => Ok(()),
    }
}

/// Tells whether `topic` is `$CONTROL/<prefix>` or below.
fn is_below(topic: &str, prefix: &str) -> bool {
    let rest = topic
        .strip_prefix(CONTROL)
        .and_then(|rest| rest.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
