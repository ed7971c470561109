//! A native instance as a `Plugin`: its life, from start to stop. All calls of its life are made on the broker's pool,
//! because they may take as long as they need.

use std::sync::Arc;
use std::time::Duration;

use plugin_abi::{Str, values::*};
use plugin_api::{Bridge, Capabilities, Fault, Host, Plugin, PluginInfo, SessionStore, TimerId, async_trait};

use crate::ask::{Form, Question, Shown, failure};
use crate::hooks::{self, TimerDue};
use crate::instance::Instance;
use crate::side::Table;
use crate::sink::{Attached, OPEN, Sink};

/// An instance and what it is besides its hooks.
pub(crate) struct NativePlugin {
    pub(crate) info: PluginInfo,
    pub(crate) instance: Arc<Instance>,
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) bridge: Option<Arc<dyn Bridge>>,
}

/// A call of an instance's life.
enum Step {
    Start,
    Health,
    Reconfigure(String),
    SaveState,
    LoadState(String, Vec<u8>),
    Drain(Duration),
}

struct Life {
    instance: Arc<Instance>,
    step: Step,
}

impl Question for Life {
    fn form(&self) -> Form {
        Form {
            outs: 0,
            preset: JF_V_SKIP,
            rights: OPEN,
            may_wait: false,
        }
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        if let Step::Health = self.step {
            // [any]: it may be asked while another call of this instance's life takes its time.
            return self.step.put(table, shown);
        }
        self.instance.control(|table| self.step.put(table, shown))
    }
}

impl Step {
    /// Makes the call; a function that isn't there agrees.
    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let table = &table.0;
        let (this, sink) = (table.self_, shown.sink);
        // SAFETY: functions of this instance with its own `self`, [control] ones under their lock; what they are lent lives
        // until they return.
        unsafe {
            match self {
                Self::Start => table.start.map(|start| start(this)),
                Self::Health => table.health.map(|health| health(this, sink)),
                Self::Reconfigure(options) => table
                    .reconfigure
                    .map(|reconfigure| reconfigure(this, Str::of(options.as_bytes()), sink)),
                Self::SaveState => table.save_state.map(|save| save(this, sink)),
                Self::LoadState(from, state) => table
                    .load_state
                    .map(|load| load(this, Str::of(from.as_bytes()), Str::of(state))),
                Self::Drain(time) => {
                    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    table.drain.map(|drain| drain(this, nanos))
                }
            }
        }
        .unwrap_or(JF_OK)
    }
}

impl NativePlugin {
    /// Takes a step and returns the status and what was attached.
    async fn live(&self, step: Step) -> Result<(i32, Attached), Fault> {
        let life = Life {
            instance: self.instance.clone(),
            step,
        };
        let (outcome, call) = self.instance.queue(None, life)?.outcome().await;
        let mut attached = call.map_or_else(Attached::default, |call| call.frame().with_sink(0, Sink::take));
        attached.text = attached.text.or(outcome.fault);
        Ok((outcome.status, attached))
    }

    /// Takes a step that must succeed.
    async fn succeed(&self, step: Step) -> Result<Attached, Fault> {
        match self.live(step).await? {
            (JF_OK, attached) => Ok(attached),
            (status, attached) => Err(failure(status, attached.text)),
        }
    }
}

#[async_trait]
impl Plugin for NativePlugin {
    fn info(&self) -> PluginInfo {
        self.info.clone()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        self.instance.side.open(host);
        self.succeed(Step::Start).await?;
        self.health().await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            session_store: self.store.clone(),
            bridge: self.bridge.clone(),
            ..hooks::capabilities(&self.instance)
        }
    }

    async fn health(&self) -> Result<(), Fault> {
        self.succeed(Step::Health).await.map(drop)
    }

    async fn reconfigure(&self, options: &str) -> Result<bool, Fault> {
        if !self.instance.interest.reload || self.instance.table.0.reconfigure.is_none() {
            return Ok(false);
        }
        match self.live(Step::Reconfigure(options.to_owned())).await? {
            (JF_OK, _) => Ok(true),
            (JF_EUNSUP, _) => Ok(false),
            (status, attached) => Err(failure(status, attached.text)),
        }
    }

    async fn on_timer(&self, timer: TimerId) {
        if let Err(fault) = self.instance.answer(None, TimerDue(timer)).await {
            tracing::warn!(plugin = &*self.instance.side.name, %fault, "a timer was missed");
        }
    }

    async fn save_state(&self) -> Option<Vec<u8>> {
        self.instance.table.0.save_state?;
        match self.succeed(Step::SaveState).await {
            Ok(attached) => attached.data,
            Err(fault) => {
                tracing::warn!(plugin = &*self.instance.side.name, %fault, "its state was not saved");
                None
            }
        }
    }

    async fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        let step = Step::LoadState(from_version.to_owned(), state.to_vec());
        self.succeed(step).await.map(drop)
    }

    async fn stop(&self, drain: Duration) {
        if let Err(fault) = self.succeed(Step::Drain(drain)).await {
            tracing::warn!(plugin = &*self.instance.side.name, %fault, "it didn't end in order");
        }
    }
}
