//! The services that are granted: records and HTTP, over the tables `kv/1` and `http/1`. Each request hands the broker a place for
//! the answer; a callback fills it, from any thread, and wakes whoever waits.

use std::ffi::{CStr, c_void};
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use plugin_abi::{self as abi, Str, values::*};

use super::{lend, read_bytes, read_text};
use crate::{Host, HttpError, HttpRequest, HttpResponse, KvError, Records};

/// Small records of this configured instance, in the broker's store: they survive a swap of the plugin, and the broker as far as
/// its store does. `allow.kv = true` grants them.
#[derive(Clone, Copy, Debug)]
pub struct Kv(*const abi::Kv);

// SAFETY: the table is immutable and its functions may be called from any thread.
unsafe impl Send for Kv {}
// SAFETY: as above.
unsafe impl Sync for Kv {}

/// A client for HTTP that asks where the configuration lets this instance ask: `allow.http = ["https://auth.example/"]`.
#[derive(Clone, Copy, Debug)]
pub struct Http(*const abi::Http);

// SAFETY: the table is immutable and its functions may be called from any thread.
unsafe impl Send for Http {}
// SAFETY: as above.
unsafe impl Sync for Http {}

/// Looks a service up by its name.
fn service<T>(host: Host, name: &CStr) -> Option<*const T> {
    let found = host.table().service?;
    // SAFETY: a function of the host's table; the name lives until it returns.
    let table = unsafe { found(host.ctx(), name.as_ptr()) };
    (!table.is_null()).then(|| table.cast())
}

impl Host {
    /// Returns the instance's records. `None` unless granted.
    #[must_use]
    pub fn kv(&self) -> Option<Kv> {
        service(*self, c"kv/1").map(Kv)
    }

    /// Returns a client for HTTP. `None` unless granted.
    #[must_use]
    pub fn http(&self) -> Option<Http> {
        service(*self, c"http/1").map(Http)
    }
}

/// Where an answer is put.
struct Place<T>(Mutex<(Option<T>, Option<Waker>)>);

