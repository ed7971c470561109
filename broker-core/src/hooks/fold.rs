//! The cold folds: accept, connect, subscribe, unsubscribe, retain. Each slot sees what the one before it made; what a slot
//! did before it failed is thrown away.

use std::sync::Arc;
use std::time::Duration;

use broker_types::{Message, ReasonCode};
use plugin_api::{
    AcceptVerdict, ClientView, ConnectEdit, ConnectFlow, Cx, Denial, Fault, Incoming, RetainVerdict,
    Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit,
};

use super::authenticate::{check_mount, check_text, refused};
use super::chain::Slot;
use super::guard::unchecked;
use super::{ChainSet, FaultAction};

/// The longest pause that one verdict can make.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What becomes of a Network Connection before CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptOutcome {
    /// Read from it, after this long.
    Go {
        /// Zero unless a plugin asked for a pause.
        delay: Duration,
    },
    /// Close it without a word.
    Close,
}

/// What becomes of a CONNECT before authentication.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnectOutcome {
    /// Authenticate, with these changes. An empty Client Identifier is still the broker's to assign.
    Go(Box<ConnectEdit>),
    /// A CONNACK with this reason, and with the User Properties and Server Reference of the edit.
    Reject(Denial, Box<ConnectEdit>),
    /// The connection is closed without a CONNACK.
    Close,
}

/// What becomes of one filter of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FilterOutcome<E> {
    /// Goes on, with these changes.
    Go(E),
    /// This code in SUBACK or UNSUBACK; nothing else happens.
    Reject(Denial),
    /// The connection is closed.
    Close,
}

/// What becomes of one filter of a SUBSCRIBE.
pub(crate) type SubscribeOutcome = FilterOutcome<SubscribeEdit>;
/// What becomes of one filter of an UNSUBSCRIBE.
pub(crate) type UnsubscribeOutcome = FilterOutcome<UnsubscribeEdit>;

/// What becomes of a message with RETAIN set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retained {
    /// It is retained.
    Store,
    /// It is retained for so long.
    StoreFor(Duration),
    /// It is only passed on.
    Pass,
}

impl ChainSet {
    /// Asks whether a Network Connection may begin.
    pub(crate) fn accept(&self, incoming: &Incoming) -> AcceptOutcome {
        let mut delay = Duration::ZERO;
        for slot in &self.accept {
            match slot.guard.call(|| slot.hook.accept(incoming)) {
                Ok(AcceptVerdict::Continue) => {}
                Ok(AcceptVerdict::Delay(more)) => delay += more.min(PAUSE_MAX),
                Ok(AcceptVerdict::Drop) => return AcceptOutcome::Close,
                Err(action) if action.action().is_none() => {}
                Err(_) => return AcceptOutcome::Close,
            }
        }
        AcceptOutcome::Go { delay }
    }

    /// Lets the plugins change a CONNECT.
    pub(crate) async fn connect(&self, client: &Arc<ClientView>, edit: ConnectEdit) -> ConnectOutcome {
        let mut edit = Box::new(edit);
        for slot in &self.connect {
            let cx = Cx {
                client,
                budget: slot.guard.budget(),
            };
            let mut changed = edit.clone();
            let draft = &mut *changed;
            let flow = slot.guard.run(|| slot.hook.connect(&cx, draft), unchecked).await;
            let flow = flow.and_then(|flow| match check_connect(&changed) {
                Ok(()) => Ok(flow),
                Err(fault) => Err(slot.guard.blame(&fault)),
            });
            if flow.is_ok() {
                changed.clean_start = edit.clean_start;
                edit = changed;
            }
            match flow {
                Ok(ConnectFlow::Continue) => {}
                Ok(ConnectFlow::Stop) => break,
                Ok(ConnectFlow::Reject(denial)) => return ConnectOutcome::Reject(denial, edit),
                Err(action) => match action.action().map(refused) {
                    None => {}
                    Some(Some(denial)) => return ConnectOutcome::Reject(denial, edit),
                    Some(None) => return ConnectOutcome::Close,
                },
            }
        }
        ConnectOutcome::Go(edit)
    }

