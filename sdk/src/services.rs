//! What is said to services that are granted in the configuration: records of one's own, and HTTP.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Records, in key order.
pub type Records = Vec<(String, Vec<u8>)>;

/// Why a record couldn't be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvError {
    /// Key or value is larger than allowed.
    TooLarge,
    /// The plugin holds as much as it may.
    Quota,
    /// The store can't be reached, or the key is no text.
    Unavailable,
}

impl core::fmt::Display for KvError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "key or value is too large",
            Self::Quota => "the plugin holds as many records as it may",
            Self::Unavailable => "records are unavailable",
        })
    }
}

impl core::error::Error for KvError {}

/// A request to an HTTP server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, like `POST`.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Fields of the head.
    pub headers: Vec<(String, String)>,
    /// The body; empty: none.
    pub body: Vec<u8>,
    /// The time that the whole exchange may take; `None`: as long as the broker lets it.
    pub timeout: Option<Duration>,
}

impl HttpRequest {
    /// A GET of `url`.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET".into(),
            url: url.into(),
            ..Self::default()
        }
    }

    /// A POST of `body` to `url`.
    #[must_use]
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".into(),
            url: url.into(),
            body: body.into(),
            ..Self::default()
        }
    }

    /// Adds a field of the head.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Limits the time that the exchange may take.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What a server answered; any status is an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Fields of the head, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The configuration doesn't allow that URL.
    Denied,
    /// The request is malformed.
    Invalid,
    /// No answer in time.
    Timeout,
    /// Request or answer is too large.
    TooLarge,
    /// Too many requests are under way.
    Busy,
    /// The server can't be reached or broke off.
    Failed,
}

impl core::fmt::Display for HttpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Denied => "the configuration doesn't allow this URL",
            Self::Invalid => "the request is malformed",
            Self::Timeout => "no answer in time",
            Self::TooLarge => "request or answer is too large",
            Self::Busy => "too many requests are under way",
            Self::Failed => "the server can't be reached",
        })
    }
}

impl core::error::Error for HttpError {}
