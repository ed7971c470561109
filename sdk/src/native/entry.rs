//! The entry of a library, and the two functions it names.

use std::cell::UnsafeCell;
use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use plugin_abi::{self as abi, Entry, Str, values::*};

use super::executor::Executor;
use super::host::call;
use super::instance::{self, Offer};
use super::{BRIDGE, SESSION_STORE, lend, read_text};
use crate::options::{self, Complaint};
use crate::{Host, Plugin};

/// The exported entry. Written once, by the library's constructor, before anybody can read it.
#[derive(Debug)]
#[repr(transparent)]
pub struct EntryCell(UnsafeCell<Entry>);

// SAFETY: written only while the library is being loaded, which one thread does.
unsafe impl Sync for EntryCell {}

type Create = unsafe extern "C" fn(*const abi::Host, Str, *mut c_void, *mut *const abi::Plugin) -> i32;
type Check = unsafe extern "C" fn(Str, *mut c_void, *const abi::Host) -> i32;

impl EntryCell {
    /// Makes the entry; both texts end with a zero.
    #[must_use]
    pub const fn new(id: &'static str, version: &'static str, check: Check, create: Create) -> Self {
        Self(UnsafeCell::new(Entry {
            magic: abi::MAGIC,
            size: size_of::<Entry>() as u32,
            abi_major: abi::MAJOR,
            abi_minor_needed: 0,
            flags: 0,
            id: id.as_ptr().cast(),
            version: version.as_ptr().cast(),
            sdk: SDK.as_ptr().cast(),
            config_schema: std::ptr::null(),
            hooks: 0,
            extensions: std::ptr::null(),
            check_config: Some(check),
            create: Some(create),
        }))
    }
}

impl EntryCell {
    /// Returns where the entry is.
    #[must_use]
    pub const fn get(&self) -> *const Entry {
        self.0.get()
    }
}

/// A plugin that [`crate::export_plugin!`] has given an entry. A test kit takes it from here instead of from a library's
/// symbol.
///
/// # Safety
/// The entry must be one as the header has it, for as long as the process lives.
pub unsafe trait Exported: Plugin {
    /// Returns where the entry is.
    fn entry() -> *const Entry;
}

const SDK: &str = concat!("rust-sdk ", env!("CARGO_PKG_VERSION"), "\0");

/// Writes into the entry what is only known when code runs: hooks, extensions, the schema of the options. Only for the
/// library's constructor.
pub fn fill<P: Plugin>(cell: &EntryCell, offer: fn(&mut Offer<P>)) {
    let mut offered = Offer::new();
    offer(&mut offered);
    let schema = catch_unwind(|| schemars::schema_for!(P::Config).as_value().to_string());
    let schema = schema.ok().and_then(|schema| CString::new(schema).ok());
    let store = offered.store.map(|_| SESSION_STORE.as_ptr());
    let bridge = offered.bridge.map(|_| BRIDGE.as_ptr());
    let extensions: Vec<*const c_char> = [store, bridge]
        .into_iter()
        .flatten()
        .chain([std::ptr::null()])
        .collect();
    let entry = cell.0.get();
    // SAFETY: a constructor runs before the library's symbols can be found, so nobody reads.
    unsafe {
        (*entry).hooks = offered.hooks;
        (*entry).extensions = extensions.leak().as_ptr();
        (*entry).config_schema = schema.map_or(std::ptr::null(), |schema| schema.into_raw().cast_const());
    }
}

/// Says into a sink what is wrong.
fn complain(host: Host, sink: *mut c_void, wrong: &Complaint) {
    call!(host, out_text(sink, lend(&wrong.why)) or 0);
    if !wrong.key.is_empty() {
        call!(host, out_attr(sink, lend("key"), lend(&wrong.key)) or 0);
    }
}

/// `check_config`.
///
/// # Safety
/// To be called by a broker, as the header says.
pub unsafe extern "C" fn check_config<P: Plugin>(
    config: Str,
    err_sink: *mut c_void,
    host: *const abi::Host,
) -> i32 {
    let host = Host(host);
    let checked = catch_unwind(AssertUnwindSafe(|| {
        options::read::<P>(read_text(config).unwrap_or("{}"))
            .and_then(|options| P::check(&options).map_err(Complaint::of_all))
    }));
    match checked {
        Ok(Ok(())) => JF_OK,
        Ok(Err(wrong)) => {
            complain(host, err_sink, &wrong);
            JF_EINVAL
        }
        Err(_) => JF_FAULT,
    }
}

/// `create`.
///
/// # Safety
/// To be called by a broker, as the header says.
pub unsafe fn create<P: Plugin>(
    host: *const abi::Host,
    config: Str,
    err_sink: *mut c_void,
    out: *mut *const abi::Plugin,
    offer: fn(&mut Offer<P>),
) -> i32 {
    let host = Host(host);
    let created = catch_unwind(AssertUnwindSafe(|| {
        let options = options::read::<P>(read_text(config).unwrap_or("{}"))?;
        let executor = Executor::new();
        let plugin = {
            let _inside = executor.enter();
            P::create(options, host).map_err(Complaint::of_all)?
        };
        Ok(instance::make(plugin, host, executor, offer))
    }));
    match created {
        Ok(Ok(table)) => {
            // SAFETY: the broker gives a place for the table.
            unsafe { *out = table };
            JF_OK
        }
        Ok(Err(wrong)) => {
            complain(host, err_sink, &wrong);
            JF_EINVAL
        }
        Err(_) => {
            complain(host, err_sink, &Complaint::of_all("it panicked".to_owned()));
            JF_FAULT
        }
    }
}
