//! The services `kv/1` and `http/1`: requests of a plugin, copied, carried out, and answered through its callback.

use std::ffi::{CStr, c_void};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use plugin_abi::{self as abi, Str, values::*};
use plugin_api::{HttpClient, HttpError, HttpRequest, HttpResponse, KeyValue, KvError};

use crate::ask::size_32;
use crate::border::{self, DATA_MAX};
use crate::side::Side;

/// Fields of a request's head that are looked at.
const HEADERS_MAX: usize = 1024;

/// The tables of one instance.
#[derive(Debug)]
pub(crate) struct Granted {
    kv: abi::Kv,
    http: abi::Http,
}

// SAFETY: immutable, and the functions may be called from any thread.
unsafe impl Send for Granted {}
// SAFETY: as above.
unsafe impl Sync for Granted {}

impl Granted {
    /// Makes the tables of the instance behind `ctx`.
    pub(crate) fn new(ctx: *mut c_void) -> Self {
        Self {
            kv: abi::Kv {
                size: size_32::<abi::Kv>(),
                rsv: 0,
                ctx,
                get: Some(get),
                set: Some(set),
                del: Some(del),
                cas: Some(cas),
                scan: Some(scan),
            },
            http: abi::Http {
                size: size_32::<abi::Http>(),
                rsv: 0,
                ctx,
                send: Some(send),
            },
        }
    }

    /// Returns the table of a service that the plugin was granted; null: it wasn't, or there is no such service.
    pub(crate) fn find(side: &'static Side, name: &CStr) -> *const c_void {
        let Some(host) = side.host() else {
            return std::ptr::null();
        };
        let granted = side.granted();
        match name.to_bytes() {
            b"kv/1" if host.kv().is_some() => (&raw const granted.kv).cast(),
            b"http/1" if host.http().is_some() => (&raw const granted.http).cast(),
            _ => std::ptr::null(),
        }
    }
}

/// Who is to be told, once: the plugin's callback and what it gave along. Dropped without an answer, it tells that there is none.
struct Teller<A> {
    user: *mut c_void,
    tell: Option<Tell<A>>,
    none: fn() -> A,
}

type Tell<A> = Box<dyn FnOnce(*mut c_void, A) + Send>;

// SAFETY: the plugin lets its callback be called from any thread, and what it gave along is only handed back.
unsafe impl<A> Send for Teller<A> {}

impl<A> Teller<A> {
    fn new(user: *mut c_void, none: fn() -> A, tell: impl FnOnce(*mut c_void, A) + Send + 'static) -> Self {
        Self {
            user,
            tell: Some(Box::new(tell)),
            none,
        }
    }

    fn tell(mut self, answer: A) {
        if let Some(tell) = self.tell.take() {
            tell(self.user, answer);
        }
    }
}

impl<A> Drop for Teller<A> {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.user, (self.none)());
        }
    }
}

/// Something to carry out: polled where it began, and after each wake on the broker's pool.
struct Errand {
    side: &'static Side,
    steps: Mutex<Steps>,
}

struct Steps {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    polled: bool,
    again: bool,
}

impl Errand {
    fn run(side: &'static Side, future: impl Future<Output = ()> + Send + 'static) {
        let errand = Arc::new(Self {
            side,
            steps: Mutex::new(Steps {
                future: Some(Box::pin(future)),
                polled: false,
                again: false,
            }),
        });
        errand.step();
    }

    fn step(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        loop {
            let future = {
                let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
                (steps.polled, steps.again) = (true, false);
                steps.future.take()
            };
            let Some(mut future) = future else { return };
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return;
            }
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.future = Some(future);
            if !steps.again {
                steps.polled = false;
                return;
            }
        }
    }
}

impl Wake for Errand {
    fn wake(self: Arc<Self>) {
        {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.again = true;
            if std::mem::replace(&mut steps.polled, true) {
                return;
            }
        }
        let errand = self.clone();
        let job: Box<dyn FnOnce() + Send> = Box::new(move || errand.step());
        let taken = self
            .side
            .host()
            .is_some_and(|host| host.spawn_blocking(job).is_ok());
        if !taken {
            // The pool is full or the broker is ending: the plugin is told on this thread.
            self.step();
        }
    }
}

type Value = Result<Option<Bytes>, i32>;

const fn no_value() -> Value {
    Err(JF_EUNAVAIL)
}

/// A callback that takes a value.
fn value_teller(done: abi::KvDone, user: *mut c_void) -> Teller<Value> {
    Teller::new(user, no_value, move |user, value: Value| {
        let (status, value) = match &value {
            Ok(value) => (JF_OK, value.as_deref().map_or(Str::ABSENT, Str::of)),
            Err(status) => (*status, Str::ABSENT),
        };
        // SAFETY: the plugin's callback with what it gave along, called once; the value lives until it returns.
        unsafe { done(user, status, value) };
    })
}

