//! An instance as the broker has it: the author's value, its table, the lists that its interest points to, and the calls that
//! it has still to answer.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plugin_abi::{self as abi, Handle, Str, Token, values::*};

use super::executor::{Executor, Task};
use super::host::call;
use super::{lend, read_bytes, read_text};
use crate::options;
use crate::{EventKind, Fault, Host, Interest, Plugin, TimerId};

/// What a plugin offers, put together by the macro.
#[derive(Debug)]
pub struct Offer<P> {
    pub(crate) table: abi::Plugin,
    pub(crate) hooks: u64,
    pub(crate) store: Option<fn(&P) -> abi::SessionStore>,
    pub(crate) bridge: Option<abi::Bridge>,
    plugin: PhantomData<fn(P)>,
}

impl<P> Offer<P> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            // SAFETY: integers, pointers and optional functions: zero is a value of each.
            table: unsafe { std::mem::zeroed() },
            hooks: 0,
            store: None,
            bridge: None,
            plugin: PhantomData,
        }
    }
}

/// What the author's code runs on, shared with the calls that it has still to answer.
pub(crate) struct Instance<P> {
    pub(crate) plugin: P,
    pub(crate) host: Host,
    pub(crate) executor: Arc<Executor>,
    pending: Mutex<HashMap<Token, Arc<Task>>>,
    /// What exchanges have left behind for their next steps.
    pub(crate) exchanges: Mutex<HashMap<u64, Vec<u8>>>,
}

/// What the broker's `self` points to.
pub(crate) struct Held<P> {
    pub(crate) instance: Arc<Instance<P>>,
    table: abi::Plugin,
    interest: abi::Interest,
    store: Option<abi::SessionStore>,
    bridge: Option<abi::Bridge>,
    // What the interest points to; never changed once it is made.
    _wanted: Interest,
    _lists: [Vec<Str>; 4],
}

impl<P> Held<P> {
    /// Returns the instance behind a pointer that the broker gave back.
    ///
    /// # Safety
    /// `this` must be the `self` of an instance of `P` that isn't destroyed.
    pub(crate) unsafe fn at<'a>(this: *mut c_void) -> &'a Arc<Instance<P>> {
        // SAFETY: the caller's promise.
        unsafe { &(*this.cast::<Self>()).instance }
    }
}

/// Borrows what a hook was called with.
///
/// # Safety
/// To be used with what the broker called a hook of an instance of `P` with: it lends all of it until the hook returns, and
/// nobody else has the verdict.
pub(crate) unsafe fn lent<'a, P, In>(
    this: *mut c_void,
    ctx: *const abi::Ctx,
    asked: *const In,
    out: *mut abi::Out,
) -> (&'a Arc<Instance<P>>, &'a abi::Ctx, &'a In, &'a mut abi::Out) {
    // SAFETY: the caller's promise.
    unsafe { (Held::<P>::at(this), &*ctx, &*asked, &mut *out) }
}

impl<P> Instance<P> {
    /// Runs the author's code; a failure becomes a status and a text.
    pub(crate) fn run(&self, code: impl FnOnce(&P) -> Result<(), Fault>) -> i32 {
        let _inside = self.executor.enter();
        match catch_unwind(AssertUnwindSafe(|| code(&self.plugin))) {
            Ok(Ok(())) => JF_OK,
            Ok(Err(fault)) => self.failed(&fault),
            Err(panic) => self.panicked(&*panic),
        }
    }

    /// Tells the broker why, and returns the status that says so.
    pub(crate) fn failed(&self, Fault(text): &Fault) -> i32 {
        self.host.fault(text);
        JF_EUNAVAIL
    }

    /// The same for a panic.
    pub(crate) fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> i32 {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.host
            .fault(&format!("it panicked: {}", text.unwrap_or("no message")));
        JF_FAULT
    }

    /// Remembers a call that is still to be answered, so that it can be cancelled.
    pub(crate) fn remember(&self, task: &Arc<Task>) {
        self.pending().insert(task.token, task.clone());
    }

