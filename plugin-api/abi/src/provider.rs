//! What a plugin may be besides hooks: a store, a bridge.

use core::ffi::c_void;

use crate::hook::PubIn;
use crate::shape::{Str, Token, shape};

shape! {
    /// One operation of a batch.
    StoreOp = "jf_store_op" {
        size: u32,
        kind: u32,
        key: Str,
        value: Str,
    }
}

shape! {
    /// The extension "session-store/1".
    SessionStore = "jf_session_store" {
        size: u32,
        durability: u32,
        max_batch: u64,
        max_value: u64,
        shared: u32,
        rsv: u32,
        commit: Option<unsafe extern "C" fn(*mut c_void, Token, *const *const StoreOp, usize, u32) -> i32>,
        get: Option<unsafe extern "C" fn(*mut c_void, Token, Str, *mut c_void) -> i32>,
        scan: Option<unsafe extern "C" fn(*mut c_void, Token, Str, Str, u32, *mut c_void) -> i32>,
    }
}

shape! {
    /// The extension "bridge/1".
    Bridge = "jf_bridge" {
        size: u32,
        rsv: u32,
        egress: Option<unsafe extern "C" fn(*mut c_void, Token, *const *const PubIn, usize, *mut c_void) -> i32>,
        ingress: Option<unsafe extern "C" fn(*mut c_void, Token, *mut c_void) -> i32>,
    }
}