fn kv_status(error: &KvError) -> i32 {
    match error {
        KvError::TooLarge => JF_ETOOBIG,
        KvError::Quota => JF_EQUOTA,
        _ => JF_EUNAVAIL,
    }
}

/// Returns the records of the instance behind `ctx`.
unsafe fn records(ctx: *mut c_void) -> Result<(&'static Side, Arc<dyn KeyValue>), i32> {
    // SAFETY: null or what the table has, as the header wants it.
    let side = unsafe { Side::at(ctx) }.ok_or(JF_ESTALE)?;
    let kv = side.host().and_then(|host| host.kv()).ok_or(JF_EUNAVAIL)?;
    Ok((side, kv))
}

/// Copies a text that must be there.
unsafe fn text(text: Str) -> Result<String, i32> {
    // SAFETY: the caller's promise: the plugin lends it for the call.
    let text = unsafe { border::text(text) }?;
    text.map(str::to_owned).ok_or(JF_EINVAL)
}

/// Copies bytes; absent: none.
unsafe fn value(value: Str) -> Result<Option<Bytes>, i32> {
    // SAFETY: the caller's promise: the plugin lends it for the call.
    let value = unsafe { border::bytes(value, DATA_MAX) }?;
    Ok(value.map(Bytes::copy_from_slice))
}

/// The status of having asked.
fn asked(asked: Result<(), i32>) -> i32 {
    asked.err().unwrap_or(JF_OK)
}

unsafe extern "C" fn get(ctx: *mut c_void, key: Str, done: Option<abi::KvDone>, user: *mut c_void) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let ((side, kv), key) = unsafe { (records(ctx)?, text(key)?) };
        let teller = value_teller(done, user);
        Errand::run(side, async move {
            teller.tell(match kv.get(&key).await {
                Ok(Some(value)) => Ok(Some(value)),
                Ok(None) => Err(JF_ENOENT),
                Err(error) => Err(kv_status(&error)),
            });
        });
        Ok(())
    };
    asked(ask())
}

unsafe extern "C" fn set(
    ctx: *mut c_void,
    key: Str,
    new: Str,
    ttl_ms: u64,
    done: Option<abi::KvDone>,
    user: *mut c_void,
) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let ((side, kv), key, new) = unsafe { (records(ctx)?, text(key)?, value(new)?) };
        let ttl = (ttl_ms != 0).then(|| Duration::from_millis(ttl_ms));
        let teller = value_teller(done, user);
        Errand::run(side, async move {
            let set = kv.set(&key, new.unwrap_or_default(), ttl).await;
            teller.tell(set.map(|()| None).map_err(|error| kv_status(&error)));
        });
        Ok(())
    };
    asked(ask())
}

unsafe extern "C" fn del(ctx: *mut c_void, key: Str, done: Option<abi::KvDone>, user: *mut c_void) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let ((side, kv), key) = unsafe { (records(ctx)?, text(key)?) };
        let teller = value_teller(done, user);
        Errand::run(side, async move {
            let deleted = kv.delete(&key).await;
            teller.tell(deleted.map(|()| None).map_err(|error| kv_status(&error)));
        });
        Ok(())
    };
    asked(ask())
}

unsafe extern "C" fn cas(
    ctx: *mut c_void,
    key: Str,
    old: Str,
    new: Str,
    done: Option<abi::KvDone>,
    user: *mut c_void,
) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let ((side, kv), key, old, new) = unsafe { (records(ctx)?, text(key)?, value(old)?, value(new)?) };
        let teller = value_teller(done, user);
        Errand::run(side, async move {
            let swapped = kv.compare_and_set(&key, old, new.unwrap_or_default()).await;
            teller.tell(match swapped {
                Ok(true) => Ok(None),
                Ok(false) => Err(JF_ECONFLICT),
                Err(error) => Err(kv_status(&error)),
            });
        });
        Ok(())
    };
    asked(ask())
}

type Rows = Result<Vec<(String, Bytes)>, i32>;

const fn no_rows() -> Rows {
    Err(JF_EUNAVAIL)
}