    /// Answers a call that was remembered.
    pub(crate) fn complete(&self, token: Token, status: i32, outs: &[abi::Out]) {
        self.pending().remove(&token);
        let outs: Vec<*const abi::Out> = outs.iter().map(std::ptr::from_ref).collect();
        let (ctx, n) = (self.host.ctx(), outs.len());
        // Nobody may be waiting any more, which the broker then says and which doesn't matter here.
        call!(self.host, complete(ctx, token, status, outs.as_ptr(), n) or JF_EUNSUP);
    }

    /// Gives up a call that nobody waits for.
    fn give_up(&self, token: Token) {
        let task = self.pending().remove(&token);
        if let Some(task) = task {
            task.cancel();
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Token, Arc<Task>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up whatever is still to be answered.
    fn end(&self) {
        let tokens: Vec<Token> = self.pending().keys().copied().collect();
        tokens.into_iter().for_each(|token| self.give_up(token));
        self.executor.close();
    }
}

/// Makes an instance and returns its table.
pub(crate) fn make<P: Plugin>(
    plugin: P,
    host: Host,
    executor: Arc<Executor>,
    offer: fn(&mut Offer<P>),
) -> *const abi::Plugin {
    let mut offered = Offer::new();
    offer(&mut offered);
    let wanted = plugin.interest();
    let lists = [&wanted.publish, &wanted.deliver, &wanted.control, &wanted.methods]
        .map(|list| list.iter().map(|text| lend(text)).collect::<Vec<Str>>());
    let interest = interest(&wanted, &lists, offered.hooks);
    let store = offered.store.map(|store| store(&plugin));
    let held = Box::into_raw(Box::new(Held {
        instance: Arc::new(Instance {
            plugin,
            host,
            executor,
            pending: Mutex::default(),
            exchanges: Mutex::default(),
        }),
        table: offered.table,
        interest,
        store,
        bridge: offered.bridge,
        _wanted: wanted,
        _lists: lists,
    }));
    // SAFETY: just made, and nobody else has it yet. From here on the table is never changed.
    let held = unsafe { &mut *held };
    let this = std::ptr::from_mut(held).cast::<c_void>();
    held.table = abi::Plugin {
        size: size_of::<abi::Plugin>() as u32,
        self_: this,
        interest: &raw const held.interest,
        start: Some(start::<P>),
        reconfigure: Some(reconfigure::<P>),
        health: Some(health::<P>),
        save_state: Some(save_state::<P>),
        load_state: Some(load_state::<P>),
        drain: Some(drain::<P>),
        destroy: Some(destroy::<P>),
        on_timer: Some(on_timer::<P>),
        cancel: Some(cancel::<P>),
        extension: Some(extension::<P>),
        ..held.table
    };
    &raw const held.table
}

fn interest(wanted: &Interest, lists: &[Vec<Str>; 4], hooks: u64) -> abi::Interest {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let [publish, deliver, control, methods] = lists;
    let events = wanted
        .events
        .iter()
        .fold(0, |all, kind: &EventKind| all | bit(*kind as u32));
    abi::Interest {
        size: size_of::<abi::Interest>() as u32,
        flags: flag(wanted.blocking, JF_F_BLOCKING)
            | flag(wanted.serial, JF_F_SERIAL)
            | flag(wanted.receive, JF_F_RECEIVE)
            | JF_F_RELOAD,
        hooks,
        events: if wanted.events.is_empty() {
            u64::MAX
        } else {
            events
        },
        needs: JF_NEED_PAYLOAD | flag(wanted.properties, JF_NEED_PROPS),
        max_payload: wanted.payload_bytes_max,
        publish_filters: publish.as_ptr(),
        n_publish_filters: publish.len(),
        deliver_filters: deliver.as_ptr(),
        n_deliver_filters: deliver.len(),
        auth_methods: methods.as_ptr(),
        n_auth_methods: methods.len(),
        control_prefixes: control.as_ptr(),
        n_control_prefixes: control.len(),
    }
}

unsafe extern "C" fn start<P: Plugin>(this: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    unsafe { Held::<P>::at(this) }.run(P::start)
}

unsafe extern "C" fn reconfigure<P: Plugin>(this: *mut c_void, config: Str, err_sink: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    let config = match options::read::<P>(read_text(config).unwrap_or("{}")) {
        Ok(config) => config,
        Err(wrong) => {
            call!(instance.host, out_text(err_sink, lend(&wrong.why)) or 0);
            return JF_EINVAL;
        }
    };
    let mut taken = false;
    let status = instance.run(|plugin| {
        let fault = |Fault(text): &Fault| {
            call!(instance.host, out_text(err_sink, lend(text)) or 0);
        };
        taken = plugin.reconfigure(config).inspect_err(fault)?;
        Ok(())
    });
    if status == JF_OK && !taken {
        JF_EUNSUP
    } else {
        status
    }
}

unsafe extern "C" fn health<P: Plugin>(this: *mut c_void, err_sink: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    instance.run(|plugin| {
        plugin.health().inspect_err(|Fault(text)| {
            call!(instance.host, out_text(err_sink, lend(text)) or 0);
        })
    })
}

unsafe extern "C" fn save_state<P: Plugin>(this: *mut c_void, sink: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Held::<P>::at(this) };
    instance.run(|plugin| {
        if let Some(state) = plugin.save_state() {
            call!(instance.host, out_data(sink, Str::of(&state)) or 0);
        }
        Ok(())
    })
}

unsafe extern "C" fn load_state<P: Plugin>(this: *mut c_void, from: Str, state: Str) -> i32 {
    // SAFETY: called by the broker with this instance.
    unsafe { Held::<P>::at(this) }.run(|plugin| {
        let (from, state) = (read_text(from), read_bytes(state));
        plugin.load_state(from.unwrap_or_default(), state.unwrap_or_default())
    })
}

unsafe extern "C" fn drain<P: Plugin>(this: *mut c_void, nanos: u64) -> i32 {
    // SAFETY: called by the broker with this instance.
    unsafe { Held::<P>::at(this) }.run(|plugin| {
        plugin.stop(Duration::from_nanos(nanos));
        Ok(())
    })
}

unsafe extern "C" fn on_timer<P: Plugin>(this: *mut c_void, timer: Handle) {
    // SAFETY: called by the broker with this instance.
    unsafe { Held::<P>::at(this) }.run(|plugin| {
        plugin.on_timer(TimerId(timer));
        Ok(())
    });
}

unsafe extern "C" fn cancel<P: Plugin>(this: *mut c_void, token: Token) {
    // SAFETY: called by the broker with this instance.
    unsafe { Held::<P>::at(this) }.give_up(token);
}

unsafe extern "C" fn extension<P: Plugin>(this: *mut c_void, name: *const c_char) -> *const c_void {
    // SAFETY: called by the broker with this instance and a name that ends with a zero.
    let (held, name) = unsafe { (&*this.cast::<Held<P>>(), CStr::from_ptr(name)) };
    let store = held.store.as_ref().filter(|_| name == super::SESSION_STORE);
    let bridge = held.bridge.as_ref().filter(|_| name == super::BRIDGE);
    let store = store.map(|table| std::ptr::from_ref(table).cast::<c_void>());
    let bridge = bridge.map(|table| std::ptr::from_ref(table).cast::<c_void>());
    store.or(bridge).unwrap_or(std::ptr::null())
}

unsafe extern "C" fn destroy<P: Plugin>(this: *mut c_void) {
    // SAFETY: made by `make` and destroyed once; the broker calls nothing after this.
    let held = unsafe { Box::from_raw(this.cast::<Held<P>>()) };
    held.instance.end();
    // A panic of the author's `drop` ends here, too. A call that is being worked on keeps the author's value until it ends.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(held)));
}
