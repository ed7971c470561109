//! A thunk for each hook that answers at once: reads what the broker lends, calls the author's code, writes the verdict.

use std::ffi::c_void;

use broker_types::QoS;
use plugin_abi::{self as abi, Ctx, Handle, Out, PubIn, Str, values::*};

use super::asked::{exchange, incoming, request, subscription};
use super::cx::Cx;
use super::instance::{Held, Instance, Offer, lent};
use super::message::Message;
use super::say::Verdict;
use super::{read_bytes, read_text};
use crate::{AclItem, Action, ClientHandle, Event, EventKind, Plugin, ShareMember};

/// Defines how a hook with one verdict is offered.
macro_rules! hook {
    ($name:ident, $trait:ident, $bit:ident, $in:ident, |$instance:ident, $plugin:ident, $ctx:ident, $asked:ident, $verdict:ident| $body:expr) => {
        impl<P: Plugin> Offer<P> {
            #[doc = concat!("Offers [`crate::", stringify!($trait), "`].")]
            pub fn $name(&mut self)
            where
                P: crate::$trait,
            {
                unsafe extern "C" fn thunk<P: Plugin + crate::$trait>(
                    this: *mut c_void,
                    ctx: *const Ctx,
                    asked: *const abi::$in,
                    out: *mut Out,
                ) -> i32 {
                    // SAFETY: called by the broker, as `lent` wants it.
                    let ($instance, $ctx, $asked, out) = unsafe { lent::<P, _>(this, ctx, asked, out) };
                    $instance.run(|$plugin| {
                        let $verdict = &mut Verdict {
                            host: $instance.host,
                            out,
                        };
                        $body;
                        Ok(())
                    })
                }
                self.table.$name = Some(thunk::<P>);
                self.hooks |= bit($bit);
            }
        }
    };
}

/// The client of a call.
macro_rules! cx {
    ($instance:expr, $ctx:expr) => {
        // SAFETY: the broker lends the context and its client for the call.
        unsafe { Cx::new($instance.host, $ctx) }
    };
}

/// The message of a call.
macro_rules! message {
    ($verdict:expr, $asked:expr) => {
        // SAFETY: the broker lends the message for the call, and the sink is that of its verdict.
        unsafe { Message::new($verdict.host, $asked, $verdict.out.sink) }
    };
}

hook! { accept, Accept, JF_HOOK_ACCEPT, AcceptIn, |instance, plugin, _ctx, asked, verdict|
    verdict.accept(plugin.accept(&incoming(asked))?)
}

hook! { authenticate, Authenticate, JF_HOOK_AUTHENTICATE, AuthIn, |instance, plugin, ctx, asked, verdict|
    verdict.authenticate(plugin.authenticate(&cx!(instance, ctx), &request(asked))?)
}

hook! { connect, Connect, JF_HOOK_CONNECT, AuthIn, |instance, plugin, ctx, asked, verdict|
    verdict.connect(plugin.connect(&cx!(instance, ctx), &request(asked))?)
}

hook! { subscribe, Subscribe, JF_HOOK_SUBSCRIBE, SubIn, |instance, plugin, ctx, asked, verdict|
    verdict.subscribe(plugin.subscribe(&cx!(instance, ctx), &subscription(asked))?)
}

hook! { unsubscribe, Unsubscribe, JF_HOOK_UNSUBSCRIBE, SubIn, |instance, plugin, ctx, asked, verdict|
    verdict.unsubscribe(plugin.unsubscribe(&cx!(instance, ctx), &subscription(asked))?)
}

hook! { publish, Publish, JF_HOOK_PUBLISH, PubIn, |instance, plugin, ctx, asked, verdict|
    verdict.publish(plugin.publish(&cx!(instance, ctx), &mut message!(verdict, asked))?)
}

hook! { deliver, Deliver, JF_HOOK_DELIVER, DeliverIn, |instance, plugin, _ctx, asked, verdict|
    verdict.deliver(plugin.deliver(asked.subscriber_class, &mut message!(verdict, &asked.pub_))?)
}

hook! { will, Will, JF_HOOK_WILL, PubIn, |instance, plugin, ctx, asked, verdict|
    verdict.deliver(plugin.will(&cx!(instance, ctx), &mut message!(verdict, asked))?)
}

hook! { retain, Retain, JF_HOOK_RETAIN, PubIn, |instance, plugin, _ctx, asked, verdict|
    verdict.retain(plugin.retain(&message!(verdict, asked))?)
}

hook! { control, Control, JF_HOOK_CONTROL, ControlIn, |instance, plugin, ctx, asked, verdict| {
    let (topic, payload) = (read_text(asked.topic), read_bytes(asked.payload));
    verdict.control(plugin.control(&cx!(instance, ctx), topic.unwrap_or_default(), payload.unwrap_or_default())?)
}}

/// Takes out what the step before left for this one.
pub(crate) fn exchange_state<P>(instance: &Instance<P>, exchange: u64) -> Vec<u8> {
    let mut kept = lock(&instance.exchanges);
    kept.remove(&exchange).unwrap_or_default()
}

