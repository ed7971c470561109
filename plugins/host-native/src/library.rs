//! A library that is loaded: who it says it is, and how an instance of it is made. Nothing but constructors of the
//! library has run when its entry is checked. It stays loaded until the process ends: code that is unmapped while a
//! thread or a thread-local destructor still needs it ends the process.

use std::ffi::CStr;
use std::path::Path;

use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW};
use plugin_abi::{self as abi, Entry, Str, values::*};
use plugin_api::PluginInfo;

use crate::border;
use crate::frame::Phase;
use crate::interest::HOOKS;
use crate::services;
use crate::side::{Side, Table};
use crate::sink::{OPEN, Sink};

/// An entry without the functions that make instances is none.
const ENTRY_BYTES_MIN: usize = size_of::<Entry>();
/// A plugin's table must at least say who it is and what it wants.
const TABLE_BYTES_MIN: usize = std::mem::offset_of!(abi::Plugin, start);
const EXTENSIONS_MAX: usize = 64;
pub(crate) const SESSION_STORE: &CStr = c"session-store/1";
pub(crate) const BRIDGE: &CStr = c"bridge/1";

#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) info: PluginInfo,
    /// The hooks that an instance may want.
    pub(crate) hooks: u64,
    pub(crate) has_store: bool,
    pub(crate) has_bridge: bool,
    pub(crate) entry: Entry,
    /// For checks of options, which have no instance.
    side: &'static Side,
}

/// Why a plugin's function said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The option, if it is about one.
    pub(crate) key: String,
    pub(crate) why: String,
}

impl Library {
    /// Loads a library and checks its entry.
    ///
    /// # Errors
    /// Why it is no plugin, or none for this broker.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: constructors of the library run. The operator has put it into a folder for plugins (and perhaps pinned
        // it): it is trusted code, and nothing can be promised for it.
        let opened = unsafe { Opened::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let opened = opened.map_err(|error| plain(&error))?;
        // SAFETY: only the address is taken; its first eight bytes are looked at before it is believed to be more.
        let symbol = unsafe { opened.get::<*const Entry>(abi::SYMBOL.to_bytes_with_nul()) };
        let there: *const Entry = match symbol {
            Ok(symbol) => symbol.into_raw().cast_const().cast(),
            Err(_) => return Err(format!("it doesn't export `{}`", abi::SYMBOL.to_string_lossy())),
        };
        // The library is never unloaded.
        std::mem::forget(opened);
        // SAFETY: the symbol is data of the loaded library.
        unsafe { Self::read(there) }
    }

