//! Requests to HTTP servers, for plugins that were granted some.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, like `POST`.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Fields of the head, in order. `Host`, `Content-Length` and what belongs to the connection are set by the client.
    pub headers: Vec<(String, String)>,
    /// The body; empty: none.
    pub body: Bytes,
    /// The time that the whole exchange may take; `None`: as long as the client lets it.
    pub timeout: Option<Duration>,
}

/// What the server answered; any status is an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status, 100 to 999.
    pub status: u16,
    /// Fields of the head, in order, names in lower case. A value that isn't UTF-8 is left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The plugin may not ask there.
    #[error("`{0}` is not allowed for this plugin")]
    Denied(String),
    /// The request makes no sense.
    #[error("the request is malformed: {0}")]
    Invalid(String),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// Request or answer is larger than allowed.
    #[error("request or answer is too large")]
    TooLarge,
    /// Too many requests of this plugin are under way.
    #[error("too many requests at once")]
    Busy,
    /// The server can't be reached or broke off.
    #[error("the request failed: {0}")]
    Failed(String),
}

/// A client for HTTP, bound to one configured plugin and what it may ask for. May be called from any thread; dropping the
/// future gives the request up.
///
/// **Cost:** a thread for each request that is under way, some tens of microseconds on a connection that is kept open, milliseconds
/// on a new one.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends a request and returns the answer.
    ///
    /// # Errors
    /// There is none.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}
