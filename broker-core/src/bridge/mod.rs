//! Bridges: messages that go to another system, and come from it. A plugin carries; what is here queues, repeats, maps
//! topics and keeps messages from going in circles. A bridge is none of a listener's links and has no Session: routing
//! asks the bridges' own table of filters, which costs one branch when there is no bridge.
//!
//! | file | subject |
//! |---|---|
//! | `rule` | which topics, and what they are called on the other side |
//! | `queue` | what waits to be carried out: bounded, the oldest makes room |
//! | `run` | the two tasks of a bridge |
//!
//! Messages that wait are in memory only. What a bridge brought in is never carried out by the same bridge.

mod queue;
mod rule;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use broker_proto::Outgoing;
use broker_types::TopicRef;
use plugin_api::Plugin;
use tokio::sync::watch;

use crate::chain::address;
use crate::engine::delivery::Publisher;
use crate::engine::listener::ChainCell;
use crate::routing::Interest;
use queue::{Queue, Waiting};

pub(crate) use rule::Rule;
pub use rule::{BridgeRule, RuleError};
pub(crate) use run::spawn;

/// Bridges that one broker may have.
pub(crate) const BRIDGES_MAX: usize = Interest::SLOTS as usize;

/// A bridge as an embedder or the configuration describes it.
///
/// ```no_run
/// use std::sync::Arc;
/// use broker_core::{BridgeRule, BridgeSpec, Broker, BrokerBuilder, Listener};
///
/// fn with_cloud(carrier: Arc<dyn plugin_api::Plugin>) -> BrokerBuilder {
///     let cloud = BridgeSpec::new("cloud", carrier)
///         .outgoing(BridgeRule::new("plant/+/state/#").to("acme/+/#"))
///         .incoming(BridgeRule::new("acme/cmd/#").to("plant/cmd/#"));
///     Broker::builder()
///         .listener(Listener::tcp("127.0.0.1:1883").anonymous(true))
///         .bridge(cloud)
/// }
/// ```
#[derive(Clone)]
pub struct BridgeSpec {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) chain: Option<String>,
    pub(crate) outgoing: Vec<BridgeRule>,
    pub(crate) incoming: Vec<BridgeRule>,
    pub(crate) queued_messages_max: usize,
    pub(crate) queued_bytes_max: usize,
}

impl std::fmt::Debug for BridgeSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BridgeSpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl BridgeSpec {
    /// Returns a bridge that `plugin`, which must have the hook `bridge`, carries for, without rules.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, plugin: Arc<dyn Plugin>) -> Self {
        Self {
            name: name.into(),
            plugin,
            chain: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            queued_messages_max: 10_000,
            queued_bytes_max: 64 * 1024 * 1024,
        }
    }

    /// Lets what comes in pass the chain that the builder holds under `name`: its hooks authorize and publish see the
    /// messages of a client whose Client Identifier and user name are the bridge's name. Default: none.
    #[must_use]
    pub fn chain(mut self, name: impl Into<String>) -> Self {
        self.chain = Some(name.into());
        self
    }

    /// Carries messages out that `rule` is for; of several rules the first that fits counts.
    #[must_use]
    pub fn outgoing(mut self, rule: BridgeRule) -> Self {
        self.outgoing.push(rule);
        self
    }

    /// Takes messages in that `rule` is for; of several rules the first that fits counts, and what fits none is dropped.
    /// Without any rule everything comes in under the topic that the plugin gave it.
    #[must_use]
    pub fn incoming(mut self, rule: BridgeRule) -> Self {
        self.incoming.push(rule);
        self
    }

    /// Sets how many messages, and how many bytes of them, may wait to be carried out; default: 10,000 and 64 MiB. When
    /// there are more, the oldest are dropped.
    #[must_use]
    pub const fn queue_max(mut self, messages: usize, bytes: usize) -> Self {
        self.queued_messages_max = messages;
        self.queued_bytes_max = bytes;
        self
    }
}

impl BridgeSpec {
    /// Tells whether it carries the same by the same instance, whatever becomes of its chain.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self {
            name,
            plugin,
            chain,
            outgoing,
            incoming,
            queued_messages_max,
            queued_bytes_max,
        } = self;
        *name == other.name
            && address(plugin) == address(&other.plugin)
            && chain.is_some() == other.chain.is_some()
            && *outgoing == other.outgoing
            && *incoming == other.incoming
            && *queued_messages_max == other.queued_messages_max
            && *queued_bytes_max == other.queued_bytes_max
    }
}

/// What a bridge did so far, and what waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeCounts {
    /// Its name.
    pub name: Arc<str>,
    /// Messages that wait to be carried out.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Messages that the other side has taken.
    pub sent: u64,
    /// Messages that came from the other side and were published.
    pub received: u64,
    /// Messages that were not carried: the queue was full, they expired, no rule or Topic Name fits, or the chain refused.
    pub dropped: u64,
    /// Calls of the plugin that failed.
    pub faults: u64,
    /// The last call in each direction went well.
    pub up: bool,
}

/// A bridge at run time.
pub(crate) struct Bridge {
    pub(crate) name: Arc<str>,
    /// Names it as a publisher; no Session has the same.
    pub(crate) session: u64,
    pub(crate) outgoing: Vec<Arc<Rule>>,
    pub(crate) incoming: Vec<Rule>,
    pub(crate) chain: Option<Arc<ChainCell>>,
    /// What waits, and what was counted: a bridge that takes the place of another of the same name goes on with them.
    work: Arc<Work>,
    /// Becomes true when its tasks are to end.
    ending: watch::Sender<bool>,
}

