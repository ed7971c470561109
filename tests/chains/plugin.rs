//! Plugins made of what a test wants them to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jackfield_tests::wire::DEADLINE;
use plugin_api::{
    AclDecision, AclRequest, Answer, AuthRequest, AuthVerdict, Authenticate, Authorize, Capabilities,
    Control, ControlRequest, Cx, Denial, Fault, Flow, MessageEdit, Patch, Plugin, PluginInfo, Publish,
    Scoped, Subscribe, SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, Will, WillFlow,
    async_trait,
    types::{Message, ReasonCode, TopicName},
};
use tokio::sync::Semaphore;

/// A plugin that is its capabilities.
pub(crate) struct Made(pub(crate) Capabilities);

impl Plugin for Made {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "made".into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.clone()
    }
}

pub(crate) fn authorizes<F>(f: F) -> Capabilities
where
    F: Fn(&Cx<'_>, &AclRequest<'_>, &mut [AclDecision]) -> Answer<(), Vec<AclDecision>>
        + Send
        + Sync
        + 'static,
{
    Capabilities {
        authorize: Some(Arc::new(By(f))),
        ..Capabilities::default()
    }
}

pub(crate) fn publishes<F>(f: F) -> Capabilities
where
    F: Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> + Send + Sync + 'static,
{
    Capabilities {
        publish: Some(Scoped::everywhere(Arc::new(By(f)))),
        ..Capabilities::default()
    }
}

pub(crate) fn unsubscribes<F>(f: F) -> Capabilities
where
    F: Fn(&mut UnsubscribeEdit) -> Result<(), Fault> + Send + Sync + 'static,
{
    Capabilities {
        unsubscribe: Some(Arc::new(By(f))),
        ..Capabilities::default()
    }
}

pub(crate) fn fires<F>(f: F) -> Capabilities
where
    F: Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Result<WillFlow, Fault> + Send + Sync + 'static,
{
    Capabilities {
        will: Some(Arc::new(By(f))),
        ..Capabilities::default()
    }
}

pub(crate) fn controls<F>(prefix: &str, f: F) -> Capabilities
where
    F: Fn(&ControlRequest<'_>) -> Result<Result<Vec<u8>, ReasonCode>, Fault> + Send + Sync + 'static,
{
    Capabilities {
        control: Some((vec![prefix.into()], Arc::new(By(f)))),
        ..Capabilities::default()
    }
}

struct By<F>(F);

impl<F> Authorize for By<F>
where
    F: Fn(&Cx<'_>, &AclRequest<'_>, &mut [AclDecision]) -> Answer<(), Vec<AclDecision>> + Send + Sync,
{
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        (self.0)(cx, request, out)
    }
}

impl<F> Publish for By<F>
where
    F: Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> + Send + Sync,
{
    fn publish(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        (self.0)(cx, message)
    }
}

#[async_trait]
impl<F: Fn(&mut UnsubscribeEdit) -> Result<(), Fault> + Send + Sync> Unsubscribe for By<F> {
    async fn unsubscribe(&self, _: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        (self.0)(edit)
    }
}

#[async_trait]
impl<F> Will for By<F>
where
    F: Fn(&Cx<'_>, &mut MessageEdit<'_>) -> Result<WillFlow, Fault> + Send + Sync,
{
    async fn will(&self, cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        (self.0)(cx, message)
    }
}

#[async_trait]
impl<F> Control for By<F>
where
    F: Fn(&ControlRequest<'_>) -> Result<Result<Vec<u8>, ReasonCode>, Fault> + Send + Sync,
{
    async fn control(
        &self,
        _: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        (self.0)(request)
    }
}

/// How a plugin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// What it depends on is down.
    Error,
    /// It panics.
    Panic,
    /// It never answers; its use has a timeout.
    Never,
}

impl Failing {
    pub(crate) const ALL: [Self; 3] = [Self::Error, Self::Panic, Self::Never];

    async fn fail<T>(self) -> Result<T, Fault> {
        match self {
            Self::Error => Err(Fault::backend("the database is down")),
            Self::Panic => panic!("a plugin's bug, wanted by a test"),
            Self::Never => std::future::pending().await,
        }
    }

    fn answer<N, L: Send + 'static>(self) -> Answer<N, L> {
        match self {
            Self::Error => Answer::fault(Fault::backend("the database is down")),
            Self::Panic => panic!("a plugin's bug, wanted by a test"),
            Self::Never => Answer::later(self.fail()),
        }
    }

    /// Whatever this plugin is asked, it fails.
    pub(crate) fn authenticate(self) -> Capabilities {
        Capabilities {
            authenticate: Some(Arc::new(self)),
            ..Capabilities::default()
        }
    }

    pub(crate) fn authorize(self) -> Capabilities {
        authorizes(move |_, _, _| self.answer())
    }

    pub(crate) fn publish(self) -> Capabilities {
        publishes(move |_, message| {
            message.set_payload("half done");
            self.answer()
        })
    }

    pub(crate) fn subscribe(self) -> Capabilities {
        Capabilities {
            subscribe: Some(Arc::new(self)),
            ..Capabilities::default()
        }
    }
}

#[async_trait]
impl Authenticate for Failing {
    async fn authenticate(&self, _: &Cx<'_>, _: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        self.fail().await
    }
}

#[async_trait]
impl Subscribe for Failing {
    async fn subscribe(&self, _: &Cx<'_>, _: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        self.fail().await
    }
}

/// A call that waits until the test lets it go on, and says that it waits.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    open: Semaphore,
    arrived: Sender<String>,
    arrivals: Mutex<Receiver<String>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (arrived, arrivals) = channel();
        Self(Arc::new(Inner {
            open: Semaphore::new(0),
            arrived,
            arrivals: Mutex::new(arrivals),
        }))
    }

    /// Waits at the gate, in the plugin.
    pub(crate) async fn pass(&self, who: String) {
        // the test may have ended
        let _ = self.0.arrived.send(who);
        if let Ok(permit) = self.0.open.acquire().await {
            permit.forget();
        }
    }

    /// Returns who arrived next.
    #[track_caller]
    pub(crate) fn arrival(&self) -> String {
        let arrivals = self.0.arrivals.lock().expect("no test panicked with it");
        arrivals.recv_timeout(DEADLINE).expect("somebody arrives")
    }

    /// Lets `count` pass.
    pub(crate) fn open(&self, count: usize) {
        self.0.open.add_permits(count);
    }
}

/// Counts calls.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A refusal that no part of the broker would give by itself, with words.
pub(crate) fn denial() -> Denial {
    Denial::new(ReasonCode::QuotaExceeded).because("enough for today")
}

/// The Reason Code of [`denial`].
pub(crate) const DENIED: u8 = 0x97;

/// The words of [`denial`].
pub(crate) const WHY: &str = "enough for today";

/// A timeout that a plugin which never answers runs into soon.
pub(crate) const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a Topic Name")
}

pub(crate) fn message(name: &str, payload: &'static str) -> Message {
    Message::new(topic(name), payload)
}
