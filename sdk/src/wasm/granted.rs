//! The services that are granted: records and HTTP. The broker answers before a call returns, so nothing here ever waits; the
//! functions are async because natively they are.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::bindings::base::jackfield::plugin::{http, kv};
use crate::{Host, HttpError, HttpRequest, HttpResponse, KvError, Records};

/// Small records of this configured instance, in the broker's store: they survive a swap of the plugin, and the broker as far as
/// its store does. `allow.kv = true` grants them.
#[derive(Clone, Copy, Debug)]
pub struct Kv(());

/// A client for HTTP that asks where the configuration lets this instance ask: `allow.http = ["https://auth.example/"]`.
#[derive(Clone, Copy, Debug)]
pub struct Http(());

impl Host {
    /// Returns the instance's records. Never `None` here: a plugin that calls them and isn't granted them isn't loaded.
    #[must_use]
    pub const fn kv(&self) -> Option<Kv> {
        Some(Kv(()))
    }

    /// Returns a client for HTTP. Never `None` here: a plugin that calls it and isn't granted it isn't loaded.
    #[must_use]
    pub const fn http(&self) -> Option<Http> {
        Some(Http(()))
    }
}

fn kv_error(error: kv::Error) -> KvError {
    match error {
        kv::Error::TooLarge => KvError::TooLarge,
        kv::Error::Quota => KvError::Quota,
        kv::Error::Unavailable(_) => KvError::Unavailable,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Kv {
    /// Returns the value of `key`.
    ///
    /// # Errors
    /// It can't be read.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        kv::get(key).map_err(kv_error)
    }

    /// Sets `key`; after `ttl` it is gone.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), KvError> {
        kv::set(key, value, ttl.map(millis)).map_err(kv_error)
    }

    /// Removes `key`; one that isn't there is no error.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn delete(&self, key: &str) -> Result<(), KvError> {
        kv::delete(key).map_err(kv_error)
    }

    /// Sets `key` to `new` if it holds `old` (`None`: if it is absent), and tells whether it did.
    ///
    /// # Errors
    /// It can't be read or written.
    pub async fn compare_and_set(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, KvError> {
        kv::compare_and_set(key, old, new).map_err(kv_error)
    }

    /// Returns records whose keys begin with `prefix`, in key order, behind `after`, at most `max`.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn scan(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Records, KvError> {
        kv::scan(prefix, after, u32::try_from(max).unwrap_or(u32::MAX)).map_err(kv_error)
    }
}

impl Http {
    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = http::Request {
            method: String::from(&*request.method),
            url: String::from(&*request.url),
            headers: request.headers.clone(),
            body: request.body.clone(),
            timeout_ms: request
                .timeout
                .map_or(0, |time| u32::try_from(millis(time)).unwrap_or(u32::MAX)),
        };
        match http::send(&asked) {
            Ok(http::Response {
                status,
                headers,
                body,
            }) => Ok(HttpResponse {
                status,
                headers,
                body,
            }),
            Err(http::Error::Denied) => Err(HttpError::Denied),
            Err(http::Error::Timeout) => Err(HttpError::Timeout),
            Err(http::Error::TooLarge) => Err(HttpError::TooLarge),
            Err(http::Error::Failed(_)) => Err(HttpError::Failed),
        }
    }
}
