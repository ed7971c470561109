//! The functions behind `jf_host`: what a plugin may ask of the broker. Each checks what it was given, copies it and
//! returns a status; none calls back into a plugin, blocks or panics. All may be called from any thread.
//!
//! Their common safety rule is the header: pointers are null or what this side handed out, texts are readable for the
//! length they say, and both stay so until the call returns. What can be checked beyond that is checked.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker_types::{ClientHandle, ClientId, Properties, ReasonCode};
use plugin_abi::{self as abi, Handle, Msg, Out, Str, Token, values::*};
use plugin_api::{ClientInfo, ClientView, FaultKind, Level, Peer, TimerId};

use crate::border::{self, DATA_MAX};
use crate::client::Lent;
use crate::frame::{Outcome, RawVerdict};
use crate::granted::Granted;
use crate::message::{
    CONTENT_TYPE, CORRELATION_DATA, Draft, MESSAGE_EXPIRY, PAYLOAD_FORMAT, RESPONSE_TOPIC, USER_PROPERTY,
};
use crate::side::Side;
use crate::sink::Sink;

/// Verdicts that one completion may have.
const OUTS_MAX: usize = 65_536;

/// The longest time that a timer waits: a year, which no sum of times overflows.
const TIMER_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Returns the table of an instance.
pub(crate) fn table(ctx: *mut c_void) -> abi::Host {
    abi::Host {
        size: u32::try_from(size_of::<abi::Host>()).unwrap_or(u32::MAX),
        abi_major: abi::MAJOR,
        abi_minor: abi::MINOR,
        ctx,
        log: Some(log),
        fault: Some(fault),
        now_ms: Some(now_ms),
        mono_ns: Some(mono_ns),
        complete: Some(complete),
        pending_sink: Some(pending_sink),
        out_text: Some(out_text),
        out_data: Some(out_data),
        out_attr: Some(out_attr),
        out_str: Some(out_str),
        out_num: Some(out_num),
        out_edit: Some(out_edit),
        msg_set_topic: Some(msg_set_topic),
        msg_set_flags: Some(msg_set_flags),
        msg_set_payload: Some(msg_set_payload),
        msg_payload_buf: Some(msg_payload_buf),
        msg_prop_get: Some(msg_prop_get),
        msg_prop_set: Some(msg_prop_set),
        msg_prop_clear: Some(msg_prop_clear),
        out_emit: Some(out_emit),
        msg_new: Some(msg_new),
        publish: Some(publish),
        msg_free: Some(msg_free),
        client_get: Some(client_get),
        client_attr: Some(client_attr),
        client_by_id: Some(client_by_id),
        kick: Some(kick),
        invalidate: Some(invalidate),
        timer: Some(timer),
        timer_stop: Some(timer_stop),
        counter_add: Some(counter_add),
        gauge_set: Some(gauge_set),
        histogram: Some(histogram),
        service: Some(service),
        client_attr_at: Some(client_attr_at),
    }
}

thread_local! {
    /// What a plugin said about the failure it is about to return, and which plugin that was.
    static FAULT: RefCell<Option<(usize, String)>> = const { RefCell::new(None) };
}

/// Takes what the plugin of `side` has said on this thread about its failure.
pub(crate) fn take_fault(side: &Side) -> Option<String> {
    let taken = FAULT.try_with(|fault| fault.borrow_mut().take()).ok().flatten();
    taken.and_then(|(who, text)| (who == std::ptr::from_ref(side).addr()).then_some(text))
}

/// The properties of a message, lent for one call: what stands behind `props`.
#[derive(Debug)]
pub(crate) struct LentProperties<'a> {
    magic: u64,
    properties: &'a Properties,
    expiry: Option<u32>,
}

const PROPERTIES_MAGIC: u64 = 0x7370_6f72_702d_666a;

impl<'a> LentProperties<'a> {
    pub(crate) const fn new(properties: &'a Properties, expiry: Option<u32>) -> Self {
        Self {
            magic: PROPERTIES_MAGIC,
            properties,
            expiry,
        }
    }

    pub(crate) fn pointer(&self) -> *const c_void {
        std::ptr::from_ref(self).cast()
    }

