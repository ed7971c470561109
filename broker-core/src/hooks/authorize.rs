//! What a client may do: for each topic the first verdict that isn't `Skip`, or everybody's consent. A slot is asked for all
//! topics that are still open in one call.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{QoS, SubscriptionFilter};
use plugin_api::{AclDecision, AclItem, AclRequest, AclVerdict, Action, ClientView, Cx, Denial, Fault};
use smallvec::SmallVec;

use super::authenticate::nonsense;
use super::guard::{Asked, Waiting};
use super::{ChainSet, FaultAction, Pending, Step};
use crate::chain::OnFault;

/// What is said about one topic, and how long that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// What is said.
    pub(crate) outcome: Outcome,
    /// How long it may be remembered: the shortest time of all who were asked. `None`: not at all.
    pub(crate) cache_for: Option<Duration>,
}

impl Decision {
    /// Allows what nobody is to be asked about.
    fn unasked() -> Self {
        Self {
            outcome: Outcome::Allow {
                max_qos: QoS::ExactlyOnce,
            },
            cache_for: None,
        }
    }
}

/// What is said about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Yes, with at most this QoS.
    Allow {
        /// The highest QoS.
        max_qos: QoS,
    },
    /// No.
    Deny(Denial),
    /// Nobody could say.
    Fault(FaultAction),
}

impl Default for Decision {
    /// Refuses, and is not to be remembered.
    fn default() -> Self {
        Self {
            outcome: Outcome::Deny(Denial::not_authorized()),
            cache_for: None,
        }
    }
}

/// Resolves to one decision for each item.
pub(crate) type PendingAuthorize = Pending<Vec<Decision>>;

impl ChainSet {
    /// Decides about each item of `request`; `out` has as many places. If somebody needs time, `out` is left alone and
    /// the future has the decisions; nobody is asked twice.
    pub(crate) fn authorize(
        self: &Arc<Self>,
        client: &Arc<ClientView>,
        request: &AclRequest<'_>,
        out: &mut [Decision],
    ) -> Step<(), PendingAuthorize> {
        if client.unrestricted {
            out.fill(Decision::unasked());
            return Step::Now(());
        }
        let mut tallies: SmallVec<[Tally; 1]> = request.items.iter().map(|_| Tally::default()).collect();
        match self.ask_from(0, client, request, &mut tallies) {
            None => {
                for (decision, tally) in out.iter_mut().zip(tallies) {
                    *decision = self.decide(tally, request.action);
                }
                Step::Now(())
            }
            Some(stall) => {
                let items = request.items.iter().map(OwnedItem::from).collect();
                let (set, client) = (self.clone(), client.clone());
                Step::Later(Box::pin(set.authorize_rest(
                    client,
                    request.action,
                    items,
                    tallies,
                    stall,
                )))
            }
        }
    }

    /// Decides about Topic Filters that `client` subscribes to or has subscribed to, all at once.
    pub(crate) async fn authorize_filters<'f>(
        self: &Arc<Self>,
        client: &Arc<ClientView>,
        filters: impl Iterator<Item = (&'f SubscriptionFilter, QoS)>,
    ) -> Vec<Decision> {
        let items: Vec<_> = filters
            .map(|(filter, qos)| AclItem {
                topic: filter.filter.as_str(),
                qos,
                retain: false,
                share: filter.share.as_ref().map(|share| share.as_str()),
            })
            .collect();
        let request = AclRequest {
            action: Action::Subscribe,
            items: &items,
        };
        let mut decisions = vec![Decision::default(); items.len()];
        match self.authorize(client, &request, &mut decisions) {
            Step::Now(()) => decisions,
            Step::Later(pending) => pending.await,
        }
    }

