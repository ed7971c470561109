//! What is put around the hooks of a use that has a condition, or whose chain keeps a trace: the condition is looked at before
//! the call, the call is written down. Uses with neither are called as they are.

use std::fmt::Write;
use std::sync::Arc;

use broker_types::Message;
use plugin_api::{
    Accept, AcceptVerdict, AclDecision, AclItem, AclRequest, AclVerdict, Action, Answer, AuthRequest,
    AuthVerdict, Authenticate, Authorize, Capabilities, Connect, ConnectEdit, ConnectFlow, Cx, Deliver,
    DeliverFlow, Denial, Fault, Flow, Grant, Incoming, MessageEdit, Patch, Publish, Retain, RetainVerdict,
    Scoped, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, Will, WillFlow,
    async_trait,
};

use super::trace::{Change, Open, Tracer};
use crate::chain::{Condition, Hook, Moment};

/// Characters of a payload that a trace shows.
const SHOWN_MAX: usize = 200;

/// Who looks on.
#[derive(Clone)]
struct Watch {
    condition: Option<Arc<dyn Condition>>,
    tracer: Option<Tracer>,
}

/// A hook with somebody looking on.
struct Watched<H: ?Sized> {
    hook: Arc<H>,
    watch: Watch,
}

/// Puts `condition` and `tracer`, if there are any, around the hooks in `has`. With a tracer nobody is told of events: what is
/// rehearsed didn't happen.
pub(super) fn watched(
    has: Capabilities,
    condition: Option<&Arc<dyn Condition>>,
    tracer: Option<Tracer>,
) -> Capabilities {
    if condition.is_none() && tracer.is_none() {
        return has;
    }
    let watch = Watch {
        condition: condition.cloned(),
        tracer,
    };
    Capabilities {
        accept: has.accept.map(|hook| watch.around(hook) as Arc<dyn Accept>),
        connect: has.connect.map(|hook| watch.around(hook) as Arc<dyn Connect>),
        authenticate: has
            .authenticate
            .map(|hook| watch.around(hook) as Arc<dyn Authenticate>),
        authorize: has.authorize.map(|hook| watch.around(hook) as Arc<dyn Authorize>),
        subscribe: has.subscribe.map(|hook| watch.around(hook) as Arc<dyn Subscribe>),
        unsubscribe: has
            .unsubscribe
            .map(|hook| watch.around(hook) as Arc<dyn Unsubscribe>),
        publish: has.publish.map(|scoped| Scoped {
            hook: watch.around(scoped.hook) as Arc<dyn Publish>,
            filters: scoped.filters,
            needs: scoped.needs,
        }),
        retain: has.retain.map(|hook| watch.around(hook) as Arc<dyn Retain>),
        deliver: has.deliver.map(|scoped| Scoped {
            hook: watch.around(scoped.hook) as Arc<dyn Deliver>,
            filters: scoped.filters,
            needs: scoped.needs,
        }),
        will: has.will.map(|hook| watch.around(hook) as Arc<dyn Will>),
        events: has.events.filter(|_| watch.tracer.is_none()),
        ..has
    }
}

impl Watch {
    fn around<H: ?Sized>(&self, hook: Arc<H>) -> Arc<Watched<H>> {
        let watch = self.clone();
        Arc::new(Watched { hook, watch })
    }

    /// Tells whether the plugin is to be asked.
    fn admits(&self, moment: &Moment<'_>) -> Result<bool, Fault> {
        let Some(condition) = &self.condition else {
            return Ok(true);
        };
        let holds = condition.holds(moment);
        match &holds {
            Ok(true) => {}
            Ok(false) => {
                if let Some(tracer) = &self.tracer {
                    tracer.passed_by(moment.hook, moment.topic.unwrap_or_default());
                }
            }
            // What the guard tells of the fault has a place of its own.
            Err(_) => drop(self.open(moment.hook, moment.topic.unwrap_or_default())),
        }
        holds
    }

    fn open(&self, hook: Hook, about: &str) -> Option<Open> {
        self.tracer.as_ref().map(|tracer| tracer.open(hook, about))
    }
}

/// Ends a call that was written down, if it was.
fn close<T>(open: Option<Open>, result: &Result<T, Fault>, say: impl FnOnce(&T) -> (String, Vec<Change>)) {
    if let Some(open) = open {
        open.close(result.as_ref().ok().map(say));
    }
}

impl Accept for Watched<dyn Accept> {
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
        let open = self.watch.open(Hook::Accept, "");
        let result = self.hook.accept(incoming);
        close(open, &result, |verdict| {
            let said = match verdict {
                AcceptVerdict::Continue => "continue".to_owned(),
                AcceptVerdict::Drop => "drop".to_owned(),
                AcceptVerdict::Delay(time) => format!("delay {time:?}"),
            };
            (said, Vec::new())
        });
        result
    }
}

