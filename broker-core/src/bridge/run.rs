//! The two tasks of a bridge: one carries out what waits, the other brings in what comes. Each calls the plugin again with
//! growing pauses when that fails; the clock of these pauses is the real one, as for all that concerns other systems.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker_proto::remaining_expiry;
use broker_types::{ClientId, Message, ProtocolVersion, Source, Timestamp};
use plugin_api::{Bridge as Carrier, ClientView, Fault, FaultKind, Peer};

use super::queue::Waiting;
use super::{Bridge, Rule};
use crate::engine::delivery::Publisher;
use crate::engine::memory::Pressure;
use crate::engine::pass::pass;
use crate::engine::shard::Shard;
use crate::hooks::{EventSink, caught_call};

/// Messages that one call carries out.
const BATCH_MAX: usize = 256;
/// How long one call may take to carry out.
const EGRESS_MAX: Duration = Duration::from_secs(30);
/// The pause after a first failure …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … and the longest, reached by doubling.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts both tasks on this shard.
pub(crate) fn spawn(shard: &Rc<Shard>, bridge: &Arc<Bridge>, carrier: Arc<dyn Carrier>) {
    if !bridge.outgoing.is_empty() {
        tokio::task::spawn_local(carry_out(shard.clone(), bridge.clone(), carrier.clone()));
    }
    let incoming = bring_in(shard.clone(), bridge.clone(), carrier);
    let core = shard.core.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = core.stopping() => {}
            () = incoming => {}
        }
    });
}

/// Pauses between calls that fail.
struct Pause(Duration);

impl Pause {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }

    fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }
}

/// Carries out what waits. What is in hand stays there, in order, until the other side has it.
async fn carry_out(shard: Rc<Shard>, bridge: Arc<Bridge>, carrier: Arc<dyn Carrier>) {
    let mut pause = Pause(PAUSE_MIN);
    let mut batch = Vec::new();
    let mut sizes = Vec::new();
    loop {
        if batch.is_empty() {
            bridge.queue.filled().await;
        }
        for waiting in bridge.queue.take(BATCH_MAX - batch.len()) {
            let size = waiting.stored.size();
            match renamed(&waiting, &bridge.outgoing, shard.core.clock.now()) {
                Some(message) => {
                    batch.push(message);
                    sizes.push(size);
                }
                None => {
                    bridge.drop_count(1);
                    bridge.queue.done(1, size);
                }
            }
        }
        if batch.is_empty() {
            continue;
        }
        let call = within(EGRESS_MAX, caught_call(|| carrier.egress(&batch)));
        let taken = match call.await {
            Ok(0) => Err(Fault::backend("the other side took nothing")),
            Ok(taken) => Ok(taken.min(batch.len())),
            Err(fault) => Err(fault),
        };
        match taken {
            Ok(taken) => {
                bridge.went_well(&bridge.egress_down, "egress");
                pause.reset();
                bridge.sent.fetch_add(taken as u64, Ordering::Relaxed);
                batch.drain(..taken);
                bridge.queue.done(taken, sizes.drain(..taken).sum());
            }
            Err(fault) => {
                bridge.failed(&bridge.egress_down, "egress", &fault);
                pause.wait().await;
            }
        }
    }
}

/// Returns the message under its name on the other side; `None`: it expired, or there is no such name.
fn renamed(waiting: &Waiting, rules: &[Rule], now: Timestamp) -> Option<Message> {
    let rule = &rules[waiting.rule];
    let lent = waiting.stored.message();
    let topic = rule.rename(lent.topic)?;
    let expiry = remaining_expiry(lent.expiry, waiting.stored.received_at(), now).ok()?;
    let mut message = lent.to_message();
    message.topic = topic;
    message.qos = message.qos.min(rule.qos);
    message.expiry = expiry;
    Some(message)
}

/// Brings in what comes. The next call acknowledges, so it is made when everything is published.
async fn bring_in(shard: Rc<Shard>, bridge: Arc<Bridge>, carrier: Arc<dyn Carrier>) {
    let client = Arc::new(view(&shard, &bridge));
    let mut pause = Pause(PAUSE_MIN);
    loop {
        match caught_call(|| carrier.ingress()).await {
            Ok(messages) => {
                bridge.went_well(&bridge.ingress_down, "ingress");
                pause.reset();
                if messages.is_empty() {
                    // A plugin that doesn't wait for messages must not turn the processor.
                    tokio::time::sleep(PAUSE_MIN).await;
                }
                for message in messages {
                    publish(&shard, &bridge, &client, message).await;
                }
            }
            Err(fault) => {
                bridge.failed(&bridge.ingress_down, "ingress", &fault);
                pause.wait().await;
            }
        }
    }
}

/// Publishes one message that came in.
async fn publish(shard: &Rc<Shard>, bridge: &Bridge, client: &Arc<ClientView>, message: Message) {
    // The other side keeps what isn't acknowledged there; so nothing is lost by waiting.
    while shard.pressure() == Pressure::Publishes {
        tokio::time::sleep(PAUSE_MIN).await;
    }
    let Some(message) = bridge.named_here(message) else {
        bridge.drop_count(1);
        return;
    };
    let mut out = Vec::new();
    match &bridge.chain {
        None => out.push(message),
        Some(chain) => pass(message, Source::Bridge, client, chain, &mut out).await,
    }
    if out.is_empty() {
        bridge.drop_count(1);
    }
    let by = Publisher {
        client_id: &bridge.name,
        session: bridge.session,
    };
    let events = match &bridge.chain {
        Some(chain) => chain.events().clone(),
        None => EventSink::default(),
    };
    for message in &out {
        bridge.received.fetch_add(1, Ordering::Relaxed);
        shard.publish_as(message, by, bridge.chain.as_ref(), &events);
    }
}

impl Bridge {
    /// Returns a message that came in under its name here; `None`: no rule is for it, or it claims to be the broker's.
    fn named_here(&self, mut message: Message) -> Option<Message> {
        if !self.incoming.is_empty() {
            let topic = message.topic.as_ref();
            let rule = self.incoming.iter().find(|rule| rule.filter.matches(topic))?;
            let renamed = rule.rename(topic)?;
            message.qos = message.qos.min(rule.qos);
            message.topic = renamed;
        }
        (!message.topic.as_str().starts_with("$SYS/")).then_some(message)
    }

    fn went_well(&self, down: &std::sync::atomic::AtomicBool, direction: &'static str) {
        if down.swap(false, Ordering::Relaxed) {
            tracing::info!(bridge = %self.name, direction, "bridge works again");
        }
    }

    fn failed(&self, down: &std::sync::atomic::AtomicBool, direction: &'static str, fault: &Fault) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        // One line when it begins to fail; the pauses say the rest.
        if !down.swap(true, Ordering::Relaxed) {
            tracing::warn!(bridge = %self.name, direction, fault = fault.kind.as_str(), "{}", fault.text);
        }
    }
}

/// Returns the bridge as hooks see it.
fn view(shard: &Shard, bridge: &Bridge) -> ClientView {
    ClientView {
        handle: shard.core.new_handle(),
        id: ClientId::from(&*bridge.name),
        username: Some(bridge.name.clone()),
        authenticated: true,
        listener: bridge.name.clone(),
        peer: Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        certificate: None,
    }
}

/// Gives a call a deadline.
async fn within<T>(most: Duration, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match tokio::time::timeout(most, call).await {
        Ok(result) => result,
        Err(_) => Err(Fault::new(
            FaultKind::Timeout,
            format!("no answer within {most:?}"),
        )),
    }
}
