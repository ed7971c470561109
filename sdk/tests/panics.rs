//! A plugin that panics wherever it can, called the way a broker calls it: every panic ends inside the library.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plugin_abi::{self as abi, Entry, Str, values::*};
use plugin_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Panics when it is made.
    at_once: bool,
}

struct Panics;

static DROPPED: AtomicBool = AtomicBool::new(false);

impl Plugin for Panics {
    type Config = Options;
    fn create(config: Options, _host: Host) -> Result<Self, String> {
        assert!(!config.at_once, "created");
        Ok(Self)
    }
    fn start(&self) -> Result<(), Fault> {
        panic!("start")
    }
    fn health(&self) -> Result<(), Fault> {
        Err(Fault("not well".to_owned()))
    }
    fn on_timer(&self, _timer: TimerId) {
        panic!("timer")
    }
    fn stop(&self, _time: Duration) {
        panic!("stop")
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        DROPPED.store(true, Ordering::Relaxed);
        panic!("drop")
    }
}

impl Authenticate for Panics {
    fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        panic!("authenticate {}", request.client_id)
    }
}

impl Authorize for Panics {
    fn authorize(&self, _cx: &Cx<'_>, _item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        panic!("authorize")
    }
}

impl Publish for Panics {
    fn publish(&self, _cx: &Cx<'_>, _message: &mut Message<'_>) -> Result<Flow, Fault> {
        panic!("publish")
    }
}

impl Events for Panics {
    fn notify(&self, _batch: &[Event<'_>]) {
        panic!("events")
    }
}

plugin_sdk::export_plugin!(Panics: authenticate, authorize, publish, events);

unsafe extern "C" {
    /// What the macro exports.
    static jackfield_plugin_v1: Entry;
}

/// A host that has no service at all; the SDK must not need any.
fn host() -> abi::Host {
    // SAFETY: zero is a value of each field: numbers, a pointer and functions that are absent.
    let mut host: abi::Host = unsafe { std::mem::zeroed() };
    host.size = u32::try_from(size_of::<abi::Host>()).expect("it is small");
    host
}

fn create(entry: &Entry, host: &abi::Host, options: &str) -> Result<abi::Plugin, i32> {
    let mut made: *const abi::Plugin = std::ptr::null();
    let create = entry.create.expect("the macro exports it");
    // SAFETY: as a broker calls it; the host outlives the instance.
    match unsafe {
        create(
            host,
            Str::of(options.as_bytes()),
            std::ptr::null_mut(),
            &raw mut made,
        )
    } {
        // SAFETY: it says that the instance is there.
        JF_OK => Ok(unsafe { *made }),
        status => Err(status),
    }
}

#[test]
fn no_panic_leaves_the_library() {
    // SAFETY: the macro's static, filled in before main.
    let entry = unsafe { &jackfield_plugin_v1 };
    let host = host();
    assert_eq!((entry.magic, entry.abi_major), (abi::MAGIC, abi::MAJOR));
    let all = [
        JF_HOOK_AUTHENTICATE,
        JF_HOOK_AUTHORIZE,
        JF_HOOK_PUBLISH,
        JF_HOOK_EVENT,
    ];
    assert_eq!(entry.hooks, all.iter().fold(0, |all, hook| all | bit(*hook)));
    assert!(!entry.config_schema.is_null(), "the constructor has run");
    assert_eq!(create(entry, &host, "{}").unwrap_err(), JF_EINVAL);
    assert_eq!(create(entry, &host, "{\"at_once\":true}").unwrap_err(), JF_FAULT);

    let table = create(entry, &host, "{\"at_once\":false}").expect("it can be made");
    let this = table.self_;
    let ctx = abi::Ctx {
        size: 0,
        attempt: 0,
        client: std::ptr::null(),
        client_id: 0,
        deadline_ns: 0,
        token: 0,
    };
    let mut out = abi::Out {
        size: 0,
        verdict: JF_V_SKIP,
        reason: 0,
        rsv: [0; 3],
        delay_ms: 0,
        sink: std::ptr::null_mut(),
    };
    // SAFETY: zero is a value of each field.
    let (auth, message) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let (topic, qos) = (Str::of(b"a"), 0);
    let acl = abi::AclIn {
        size: 0,
        action: 1,
        topics: &raw const topic,
        qos: &raw const qos,
        n: 1,
        retain: 0,
        rsv: 0,
    };
    let none: *mut c_void = std::ptr::null_mut();
    // SAFETY: the functions of the instance, called as a broker calls them, and none after `destroy`.
    unsafe {
        assert_eq!(table.start.expect("there")(this), JF_FAULT);
        assert_eq!(table.health.expect("there")(this, none), JF_EUNAVAIL);
        assert_eq!(
            table.authenticate.expect("there")(this, &raw const ctx, &raw const auth, &raw mut out),
            JF_FAULT
        );
        let outs = [&raw mut out];
        assert_eq!(
            table.authorize.expect("there")(this, &raw const ctx, &raw const acl, outs.as_ptr()),
            JF_FAULT
        );
        assert_eq!(
            table.publish.expect("there")(this, &raw const ctx, &raw const message, &raw mut out),
            JF_FAULT
        );
        table.events.expect("there")(this, std::ptr::null(), 0);
        table.on_timer.expect("there")(this, 1);
        assert_eq!(table.drain.expect("there")(this, 0), JF_FAULT);
        table.destroy.expect("there")(this);
    }
    assert_eq!(out.verdict, JF_V_SKIP, "a panic is no verdict");
    assert!(DROPPED.load(Ordering::Relaxed));
}