    async fn authorize_rest(
        self: Arc<Self>,
        client: Arc<ClientView>,
        action: Action,
        owned: Vec<OwnedItem>,
        mut tallies: SmallVec<[Tally; 1]>,
        mut stall: Stall,
    ) -> Vec<Decision> {
        loop {
            let places = open(&tallies).count();
            let guard = &self.authorize[stall.at].slot.guard;
            let answer = guard.finish(stall.waiting, |given| fits(given, places)).await;
            self.take(answer, &mut tallies);
            let items: SmallVec<[AclItem<'_>; 1]> = owned.iter().map(OwnedItem::lend).collect();
            let request = AclRequest {
                action,
                items: &items,
            };
            match self.ask_from(stall.at + 1, &client, &request, &mut tallies) {
                None => break,
                Some(next) => stall = next,
            }
        }
        tallies
            .into_iter()
            .map(|tally| self.decide(tally, action))
            .collect()
    }

    /// Asks slots from `from` on until one needs time or nothing is open any more.
    fn ask_from(
        &self,
        from: usize,
        client: &Arc<ClientView>,
        request: &AclRequest<'_>,
        tallies: &mut [Tally],
    ) -> Option<Stall> {
        for (at, acl) in self.authorize.iter().enumerate().skip(from) {
            if request.action == Action::Receive && !acl.receive {
                continue;
            }
            let items: SmallVec<[AclItem<'_>; 1]> = open(tallies).map(|at| request.items[at]).collect();
            if items.is_empty() {
                return None;
            }
            let asked = AclRequest {
                action: request.action,
                items: &items,
            };
            let mut given: SmallVec<[AclDecision; 1]> = SmallVec::new();
            given.resize(items.len(), AclDecision::default());
            let cx = Cx {
                client,
                budget: acl.slot.guard.budget(),
            };
            match acl
                .slot
                .guard
                .ask(|| acl.slot.hook.authorize(&cx, &asked, &mut given))
            {
                Asked::Now(answer) => self.take(answer.map(|()| given), tallies),
                Asked::Later(waiting) => return Some(Stall { at, waiting }),
            }
        }
        None
    }

    /// Enters a slot's answer about all that was open.
    fn take(&self, answer: Result<impl IntoIterator<Item = AclDecision>, OnFault>, tallies: &mut [Tally]) {
        let open = tallies.iter_mut().filter(|tally| tally.closed.is_none());
        match answer {
            Ok(given) => {
                for (tally, decision) in open.zip(given) {
                    tally.verdict(decision, self.authorize_all);
                }
            }
            Err(action) => open.for_each(|tally| tally.fault(action, self.authorize_all)),
        }
    }

    fn decide(&self, tally: Tally, action: Action) -> Decision {
        let outcome = match (tally.closed, tally.allowed) {
            (Some(outcome), _) => outcome,
            (None, Some(max_qos)) => Outcome::Allow { max_qos },
            (None, None) if self.lets_the_undecided_pass(action) => Outcome::Allow {
                max_qos: QoS::ExactlyOnce,
            },
            (None, None) => Outcome::Deny(Denial::not_authorized()),
        };
        Decision {
            outcome,
            cache_for: tally.cache_for,
        }
    }

    /// Tells what it means that nobody had a verdict. Where there is no authorizer everything is allowed, unless nobody may be. A message on its
    /// way to a client has passed the subscription: authorizers who don't want to see it stand by what they said then.
    fn lets_the_undecided_pass(&self, action: Action) -> bool {
        match action {
            _ if self.closed => false,
            Action::Publish | Action::Subscribe => self.authorize.is_empty(),
            Action::Receive => self.authorize.is_empty() || self.authorize.iter().any(|acl| !acl.receive),
        }
    }
}

/// The slot that needs time.
struct Stall {
    at: usize,
    waiting: Waiting<Vec<AclDecision>>,
}

/// What has been said about one item so far.
struct Tally {
    /// The lowest QoS of all who allowed it.
    allowed: Option<QoS>,
    /// The end of the matter.
    closed: Option<Outcome>,
    cache_for: Option<Duration>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            allowed: None,
            closed: None,
            cache_for: Some(AclDecision::FOREVER),
        }
    }
}

impl Tally {
    fn verdict(&mut self, decision: AclDecision, all: bool) {
        self.cache_for = self.cache_for.zip(decision.cache_for).map(|(a, b)| a.min(b));
        match decision.verdict {
            AclVerdict::Skip => {}
            AclVerdict::Allow => self.allow(QoS::ExactlyOnce, all),
            AclVerdict::AllowMaxQos(qos) => self.allow(qos, all),
            AclVerdict::Deny(denial) => self.closed = Some(Outcome::Deny(denial)),
        }
    }

    /// Applies a fault. Whatever comes out is not to be remembered, or a back end that was down for a second would go on
    /// denying.
    fn fault(&mut self, action: OnFault, all: bool) {
        self.cache_for = None;
        match action.action() {
            Some(action) => self.closed = Some(Outcome::Fault(action)),
            None if action == OnFault::Allow => self.allow(QoS::ExactlyOnce, all),
            None => {}
        }
    }

    fn allow(&mut self, max_qos: QoS, all: bool) {
        let max_qos = self.allowed.map_or(max_qos, |before| before.min(max_qos));
        self.allowed = Some(max_qos);
        if !all {
            self.closed = Some(Outcome::Allow { max_qos });
        }
    }
}

/// Returns the places that are still open.
fn open(tallies: &[Tally]) -> impl Iterator<Item = usize> {
    let places = tallies.iter().enumerate();
    places
        .filter(|(_, tally)| tally.closed.is_none())
        .map(|(at, _)| at)
}

fn fits(given: &[AclDecision], places: usize) -> Result<(), Fault> {
    if given.len() == places {
        return Ok(());
    }
    Err(nonsense("not one decision for each topic"))
}

/// An item that outlives the packet it came with.
pub(super) struct OwnedItem {
    topic: Box<str>,
    qos: QoS,
    retain: bool,
    share: Option<Box<str>>,
}

impl From<&AclItem<'_>> for OwnedItem {
    fn from(item: &AclItem<'_>) -> Self {
        Self {
            topic: item.topic.into(),
            qos: item.qos,
            retain: item.retain,
            share: item.share.map(Into::into),
        }
    }
}

impl OwnedItem {
    pub(super) fn lend(&self) -> AclItem<'_> {
        AclItem {
            topic: &self.topic,
            qos: self.qos,
            retain: self.retain,
            share: self.share.as_deref(),
        }
    }
}