    fn get(&self, id: u32, nth: usize) -> Option<(Str, Str, u64)> {
        let text = |text: Option<&str>| text.map(|text| (Str::ABSENT, border::lend(Some(text)), 0));
        let number = |number: u64| (Str::ABSENT, Str::ABSENT, number);
        match (id, nth) {
            (PAYLOAD_FORMAT, 0) => self.properties.payload_is_utf8().then(|| number(1)),
            (MESSAGE_EXPIRY, 0) => self.expiry.map(|seconds| number(seconds.into())),
            (CONTENT_TYPE, 0) => text(self.properties.content_type()),
            (RESPONSE_TOPIC, 0) => text(self.properties.response_topic()),
            (CORRELATION_DATA, 0) => {
                let data = self.properties.correlation_data()?;
                Some((Str::ABSENT, border::lend_bytes(Some(data)), 0))
            }
            (USER_PROPERTY, _) => {
                let user = self.properties.user().nth(nth)?;
                Some((border::lend(Some(user.name)), border::lend(Some(user.value)), 0))
            }
            _ => None,
        }
    }
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, text: Str) {
    // SAFETY: the common rule.
    if let Some(side) = unsafe { Side::at(ctx) } {
        let level = match level {
            0 => Level::Trace,
            1 => Level::Debug,
            2 => Level::Info,
            3 => Level::Warn,
            _ => Level::Error,
        };
        // SAFETY: the common rule.
        side.log(level, &unsafe { border::lossy(text) });
    }
}

unsafe extern "C" fn fault(ctx: *mut c_void, text: Str) {
    // SAFETY: the common rule.
    let text = unsafe { border::lossy(text) };
    // A thread that is ending has nobody to tell.
    let _ = FAULT.try_with(|fault| *fault.borrow_mut() = Some((ctx.addr(), text)));
}

unsafe extern "C" fn now_ms(_ctx: *mut c_void) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