/// What outlives a change of a bridge.
struct Work {
    queue: Queue,
    sent: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    faults: AtomicU64,
    egress_down: AtomicBool,
    ingress_down: AtomicBool,
}

impl Bridge {
    /// Returns the bridge that `spec` describes, in the place of `before` if there is one. Rules that make no sense were told
    /// before, and are left out.
    pub(crate) fn new(
        spec: &BridgeSpec,
        session: u64,
        chain: Option<Arc<ChainCell>>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let (messages, bytes) = (spec.queued_messages_max, spec.queued_bytes_max);
        let work = match before {
            Some(before) => {
                before.work.queue.set_max(messages, bytes);
                before.work.clone()
            }
            None => Arc::new(Work {
                queue: Queue::new(messages, bytes),
                sent: AtomicU64::new(0),
                received: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                faults: AtomicU64::new(0),
                egress_down: AtomicBool::new(false),
                ingress_down: AtomicBool::new(false),
            }),
        };
        let compile = |rules: &[BridgeRule]| -> Vec<Rule> {
            rules.iter().filter_map(|rule| rule.compile().ok()).collect()
        };
        Arc::new(Self {
            name: spec.name.clone(),
            session: before.map_or(session, |before| before.session),
            outgoing: compile(&spec.outgoing).into_iter().map(Arc::new).collect(),
            incoming: compile(&spec.incoming),
            chain,
            work,
            ending: watch::Sender::new(false),
        })
    }

    /// Ends its tasks, each when the call that it waits for is done. What waits stays.
    pub(crate) async fn end(&self) {
        self.ending.send_replace(true);
        self.ending.closed().await;
    }

    /// Lets go of what waits: the bridge is gone.
    pub(crate) fn give_up(&self) -> usize {
        let lost = self.work.queue.clear();
        self.drop_count(lost);
        lost
    }

    /// Takes a message that matches one of its filters. False: it goes nowhere.
    fn take(&self, message: &mut Outgoing<'_>) -> bool {
        let topic = message.topic();
        let Some(rule) = self.outgoing.iter().find(|rule| rule.filter.matches(topic)) else {
            return false;
        };
        let waiting = Waiting {
            stored: message.shared().clone(),
            rule: rule.clone(),
        };
        let dropped = self.work.queue.push(waiting);
        self.drop_count(dropped);
        true
    }

    fn drop_count(&self, messages: usize) {
        self.work.dropped.fetch_add(messages as u64, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> BridgeCounts {
        let work = &*self.work;
        let (queued, queued_bytes) = work.queue.len();
        let down = work.egress_down.load(Ordering::Relaxed) || work.ingress_down.load(Ordering::Relaxed);
        BridgeCounts {
            name: self.name.clone(),
            queued,
            queued_bytes,
            sent: work.sent.load(Ordering::Relaxed),
            received: work.received.load(Ordering::Relaxed),
            dropped: work.dropped.load(Ordering::Relaxed),
            faults: work.faults.load(Ordering::Relaxed),
            up: !down,
        }
    }
}

/// The bridges there are at the moment. Where there is none, that is all that a message costs.
#[derive(Default)]
pub(crate) struct BridgeTable {
    any: AtomicBool,
    bridges: ArcSwapOption<Bridges>,
}

impl BridgeTable {
    /// Returns the bridges; `None`: there is none.
    #[inline]
    pub(crate) fn get(&self) -> Option<Arc<Bridges>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        self.bridges.load_full()
    }

    /// Lets there be these bridges, at most [`BRIDGES_MAX`].
    pub(crate) fn set(&self, all: Vec<Arc<Bridge>>) {
        let any = !all.is_empty();
        self.bridges.store(any.then(|| Arc::new(Bridges::new(all))));
        self.any.store(any, Ordering::Relaxed);
    }
}

/// All bridges of a broker.
pub(crate) struct Bridges {
    all: Vec<Arc<Bridge>>,
    interest: Interest,
}

impl Bridges {
    fn new(all: Vec<Arc<Bridge>>) -> Self {
        let mut interest = Interest::default();
        for (bridge, slot) in all.iter().zip(0..) {
            for rule in &bridge.outgoing {
                interest.add(&rule.filter, slot);
            }
        }
        Self { all, interest }
    }

    /// Returns each of them.
    pub(crate) fn all(&self) -> &[Arc<Bridge>] {
        &self.all
    }

    /// Tells whether some bridge may want messages with `topic`: a bit for each.
    #[inline]
    pub(crate) fn wanting(&self, topic: TopicRef<'_>) -> u64 {
        self.interest.slots(topic)
    }

    /// Gives a message to the bridges in `wanting`, except to the one that brought it in. Returns how many that were.
    pub(crate) fn carry(&self, mut wanting: u64, message: &mut Outgoing<'_>, by: Publisher<'_>) -> usize {
        let mut receivers = 0;
        while wanting != 0 {
            let bridge = &self.all[wanting.trailing_zeros() as usize];
            wanting &= wanting - 1;
            if bridge.session != by.session {
                receivers += usize::from(bridge.take(message));
            }
        }
        receivers
    }

    /// Returns what each did.
    pub(crate) fn counts(&self) -> Vec<BridgeCounts> {
        self.all.iter().map(|bridge| bridge.counts()).collect()
    }

    /// Waits until nothing waits to be carried out.
    pub(crate) async fn drained(&self) {
        for bridge in &self.all {
            bridge.work.queue.emptied().await;
        }
    }
}
