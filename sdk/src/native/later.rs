//! A thunk for each hook that may take its time: copies what the broker lends, polls the author's future once on the broker's
//! thread, and leaves what is not ready then to the instance's executor.

use std::any::Any;
use std::ffi::c_void;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use plugin_abi::{self as abi, Ctx, Out, Token, values::*};

use super::asked::{KeptExchange, KeptRequest, KeptSubscription, exchange, request, subscription};
use super::cx::KeptCx;
use super::executor::{Task, block_on};
use super::hooks::{action, exchange_state, item, keep_exchange};
use super::instance::{Held, Instance, Offer, lent};
use super::message::KeptMessage;
use super::say::Verdict;
use super::{read_bytes, read_text};
use crate::{AclItem, Fault, Plugin};

/// A future whose panics are values.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Ready(said)) => Poll::Ready(Ok(said)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Verdicts on their way to the broker.
struct Outs(Vec<Out>);

// SAFETY: numbers, and sinks that may be written to from any thread.
unsafe impl Send for Outs {}

/// Answers a call with what `future` says: at once if it can, else later. `say` writes it and returns the status.
///
/// # Safety
/// `outs` must be verdicts that the broker lends to this call alone.
pub(crate) unsafe fn answer<P, R, F, S>(
    instance: &Arc<Instance<P>>,
    token: Token,
    outs: &[*mut Out],
    future: F,
    say: S,
) -> i32
where
    P: Plugin,
    F: Future<Output = R> + Send + 'static,
    S: FnOnce(&Instance<P>, R, &mut [Out]) -> i32 + Send + 'static,
{
    // SAFETY: the caller's promise.
    let mut here = Outs(outs.iter().map(|out| unsafe { **out }).collect());
    let write = move |instance: &Instance<P>, said: Result<R, Box<dyn Any + Send>>, outs: &mut Outs| {
        let said = said.map(|said| catch_unwind(AssertUnwindSafe(|| say(instance, said, &mut outs.0))));
        match said {
            Ok(Ok(status)) => status,
            Ok(Err(panic)) | Err(panic) => instance.panicked(&*panic),
        }
    };
    let mut future = Caught(Box::pin(future));
    let said = if token == 0 {
        let _inside = instance.executor.enter();
        block_on(future)
    } else {
        let end = instance.clone();
        let task = Task::new(
            token,
            &instance.executor,
            Box::new(move || end.complete(token, JF_EUNAVAIL, &[])),
        );
        let waker = Waker::from(task.clone());
        let polled = {
            let _inside = instance.executor.enter();
            Pin::new(&mut future).poll(&mut Context::from_waker(&waker))
        };
        match polled {
            Poll::Ready(said) => said,
            Poll::Pending => {
                instance.remember(&task);
                let instance = instance.clone();
                task.keep(Box::pin(async move {
                    let said = future.await;
                    let status = write(&instance, said, &mut here);
                    let outs = if status == JF_OK { &here.0[..] } else { &[] };
                    instance.complete(token, status, outs);
                }));
                return JF_PENDING;
            }
        }
    };
    let status = write(instance, said, &mut here);
    for (there, here) in outs.iter().zip(&here.0) {
        // SAFETY: the caller's promise.
        let there = unsafe { &mut **there };
        (there.verdict, there.reason, there.delay_ms) = (here.verdict, here.reason, here.delay_ms);
    }
    status
}

/// Writes the one verdict of a call, or why there is none.
fn one<P, T>(
    instance: &Instance<P>,
    said: Result<T, Fault>,
    outs: &mut [Out],
    write: impl FnOnce(&mut Verdict<'_>, T),
) -> i32 {
    match (said, outs) {
        (Ok(said), [out]) => {
            let host = instance.host;
            write(&mut Verdict { host, out }, said);
            JF_OK
        }
        (Err(fault), _) => instance.failed(&fault),
        (Ok(_), _) => JF_EINVAL,
    }
}

/// Defines how a hook with one verdict is offered: `$kept` copies what is lent, `$ask` asks with the copy, `$say` writes.
macro_rules! hook {
    ($name:ident, $table:ident, $trait:ident, $bit:ident, $in:ident, |$instance:ident, $ctx:ident, $asked:ident, $sink:ident| $kept:expr, |$plugin:ident, $cx:ident, $copy:ident| $ask:expr, $say:ident) => {
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
                    let $sink = out.sink;
                    // SAFETY: as above.
                    let kept_cx = unsafe { KeptCx::new($instance.host, $ctx) };
                    let $copy = $kept;
                    let author = $instance.clone();
                    let future = async move {
                        let ($plugin, $cx) = (&author.plugin, &kept_cx.cx());
                        $ask.await
                    };
                    let say = |instance: &Instance<P>, said, outs: &mut [Out]| {
                        one(instance, said, outs, |verdict, said| verdict.$say(said))
                    };
                    // SAFETY: the broker lends the verdict to this call alone.
                    unsafe { answer($instance, $ctx.token, &[out], future, say) }
                }
                self.table.$table = Some(thunk::<P>);
                self.hooks |= bit($bit);
            }
        }
    };
}

hook! { async_authenticate, authenticate, AsyncAuthenticate, JF_HOOK_AUTHENTICATE, AuthIn,
    |instance, ctx, asked, _sink| KeptRequest::of(&request(asked)),
    |plugin, cx, copy| plugin.authenticate(cx, &copy.lend()), authenticate
}

hook! { async_connect, connect, AsyncConnect, JF_HOOK_CONNECT, AuthIn,
    |instance, ctx, asked, _sink| KeptRequest::of(&request(asked)),
    |plugin, cx, copy| plugin.connect(cx, &copy.lend()), connect
}

