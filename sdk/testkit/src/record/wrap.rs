//! A plugin that hands what it is asked, and what it said, to a recorder. For the broker it is the plugin.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use broker_types::{Message, ReasonCode};
use bytes::Bytes;
use plugin_api::{
    Accept, AcceptVerdict, AclDecision, AclRequest, Answer, AuthRequest, AuthVerdict, Authenticate,
    Authorize, Capabilities, Connect, ConnectEdit, ConnectFlow, Control, ControlRequest, Cx, Deliver,
    DeliverFlow, Event, Events, Exchange, ExchangeRequest, ExchangeVerdict, Fault, Flow, Host, Incoming,
    MessageEdit, Patch, Plugin, PluginInfo, Publish, Retain, RetainVerdict, Scoped, ShareMember, SharePick,
    Subscribe, SubscribeEdit, SubscribeFlow, TimerId, Unsubscribe, UnsubscribeEdit, Will, WillFlow,
    async_trait, run_blocking,
};

use super::recorder::Recorder;
use crate::question::{Item, Question, Verdict};

/// A plugin whose calls are recorded. Each call costs a copy of what it is asked, and no waiting.
pub struct Recorded {
    plugin: Arc<dyn Plugin>,
    recorder: Recorder,
    host: OnceLock<Arc<dyn Host>>,
}

impl Recorded {
    /// Wraps a plugin that isn't started.
    #[must_use]
    pub fn wrap(plugin: Arc<dyn Plugin>, recorder: Recorder) -> Arc<dyn Plugin> {
        Arc::new(Self {
            plugin,
            recorder,
            host: OnceLock::new(),
        })
    }
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recorded").field(&self.plugin.info()).finish()
    }
}

#[async_trait]
impl Plugin for Recorded {
    fn info(&self) -> PluginInfo {
        self.plugin.info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        // A plugin is started once.
        let _ = self.host.set(host.clone());
        self.plugin.start(host).await
    }

    fn capabilities(&self) -> Capabilities {
        let hooks = self.plugin.capabilities();
        /// Puts a recorder between the broker and a hook.
        macro_rules! tap {
            ($hook:expr) => {
                Arc::new(Tap {
                    hook: $hook,
                    recorder: self.recorder.clone(),
                }) as _
            };
        }
        Capabilities {
            accept: hooks.accept.map(|hook| tap!(hook)),
            connect: hooks.connect.map(|hook| tap!(hook)),
            authenticate: hooks.authenticate.map(|hook| tap!(hook)),
            exchange: hooks.exchange.map(|(methods, hook)| (methods, tap!(hook))),
            authorize: hooks.authorize.map(|hook| tap!(hook)),
            authorize_receive: hooks.authorize_receive,
            subscribe: hooks.subscribe.map(|hook| tap!(hook)),
            unsubscribe: hooks.unsubscribe.map(|hook| tap!(hook)),
            publish: hooks.publish.map(|scoped| Scoped {
                hook: tap!(scoped.hook),
                filters: scoped.filters,
                needs: scoped.needs,
            }),
            retain: hooks.retain.map(|hook| tap!(hook)),
            deliver: hooks.deliver.map(|scoped| Scoped {
                hook: tap!(scoped.hook),
                filters: scoped.filters,
                needs: scoped.needs,
            }),
            will: hooks.will.map(|hook| tap!(hook)),
            events: hooks.events.map(|(mask, hook)| (mask, tap!(hook))),
            control: hooks.control.map(|(prefixes, hook)| (prefixes, tap!(hook))),
            share_pick: hooks.share_pick.map(|hook| tap!(hook)),
            session_store: hooks.session_store,
            bridge: hooks.bridge,
        }
    }

    async fn health(&self) -> Result<(), Fault> {
        self.plugin.health().await
    }

    async fn reconfigure(&self, options: &str) -> Result<bool, Fault> {
        self.plugin.reconfigure(options).await
    }

    async fn on_timer(&self, timer: TimerId) {
        self.plugin.on_timer(timer).await;
    }

    async fn save_state(&self) -> Option<Vec<u8>> {
        self.plugin.save_state().await
    }

    async fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        self.plugin.load_state(from_version, state).await
    }

    async fn stop(&self, drain: Duration) {
        self.plugin.stop(drain).await;
        if let Some(host) = self.host.get() {
            let recorder = self.recorder.clone();
            // A broker that has no thread left for it loses the last lines.
            let _ = run_blocking(&**host, move || recorder.sync()).await;
        }
    }
}

/// A hook and who listens in.
struct Tap<H: ?Sized> {
    hook: Arc<H>,
    recorder: Recorder,
}

impl<H: ?Sized> Tap<H> {
    fn told(&self, question: Question, said: Result<Verdict, Fault>, since: Instant) {
        self.recorder.take(question, said, since.elapsed());
    }
}

impl Accept for Tap<dyn Accept> {
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
        let since = Instant::now();
        let said = self.hook.accept(incoming);
        let told = said.clone().map(Verdict::Accept);
        self.told(Question::Accept(incoming.clone()), told, since);
        said
    }
}

#[async_trait]
impl Connect for Tap<dyn Connect> {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        let question = Question::Connect(cx.client.clone(), edit.clone());
        let since = Instant::now();
        let said = self.hook.connect(cx, edit).await;
        let told = said.clone().map(|flow| Verdict::Connect(flow, edit.clone()));
        self.told(question, told, since);
        said
    }
}

#[async_trait]
impl Authenticate for Tap<dyn Authenticate> {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let question = Question::Authenticate(cx.client.clone(), request.password.map(<[u8]>::to_vec));
        let since = Instant::now();
        let said = self.hook.authenticate(cx, request).await;
        self.told(question, said.clone().map(Verdict::Authenticate), since);
        said
    }
}