#[async_trait]
impl Connect for Watched<dyn Connect> {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        if !self.watch.admits(&Moment::of_client(Hook::Connect, cx.client))? {
            return Ok(ConnectFlow::Continue);
        }
        let open = self.watch.open(Hook::Connect, "");
        let before = open.is_some().then(|| edit.clone());
        let result = self.hook.connect(cx, edit).await;
        close(open, &result, |flow| {
            let said = match flow {
                ConnectFlow::Continue => "continue".to_owned(),
                ConnectFlow::Stop => "stop".to_owned(),
                ConnectFlow::Reject(denial) => refusal("reject", denial),
            };
            (
                said,
                before.map_or(Vec::new(), |before| connect_changes(&before, edit)),
            )
        });
        result
    }
}

#[async_trait]
impl Authenticate for Watched<dyn Authenticate> {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        if !self
            .watch
            .admits(&Moment::of_client(Hook::Authenticate, cx.client))?
        {
            return Ok(AuthVerdict::Skip);
        }
        if let Some(verdict) = self.watch.tracer.as_ref().and_then(Tracer::assumed) {
            return Ok(verdict);
        }
        let open = self.watch.open(Hook::Authenticate, "");
        let result = self.hook.authenticate(cx, request).await;
        close(open, &result, |verdict| match verdict {
            AuthVerdict::Skip => ("skip".to_owned(), Vec::new()),
            AuthVerdict::Allow(grant) => ("allow".to_owned(), grant_changes(grant)),
            AuthVerdict::Deny(denial) => (refusal("deny", denial), Vec::new()),
        });
        result
    }
}

impl Authorize for Watched<dyn Authorize> {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let mut places = Vec::with_capacity(request.items.len());
        for (at, item) in request.items.iter().enumerate() {
            match self
                .watch
                .admits(&Moment::of_item(cx.client, request.action, item))
            {
                Ok(true) => places.push(at),
                // The same moment gets the same answer, so this holds as long as the client's identity does.
                Ok(false) => out[at] = AclDecision::fixed(AclVerdict::Skip),
                Err(fault) => return Answer::fault(fault),
            }
        }
        if places.is_empty() {
            return Answer::now(());
        }
        let items: Vec<AclItem<'_>> = places.iter().map(|at| request.items[*at]).collect();
        let asked = AclRequest {
            action: request.action,
            items: &items,
        };
        let open = self
            .watch
            .tracer
            .as_ref()
            .map(|tracer| tracer.open(Hook::Authorize, questions(&asked)));
        let mut given = vec![AclDecision::default(); items.len()];
        match self.hook.authorize(cx, &asked, &mut given) {
            Answer::Now(result) => {
                close(open, &result, |()| decisions(&given));
                if result.is_ok() {
                    scatter(given, &places, out);
                }
                Answer::Now(result)
            }
            Answer::Later(answer) => {
                let mut all = out.to_vec();
                Answer::later(async move {
                    let result = answer.await;
                    close(open, &result, |given| decisions(given));
                    let given = result?;
                    // A wrong number of decisions is for the guard to see.
                    if given.len() != places.len() {
                        return Ok(given
                            .into_iter()
                            .chain(all)
                            .chain([AclDecision::default()])
                            .collect());
                    }
                    scatter(given, &places, &mut all);
                    Ok(all)
                })
            }
        }
    }
}

/// Puts each decision where its question stood.
fn scatter(given: Vec<AclDecision>, places: &[usize], out: &mut [AclDecision]) {
    for (at, decision) in places.iter().zip(given) {
        out[*at] = decision;
    }
}

#[async_trait]
impl Subscribe for Watched<dyn Subscribe> {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        let filter = edit.filter.filter.as_str();
        let moment = Moment::of_filter(Hook::Subscribe, cx.client, filter, Some(edit.max_qos));
        if !self.watch.admits(&moment)? {
            return Ok(SubscribeFlow::Continue);
        }
        let open = self.watch.open(Hook::Subscribe, &edit.filter.to_string());
        let before = open.is_some().then(|| edit.clone());
        let result = self.hook.subscribe(cx, edit).await;
        close(open, &result, |flow| {
            let said = match flow {
                SubscribeFlow::Continue => "continue".to_owned(),
                SubscribeFlow::Stop => "stop".to_owned(),
                SubscribeFlow::Reject(denial) => refusal("reject", denial),
            };
            let mut changes = Changes::default();
            if let Some(before) = before {
                changes.if_new("filter", &before.filter, &edit.filter);
                changes.if_new("qos", &before.max_qos.bits(), &edit.max_qos.bits());
                changes.if_new("class", &before.class, &edit.class);
            }
            (said, changes.0)
        });
        result
    }
}

