//! A plugin instance at work: what it hands out, how many chains and calls have it, and whether it is on trial. Chains come
//! and go with each reload; this is what they have in common, and what tells when an instance may be stopped.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugin_api::{Capabilities, Fault, Plugin};
use tokio::sync::Notify;

use crate::chain::Hook;

/// Calls of each hook that an instance is on trial for.
pub(crate) const TRIAL_CALLS: u64 = 100;

/// A plugin instance as chains are compiled from it.
pub(crate) struct Instance {
    /// The plugin.
    pub(crate) plugin: Arc<dyn Plugin>,
    /// What it handed out when it was asked.
    pub(crate) offered: Capabilities,
    /// What is counted of it.
    pub(crate) at_work: Arc<AtWork>,
    /// What its calls may take longer than the operator says: while it is being swapped.
    pub(crate) patience: Duration,
}

impl Instance {
    /// Returns an instance that nobody uses yet.
    pub(crate) fn new(plugin: Arc<dyn Plugin>, offered: Capabilities) -> Arc<Self> {
        Arc::new(Self {
            plugin,
            offered,
            at_work: Arc::default(),
            patience: Duration::ZERO,
        })
    }
}

/// What is counted of an instance, in whatever chains it stands.
#[derive(Debug, Default)]
pub(crate) struct AtWork {
    /// Uses in chains that somebody still holds.
    uses: Count,
    /// Calls that didn't answer at once and still run.
    calls: Count,
    trial: Trial,
}

/// How many of something there are, and a wake when there is none.
#[derive(Debug, Default)]
struct Count {
    number: AtomicUsize,
    none: Notify,
}

/// Whether an instance that took another's place has shown that it works.
#[derive(Debug, Default)]
struct Trial {
    on: AtomicBool,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    failure: Option<String>,
    news: Option<Arc<Notify>>,
}

impl AtWork {
    /// Notes one more use, for as long as the returned value lives.
    pub(crate) fn hold(self: &Arc<Self>) -> InUse {
        self.uses.add();
        InUse(self.clone())
    }

    /// Notes one more call, for as long as the returned value lives.
    pub(super) fn call(self: &Arc<Self>) -> UnderWay {
        self.calls.add();
        UnderWay(self.clone())
    }

    /// Waits until no chain has it any more.
    pub(crate) async fn unused(&self) {
        self.uses.none().await;
    }

    /// Waits until no call runs that didn't answer at once.
    pub(crate) async fn at_rest(&self) {
        self.calls.none().await;
    }

    /// Puts it on trial; `news` hears when it has failed.
    pub(crate) fn begin_trial(&self, news: Arc<Notify>) {
        let mut outcome = self.trial.lock();
        outcome.failure = None;
        outcome.news = Some(news);
        drop(outcome);
        self.trial.on.store(true, Ordering::Relaxed);
    }

    /// Ends the trial.
    pub(crate) fn end_trial(&self) {
        self.trial.on.store(false, Ordering::Relaxed);
    }

    /// Returns why it has failed its trial.
    pub(crate) fn failure(&self) -> Option<String> {
        self.trial.lock().failure.clone()
    }

    /// Notes a fault of `hook`, which was called so often since the chain was compiled.
    pub(super) fn fault(&self, hook: Hook, fault: &Fault, calls: u64) {
        if self.trial.on.load(Ordering::Relaxed) && calls <= TRIAL_CALLS {
            self.fail(format!("{hook}: {fault}"));
        }
    }

    /// Fails the trial. The first reason holds.
    pub(crate) fn fail(&self, why: String) {
        let mut outcome = self.trial.lock();
        outcome.failure.get_or_insert(why);
        if let Some(news) = &outcome.news {
            news.notify_one();
        }
    }
}

impl Count {
    fn add(&self) {
        self.number.fetch_add(1, Ordering::AcqRel);
    }

    fn take(&self) {
        if self.number.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }

    async fn none(&self) {
        loop {
            let none = self.none.notified();
            tokio::pin!(none);
            none.as_mut().enable();
            if self.number.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Trial {
    fn lock(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One use of an instance.
#[derive(Debug)]
pub(crate) struct InUse(Arc<AtWork>);

impl InUse {
    /// Returns what is counted of the instance.
    pub(crate) const fn at_work(&self) -> &Arc<AtWork> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.uses.take();
    }
}

/// One call of an instance that didn't answer at once.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<AtWork>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.calls.take();
    }
}
