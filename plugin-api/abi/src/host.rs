//! What the broker gives a plugin.

use core::ffi::{c_char, c_void};

use crate::hook::Out;
use crate::shape::{Client, Handle, Str, Token, shape};

/// A message under construction, opaque to plugins.
#[derive(Debug)]
#[repr(C)]
pub struct Msg {
    opaque: [u8; 0],
}

shape! {
    /// The services, bound to one instance.
    Host = "jf_host" {
        size: u32,
        abi_major: u16,
        abi_minor: u16,
        ctx: *mut c_void,
        log: Option<unsafe extern "C" fn(*mut c_void, u32, Str)>,
        fault: Option<unsafe extern "C" fn(*mut c_void, Str)>,
        now_ms: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
        mono_ns: Option<unsafe extern "C" fn(*mut c_void) -> u64>,
        complete: Option<unsafe extern "C" fn(*mut c_void, Token, i32, *const *const Out, usize) -> i32>,
        pending_sink: Option<unsafe extern "C" fn(*mut c_void, Token) -> *mut c_void>,
        out_text: Option<unsafe extern "C" fn(*mut c_void, Str) -> i32>,
        out_data: Option<unsafe extern "C" fn(*mut c_void, Str) -> i32>,
        out_attr: Option<unsafe extern "C" fn(*mut c_void, Str, Str) -> i32>,
        out_str: Option<unsafe extern "C" fn(*mut c_void, u32, Str) -> i32>,
        out_num: Option<unsafe extern "C" fn(*mut c_void, u32, u64) -> i32>,
        out_edit: Option<unsafe extern "C" fn(*mut c_void) -> *mut Msg>,
        msg_set_topic: Option<unsafe extern "C" fn(*mut Msg, Str) -> i32>,
        msg_set_flags: Option<unsafe extern "C" fn(*mut Msg, u32, u32) -> i32>,
        msg_set_payload: Option<unsafe extern "C" fn(*mut Msg, Str) -> i32>,
        msg_payload_buf: Option<unsafe extern "C" fn(*mut Msg, usize, *mut *mut u8) -> i32>,
        msg_prop_get: Option<unsafe extern "C" fn(*const c_void, u32, usize, *mut Str, *mut Str, *mut u64) -> i32>,
        msg_prop_set: Option<unsafe extern "C" fn(*mut Msg, u32, Str, Str, u64) -> i32>,
        msg_prop_clear: Option<unsafe extern "C" fn(*mut Msg, u32) -> i32>,
        out_emit: Option<unsafe extern "C" fn(*mut c_void) -> *mut Msg>,
        msg_new: Option<unsafe extern "C" fn(*mut c_void) -> *mut Msg>,
        publish: Option<unsafe extern "C" fn(*mut c_void, *mut Msg) -> i32>,
        msg_free: Option<unsafe extern "C" fn(*mut Msg)>,
        client_get: Option<unsafe extern "C" fn(*mut c_void, *const Client, u32, *mut Str) -> i32>,
        client_attr: Option<unsafe extern "C" fn(*mut c_void, *const Client, Str, *mut Str) -> i32>,
        client_by_id: Option<unsafe extern "C" fn(*mut c_void, Handle, Option<unsafe extern "C" fn(*mut c_void, *const Client)>, *mut c_void) -> i32>,
        kick: Option<unsafe extern "C" fn(*mut c_void, Handle, u32, u32) -> i32>,
        invalidate: Option<unsafe extern "C" fn(*mut c_void, Handle) -> i32>,
        timer: Option<unsafe extern "C" fn(*mut c_void, u64, u64) -> Handle>,
        timer_stop: Option<unsafe extern "C" fn(*mut c_void, Handle)>,
        counter_add: Option<unsafe extern "C" fn(*mut c_void, Str, u64)>,
        gauge_set: Option<unsafe extern "C" fn(*mut c_void, Str, f64)>,
        histogram: Option<unsafe extern "C" fn(*mut c_void, Str, f64)>,
        service: Option<unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_void>,
        client_attr_at: Option<unsafe extern "C" fn(*mut c_void, *const Client, usize, *mut Str, *mut Str) -> i32>,
    }
}
