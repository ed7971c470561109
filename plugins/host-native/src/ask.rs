//! Making one call: arguments out, status and verdicts back, awaited where the plugin needs time.

use std::ffi::c_void;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use plugin_abi::{Ctx, Out, Token, values::*};
use plugin_api::{ClientView, Cx, Fault, FaultKind};
use smallvec::SmallVec;

use crate::calls::Call;
use crate::client::Lent;
use crate::frame::{Frame, Outcome, Phase, RawVerdict};
use crate::instance::Instance;
use crate::message::protocol;
use crate::services;
use crate::side::Table;
use crate::sink::Sink;

/// What a call looks like, whatever it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// How many verdicts it has.
    pub(crate) outs: usize,
    /// What they say before the plugin has said anything.
    pub(crate) preset: u32,
    /// What may be attached ([`crate::sink`]).
    pub(crate) rights: u8,
    /// Whether the plugin may answer later.
    pub(crate) may_wait: bool,
}

/// What the plugin's function gets besides the question.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) ctx: *const Ctx,
    pub(crate) outs: &'a [*mut Out],
    pub(crate) sink: *mut c_void,
    pub(crate) token: Token,
}

impl Shown<'_> {
    /// Returns the only verdict.
    pub(crate) fn out(&self) -> *mut Out {
        self.outs.first().copied().unwrap_or(std::ptr::null_mut())
    }
}

/// Something that a plugin can be asked. Built on the stack for a call on this thread, or owned for one on the pool.
pub(crate) trait Question {
    /// Returns what the call looks like.
    fn form(&self) -> Form;

    /// Calls the plugin's function. What it lends lives until that returns.
    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32;
}

/// For whom a call is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    client: &'a Arc<ClientView>,
    budget: Duration,
}

impl<'a> From<&Cx<'a>> for Asker<'a> {
    fn from(cx: &Cx<'a>) -> Self {
        Self {
            client: cx.client,
            budget: cx.budget,
        }
    }
}

/// An answer, as far as it can be judged without knowing the question.
#[derive(Debug)]
pub(crate) struct Reply {
    call: Call,
    outs: SmallVec<[RawVerdict; 1]>,
}

/// What came of asking.
pub(crate) enum Step {
    /// The answer, or why there is none.
    Now(Result<Reply, Fault>),
    /// The plugin needs time.
    Later(Waiting),
}

/// The same, with its status still unjudged.
enum Raw {
    Now(Outcome, Call),
    Later(Waiting),
    Failed(Fault),
}

/// A call whose answer is awaited. Dropped, it tells the plugin that nobody waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    call: Option<Call>,
    outs: usize,
    instance: Arc<Instance>,
}

impl Reply {
    /// Returns the `i`th verdict.
    pub(crate) fn verdict(&self, i: usize) -> RawVerdict {
        self.outs[i]
    }

    /// Looks at the sink of the `i`th verdict.
    pub(crate) fn with_sink<T>(&self, i: usize, look: impl FnOnce(&Sink) -> T) -> T {
        self.call.frame().with_sink(i, look)
    }
}

impl Instance {
    /// Asks on this thread.
    pub(crate) fn ask<Q: Question>(self: &Arc<Self>, asker: Option<Asker<'_>>, question: &Q) -> Step {
        match self.ask_raw(asker, question) {
            Raw::Now(outcome, call) => Step::Now(judge(call, outcome, question.form().outs)),
            Raw::Later(waiting) => Step::Later(waiting),
            Raw::Failed(fault) => Step::Now(Err(fault)),
        }
    }

    fn ask_raw<Q: Question>(self: &Arc<Self>, asker: Option<Asker<'_>>, question: &Q) -> Raw {
        let form = question.form();
        let mut call = match self.side.begin(Phase::Open, form.outs, form.rights) {
            Ok(call) => call,
            Err(fault) => return Raw::Failed(fault),
        };
        let token = if form.may_wait { call.token() } else { 0 };
        let (status, outs) = put(&self.table, call.frame(), token, asker, question);
        if status == JF_PENDING && form.may_wait {
            return Raw::Later(Waiting {
                call: Some(call),
                outs: form.outs,
                instance: self.clone(),
            });
        }
        if !call.answered() {
            return Raw::Failed(protocol("it answered a call at once and completed it, too"));
        }
        let fault = if status < 0 {
            services::take_fault(self.side)
        } else {
            None
        };
        Raw::Now(Outcome { status, outs, fault }, call)
    }

    /// Asks where this plugin wants to be asked, and returns status and call as they are: for calls whose statuses mean
    /// more than success and failure.
    pub(crate) async fn outcome<Q>(self: &Arc<Self>, question: Q) -> Result<(Outcome, Option<Call>), Fault>
    where
        Q: Question + Send + 'static,
    {
        if self.interest.pooled() {
            return Ok(self.queue(None, question)?.outcome().await);
        }
        let raw = self.ask_raw(None, &question);
        drop(question);
        match raw {
            Raw::Now(outcome, call) => Ok((outcome, Some(call))),
            Raw::Later(waiting) => Ok(waiting.outcome().await),
            Raw::Failed(fault) => Err(fault),
        }
    }

