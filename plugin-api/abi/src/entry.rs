//! What a library exports: one static, readable before any of its code but constructors has run.

use core::ffi::{CStr, c_char, c_void};

use crate::host::Host;
use crate::plugin::Plugin;
use crate::shape::{Str, shape};

/// The symbol of an [`Entry`].
pub const SYMBOL: &CStr = c"jackfield_plugin_v1";

shape! {
    /// `jackfield_plugin_v1`.
    Entry = "jf_entry" {
        magic: u32,
        size: u32,
        abi_major: u16,
        abi_minor_needed: u16,
        flags: u32,
        id: *const c_char,
        version: *const c_char,
        sdk: *const c_char,
        config_schema: *const c_char,
        hooks: u64,
        extensions: *const *const c_char,
        check_config: Option<unsafe extern "C" fn(Str, *mut c_void, *const Host) -> i32>,
        create: Option<unsafe extern "C" fn(*const Host, Str, *mut c_void, *mut *const Plugin) -> i32>,
    }
}

// SAFETY: an entry is never written to, and what its pointers lead to is static and never written to either: the header
// demands it of whoever makes one.
unsafe impl Sync for Entry {}
// SAFETY: as above; nothing of it belongs to a thread.
unsafe impl Send for Entry {}