    /// Lets the plugins change or refuse the filters of a SUBSCRIBE, one after the other. One outcome for each; after a
    /// `Close` nobody is asked any more.
    pub(crate) async fn subscribe(
        &self,
        client: &Arc<ClientView>,
        edits: Vec<SubscribeEdit>,
    ) -> Vec<SubscribeOutcome> {
        let mut outcomes = Vec::with_capacity(edits.len());
        for edit in edits {
            let outcome = match outcomes.last() {
                Some(SubscribeOutcome::Close) => SubscribeOutcome::Close,
                _ => self.subscribe_one(client, edit).await,
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Lets the plugins map the filters of an UNSUBSCRIBE, as [`Self::subscribe`] does.
    pub(crate) async fn unsubscribe(
        &self,
        client: &Arc<ClientView>,
        edits: Vec<UnsubscribeEdit>,
    ) -> Vec<UnsubscribeOutcome> {
        let mut outcomes = Vec::with_capacity(edits.len());
        for edit in edits {
            let outcome = match outcomes.last() {
                Some(UnsubscribeOutcome::Close) => UnsubscribeOutcome::Close,
                _ => self.unsubscribe_one(client, edit).await,
            };
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Asks whether `message`, which has RETAIN set and a payload, is retained. The shortest time holds.
    pub(crate) fn retain(&self, message: &Message) -> Retained {
        let mut retained = Retained::Store;
        for slot in &self.retain {
            if !slot.guard.state().wants(message.topic.as_ref()) {
                continue;
            }
            match slot.guard.call(|| slot.hook.retain(message)) {
                Ok(RetainVerdict::Store) => {}
                Ok(RetainVerdict::StoreFor(time)) => retained = retained.at_most(time),
                Ok(RetainVerdict::Pass) => return Retained::Pass,
                Err(action) if action.action().is_none() => {}
                Err(_) => return Retained::Pass,
            }
        }
        retained
    }

    async fn subscribe_one(&self, client: &Arc<ClientView>, mut edit: SubscribeEdit) -> SubscribeOutcome {
        for slot in &self.subscribe {
            match subscribe_slot(slot, client, &mut edit).await {
                Ok(SubscribeFlow::Continue) => {}
                Ok(SubscribeFlow::Stop) => break,
                Ok(SubscribeFlow::Reject(denial)) => return FilterOutcome::Reject(denial),
                Err(None) => {}
                Err(Some(action)) => return FilterOutcome::of(action),
            }
        }
        FilterOutcome::Go(edit)
    }

    async fn unsubscribe_one(
        &self,
        client: &Arc<ClientView>,
        mut edit: UnsubscribeEdit,
    ) -> UnsubscribeOutcome {
        for slot in &self.unsubscribe {
            match unsubscribe_slot(slot, client, &mut edit).await {
                Ok(()) | Err(None) => {}
                Err(Some(action)) => return FilterOutcome::of(action),
            }
        }
        FilterOutcome::Go(edit)
    }
}

impl<E> FilterOutcome<E> {
    /// Returns what a fault makes: 0x83 in SUBACK or UNSUBACK (3.1.1: SUBACK 0x80), or the end.
    const fn of(action: FaultAction) -> Self {
        match action {
            FaultAction::Deny | FaultAction::Drop => {
                Self::Reject(Denial::new(ReasonCode::ImplementationSpecificError))
            }
            FaultAction::Disconnect => Self::Close,
        }
    }
}

impl Retained {
    fn at_most(self, time: Duration) -> Self {
        match self {
            Self::Store => Self::StoreFor(time),
            Self::StoreFor(before) => Self::StoreFor(before.min(time)),
            Self::Pass => Self::Pass,
        }
    }
}

/// Lets one plugin change `edit`, except for what is read only.
async fn subscribe_slot(
    slot: &Slot<dyn Subscribe>,
    client: &Arc<ClientView>,
    edit: &mut SubscribeEdit,
) -> Result<SubscribeFlow, Option<FaultAction>> {
    let budget = slot.guard.budget();
    let cx = Cx { client, budget };
    let mut draft = edit.clone();
    let call = slot.guard.run(|| slot.hook.subscribe(&cx, &mut draft), unchecked);
    let flow = call.await.map_err(|action| action.action())?;
    edit.filter = draft.filter;
    edit.max_qos = edit.max_qos.min(draft.max_qos);
    edit.class = draft.class;
    Ok(flow)
}

/// Lets one plugin change the filter of `edit`.
async fn unsubscribe_slot(
    slot: &Slot<dyn Unsubscribe>,
    client: &Arc<ClientView>,
    edit: &mut UnsubscribeEdit,
) -> Result<(), Option<FaultAction>> {
    let budget = slot.guard.budget();
    let cx = Cx { client, budget };
    let mut draft = edit.clone();
    let call = slot
        .guard
        .run(|| slot.hook.unsubscribe(&cx, &mut draft), unchecked);
    call.await.map_err(|action| action.action())?;
    edit.filter = draft.filter;
    Ok(())
}

/// Checks what a plugin made of a CONNECT: it ends up in CONNACK and before topics.
fn check_connect(edit: &ConnectEdit) -> Result<(), Fault> {
    check_mount(&edit.mount)?;
    check_text(edit.client_id.as_str())?;
    edit.server_reference.as_deref().map_or(Ok(()), check_text)?;
    for (name, value) in &edit.user_properties {
        check_text(name)?;
        check_text(value)?;
    }
    Ok(())
}