    /// Asks on a thread that may block.
    ///
    /// # Errors
    /// The pool is full.
    pub(crate) fn queue<Q>(self: &Arc<Self>, asker: Option<Asker<'_>>, question: Q) -> Result<Waiting, Fault>
    where
        Q: Question + Send + 'static,
    {
        let form = question.form();
        let call = self.side.begin(Phase::Queued, form.outs, form.rights)?;
        let mut turn = call.turn();
        let client = asker.map(|asker| (asker.client.clone(), asker.budget));
        let instance = self.clone();
        let waiting = Waiting {
            call: Some(call),
            outs: form.outs,
            instance: self.clone(),
        };
        self.spawn(Box::new(move || {
            if !turn.begin() {
                return;
            }
            let asker = client.as_ref().map(|(client, budget)| Asker {
                client,
                budget: *budget,
            });
            let token = if form.may_wait { turn.token() } else { 0 };
            let (status, outs) = put(&instance.table, turn.frame(), token, asker, &question);
            let waits = status == JF_PENDING && form.may_wait;
            let outcome = (!waits).then(|| Outcome {
                status,
                outs,
                fault: services::take_fault(instance.side),
            });
            // Before anybody hears of the answer: who lets go of the instance then has been the last.
            drop((question, instance));
            turn.end(outcome);
        }))?;
        Ok(waiting)
    }

    /// Asks where this plugin wants to be asked, and awaits the answer.
    pub(crate) async fn answer<Q>(
        self: &Arc<Self>,
        asker: Option<Asker<'_>>,
        question: Q,
    ) -> Result<Reply, Fault>
    where
        Q: Question + Send + 'static,
    {
        if self.interest.pooled() {
            return self.queue(asker, question)?.await;
        }
        let step = self.ask(asker, &question);
        drop(question);
        match step {
            Step::Now(result) => result,
            Step::Later(waiting) => waiting.await,
        }
    }
}

/// Calls the plugin's function with everything it gets on the stack, and copies its verdicts.
fn put<Q: Question>(
    table: &Table,
    frame: &Frame,
    token: Token,
    asker: Option<Asker<'_>>,
    question: &Q,
) -> (i32, SmallVec<[RawVerdict; 1]>) {
    let form = question.form();
    let lent = asker.map(|asker| Lent::new(asker.client));
    let ctx = Ctx {
        size: size_32::<Ctx>(),
        attempt: 0,
        client: lent.as_ref().map_or(std::ptr::null(), Lent::pointer),
        client_id: asker.map_or(0, |asker| asker.client.handle.0),
        deadline_ns: asker.map_or(0, |asker| nanos(asker.budget)),
        token,
    };
    let mut outs: SmallVec<[Out; 4]> = (0..form.outs)
        .map(|i| Out {
            size: size_32::<Out>(),
            verdict: form.preset,
            reason: 0,
            rsv: [0; 3],
            delay_ms: 0,
            sink: frame.with_sink(i, Sink::pointer),
        })
        .collect();
    let pointers: SmallVec<[*mut Out; 4]> = outs.iter_mut().map(std::ptr::from_mut).collect();
    let shown = Shown {
        ctx: &raw const ctx,
        outs: &pointers,
        sink: frame.with_sink(0, Sink::pointer),
        token,
    };
    let status = question.put(table, &shown);
    (status, outs.iter().map(RawVerdict::of).collect())
}

/// From what a call returned to an answer or a fault.
fn judge(call: Call, outcome: Outcome, outs: usize) -> Result<Reply, Fault> {
    match outcome.status {
        JF_OK if outcome.outs.len() == outs => Ok(Reply {
            call,
            outs: outcome.outs,
        }),
        JF_OK => Err(protocol(format!(
            "it gave {} verdicts, not {outs}",
            outcome.outs.len()
        ))),
        status => Err(failure(status, outcome.fault)),
    }
}

/// What a status stands for that is no success.
pub(crate) fn failure(status: i32, text: Option<String>) -> Fault {
    let said = |text: Option<String>, otherwise: &'static str| match text {
        Some(text) => text.into(),
        None => std::borrow::Cow::Borrowed(otherwise),
    };
    match status {
        JF_FAULT => Fault::new(FaultKind::Panic, said(text, "the plugin failed")),
        JF_EUNAVAIL => Fault::new(
            FaultKind::Backend,
            said(text, "something it depends on is not available"),
        ),
        JF_EQUOTA => Fault::new(FaultKind::Memory, said(text, "it has no room for more")),
        JF_PENDING => protocol("it wants to answer later, which this call can't wait for"),
        status => protocol(match text {
            Some(text) => format!("status {status}: {text}"),
            None => format!("it returned status {status}"),
        }),
    }
}

impl Waiting {
    /// Awaits the call and returns its status unjudged.
    pub(crate) async fn outcome(mut self) -> (Outcome, Option<Call>) {
        let outcome = std::future::poll_fn(|cx| self.poll_outcome(cx)).await;
        (outcome, self.call.take())
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match &self.call {
            Some(call) => call.frame().poll(cx.waker()),
            None => Poll::Ready(Outcome::default()),
        }
    }
}

impl Future for Waiting {
    type Output = Result<Reply, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = std::task::ready!(self.poll_outcome(cx));
        let outs = self.outs;
        Poll::Ready(match self.call.take() {
            Some(call) => judge(call, outcome, outs),
            None => Err(protocol("polled after its end")),
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            self.instance.side.abandon(call);
        }
    }
}

/// Returns the size of a shape as it stands in its first field.
pub(crate) fn size_32<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