impl<T> Place<T> {
    /// Has `ask` ask with a place for the answer, which the result waits for. `ask` returns the status of having asked.
    fn wait(
        ask: impl FnOnce(*mut c_void) -> i32,
        refused: impl FnOnce(i32) -> T,
    ) -> impl Future<Output = T> + Send
    where
        T: Send,
    {
        let place = Arc::new(Self(Mutex::default()));
        let user = Arc::into_raw(place.clone()).cast_mut().cast::<c_void>();
        let status = ask(user);
        if status != JF_OK {
            // SAFETY: just made by `into_raw`; the broker said that it won't call back.
            drop(unsafe { Arc::from_raw(user.cast_const().cast::<Self>()) });
            place.lock().0 = Some(refused(status));
        }
        poll_fn(move |cx| {
            let mut slot = place.lock();
            match slot.0.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    slot.1 = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, (Option<T>, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the answer there.
    ///
    /// # Safety
    /// `user` must be what `ask` was given, and this the only call for it.
    unsafe fn put(user: *mut c_void, answer: T) {
        // SAFETY: the caller's promise.
        let place = unsafe { Arc::from_raw(user.cast_const().cast::<Self>()) };
        let waker = {
            let mut slot = place.lock();
            slot.0 = Some(answer);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A status and the value that came with it.
type Read = (i32, Option<Vec<u8>>);

unsafe extern "C" fn value_done(user: *mut c_void, status: i32, value: Str) {
    let value = read_bytes(value).map(<[u8]>::to_vec);
    // SAFETY: the broker calls back once with what it was given.
    unsafe { Place::<Read>::put(user, (status, value)) };
}

unsafe extern "C" fn rows_done(
    user: *mut c_void,
    status: i32,
    keys: *const Str,
    values: *const Str,
    n: usize,
) {
    let rows = (0..n).filter_map(|i| {
        // SAFETY: the broker lends n keys and n values.
        let (key, value) = unsafe { (*keys.add(i), *values.add(i)) };
        Some((
            read_text(key)?.to_owned(),
            read_bytes(value).unwrap_or_default().to_vec(),
        ))
    });
    // SAFETY: the broker calls back once with what it was given.
    unsafe { Place::<(i32, Records)>::put(user, (status, rows.collect())) };
}

fn kv_error(status: i32) -> KvError {
    match status {
        JF_ETOOBIG => KvError::TooLarge,
        JF_EQUOTA => KvError::Quota,
        _ => KvError::Unavailable,
    }
}

fn optional(value: Option<&[u8]>) -> Str {
    value.map_or(Str::ABSENT, Str::of)
}

impl Kv {
    fn table(&self) -> &abi::Kv {
        // SAFETY: the broker keeps the table for ever.
        unsafe { &*self.0 }
    }

    /// Makes a request whose answer is a value.
    fn ask(
        &self,
        ask: impl FnOnce(&abi::Kv, *mut c_void) -> Option<i32>,
    ) -> impl Future<Output = Read> + Send {
        let ask = |user| ask(self.table(), user).unwrap_or(JF_EUNSUP);
        Place::wait(ask, |status| (status, None))
    }

    /// Returns the value of `key`.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        let ask = |table: &abi::Kv, user| {
            // SAFETY: a function of the table; the key lives until it returns, `user` until the callback.
            table
                .get
                .map(|get| unsafe { get(table.ctx, lend(key), Some(value_done), user) })
        };
        match self.ask(ask).await {
            (JF_OK, value) => Ok(Some(value.unwrap_or_default())),
            (JF_ENOENT, _) => Ok(None),
            (status, _) => Err(kv_error(status)),
        }
    }

    /// Sets `key`; after `ttl` it is gone.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), KvError> {
        let ttl = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
        let ask = |table: &abi::Kv, user| {
            // SAFETY: as above.
            let set = |set: abi::KvSet| unsafe {
                set(table.ctx, lend(key), Str::of(value), ttl, Some(value_done), user)
            };
            table.set.map(set)
        };
        done(self.ask(ask).await)
    }

    /// Removes `key`; one that isn't there is no error.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn delete(&self, key: &str) -> Result<(), KvError> {
        let ask = |table: &abi::Kv, user| {
            // SAFETY: as above.
            table
                .del
                .map(|del| unsafe { del(table.ctx, lend(key), Some(value_done), user) })
        };
        done(self.ask(ask).await)
    }

    /// Sets `key` to `new` if it holds `old` (`None`: if it is absent), and tells whether it did.
    ///
    /// # Errors
    /// It can't be read or written.
    pub async fn compare_and_set(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, KvError> {
        let ask = |table: &abi::Kv, user| {
            // SAFETY: as above.
            let cas = |cas: abi::KvCas| unsafe {
                cas(
                    table.ctx,
                    lend(key),
                    optional(old),
                    Str::of(new),
                    Some(value_done),
                    user,
                )
            };
            table.cas.map(cas)
        };
        match self.ask(ask).await {
            (JF_ECONFLICT, _) => Ok(false),
            read => done(read).map(|()| true),
        }
    }

    /// Returns records whose keys begin with `prefix`, in key order, behind `after`, at most `max`.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn scan(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Records, KvError> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let ask = |user| {
            let table = self.table();
            // SAFETY: as above.
            let scan = |scan: abi::KvScan| unsafe {
                let after = optional(after.map(str::as_bytes));
                scan(table.ctx, lend(prefix), after, max, Some(rows_done), user)
            };
            table.scan.map_or(JF_EUNSUP, scan)
        };
        match Place::wait(ask, |status| (status, Records::new())).await {
            (JF_OK, rows) => Ok(rows),
            (status, _) => Err(kv_error(status)),
        }
    }
}

fn done(read: Read) -> Result<(), KvError> {
    match read.0 {
        JF_OK => Ok(()),
        status => Err(kv_error(status)),
    }
}

type Answered = Result<HttpResponse, HttpError>;

unsafe extern "C" fn http_done(user: *mut c_void, status: i32, response: *const abi::HttpResponse) {
    // SAFETY: the broker lends the response until this returns, or there is none.
    let response = unsafe { response.as_ref() };
    let answer = match (status, response) {
        (JF_OK, Some(response)) => Ok(read_response(response)),
        (status, _) => Err(http_error(status)),
    };
    // SAFETY: the broker calls back once with what it was given.
    unsafe { Place::<Answered>::put(user, answer) };
}

fn read_response(response: &abi::HttpResponse) -> HttpResponse {
    let header = |i| {
        // SAFETY: the broker lends as many names and values as it says.
        let (name, value) = unsafe { (*response.names.add(i), *response.values.add(i)) };
        Some((read_text(name)?.to_owned(), read_text(value)?.to_owned()))
    };
    HttpResponse {
        status: u16::try_from(response.status).unwrap_or(0),
        headers: (0..response.n_headers).filter_map(header).collect(),
        body: read_bytes(response.body).unwrap_or_default().to_vec(),
    }
}

fn http_error(status: i32) -> HttpError {
    match status {
        JF_EDENIED => HttpError::Denied,
        JF_EINVAL => HttpError::Invalid,
        JF_ESTALE => HttpError::Timeout,
        JF_ETOOBIG => HttpError::TooLarge,
        JF_EQUOTA => HttpError::Busy,
        _ => HttpError::Failed,
    }
}

impl Http {
    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let ask = |user| {
            // SAFETY: the broker keeps the table for ever.
            let table = unsafe { &*self.0 };
            let names: Vec<Str> = request.headers.iter().map(|(name, _)| lend(name)).collect();
            let values: Vec<Str> = request.headers.iter().map(|(_, value)| lend(value)).collect();
            let timeout = request.timeout.map_or(0, |time| time.as_millis().max(1));
            let asked = abi::HttpRequest {
                size: size_of::<abi::HttpRequest>() as u32,
                timeout_ms: u32::try_from(timeout).unwrap_or(u32::MAX),
                method: lend(&request.method),
                url: lend(&request.url),
                body: Str::of(&request.body),
                names: names.as_ptr(),
                values: values.as_ptr(),
                n_headers: names.len(),
            };
            // SAFETY: a function of the table; the request lives until it returns, `user` until the callback.
            let send =
                |send: abi::HttpSend| unsafe { send(table.ctx, &raw const asked, Some(http_done), user) };
            table.send.map_or(JF_EUNSUP, send)
        };
        Place::wait(ask, |status| Err(http_error(status))).await
    }
}