unsafe extern "C" fn scan(
    ctx: *mut c_void,
    prefix: Str,
    after: Str,
    max: u32,
    done: Option<abi::KvRows>,
    user: *mut c_void,
) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let ((side, kv), prefix, after) =
            unsafe { (records(ctx)?, border::text(prefix)?, border::text(after)?) };
        let (prefix, after) = (prefix.unwrap_or_default().to_owned(), after.map(str::to_owned));
        let teller = Teller::new(user, no_rows, move |user, rows: Rows| {
            let (status, rows) = match rows {
                Ok(rows) => (JF_OK, rows),
                Err(status) => (status, Vec::new()),
            };
            let keys: Vec<Str> = rows.iter().map(|(key, _)| Str::of(key.as_bytes())).collect();
            let values: Vec<Str> = rows.iter().map(|(_, value)| Str::of(value)).collect();
            // SAFETY: the plugin's callback with what it gave along, called once; the rows live until it returns.
            unsafe { done(user, status, keys.as_ptr(), values.as_ptr(), keys.len()) };
        });
        Errand::run(side, async move {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            let rows = kv.scan(&prefix, after.as_deref(), max).await;
            teller.tell(rows.map_err(|error| kv_status(&error)));
        });
        Ok(())
    };
    asked(ask())
}

type Answer = Result<HttpResponse, i32>;

const fn no_answer() -> Answer {
    Err(JF_EUNAVAIL)
}

fn http_status(error: &HttpError) -> i32 {
    match error {
        HttpError::Denied(_) => JF_EDENIED,
        HttpError::Invalid(_) => JF_EINVAL,
        HttpError::Timeout => JF_ESTALE,
        HttpError::TooLarge => JF_ETOOBIG,
        HttpError::Busy => JF_EQUOTA,
        _ => JF_EUNAVAIL,
    }
}

/// Copies a request.
///
/// # Safety
/// `there` must be null or a request as the header has it, lent for the call.
unsafe fn request(there: *const abi::HttpRequest) -> Result<HttpRequest, i32> {
    // SAFETY: the caller's promise.
    let raw = unsafe { border::copy(there, size_of::<u32>() * 2) }.ok_or(JF_EINVAL)?;
    if raw.n_headers > HEADERS_MAX {
        return Err(JF_ETOOBIG);
    }
    if raw.n_headers > 0 && (raw.names.is_null() || raw.values.is_null()) {
        return Err(JF_EINVAL);
    }
    let header = |i| {
        // SAFETY: the caller's promise: as many names and values as it says.
        unsafe {
            let (name, value) = (
                raw.names.add(i).read_unaligned(),
                raw.values.add(i).read_unaligned(),
            );
            Ok((text(name)?, text(value)?))
        }
    };
    let headers: Result<Vec<_>, i32> = (0..raw.n_headers).map(header).collect();
    // SAFETY: as above.
    let (method, url, body) = unsafe { (text(raw.method)?, text(raw.url)?, value(raw.body)?) };
    Ok(HttpRequest {
        method,
        url,
        headers: headers?,
        body: body.unwrap_or_default(),
        timeout: (raw.timeout_ms != 0).then(|| Duration::from_millis(raw.timeout_ms.into())),
    })
}

/// Lends an answer to the plugin's callback.
fn tell_answer(done: abi::HttpDone, user: *mut c_void, answer: Answer) {
    let lend = |text: &String| Str::of(text.as_bytes());
    let answer = match answer {
        Ok(answer) => answer,
        // SAFETY: the plugin's callback with what it gave along, called once.
        Err(status) => return unsafe { done(user, status, std::ptr::null()) },
    };
    let names: Vec<Str> = answer.headers.iter().map(|(name, _)| lend(name)).collect();
    let values: Vec<Str> = answer.headers.iter().map(|(_, value)| lend(value)).collect();
    let response = abi::HttpResponse {
        size: size_32::<abi::HttpResponse>(),
        status: answer.status.into(),
        body: Str::of(&answer.body),
        names: names.as_ptr(),
        values: values.as_ptr(),
        n_headers: names.len(),
    };
    // SAFETY: as above; the response lives until it returns.
    unsafe { done(user, JF_OK, &raw const response) };
}

unsafe extern "C" fn send(
    ctx: *mut c_void,
    there: *const abi::HttpRequest,
    done: Option<abi::HttpDone>,
    user: *mut c_void,
) -> i32 {
    let ask = || {
        let done = done.ok_or(JF_EINVAL)?;
        // SAFETY: the header's rules for this call.
        let (side, request) = unsafe { (Side::at(ctx).ok_or(JF_ESTALE)?, request(there)?) };
        let http: Arc<dyn HttpClient> = side.host().and_then(|host| host.http()).ok_or(JF_EUNAVAIL)?;
        let teller = Teller::new(user, no_answer, move |user, answer| {
            tell_answer(done, user, answer)
        });
        Errand::run(side, async move {
            teller.tell(http.send(request).await.map_err(|error| http_status(&error)));
        });
        Ok(())
    };
    asked(ask())
}