#[async_trait]
impl Unsubscribe for Watched<dyn Unsubscribe> {
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        let moment = Moment::of_filter(Hook::Unsubscribe, cx.client, edit.filter.filter.as_str(), None);
        if !self.watch.admits(&moment)? {
            return Ok(());
        }
        let open = self.watch.open(Hook::Unsubscribe, &edit.filter.to_string());
        let before = open.is_some().then(|| edit.filter.clone());
        let result = self.hook.unsubscribe(cx, edit).await;
        close(open, &result, |()| {
            let mut changes = Changes::default();
            if let Some(before) = before {
                changes.if_new("filter", &before, &edit.filter);
            }
            ("continue".to_owned(), changes.0)
        });
        result
    }
}

impl Publish for Watched<dyn Publish> {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        match self
            .watch
            .admits(&Moment::of_message(Hook::Publish, Some(cx.client), message))
        {
            Ok(true) => {}
            Ok(false) => return Answer::now(Flow::Continue),
            Err(fault) => return Answer::fault(fault),
        }
        let Some(open) = self.watch.open(Hook::Publish, message.topic().as_str()) else {
            return self.hook.publish(cx, message);
        };
        match self.hook.publish(cx, message) {
            Answer::Now(result) => {
                close(Some(open), &result, |flow| (say_flow(flow), drafted(message)));
                Answer::Now(result)
            }
            Answer::Later(answer) => Answer::later(async move {
                let result = answer.await;
                close(Some(open), &result, |(flow, patch)| {
                    (say_flow(flow), patch_changes(patch))
                });
                result
            }),
        }
    }
}

impl Retain for Watched<dyn Retain> {
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault> {
        let moment = Moment {
            topic: Some(message.topic.as_str()),
            qos: Some(message.qos),
            retain: Some(true),
            payload: Some(&message.payload),
            ..Moment::new(Hook::Retain)
        };
        if !self.watch.admits(&moment)? {
            return Ok(RetainVerdict::Store);
        }
        let open = self.watch.open(Hook::Retain, message.topic.as_str());
        let result = self.hook.retain(message);
        close(open, &result, |verdict| {
            let said = match verdict {
                RetainVerdict::Store => "store".to_owned(),
                RetainVerdict::StoreFor(time) => format!("store for {time:?}"),
                RetainVerdict::Pass => "pass".to_owned(),
            };
            (said, Vec::new())
        });
        result
    }
}

impl Deliver for Watched<dyn Deliver> {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        match self
            .watch
            .admits(&Moment::of_message(Hook::Deliver, None, message))
        {
            Ok(true) => {}
            Ok(false) => return Answer::now(DeliverFlow::Continue),
            Err(fault) => return Answer::fault(fault),
        }
        let Some(open) = self.watch.open(Hook::Deliver, message.topic().as_str()) else {
            return self.hook.deliver(class, message);
        };
        let say = |flow: &DeliverFlow| match flow {
            DeliverFlow::Continue => "continue".to_owned(),
            DeliverFlow::Stop => "stop".to_owned(),
            DeliverFlow::Drop => "drop".to_owned(),
        };
        match self.hook.deliver(class, message) {
            Answer::Now(result) => {
                close(Some(open), &result, |flow| (say(flow), drafted(message)));
                Answer::Now(result)
            }
            Answer::Later(answer) => Answer::later(async move {
                let result = answer.await;
                close(Some(open), &result, |(flow, patch)| {
                    (say(flow), patch_changes(patch))
                });
                result
            }),
        }
    }
}

#[async_trait]
impl Will for Watched<dyn Will> {
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        if !self
            .watch
            .admits(&Moment::of_message(Hook::Will, Some(cx.client), message))?
        {
            return Ok(WillFlow::Continue);
        }
        let open = self.watch.open(Hook::Will, message.topic().as_str());
        let result = self.hook.will(cx, message).await;
        close(open, &result, |flow| {
            let said = match flow {
                WillFlow::Continue => "continue",
                WillFlow::Stop => "stop",
                WillFlow::Drop => "drop",
            };
            (said.to_owned(), drafted(message))
        });
        result
    }
}

fn say_flow(flow: &Flow) -> String {
    match flow {
        Flow::Continue => "continue".to_owned(),
        Flow::Stop => "stop".to_owned(),
        Flow::Drop => "drop".to_owned(),
        Flow::Reject(denial) => refusal("reject", denial),
        Flow::Disconnect(denial) => refusal("disconnect", denial),
        Flow::Throttle(time) => format!("throttle {time:?}"),
    }
}

