//! Services that the broker has by name: records, HTTP.

use core::ffi::c_void;

use crate::shape::{Str, shape};

/// Takes a status and a value.
pub type KvDone = unsafe extern "C" fn(*mut c_void, i32, Str);
/// Takes a status and rows: keys, values, how many.
pub type KvRows = unsafe extern "C" fn(*mut c_void, i32, *const Str, *const Str, usize);
/// `get` and `del` of [`Kv`].
pub type KvKey = unsafe extern "C" fn(*mut c_void, Str, Option<KvDone>, *mut c_void) -> i32;
/// `set` of [`Kv`].
pub type KvSet = unsafe extern "C" fn(*mut c_void, Str, Str, u64, Option<KvDone>, *mut c_void) -> i32;
/// `cas` of [`Kv`].
pub type KvCas = unsafe extern "C" fn(*mut c_void, Str, Str, Str, Option<KvDone>, *mut c_void) -> i32;
/// `scan` of [`Kv`].
pub type KvScan = unsafe extern "C" fn(*mut c_void, Str, Str, u32, Option<KvRows>, *mut c_void) -> i32;

shape! {
    /// The service "kv/1".
    Kv = "jf_kv" {
        size: u32,
        rsv: u32,
        ctx: *mut c_void,
        get: Option<KvKey>,
        set: Option<KvSet>,
        del: Option<KvKey>,
        cas: Option<KvCas>,
        scan: Option<KvScan>,
    }
}

shape! {
    /// A request over HTTP.
    HttpRequest = "jf_http_request" {
        size: u32,
        timeout_ms: u32,
        method: Str,
        url: Str,
        body: Str,
        names: *const Str,
        values: *const Str,
        n_headers: usize,
    }
}

shape! {
    /// An answer over HTTP.
    HttpResponse = "jf_http_response" {
        size: u32,
        status: u32,
        body: Str,
        names: *const Str,
        values: *const Str,
        n_headers: usize,
    }
}

/// Takes a status and, with `JF_OK`, an answer.
pub type HttpDone = unsafe extern "C" fn(*mut c_void, i32, *const HttpResponse);
/// `send` of [`Http`].
pub type HttpSend =
    unsafe extern "C" fn(*mut c_void, *const HttpRequest, Option<HttpDone>, *mut c_void) -> i32;

shape! {
    /// The service "http/1".
    Http = "jf_http" {
        size: u32,
        rsv: u32,
        ctx: *mut c_void,
        send: Option<HttpSend>,
    }
}
