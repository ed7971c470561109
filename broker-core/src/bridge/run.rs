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
use tokio::sync::watch;

use super::Bridge;
use super::queue::Waiting;
use crate::engine::delivery::Publisher;
use crate::engine::memory::Pressure;
use crate::engine::pass::pass;
use crate::engine::shard::Shard;
use crate::hooks::{EventSink, InUse, caught_call};

/// Messages that one call carries out.
const BATCH_MAX: usize = 256;
/// How long one call may take to carry out.
const EGRESS_MAX: Duration = Duration::from_secs(30);
/// The pause after a first failure …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … and the longest, reached by doubling.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts both tasks on this shard. They hold `in_use` until they end.
pub(crate) fn spawn(shard: &Rc<Shard>, bridge: &Arc<Bridge>, carrier: Arc<dyn Carrier>, in_use: InUse) {
    let in_use = Rc::new(in_use);
    // What waits by rules of before goes out too.
    if !bridge.outgoing.is_empty() || bridge.work.queue.len().0 > 0 {
        let out = carry_out(
            shard.clone(),
            bridge.clone(),
            carrier.clone(),
            bridge.ending.subscribe(),
        );
        let in_use = in_use.clone();
        tokio::task::spawn_local(async move {
            out.await;
            drop(in_use);
        });
    }
    let incoming = bring_in(shard.clone(), bridge.clone(), carrier, bridge.ending.subscribe());
    let core = shard.core.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = core.stopping() => {}
            () = incoming => {}
        }
        drop(in_use);
    });
}

/// Waits until the bridge is to end.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that it is gone altogether.
    let _ = ending.wait_for(|ending| *ending).await;
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

/// Carries out what waits. What is in hand stays there, in order, until the other side has it, or goes back when the bridge
/// ends.
async fn carry_out(
    shard: Rc<Shard>,
    bridge: Arc<Bridge>,
    carrier: Arc<dyn Carrier>,
    mut ending: watch::Receiver<bool>,
) {
    let queue = &bridge.work.queue;
    let mut pause = Pause(PAUSE_MIN);
    let mut batch = Vec::new();
    let mut hand = Vec::new();
    loop {
        if batch.is_empty() {
            tokio::select! {
                biased;
                () = ended(&mut ending) => break,
                () = queue.filled() => {}
            }
        }
        for waiting in queue.take(BATCH_MAX - batch.len()) {
            match renamed(&waiting, shard.core.clock.now()) {
                Some(message) => {
                    batch.push(message);
                    hand.push(waiting);
                }
                None => {
                    bridge.drop_count(1);
                    queue.done(1, waiting.stored.size());
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
                bridge.went_well(&bridge.work.egress_down, "egress");
                pause.reset();
                bridge.work.sent.fetch_add(taken as u64, Ordering::Relaxed);
                batch.drain(..taken);
                let sizes = hand.drain(..taken).map(|waiting| waiting.stored.size());
                queue.done(taken, sizes.sum());
            }
            Err(fault) => {
                bridge.failed(&bridge.work.egress_down, "egress", &fault);
                tokio::select! {
                    biased;
                    () = ended(&mut ending) => {}
                    () = pause.wait() => {}
                }
            }
        }
        if *ending.borrow() {
            break;
        }
    }
    queue.put_back(hand);
}

/// Returns the message under its name on the other side; `None`: it expired, or there is no such name.
fn renamed(waiting: &Waiting, now: Timestamp) -> Option<Message> {
    let rule = &waiting.rule;
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
async fn bring_in(
    shard: Rc<Shard>,
    bridge: Arc<Bridge>,
    carrier: Arc<dyn Carrier>,
    mut ending: watch::Receiver<bool>,
) {
    let client = Arc::new(view(&shard, &bridge));
    let mut pause = Pause(PAUSE_MIN);
    loop {
        let came = tokio::select! {
            biased;
            () = ended(&mut ending) => return,
            came = caught_call(|| carrier.ingress()) => came,
        };
        match came {
            Ok(messages) => {
                bridge.went_well(&bridge.work.ingress_down, "ingress");
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
                bridge.failed(&bridge.work.ingress_down, "ingress", &fault);
                tokio::select! {
                    biased;
                    () = ended(&mut ending) => return,
                    () = pause.wait() => {}
                }
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
    let chain = bridge.chain.as_ref().map(|chain| chain.load_full());
    match &chain {
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
    let events = match &chain {
        Some(chain) => chain.events().clone(),
        None => EventSink::default(),
    };
    for message in &out {
        bridge.work.received.fetch_add(1, Ordering::Relaxed);
        shard.publish_as(message, by, chain.as_ref(), &events);
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
        self.work.faults.fetch_add(1, Ordering::Relaxed);
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
        unrestricted: false,
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