fn refusal(word: &str, denial: &Denial) -> String {
    match &denial.text {
        None => format!("{word} {}", denial.reason),
        Some(text) => format!("{word} {}: {text}", denial.reason),
    }
}

/// What an authorizer is asked: `publish a/b`.
fn questions(request: &AclRequest<'_>) -> String {
    let mut text = match request.action {
        Action::Publish => "publish",
        Action::Subscribe => "subscribe",
        Action::Receive => "receive",
    }
    .to_owned();
    for item in request.items {
        text.push(' ');
        text.push_str(item.topic);
    }
    text
}

fn decisions(given: &[AclDecision]) -> (String, Vec<Change>) {
    let mut text = String::new();
    for (i, decision) in given.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let said = match &decision.verdict {
            AclVerdict::Skip => "skip".to_owned(),
            AclVerdict::Allow => "allow".to_owned(),
            AclVerdict::AllowMaxQos(qos) => format!("allow up to QoS {}", qos.bits()),
            AclVerdict::Deny(denial) => refusal("deny", denial),
        };
        // Writing into a string doesn't fail.
        let _ = write!(text, "{comma}{said}");
    }
    (text, Vec::new())
}

/// Collects what changed.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn if_new<T: PartialEq + std::fmt::Display>(&mut self, what: &'static str, before: &T, after: &T) {
        if before != after {
            self.0.push(Change::new(what, after));
        }
    }

    fn if_there(&mut self, what: &'static str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| Change::new(what, value)));
    }
}

fn connect_changes(before: &ConnectEdit, after: &ConnectEdit) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.if_new("client_id", &before.client_id.as_str(), &after.client_id.as_str());
    let name = |edit: &ConnectEdit| edit.username.as_deref().unwrap_or_default().to_owned();
    changes.if_new("username", &name(before), &name(after));
    changes.if_new("mount", &before.mount, &after.mount);
    let new = |new: bool| new.then_some(());
    changes.if_there(
        "keep_alive_cap",
        new(before.keep_alive_cap != after.keep_alive_cap).and(after.keep_alive_cap),
    );
    let cap = after.session_expiry_cap.map(|time| format!("{time:?}"));
    changes.if_there(
        "session_expiry_cap",
        new(before.session_expiry_cap != after.session_expiry_cap).and(cap),
    );
    let properties = after.user_properties.iter().skip(before.user_properties.len());
    changes
        .0
        .extend(properties.map(|(name, value)| Change::new("user_property", format_args!("{name}={value}"))));
    changes.if_there(
        "server_reference",
        new(before.server_reference != after.server_reference).and(after.server_reference.as_ref()),
    );
    changes.0
}

fn grant_changes(grant: &Grant) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.if_there("username", grant.username.as_ref());
    changes.if_there("client_id", grant.client_id.as_ref());
    changes.if_there("mount", grant.mount.as_ref());
    let attributes = grant.attributes.iter();
    changes
        .0
        .extend(attributes.map(|(name, value)| Change::new("attribute", format_args!("{name}={value}"))));
    changes.if_there(
        "session_expiry_cap",
        grant.session_expiry_cap.map(|time| format!("{time:?}")),
    );
    changes.if_there("expires_in", grant.expires_in.map(|time| format!("{time:?}")));
    changes.0
}

/// What the plugin that has the message now has changed.
fn drafted(message: &MessageEdit<'_>) -> Vec<Change> {
    message.drafted().map_or(Vec::new(), patch_changes)
}

fn patch_changes(patch: &Patch) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.if_there("topic", patch.topic.as_ref());
    changes.if_there("payload", patch.payload.as_deref().map(shown));
    changes.if_there("qos", patch.qos.map(|qos| qos.bits()));
    changes.if_there("retain", patch.retain);
    changes.if_there(
        "properties",
        patch
            .properties
            .as_ref()
            .map(|all| format!("{} bytes", all.as_bytes().len())),
    );
    let expiry = patch
        .expiry
        .map(|expiry| expiry.map_or("none".to_owned(), |secs| format!("{secs}s")));
    changes.if_there("expiry", expiry);
    for message in &patch.emitted {
        let text = format!("{} {}", message.topic, shown(&message.payload));
        changes.0.push(Change::new("emitted", text));
    }
    changes.0
}

/// A payload as a person can read it: text, or how many bytes there are.
fn shown(payload: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(payload) else {
        return format!("{} bytes", payload.len());
    };
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_MAX) {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