hook! { async_subscribe, subscribe, AsyncSubscribe, JF_HOOK_SUBSCRIBE, SubIn,
    |instance, ctx, asked, _sink| KeptSubscription::of(&subscription(asked)),
    |plugin, cx, copy| plugin.subscribe(cx, &copy.lend()), subscribe
}

hook! { async_unsubscribe, unsubscribe, AsyncUnsubscribe, JF_HOOK_UNSUBSCRIBE, SubIn,
    |instance, ctx, asked, _sink| KeptSubscription::of(&subscription(asked)),
    |plugin, cx, copy| plugin.unsubscribe(cx, &copy.lend()), unsubscribe
}

/// Copies the message of a call.
macro_rules! kept_message {
    ($instance:expr, $shown:expr, $sink:expr) => {
        // SAFETY: the broker lends the message for the call, and the sink is that of its verdict.
        unsafe { KeptMessage::new($instance.host, $shown, $sink) }
    };
}

hook! { async_publish, publish, AsyncPublish, JF_HOOK_PUBLISH, PubIn,
    |instance, ctx, asked, sink| kept_message!(instance, asked, sink),
    |plugin, cx, copy| plugin.publish(cx, &mut copy.message()), publish
}

hook! { async_deliver, deliver, AsyncDeliver, JF_HOOK_DELIVER, DeliverIn,
    |instance, ctx, asked, sink| (asked.subscriber_class, kept_message!(instance, &asked.pub_, sink)),
    |plugin, _cx, copy| plugin.deliver(copy.0, &mut copy.1.message()), deliver
}

hook! { async_will, will, AsyncWill, JF_HOOK_WILL, PubIn,
    |instance, ctx, asked, sink| kept_message!(instance, asked, sink),
    |plugin, cx, copy| plugin.will(cx, &mut copy.message()), deliver
}

hook! { async_control, control, AsyncControl, JF_HOOK_CONTROL, ControlIn,
    |instance, ctx, asked, _sink| (
        read_text(asked.topic).unwrap_or_default().to_owned(),
        read_bytes(asked.payload).unwrap_or_default().to_vec(),
    ),
    |plugin, cx, copy| plugin.control(cx, &copy.0, &copy.1), control
}

impl<P: Plugin> Offer<P> {
    /// Offers [`crate::AsyncExchange`].
    pub fn async_exchange(&mut self)
    where
        P: crate::AsyncExchange,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::AsyncExchange>(
            this: *mut c_void,
            ctx: *const Ctx,
            asked: *const abi::ExchangeIn,
            out: *mut Out,
        ) -> i32 {
            // SAFETY: called by the broker with this instance; it lends the others until this returns.
            let (instance, ctx, asked) = unsafe { (Held::<P>::at(this), &*ctx, &*asked) };
            // SAFETY: as above.
            let cx = unsafe { KeptCx::new(instance.host, ctx) };
            let id = asked.exchange;
            let state = exchange_state(instance, id);
            let copy = KeptExchange::of(&exchange(asked, &state));
            let author = instance.clone();
            let future = async move { author.plugin.exchange(&cx.cx(), &copy.lend()).await };
            let say = move |instance: &Instance<P>, said, outs: &mut [Out]| {
                one(instance, said, outs, |verdict, said| {
                    keep_exchange(instance, id, verdict.exchange(said));
                })
            };
            // SAFETY: the broker lends the verdict to this call alone.
            unsafe { answer(instance, ctx.token, &[out], future, say) }
        }
        self.table.auth_exchange = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_AUTH_EXCHANGE);
    }

    /// Offers [`crate::AsyncAuthorize`].
    pub fn async_authorize(&mut self)
    where
        P: crate::AsyncAuthorize,
    {
        unsafe extern "C" fn thunk<P: Plugin + crate::AsyncAuthorize>(
            this: *mut c_void,
            ctx: *const Ctx,
            asked: *const abi::AclIn,
            outs: *const *mut Out,
        ) -> i32 {
            // SAFETY: called by the broker with this instance; it lends the others until this returns.
            let (instance, ctx, asked) = unsafe { (Held::<P>::at(this), &*ctx, &*asked) };
            let Some(action) = action(asked) else { return JF_OK };
            // SAFETY: as above.
            let cx = unsafe { KeptCx::new(instance.host, ctx) };
            let items: Vec<_> = (0..asked.n)
                .map(|i| {
                    // SAFETY: the broker lends n topics.
                    let item = unsafe { item(asked, action, i) };
                    (item.topic.to_owned(), item.qos, item.retain)
                })
                .collect();
            let author = instance.clone();
            let future = async move {
                let mut said = Vec::with_capacity(items.len());
                for (topic, qos, retain) in &items {
                    let (qos, retain) = (*qos, *retain);
                    let item = AclItem {
                        action,
                        topic,
                        qos,
                        retain,
                    };
                    said.push(author.plugin.authorize(&cx.cx(), &item).await?);
                }
                Ok(said)
            };
            let say = |instance: &Instance<P>, said: Result<Vec<_>, Fault>, outs: &mut [Out]| match said {
                Ok(said) => {
                    let host = instance.host;
                    for (out, decision) in outs.iter_mut().zip(&said) {
                        Verdict { host, out }.authorize(decision);
                    }
                    JF_OK
                }
                Err(fault) => instance.failed(&fault),
            };
            // SAFETY: the broker lends n verdicts, each to this call alone.
            unsafe {
                let outs: Vec<*mut Out> = (0..asked.n).map(|i| *outs.add(i)).collect();
                answer(instance, ctx.token, &outs, future, say)
            }
        }
        self.table.authorize = Some(thunk::<P>);
        self.hooks |= bit(JF_HOOK_AUTHORIZE);
    }
}