unsafe extern "C" fn mono_ns(ctx: *mut c_void) -> u64 {
    // SAFETY: the common rule.
    let side = unsafe { Side::at(ctx) };
    side.map_or(0, |side| {
        u64::try_from(side.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    })
}

unsafe extern "C" fn complete(
    ctx: *mut c_void,
    token: Token,
    status: i32,
    outs: *const *const Out,
    n: usize,
) -> i32 {
    // SAFETY: the common rule.
    let Some(side) = (unsafe { Side::at(ctx) }) else {
        return JF_ESTALE;
    };
    let mut outcome = Outcome {
        status,
        fault: take_fault(side),
        ..Outcome::default()
    };
    if status == JF_OK && n <= OUTS_MAX && !outs.is_null() {
        for i in 0..n {
            // SAFETY: the plugin says that there are n pointers to verdicts, and verdicts say how large they are.
            let out = unsafe { border::copy(outs.add(i).read_unaligned(), size_of::<u32>() * 2) };
            // A verdict that can't be read leaves too few of them, which is seen where they are looked at.
            outcome.outs.extend(out.as_ref().map(RawVerdict::of));
        }
    }
    side.calls.complete(token, outcome)
}

unsafe extern "C" fn pending_sink(ctx: *mut c_void, token: Token) -> *mut c_void {
    // SAFETY: the common rule.
    let frame = unsafe { Side::at(ctx) }.and_then(|side| side.calls.open(token));
    frame.map_or(std::ptr::null_mut(), |frame| frame.with_sink(0, Sink::pointer))
}

/// Calls a function of the sink behind a pointer with a text.
unsafe fn with_text(sink: *mut c_void, text: Str, how: impl FnOnce(&Sink, &str) -> i32) -> i32 {
    // SAFETY: the common rule.
    let (sink, text) = unsafe { (Sink::at(sink), border::text(text)) };
    match (sink, text) {
        (Some(sink), Ok(text)) => how(sink, text.unwrap_or_default()),
        (None, _) => JF_EINVAL,
        (_, Err(status)) => status,
    }
}

unsafe extern "C" fn out_text(sink: *mut c_void, text: Str) -> i32 {
    // SAFETY: the common rule.
    unsafe { with_text(sink, text, Sink::set_text) }
}

unsafe extern "C" fn out_data(sink: *mut c_void, data: Str) -> i32 {
    // SAFETY: the common rule.
    match unsafe { (Sink::at(sink), border::bytes(data, DATA_MAX)) } {
        (Some(sink), Ok(data)) => sink.set_data(data.unwrap_or_default()),
        (None, _) => JF_EINVAL,
        (_, Err(status)) => status,
    }
}

unsafe extern "C" fn out_attr(sink: *mut c_void, key: Str, value: Str) -> i32 {
    // SAFETY: the common rule.
    let (sink, key, value) = unsafe {
        (
            Sink::at(sink),
            border::bytes(key, DATA_MAX),
            border::bytes(value, DATA_MAX),
        )
    };
    match (sink, key, value) {
        (Some(sink), Ok(Some(key)), Ok(value)) => sink.add_attribute(key, value.unwrap_or_default()),
        (_, Err(status), _) | (_, _, Err(status)) => status,
        _ => JF_EINVAL,
    }
}

unsafe extern "C" fn out_str(sink: *mut c_void, field: u32, text: Str) -> i32 {
    // SAFETY: the common rule.
    unsafe { with_text(sink, text, |sink, text| sink.set_field(field, text)) }
}

unsafe extern "C" fn out_num(sink: *mut c_void, field: u32, number: u64) -> i32 {
    // SAFETY: the common rule.
    unsafe { Sink::at(sink) }.map_or(JF_EINVAL, |sink| sink.set_number(field, number))
}

unsafe extern "C" fn out_edit(sink: *mut c_void) -> *mut Msg {
    // SAFETY: the common rule.
    let draft = unsafe { Sink::at(sink) }.map_or(std::ptr::null(), Sink::begin_edit);
    draft.cast_mut().cast()
}

unsafe extern "C" fn out_emit(sink: *mut c_void) -> *mut Msg {
    // SAFETY: the common rule.
    let draft = unsafe { Sink::at(sink) }.map_or(std::ptr::null(), Sink::emit);
    draft.cast_mut().cast()
}

/// Returns the draft behind a message.
unsafe fn draft<'a>(message: *mut Msg) -> Option<&'a Draft> {
    // SAFETY: the common rule: null, or what `out_edit`, `out_emit` or `msg_new` returned, still lent.
    unsafe { message.cast::<Draft>().as_ref() }
}

unsafe extern "C" fn msg_set_topic(message: *mut Msg, topic: Str) -> i32 {
    // SAFETY: the common rule.
    match unsafe { (draft(message), border::text(topic)) } {
        (Some(draft), Ok(Some(topic))) => draft.set_topic(topic),
        (_, Err(status)) => status,
        _ => JF_EINVAL,
    }
}

unsafe extern "C" fn msg_set_flags(message: *mut Msg, qos: u32, retain: u32) -> i32 {
    // SAFETY: the common rule.
    unsafe { draft(message) }.map_or(JF_EINVAL, |draft| draft.set_flags(qos, retain))
}

unsafe extern "C" fn msg_set_payload(message: *mut Msg, payload: Str) -> i32 {
    // SAFETY: the common rule.
    match unsafe { (draft(message), border::bytes(payload, DATA_MAX)) } {
        (Some(draft), Ok(payload)) => draft.set_payload(payload.unwrap_or_default()),
        (None, _) => JF_EINVAL,
        (_, Err(status)) => status,
    }
}

unsafe extern "C" fn msg_payload_buf(message: *mut Msg, len: usize, out: *mut *mut u8) -> i32 {
    // SAFETY: the common rule.
    let Some(draft) = (unsafe { draft(message) }) else {
        return JF_EINVAL;
    };
    if out.is_null() {
        return JF_EINVAL;
    }
    match draft.payload_room(len) {
        Ok(room) => {
            // SAFETY: not null; the plugin says that a pointer can be written there.
            unsafe { out.write_unaligned(room) };
            JF_OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn msg_prop_get(
    props: *const c_void,
    id: u32,
    nth: usize,
    key: *mut Str,
    value: *mut Str,
    number: *mut u64,
) -> i32 {
    // SAFETY: the common rule: null, or the `props` of a message that is still lent.
    let Some(lent) = (unsafe { props.cast::<LentProperties<'_>>().as_ref() }) else {
        return JF_ENOENT;
    };
    if lent.magic != PROPERTIES_MAGIC {
        return JF_EINVAL;
    }
    let Some((found_key, found_value, found_number)) = lent.get(id, nth) else {
        return JF_ENOENT;
    };
    // SAFETY: null, or the plugin says that the value can be written there.
    unsafe {
        write(key, found_key);
        write(value, found_value);
        write(number, found_number);
    }
    JF_OK
}

unsafe fn write<T>(there: *mut T, value: T) {
    if !there.is_null() {
        // SAFETY: not null; the caller promises the rest.
        unsafe { there.write_unaligned(value) };
    }
}

unsafe extern "C" fn msg_prop_set(message: *mut Msg, id: u32, key: Str, value: Str, number: u64) -> i32 {
    // SAFETY: the common rule.
    let (draft, key, value) = unsafe {
        (
            draft(message),
            border::text(key),
            border::bytes(value, border::TEXT_MAX),
        )
    };
    match (draft, key, value) {
        (Some(draft), Ok(key), Ok(value)) => draft.set_property(id, key, value.unwrap_or_default(), number),
        (_, Err(status), _) | (_, _, Err(status)) => status,
        _ => JF_EINVAL,
    }
}

unsafe extern "C" fn msg_prop_clear(message: *mut Msg, id: u32) -> i32 {
    // SAFETY: the common rule.
    unsafe { draft(message) }.map_or(JF_EINVAL, |draft| draft.clear_property(id))
}

unsafe extern "C" fn msg_new(_ctx: *mut c_void) -> *mut Msg {
    Box::into_raw(Box::<Draft>::default()).cast()
}

unsafe extern "C" fn publish(ctx: *mut c_void, message: *mut Msg) -> i32 {
    // SAFETY: the common rule.
    let (side, draft) = unsafe { (Side::at(ctx), draft(message)) };
    let Some(side) = side else { return JF_ESTALE };
    let Some(message) = draft.and_then(|draft| draft.take_message().ok()) else {
        return JF_EINVAL;
    };
    let Some(host) = side.host() else {
        return JF_EUNAVAIL;
    };
    match host.publish(message) {
        Ok(()) => JF_OK,
        Err(fault) if fault.kind == FaultKind::Protocol => JF_EDENIED,
        Err(_) => JF_EUNAVAIL,
    }
}

unsafe extern "C" fn msg_free(message: *mut Msg) {
    if !message.is_null() {
        // SAFETY: the header: what `msg_new` returned, and freed once.
        drop(unsafe { Box::from_raw(message.cast::<Draft>()) });
    }
}

unsafe extern "C" fn client_get(
    _ctx: *mut c_void,
    client: *const abi::Client,
    field: u32,
    out: *mut Str,
) -> i32 {
    // SAFETY: the common rule.
    let found = unsafe { Lent::at(client) }
        .ok_or(JF_EINVAL)
        .and_then(|client| client.get(field));
    // SAFETY: the common rule.
    unsafe { answer(found, out) }
}

unsafe extern "C" fn client_attr(
    _ctx: *mut c_void,
    client: *const abi::Client,
    key: Str,
    out: *mut Str,
) -> i32 {
    // SAFETY: the common rule.
    let (client, key) = unsafe { (Lent::at(client), border::text(key)) };
    let found = match (client, key) {
        (Some(client), Ok(Some(key))) => client.attribute(key),
        (_, Err(status)) => Err(status),
        _ => Err(JF_EINVAL),
    };
    // SAFETY: the common rule.
    unsafe { answer(found, out) }
}

unsafe extern "C" fn client_attr_at(
    _ctx: *mut c_void,
    client: *const abi::Client,
    nth: usize,
    key: *mut Str,
    value: *mut Str,
) -> i32 {
    // SAFETY: the common rule.
    let Some(client) = (unsafe { Lent::at(client) }) else {
        return JF_EINVAL;
    };
    let Some((found_key, found_value)) = client.attribute_at(nth) else {
        return JF_ENOENT;
    };
    // SAFETY: null, or the plugin says that the value can be written there.
    unsafe {
        write(key, found_key);
        write(value, found_value);
    }
    JF_OK
}

unsafe fn answer(found: Result<Str, i32>, out: *mut Str) -> i32 {
    match found {
        Ok(text) => {
            // SAFETY: the caller's promise.
            unsafe { write(out, text) };
            JF_OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn client_by_id(
    ctx: *mut c_void,
    handle: Handle,
    with: Option<unsafe extern "C" fn(*mut c_void, *const abi::Client)>,
    user: *mut c_void,
) -> i32 {
    // SAFETY: the common rule.
    let (Some(side), Some(with)) = (unsafe { Side::at(ctx) }, with) else {
        return JF_EINVAL;
    };
    let clients = side.host().and_then(|host| host.clients());
    let Some(clients) = clients else {
        return JF_EUNSUP;
    };
    let Some(info) = clients.by_handle(ClientHandle(handle)) else {
        return JF_ENOENT;
    };
    let view = view_of(info, handle);
    let lent = Lent::new(&view);
    // SAFETY: a function of the plugin that calls this one; the client is lent until it returns.
    unsafe { with(user, lent.pointer()) };
    JF_OK
}

fn view_of(info: ClientInfo, handle: Handle) -> ClientView {
    ClientView {
        handle: ClientHandle(handle),
        id: ClientId::new(info.id),
        username: info.username.map(Arc::from),
        authenticated: true,
        listener: info.listener.into(),
        peer: info.peer.unwrap_or(Peer::Local),
        version: info.version,
        clean_start: false,
        mount: "".into(),
        attributes: Arc::default(),
        certificate: None,
        unrestricted: false,
    }
}

unsafe extern "C" fn kick(ctx: *mut c_void, handle: Handle, reason: u32, send_will: u32) -> i32 {
    // SAFETY: the common rule.
    let host = unsafe { Side::at(ctx) }.and_then(Side::host);
    let reason = u8::try_from(reason).ok().and_then(ReasonCode::from_byte);
    match (host, reason) {
        (_, None) => JF_EINVAL,
        (None, _) => JF_EUNAVAIL,
        (Some(host), Some(reason)) if host.kick(ClientHandle(handle), reason, send_will != 0) => JF_OK,
        _ => JF_ENOENT,
    }
}

unsafe extern "C" fn invalidate(ctx: *mut c_void, handle: Handle) -> i32 {
    // SAFETY: the common rule.
    let Some(host) = (unsafe { Side::at(ctx) }).and_then(Side::host) else {
        return JF_EUNAVAIL;
    };
    host.invalidate((handle != 0).then_some(ClientHandle(handle)));
    JF_OK
}

unsafe extern "C" fn timer(ctx: *mut c_void, first_ms: u64, every_ms: u64) -> Handle {
    // SAFETY: the common rule.
    let host = unsafe { Side::at(ctx) }.and_then(Side::host);
    let span = |millis: u64| Duration::from_millis(millis).min(TIMER_MAX);
    let every = (every_ms != 0).then(|| span(every_ms));
    host.map_or(0, |host| host.timer(span(first_ms), every).0)
}

unsafe extern "C" fn timer_stop(ctx: *mut c_void, timer: Handle) {
    // SAFETY: the common rule.
    if let Some(host) = unsafe { Side::at(ctx) }.and_then(Side::host) {
        host.cancel_timer(TimerId(timer));
    }
}

unsafe extern "C" fn counter_add(ctx: *mut c_void, name: Str, add: u64) {
    // SAFETY: the common rule.
    let (side, name) = unsafe { (Side::at(ctx), border::text(name)) };
    if let (Some(host), Ok(Some(name))) = (side.and_then(Side::host), name) {
        host.counter(name, add);
    }
}

unsafe extern "C" fn gauge_set(ctx: *mut c_void, name: Str, value: f64) {
    // SAFETY: the common rule.
    let (side, name) = unsafe { (Side::at(ctx), border::text(name)) };
    if let (Some(host), Ok(Some(name))) = (side.and_then(Side::host), name) {
        host.gauge(name, value);
    }
}

/// The broker keeps no histograms of plugins yet; the last value is better than nothing.
unsafe extern "C" fn histogram(ctx: *mut c_void, name: Str, value: f64) {
    // SAFETY: the same contract.
    unsafe { gauge_set(ctx, name, value) };
}

unsafe extern "C" fn service(ctx: *mut c_void, name: *const c_char) -> *const c_void {
    if name.is_null() {
        return std::ptr::null();
    }
    // SAFETY: the common rule; a name ends with a zero.
    let (side, name) = unsafe { (Side::at(ctx), CStr::from_ptr(name)) };
    side.map_or(std::ptr::null(), |side| Granted::find(side, name))
}