    /// # Safety
    /// `there` must be null or an entry as the header has it, at least its magic and version.
    pub(crate) unsafe fn read(there: *const Entry) -> Result<Self, String> {
        if there.is_null() {
            return Err("its entry is nowhere".to_owned());
        }
        // SAFETY: the caller's promise. These fields are read before anything else is believed.
        let (magic, major, minor) = unsafe {
            (
                (&raw const (*there).magic).read_unaligned(),
                (&raw const (*there).abi_major).read_unaligned(),
                (&raw const (*there).abi_minor_needed).read_unaligned(),
            )
        };
        if magic != abi::MAGIC {
            return Err(format!("its entry doesn't begin with {:#x}", abi::MAGIC));
        }
        if major != abi::MAJOR || minor > abi::MINOR {
            return Err(format!(
                "it was built for ABI {major}.{minor}, this broker has {}.{}: rebuild it with the SDK or the header \
                 of this broker's release",
                abi::MAJOR,
                abi::MINOR
            ));
        }
        // SAFETY: the caller's promise.
        let entry = unsafe { border::copy(there, ENTRY_BYTES_MIN) }.ok_or("its entry is too short")?;
        if entry.create.is_none() {
            return Err("it can't make instances".to_owned());
        }
        // SAFETY: the texts of an entry are static and end with a zero.
        let (id, version, schema) = unsafe {
            (
                border::c_text(entry.id)?.ok_or("it has no id")?,
                border::c_text(entry.version)?.ok_or("it has no version")?,
                border::c_text(entry.config_schema)?,
            )
        };
        // SAFETY: as above; the list ends with null.
        let extensions = unsafe { extensions(&entry) }?;
        let offers = |name: &CStr| extensions.iter().any(|found| found.as_bytes() == name.to_bytes());
        let (has_store, has_bridge) = (offers(SESSION_STORE), offers(BRIDGE));
        let known = HOOKS.iter().fold(0, |all, (_, hook)| all | bit(*hook));
        let hooks = HOOKS
            .iter()
            .filter(|(_, hook)| entry.hooks & bit(*hook) != 0)
            .map(|(name, _)| *name);
        let providers = [("session-store", has_store), ("bridge", has_bridge)];
        let providers = providers
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| name);
        Ok(Self {
            info: PluginInfo {
                id: id.clone(),
                version,
                config_schema: schema,
                hooks: hooks.chain(providers).map(str::to_owned).collect(),
            },
            hooks: entry.hooks & known,
            has_store,
            has_bridge,
            entry,
            side: Side::new(&id),
        })
    }

    /// Has the plugin look at options.
    pub(crate) fn check(&self, options: &str) -> Result<(), Refusal> {
        let Some(check) = self.entry.check_config else {
            return Ok(());
        };
        ask(self.side, |sink| {
            // SAFETY: a function of the loaded library, with a text, a sink and a host that live until it returns.
            unsafe { check(Str::of(options.as_bytes()), sink, self.side.host_table()) }
        })
    }

    /// Has the plugin make an instance, whose host is `side`.
    pub(crate) fn create(&self, side: &'static Side, options: &str) -> Result<Table, Refusal> {
        let refuse = |why: &str| Refusal {
            key: String::new(),
            why: why.to_owned(),
        };
        let create = self
            .entry
            .create
            .ok_or_else(|| refuse("it can't make instances"))?;
        let mut made: *const abi::Plugin = std::ptr::null();
        ask(side, |sink| {
            // SAFETY: a function of the loaded library; all pointers live until it returns, and the host longer.
            unsafe {
                create(
                    side.host_table(),
                    Str::of(options.as_bytes()),
                    sink,
                    &raw mut made,
                )
            }
        })?;
        // SAFETY: the plugin says that it has made an instance there, immutable until it is destroyed.
        let table = unsafe { border::copy(made, TABLE_BYTES_MIN) };
        let table =
            Table(table.ok_or_else(|| refuse("the instance it made has no table or one that is too short"))?);
        side.bind(table);
        Ok(table)
    }
}

/// Makes a call with a sink for what is wrong.
fn ask(side: &'static Side, call: impl FnOnce(*mut std::ffi::c_void) -> i32) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal {
        key: String::new(),
        why,
    };
    let mut open = side
        .begin(Phase::Open, 1, OPEN)
        .map_err(|fault| refuse(fault.to_string()))?;
    let status = call(open.frame().with_sink(0, Sink::pointer));
    open.answered();
    let said = services::take_fault(side);
    if status == JF_OK {
        return Ok(());
    }
    let attached = open.frame().with_sink(0, Sink::take);
    let key = attached.attributes.iter().find(|(key, _)| key == b"key");
    let key = key.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    Err(Refusal {
        key: key.unwrap_or_default(),
        why: attached
            .text
            .or(said)
            .unwrap_or_else(|| format!("it said no without a reason (status {status})")),
    })
}

/// # Safety
/// The entry's list of extensions must be null or end with null.
unsafe fn extensions(entry: &Entry) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    if entry.extensions.is_null() {
        return Ok(found);
    }
    for i in 0..EXTENSIONS_MAX {
        // SAFETY: the caller's promise; nothing behind the null is read.
        let text = unsafe { border::c_text(entry.extensions.add(i).read_unaligned()) }?;
        match text {
            Some(name) => found.push(name),
            None => return Ok(found),
        }
    }
    Err(format!(
        "its list of extensions has no end within {EXTENSIONS_MAX}"
    ))
}

/// What the system's loader says, without the name of our copy.
fn plain(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let text = source.unwrap_or_else(|| error.to_string());
    match text.split_once(".so: ") {
        Some((_, why)) => why.to_owned(),
        None => text,
    }
}