/// Keeps what the next step must know.
pub(crate) fn keep_exchange<P>(instance: &Instance<P>, exchange: u64, state: Option<Vec<u8>>) {
    if let Some(state) = state {
        lock(&instance.exchanges).insert(exchange, state);
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl<P: Plugin> Offer<P> {
    /// Offers [`crate::Exchange`].
    pub fn exchange(&mut self)
    where
        P: crate::Exchange,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::Exchange>(
            this: *mut c_void,
            ctx: *const Ctx,
            asked: *const abi::ExchangeIn,
            out: *mut Out,
        ) -> i32 {
            // SAFETY: called by the broker, as `lent` wants it.
            let (instance, ctx, asked, out) = unsafe { lent::<P, _>(this, ctx, asked, out) };
            let state = exchange_state(instance, asked.exchange);
            instance.run(|plugin| {
                let said = plugin.exchange(&cx!(instance, ctx), &exchange(asked, &state))?;
                let host = instance.host;
                keep_exchange(instance, asked.exchange, Verdict { host, out }.exchange(said));
                Ok(())
            })
        }
        self.table.auth_exchange = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_AUTH_EXCHANGE);
    }

    /// Offers [`crate::Authorize`].
    pub fn authorize(&mut self)
    where
        P: crate::Authorize,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::Authorize>(
            this: *mut c_void,
            ctx: *const Ctx,
            asked: *const abi::AclIn,
            outs: *const *mut Out,
        ) -> i32 {
            // SAFETY: called by the broker with this instance; it lends the others until this returns.
            let (instance, ctx, asked) = unsafe { (Held::<P>::at(this), &*ctx, &*asked) };
            let Some(action) = action(asked) else { return JF_OK };
            instance.run(|plugin| {
                let cx = &cx!(instance, ctx);
                for i in 0..asked.n {
                    // SAFETY: the broker lends n topics and n verdicts, each verdict to nobody else.
                    let (item, out) = unsafe { (item(asked, action, i), &mut **outs.add(i)) };
                    let host = instance.host;
                    Verdict { host, out }.authorize(&plugin.authorize(cx, &item)?);
                }
                Ok(())
            })
        }
        self.table.authorize = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_AUTHORIZE);
    }

    /// Offers [`crate::Events`].
    pub fn events(&mut self)
    where
        P: crate::Events,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::Events>(
            this: *mut c_void,
            batch: *const *const abi::EventIn,
            n: usize,
        ) {
            // SAFETY: called by the broker with this instance.
            let instance = unsafe { Held::<P>::at(this) };
            instance.run(|plugin| {
                // SAFETY: the broker lends n events until this returns.
                let events = (0..n).filter_map(|i| event(unsafe { &**batch.add(i) }));
                plugin.notify(&events.collect::<Vec<_>>());
                Ok(())
            });
        }
        self.table.events = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_EVENT);
    }

    /// Offers [`crate::SharePick`].
    pub fn share_pick(&mut self)
    where
        P: crate::SharePick,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::SharePick>(
            this: *mut c_void,
            message: *const PubIn,
            group: Str,
            members: *const Handle,
            inflight: *const u32,
            n: usize,
        ) -> i32 {
            // SAFETY: called by the broker with this instance; it lends the others until this returns.
            let (instance, message) = unsafe { (Held::<P>::at(this), &*message) };
            let member = |i| {
                // SAFETY: the broker lends n handles and n numbers.
                let (client, inflight) = unsafe { (*members.add(i), *inflight.add(i)) };
                ShareMember {
                    client: (client != 0).then_some(ClientHandle(client)),
                    inflight,
                }
            };
            let mut picked = -1;
            instance.run(|plugin| {
                // SAFETY: the broker lends the message until this returns; there is nothing to change, so no sink.
                let message = unsafe { Message::new(instance.host, message, std::ptr::null_mut()) };
                let members: Vec<ShareMember> = (0..n).map(member).collect();
                let group = read_text(group).unwrap_or_default();
                let index = plugin.pick(group, &members, &message);
                picked = index.and_then(|index| i32::try_from(index).ok()).unwrap_or(-1);
                Ok(())
            });
            picked
        }
        self.table.share_pick = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_SHARE_PICK);
    }
}

/// Reads what a client wants to do; `None`: an action of a newer broker, where every topic keeps its preset, which is to
/// skip.
pub(crate) const fn action(asked: &abi::AclIn) -> Option<Action> {
    match asked.action {
        1 => Some(Action::Publish),
        2 => Some(Action::Subscribe),
        3 => Some(Action::Receive),
        _ => None,
    }
}

/// Reads one of the things to decide.
///
/// # Safety
/// `i` must be less than `asked.n`, and the broker must lend what `asked` points to.
pub(crate) unsafe fn item(asked: &abi::AclIn, action: Action, i: usize) -> AclItem<'_> {
    // SAFETY: the caller's promise.
    let (topic, qos) = unsafe { (*asked.topics.add(i), *asked.qos.add(i)) };
    AclItem {
        action,
        topic: read_text(topic).unwrap_or_default(),
        qos: QoS::from_bits(qos).unwrap_or_default(),
        retain: asked.retain != 0,
    }
}

/// Reads an event; `None`: a kind of a newer broker.
fn event(event: &abi::EventIn) -> Option<Event<'_>> {
    Some(Event {
        kind: EventKind::from_number(event.kind)?,
        at_ms: event.at_ms,
        client: (event.client_id != 0).then_some(ClientHandle(event.client_id)),
        client_id: read_text(event.client_name),
        topic: read_text(event.topic),
        reason: broker_types::ReasonCode::from_byte(event.reason),
        by_server: event.by_server != 0,
    })
}