#[async_trait]
impl Exchange for Tap<dyn Exchange> {
    async fn exchange(&self, cx: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        let question = Question::Exchange {
            client: cx.client.clone(),
            phase: request.phase,
            exchange: request.exchange,
            method: request.method.to_owned(),
            data: request.data.map(<[u8]>::to_vec),
        };
        let since = Instant::now();
        let said = self.hook.exchange(cx, request).await;
        self.told(question, said.clone().map(Verdict::Exchange), since);
        said
    }
}

impl Authorize for Tap<dyn Authorize> {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let items = request.items.iter().map(|item| Item {
            topic: item.topic.to_owned(),
            qos: item.qos,
            retain: item.retain,
            share: item.share.map(str::to_owned),
        });
        let question = Question::Authorize(cx.client.clone(), request.action, items.collect());
        let since = Instant::now();
        match self.hook.authorize(cx, request, out) {
            Answer::Now(said) => {
                let told = said.clone().map(|()| Verdict::Authorize(out.to_vec()));
                self.told(question, told, since);
                Answer::Now(said)
            }
            Answer::Later(later) => {
                let recorder = self.recorder.clone();
                Answer::later(async move {
                    let said = later.await;
                    recorder.take(question, said.clone().map(Verdict::Authorize), since.elapsed());
                    said
                })
            }
        }
    }
}

#[async_trait]
impl Subscribe for Tap<dyn Subscribe> {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        let question = Question::Subscribe(cx.client.clone(), edit.clone());
        let since = Instant::now();
        let said = self.hook.subscribe(cx, edit).await;
        let told = said.clone().map(|flow| Verdict::Subscribe(flow, edit.clone()));
        self.told(question, told, since);
        said
    }
}

#[async_trait]
impl Unsubscribe for Tap<dyn Unsubscribe> {
    async fn unsubscribe(&self, cx: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        let question = Question::Unsubscribe(cx.client.clone(), edit.clone());
        let since = Instant::now();
        let said = self.hook.unsubscribe(cx, edit).await;
        let told = said.clone().map(|()| Verdict::Unsubscribe(edit.clone()));
        self.told(question, told, since);
        said
    }
}

impl Publish for Tap<dyn Publish> {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let question = Question::Publish(cx.client.clone(), message.to_message(), message.source());
        let since = Instant::now();
        match self.hook.publish(cx, message) {
            Answer::Now(said) => {
                let told = said.clone().map(|flow| Verdict::Publish(flow, drafted(message)));
                self.told(question, told, since);
                Answer::Now(said)
            }
            Answer::Later(later) => {
                let recorder = self.recorder.clone();
                Answer::later(async move {
                    let said = later.await;
                    let told = said.clone().map(|(flow, patch)| Verdict::Publish(flow, patch));
                    recorder.take(question, told, since.elapsed());
                    said
                })
            }
        }
    }
}

impl Retain for Tap<dyn Retain> {
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault> {
        let since = Instant::now();
        let said = self.hook.retain(message);
        let told = said.clone().map(Verdict::Retain);
        self.told(Question::Retain(message.clone()), told, since);
        said
    }
}

impl Deliver for Tap<dyn Deliver> {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        let question = Question::Deliver(class, message.to_message());
        let since = Instant::now();
        match self.hook.deliver(class, message) {
            Answer::Now(said) => {
                let told = said.clone().map(|flow| Verdict::Deliver(flow, drafted(message)));
                self.told(question, told, since);
                Answer::Now(said)
            }
            Answer::Later(later) => {
                let recorder = self.recorder.clone();
                Answer::later(async move {
                    let said = later.await;
                    let told = said.clone().map(|(flow, patch)| Verdict::Deliver(flow, patch));
                    recorder.take(question, told, since.elapsed());
                    said
                })
            }
        }
    }
}

#[async_trait]
impl Will for Tap<dyn Will> {
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        let question = Question::Will(cx.client.clone(), message.to_message());
        let since = Instant::now();
        let said = self.hook.will(cx, message).await;
        let told = said.clone().map(|flow| Verdict::Will(flow, drafted(message)));
        self.told(question, told, since);
        said
    }
}

#[async_trait]
impl Events for Tap<dyn Events> {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        let since = Instant::now();
        let said = self.hook.notify(batch).await;
        let told = said.clone().map(|()| Verdict::Noted);
        self.told(Question::Events(batch.to_vec()), told, since);
        said
    }
}

#[async_trait]
impl Control for Tap<dyn Control> {
    async fn control(
        &self,
        cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        let payload = Bytes::copy_from_slice(request.payload);
        let question = Question::Control(cx.client.clone(), request.topic.to_owned(), payload);
        let since = Instant::now();
        let said = self.hook.control(cx, request).await;
        self.told(question, said.clone().map(Verdict::Control), since);
        said
    }
}

impl SharePick for Tap<dyn SharePick> {
    fn pick(&self, share: &str, filter: &str, members: &[ShareMember], message: &Message) -> Option<usize> {
        let since = Instant::now();
        let said = self.hook.pick(share, filter, members, message);
        let question = Question::SharePick {
            share: share.to_owned(),
            filter: filter.to_owned(),
            members: members.to_vec(),
            message: message.clone(),
        };
        self.told(question, Ok(Verdict::SharePick(said)), since);
        said
    }
}

/// What the hook that has the message has changed of it.
fn drafted(message: &MessageEdit<'_>) -> Patch {
    message.drafted().cloned().unwrap_or_default()
}
