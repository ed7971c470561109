//! Closures as hooks: each makes an anonymous plugin with one hook at the end of the chain. A program that needs state,
//! policies or several hooks implements [`Plugin`] instead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use broker_types::Message;
use plugin_api::{
    Accept, AcceptVerdict, AclDecision, AclItem, AclRequest, AclVerdict, Action, Answer, AuthRequest,
    AuthVerdict, Authenticate, Authorize, Capabilities, ClientView, Connect, ConnectEdit, ConnectFlow, Cx,
    Deliver, DeliverFlow, Event, EventMask, Events, Fault, Flow, Incoming, MessageEdit, Needs, Patch, Plugin,
    PluginInfo, Publish, Retain, RetainVerdict, Scoped, Subscribe, SubscribeEdit, SubscribeFlow, async_trait,
};

use super::{Chain, Filters, Use};

/// What an async closure returns that borrows its arguments: `Box::pin(async move { … })`.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

impl Chain {
    /// Decides whether a Network Connection may begin ([`Accept`]).
    #[must_use]
    pub fn on_accept(self, f: impl Fn(&Incoming) -> AcceptVerdict + Send + Sync + 'static) -> Self {
        let accept = Some(Arc::new(Closure(f)) as Arc<dyn Accept>);
        self.anonymous("on_accept", Capabilities { accept, ..none() })
    }

