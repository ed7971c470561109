//! An instance of a plugin: its functions and what it wants to be asked.

use core::ffi::{c_char, c_void};

use crate::hook::{
    AcceptIn, AclIn, AuthIn, ControlIn, Ctx, DeliverIn, EventIn, ExchangeIn, Out, PubIn, SubIn,
};
use crate::shape::{Handle, Str, Token, shape};

shape! {
    /// What an instance wants to be asked and told.
    Interest = "jf_interest" {
        size: u32,
        flags: u32,
        hooks: u64,
        events: u64,
        needs: u32,
        max_payload: u32,
        publish_filters: *const Str,
        n_publish_filters: usize,
        deliver_filters: *const Str,
        n_deliver_filters: usize,
        auth_methods: *const Str,
        n_auth_methods: usize,
        control_prefixes: *const Str,
        n_control_prefixes: usize,
    }
}

/// A hook with one verdict.
type Hook<In> = Option<unsafe extern "C" fn(*mut c_void, *const Ctx, *const In, *mut Out) -> i32>;

shape! {
    /// One instance, owned by the plugin.
    Plugin = "jf_plugin" {
        size: u32,
        rsv: u32,
        self_: *mut c_void,
        interest: *const Interest,
        start: Option<unsafe extern "C" fn(*mut c_void) -> i32>,
        reconfigure: Option<unsafe extern "C" fn(*mut c_void, Str, *mut c_void) -> i32>,
        health: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32>,
        save_state: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32>,
        load_state: Option<unsafe extern "C" fn(*mut c_void, Str, Str) -> i32>,
        drain: Option<unsafe extern "C" fn(*mut c_void, u64) -> i32>,
        destroy: Option<unsafe extern "C" fn(*mut c_void)>,
        on_timer: Option<unsafe extern "C" fn(*mut c_void, Handle)>,
        cancel: Option<unsafe extern "C" fn(*mut c_void, Token)>,
        accept: Hook<AcceptIn>,
        authenticate: Hook<AuthIn>,
        auth_exchange: Hook<ExchangeIn>,
        authorize: Option<unsafe extern "C" fn(*mut c_void, *const Ctx, *const AclIn, *const *mut Out) -> i32>,
        connect: Hook<AuthIn>,
        subscribe: Hook<SubIn>,
        unsubscribe: Hook<SubIn>,
        publish: Hook<PubIn>,
        retain: Hook<PubIn>,
        deliver: Hook<DeliverIn>,
        will: Hook<PubIn>,
        events: Option<unsafe extern "C" fn(*mut c_void, *const *const EventIn, usize)>,
        control: Hook<ControlIn>,
        share_pick: Option<unsafe extern "C" fn(*mut c_void, *const PubIn, Str, *const Handle, *const u32, usize) -> i32>,
        extension: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void>,
    }
}
