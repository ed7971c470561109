//! What a call of a hook costs, beside the same call of a plugin that does nothing.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use broker_types::{Message, ReasonCode};
use bytes::Bytes;
use plugin_api::{
    Accept, AcceptVerdict, AclDecision, AclRequest, Answer, AuthRequest, AuthVerdict, Authenticate,
    Authorize, Capabilities, Connect, ConnectEdit, ConnectFlow, Control, ControlRequest, Cx, Deliver,
    DeliverFlow, Event, EventMask, Events, Exchange, ExchangeRequest, ExchangeVerdict, Fault, Flow, Incoming,
    MessageEdit, Patch, Publish, Retain, RetainVerdict, Scoped, ShareMember, SharePick, Subscribe,
    SubscribeEdit, SubscribeFlow, Unsubscribe, UnsubscribeEdit, Will, WillFlow, async_trait,
};

use crate::question::{Question, Verdict};
use crate::sample;
use crate::wait::within;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// A batch is as many calls as take about this long, so that reading the clock costs nothing that matters.
const BATCH: Duration = Duration::from_micros(20);
/// The most calls in one batch.
const BATCH_MAX: u32 = 1024;
/// The most batches of one figure.
const BATCHES_MAX: usize = 100_000;

/// What a call costs, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Half of the calls cost no more.
    pub p50: u64,
    /// 99 of 100 cost no more. Quick calls are timed in batches, whose mean counts.
    pub p99: u64,
}

/// What a hook of a plugin costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The hook's name in the configuration.
    pub hook: &'static str,
    /// What the plugin's hook costs.
    pub plugin: Cost,
    /// What one costs that does nothing, as a part of the program.
    pub empty: Cost,
    /// Calls that were made of the plugin.
    pub calls: u64,
    /// Calls that faulted.
    pub faults: u64,
}

/// Returns an ordinary question for each hook that a plugin has, whose messages carry `payload`.
#[must_use]
pub fn questions(hooks: &Capabilities, payload: &Bytes) -> Vec<Question> {
    sample::questions(hooks, payload)
}

/// Asks a question again and again for about `time`, then the same of a plugin that does nothing. `None`: the plugin
/// hasn't the hook.
#[must_use]
pub fn measure(hooks: &Capabilities, question: &Question, time: Duration) -> Option<Measured> {
    let (plugin, calls, faults) = cost(hooks, question, time)?;
    let (empty, ..) = cost(&nothing(), question, time / 2)?;
    Some(Measured {
        hook: question.hook(),
        plugin,
        empty,
        calls,
        faults,
    })
}

fn cost(hooks: &Capabilities, question: &Question, time: Duration) -> Option<(Cost, u64, u64)> {
    let (mut calls, mut faults) = (0, 0);
    // What is cold costs more; nobody asks for that.
    let mut batch = 1;
    let warm = Instant::now();
    while warm.elapsed() < time / 10 {
        let took = timed(hooks, question, batch)?.0;
        if took < BATCH && batch < BATCH_MAX {
            batch *= 2;
        }
    }
    let mut samples = Vec::new();
    let until = Instant::now() + time;
    while samples.len() < BATCHES_MAX && (samples.is_empty() || Instant::now() < until) {
        let (took, faulted) = timed(hooks, question, batch)?;
        calls += u64::from(batch);
        faults += faulted;
        samples.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / u64::from(batch));
    }
    samples.sort_unstable();
    let at = |part: usize| samples[(samples.len() * part / 100).min(samples.len() - 1)];
    let cost = Cost {
        p50: at(50),
        p99: at(99),
    };
    Some((cost, calls, faults))
}

fn timed(hooks: &Capabilities, question: &Question, batch: u32) -> Option<(Duration, u64)> {
    let mut faults = 0;
    let since = Instant::now();
    for _ in 0..batch {
        faults += u64::from(once(hooks, question)?.is_err());
    }
    Some((since.elapsed(), faults))
}

/// Asks once. Who answers at once is only polled once.
fn once(hooks: &Capabilities, question: &Question) -> Option<Result<Verdict, Fault>> {
    let mut asked = pin!(question.ask(hooks));
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(said) => said,
        Poll::Pending => within(DEADLINE, asked).flatten(),
    }
}