    /// Sees and changes a CONNECT before anybody is authenticated ([`Connect`]).
    #[must_use]
    pub fn on_connect(
        self,
        f: impl Fn(&Cx<'_>, &mut ConnectEdit) -> ConnectFlow + Send + Sync + 'static,
    ) -> Self {
        let connect = Some(Arc::new(Closure(f)) as Arc<dyn Connect>);
        self.anonymous("on_connect", Capabilities { connect, ..none() })
    }

    /// Decides who may connect ([`Authenticate`]). Never block in it.
    #[must_use]
    pub fn authenticate(self, f: impl Fn(&AuthRequest<'_>) -> AuthVerdict + Send + Sync + 'static) -> Self {
        self.authenticate_async(move |request| {
            let verdict = f(request);
            Box::pin(async move { Ok(verdict) })
        })
    }

    /// Decides who may connect, after waiting for something.
    ///
    /// ```
    /// use broker_core::Chain;
    /// use plugin_api::{AuthVerdict, Fault};
    ///
    /// async fn password_of(user: &str) -> Result<Vec<u8>, Fault> {
    ///     Err(Fault::backend("the database is down"))
    /// }
    ///
    /// let chain = Chain::new().authenticate_async(|request| {
    ///     Box::pin(async move {
    ///         let Some(user) = request.username else { return Ok(AuthVerdict::Skip) };
    ///         Ok(match password_of(user).await? {
    ///             password if request.password == Some(&password) => AuthVerdict::allow(),
    ///             _ => AuthVerdict::bad_credentials(),
    ///         })
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn authenticate_async<F>(self, f: F) -> Self
    where
        F: for<'a> Fn(&'a AuthRequest<'a>) -> Boxed<'a, AuthVerdict> + Send + Sync + 'static,
    {
        let authenticate = Some(Arc::new(Closure(f)) as Arc<dyn Authenticate>);
        self.anonymous(
            "authenticate",
            Capabilities {
                authenticate,
                ..none()
            },
        )
    }

    /// Decides what a client may do, one topic at a time ([`Authorize`]). Verdicts are not cached.
    #[must_use]
    pub fn authorize(
        self,
        f: impl Fn(&ClientView, Action, &AclItem<'_>) -> AclVerdict + Send + Sync + 'static,
    ) -> Self {
        let authorize = Some(Arc::new(Closure(f)) as Arc<dyn Authorize>);
        self.anonymous("authorize", Capabilities { authorize, ..none() })
    }

    /// Sees and changes subscriptions ([`Subscribe`]).
    #[must_use]
    pub fn on_subscribe(
        self,
        f: impl Fn(&Cx<'_>, &mut SubscribeEdit) -> SubscribeFlow + Send + Sync + 'static,
    ) -> Self {
        let subscribe = Some(Arc::new(Closure(f)) as Arc<dyn Subscribe>);
        self.anonymous("on_subscribe", Capabilities { subscribe, ..none() })
    }

    /// Sees, changes, refuses and multiplies the messages that come in to topics within `filters` ([`Publish`]).
    #[must_use]
    pub fn on_publish(
        self,
        filters: impl Filters,
        f: impl Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Flow + Send + Sync + 'static,
    ) -> Self {
        self.publish_hook(filters, Arc::new(Closure(f)))
    }

    /// Decides about a message that came in, after waiting for something; the acknowledgement waits too. The patch
    /// says what changes.
    #[must_use]
    pub fn on_publish_async<F, R>(self, filters: impl Filters, f: F) -> Self
    where
        F: Fn(Arc<ClientView>, Message) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(Flow, Patch), Fault>> + Send + 'static,
    {
        self.publish_hook(filters, Arc::new(Waiting(f)))
    }

    /// Decides whether a message is kept as Retained Message ([`Retain`]).
    #[must_use]
    pub fn on_retain(self, f: impl Fn(&Message) -> RetainVerdict + Send + Sync + 'static) -> Self {
        let retain = Some(Arc::new(Closure(f)) as Arc<dyn Retain>);
        self.anonymous("on_retain", Capabilities { retain, ..none() })
    }

    /// Changes messages within `filters` on their way out, once for each subscriber class ([`Deliver`]).
    #[must_use]
    pub fn on_deliver(
        mut self,
        filters: impl Filters,
        f: impl Fn(u32, &mut MessageEdit<'_>) -> DeliverFlow + Send + Sync + 'static,
    ) -> Self {
        let name = self.next_name("on_deliver");
        let hook = Arc::new(Closure(f)) as Arc<dyn Deliver>;
        self.scoped(name, filters, |filters| Capabilities {
            deliver: Some(scope(hook, filters)),
            ..none()
        })
    }

    /// Is told what happens ([`Events`]), one event at a time, off the path of messages.
    #[must_use]
    pub fn on_event(self, mask: EventMask, f: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let events = Some((mask, Arc::new(Closure(f)) as Arc<dyn Events>));
        self.anonymous("on_event", Capabilities { events, ..none() })
    }

    fn publish_hook(mut self, filters: impl Filters, hook: Arc<dyn Publish>) -> Self {
        let name = self.next_name("on_publish");
        self.scoped(name, filters, |filters| Capabilities {
            publish: Some(scope(hook, filters)),
            ..none()
        })
    }

    fn anonymous(mut self, hook: &str, capabilities: Capabilities) -> Self {
        let name = self.next_name(hook);
        self.plugin(Anonymous { name, capabilities })
    }

    fn scoped(
        self,
        name: String,
        filters: impl Filters,
        capabilities: impl FnOnce(Vec<broker_types::TopicFilter>) -> Capabilities,
    ) -> Self {
        let (filters, wrong) = match filters.into_filters() {
            Ok(filters) => (filters, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let capabilities = capabilities(filters);
        self.plugin(Use {
            wrong,
            ..Use::from(Anonymous { name, capabilities })
        })
    }

    /// Returns a name that logs and metrics can tell from others in this chain: `on_publish_3` is its third link.
    fn next_name(&mut self, hook: &str) -> String {
        format!("{hook}_{}", self.entries.len() + 1)
    }
}

fn none() -> Capabilities {
    Capabilities::default()
}

fn scope<H: ?Sized>(hook: Arc<H>, filters: Vec<broker_types::TopicFilter>) -> Scoped<H> {
    Scoped {
        hook,
        filters,
        needs: Needs::default(),
    }
}

/// The plugin that a closure makes.
struct Anonymous {
    name: String,
    capabilities: Capabilities,
}

impl Plugin for Anonymous {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: self.name.clone(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

/// A closure that answers at once.
struct Closure<F>(F);

/// A closure that returns a future.
struct Waiting<F>(F);

impl<F: Fn(&Incoming) -> AcceptVerdict + Send + Sync> Accept for Closure<F> {
    fn accept(&self, incoming: &Incoming) -> Result<AcceptVerdict, Fault> {
        Ok(self.0(incoming))
    }
}

#[async_trait]
impl<F: Fn(&Cx<'_>, &mut ConnectEdit) -> ConnectFlow + Send + Sync> Connect for Closure<F> {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        Ok(self.0(cx, edit))
    }
}

#[async_trait]
impl<F> Authenticate for Closure<F>
where
    F: for<'a> Fn(&'a AuthRequest<'a>) -> Boxed<'a, AuthVerdict> + Send + Sync,
{
    async fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        self.0(request).await
    }
}

impl<F: Fn(&ClientView, Action, &AclItem<'_>) -> AclVerdict + Send + Sync> Authorize for Closure<F> {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        for (item, decision) in request.items.iter().zip(out) {
            decision.verdict = self.0(cx.client, request.action, item);
        }
        Answer::now(())
    }
}

#[async_trait]
impl<F: Fn(&Cx<'_>, &mut SubscribeEdit) -> SubscribeFlow + Send + Sync> Subscribe for Closure<F> {
    async fn subscribe(&self, cx: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        Ok(self.0(cx, edit))
    }
}

impl<F: Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Flow + Send + Sync> Publish for Closure<F> {
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        Answer::now(self.0(cx, message))
    }
}

impl<F, R> Publish for Waiting<F>
where
    F: Fn(Arc<ClientView>, Message) -> R + Send + Sync,
    R: Future<Output = Result<(Flow, Patch), Fault>> + Send + 'static,
{
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        Answer::later(self.0(cx.client.clone(), message.to_message()))
    }
}

impl<F: Fn(&Message) -> RetainVerdict + Send + Sync> Retain for Closure<F> {
    fn retain(&self, message: &Message) -> Result<RetainVerdict, Fault> {
        Ok(self.0(message))
    }
}

impl<F: Fn(u32, &mut MessageEdit<'_>) -> DeliverFlow + Send + Sync> Deliver for Closure<F> {
    fn deliver(
        &self,
        class: u32,
        message: &mut MessageEdit<'_>,
    ) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        Answer::now(self.0(class, message))
    }
}

#[async_trait]
impl<F: Fn(&Event) + Send + Sync> Events for Closure<F> {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        batch.iter().for_each(&self.0);
        Ok(())
    }
}
