//! An instance as the broker has it: the author's value, its table, and the lists that its interest points to.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use plugin_abi::{self as abi, Handle, Str, values::*};

use super::lend;
use crate::host::call;
use crate::{Fault, Host, Interest, Plugin, TimerId};

/// What a plugin offers, put together by the macro.
#[derive(Debug)]
pub struct Offer<P> {
    pub(crate) table: abi::Plugin,
    pub(crate) hooks: u64,
    plugin: PhantomData<fn(P)>,
}

/// The instance behind `self`.
pub(crate) struct Instance<P> {
    pub(crate) plugin: P,
    pub(crate) host: Host,
    table: abi::Plugin,
    interest: abi::Interest,
    // What the interest points to; never changed once it is made.
    _wanted: Interest,
    _lists: [Vec<Str>; 3],
}

impl<P> Instance<P> {
    /// Returns the instance behind a pointer that the broker gave back.
    ///
    /// # Safety
    /// `this` must be the `self` of an instance of `P` that isn't destroyed.
    pub(crate) unsafe fn at<'a>(this: *mut c_void) -> &'a Self {
        // SAFETY: the caller's promise.
        unsafe { &*this.cast::<Self>() }
    }

    /// Runs the author's code; a failure becomes a status and a text.
    pub(crate) fn run(&self, code: impl FnOnce(&P) -> Result<(), Fault>) -> i32 {
        match catch_unwind(AssertUnwindSafe(|| code(&self.plugin))) {
            Ok(Ok(())) => JF_OK,
            Ok(Err(Fault(text))) => {
                self.host.fault(&text);
                JF_EUNAVAIL
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                self.host
                    .fault(&format!("it panicked: {}", text.unwrap_or("no message")));
                JF_FAULT
            }
        }
    }
}

/// Makes an instance and returns its table.
pub(crate) fn make<P: Plugin>(plugin: P, host: Host, offer: fn(&mut Offer<P>)) -> *const abi::Plugin {
    let mut offered = Offer {
        // SAFETY: integers, pointers and optional functions: zero is a value of each.
        table: unsafe { std::mem::zeroed() },
        hooks: 0,
        plugin: PhantomData,
    };
    offer(&mut offered);
    let wanted = plugin.interest();
    let lists = [&wanted.publish, &wanted.deliver, &wanted.control]
        .map(|list| list.iter().map(|text| lend(text)).collect::<Vec<Str>>());
    let interest = interest(&wanted, &lists, offered.hooks);
    let instance = Box::into_raw(Box::new(Instance {
        plugin,
        host,
        table: offered.table,
        interest,
        _wanted: wanted,
        _lists: lists,
    }));
    // SAFETY: just made, and nobody else has it yet. From here on the table is never changed.
    let instance = unsafe { &mut *instance };
    let this = std::ptr::from_mut(instance).cast::<c_void>();
    instance.table = abi::Plugin {
        size: size_of::<abi::Plugin>() as u32,
        self_: this,
        interest: &raw const instance.interest,
        start: Some(start::<P>),
        health: Some(health::<P>),
        drain: Some(drain::<P>),
        destroy: Some(destroy::<P>),
        on_timer: Some(on_timer::<P>),
        ..instance.table
    };
    &raw const instance.table
}

fn interest(wanted: &Interest, lists: &[Vec<Str>; 3], hooks: u64) -> abi::Interest {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let [publish, deliver, control] = lists;
    abi::Interest {
        size: size_of::<abi::Interest>() as u32,
        flags: flag(wanted.blocking, JF_F_BLOCKING) | flag(wanted.serial, JF_F_SERIAL),
        hooks,
        events: if wanted.events == 0 {
            u64::MAX
        } else {
            wanted.events
        },
        needs: JF_NEED_PAYLOAD | flag(wanted.properties, JF_NEED_PROPS),
        max_payload: wanted.payload_bytes_max,
        publish_filters: publish.as_ptr(),
        n_publish_filters: publish.len(),
        deliver_filters: deliver.as_ptr(),
        n_deliver_filters: deliver.len(),
        auth_methods: std::ptr::null(),
        n_auth_methods: 0,
        control_prefixes: control.as_ptr(),
        n_control_prefixes: control.len(),
    }
}

unsafe extern "C" fn start<P: Plugin>(this: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    unsafe { Instance::<P>::at(this) }.run(P::start)
}

unsafe extern "C" fn health<P: Plugin>(this: *mut c_void, err_sink: *mut c_void) -> i32 {
    // SAFETY: called by the broker with this instance.
    let instance = unsafe { Instance::<P>::at(this) };
    instance.run(|plugin| {
        plugin.health().inspect_err(|Fault(text)| {
            call!(instance.host, out_text(err_sink, lend(text)) or 0);
        })
    })
}

unsafe extern "C" fn drain<P: Plugin>(this: *mut c_void, nanos: u64) -> i32 {
    // SAFETY: called by the broker with this instance.
    unsafe { Instance::<P>::at(this) }.run(|plugin| {
        plugin.stop(Duration::from_nanos(nanos));
        Ok(())
    })
}

unsafe extern "C" fn on_timer<P: Plugin>(this: *mut c_void, timer: Handle) {
    // SAFETY: called by the broker with this instance.
    unsafe { Instance::<P>::at(this) }.run(|plugin| {
        plugin.on_timer(TimerId(timer));
        Ok(())
    });
}

unsafe extern "C" fn destroy<P: Plugin>(this: *mut c_void) {
    // SAFETY: made by `make` and destroyed once; the broker calls nothing after this.
    let instance = unsafe { Box::from_raw(this.cast::<Instance<P>>()) };
    // A panic of the author's `drop` ends here, too.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}