/// A plugin with every hook that does nothing with any.
struct Nothing;

fn nothing() -> Capabilities {
    let nothing = Arc::new(Nothing);
    Capabilities {
        accept: Some(nothing.clone()),
        connect: Some(nothing.clone()),
        authenticate: Some(nothing.clone()),
        exchange: Some((Vec::new(), nothing.clone())),
        authorize: Some(nothing.clone()),
        authorize_receive: false,
        subscribe: Some(nothing.clone()),
        unsubscribe: Some(nothing.clone()),
        publish: Some(Scoped::everywhere(nothing.clone())),
        retain: Some(nothing.clone()),
        deliver: Some(Scoped::everywhere(nothing.clone())),
        will: Some(nothing.clone()),
        events: Some((EventMask::ALL, nothing.clone())),
        control: Some((Vec::new(), nothing.clone())),
        share_pick: Some(nothing),
        session_store: None,
        bridge: None,
    }
}

impl Accept for Nothing {
    fn accept(&self, _: &Incoming) -> Result<AcceptVerdict, Fault> {
        Ok(AcceptVerdict::Continue)
    }
}

#[async_trait]
impl Connect for Nothing {
    async fn connect(&self, _: &Cx<'_>, _: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        Ok(ConnectFlow::Continue)
    }
}

#[async_trait]
impl Authenticate for Nothing {
    async fn authenticate(&self, _: &Cx<'_>, _: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        Ok(AuthVerdict::Skip)
    }
}

#[async_trait]
impl Exchange for Nothing {
    async fn exchange(&self, _: &Cx<'_>, _: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        Ok(ExchangeVerdict::Challenge(Vec::new()))
    }
}

impl Authorize for Nothing {
    fn authorize(
        &self,
        _: &Cx<'_>,
        _: &AclRequest<'_>,
        _: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        Answer::now(())
    }
}

#[async_trait]
impl Subscribe for Nothing {
    async fn subscribe(&self, _: &Cx<'_>, _: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        Ok(SubscribeFlow::Continue)
    }
}

#[async_trait]
impl Unsubscribe for Nothing {
    async fn unsubscribe(&self, _: &Cx<'_>, _: &mut UnsubscribeEdit) -> Result<(), Fault> {
        Ok(())
    }
}

impl Publish for Nothing {
    fn publish(&self, _: &Cx<'_>, _: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        Answer::now(Flow::Continue)
    }
}

impl Retain for Nothing {
    fn retain(&self, _: &Message) -> Result<RetainVerdict, Fault> {
        Ok(RetainVerdict::Store)
    }
}

impl Deliver for Nothing {
    fn deliver(&self, _: u32, _: &mut MessageEdit<'_>) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        Answer::now(DeliverFlow::Continue)
    }
}

#[async_trait]
impl Will for Nothing {
    async fn will(&self, _: &Cx<'_>, _: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        Ok(WillFlow::Continue)
    }
}

#[async_trait]
impl Events for Nothing {
    async fn notify(&self, _: &[Event]) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Control for Nothing {
    async fn control(
        &self,
        _: &Cx<'_>,
        _: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        Ok(Ok(Vec::new()))
    }
}

impl SharePick for Nothing {
    fn pick(&self, _: &str, _: &str, _: &[ShareMember], _: &Message) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_an_ordinary_question_that_can_be_measured() {
        let (hooks, payload) = (nothing(), Bytes::from_static(b"21.5"));
        let names: Vec<_> = questions(&hooks, &payload)
            .iter()
            .map(|question| {
                measure(&hooks, question, Duration::ZERO)
                    .expect("it has the hook")
                    .hook
            })
            .collect();
        assert_eq!(names, hooks.names());
    }

    #[test]
    fn a_hook_that_is_not_there_costs_nothing() {
        let question = &questions(&nothing(), &Bytes::new())[0];
        assert_eq!(measure(&Capabilities::default(), question, Duration::ZERO), None);
    }
}
