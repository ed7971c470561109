//! A client for HTTP. Requests block threads of a small pool of their own, never those of the broker; connections are kept and used
//! again. Redirects are answers like others: nobody is led to where he may not ask.

mod allowed;
mod answer;
mod threads;

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plugin_api::{HttpClient, HttpError, HttpRequest, HttpResponse, async_trait};
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Body};

use allowed::permitted;
pub use allowed::{Allowed, AllowedError};
use answer::{Given, answer};
use threads::Threads;

/// Requests of one plugin that may be under way.
const REQUESTS_MAX: usize = 64;
/// The largest body of a request, and of an answer.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Fields of a request's head.
const HEADERS_MAX: usize = 64;
/// The time of an exchange, unless the request says less.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that a request may say.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How long a connection is kept for the next request.
const KEPT: Duration = Duration::from_secs(30);

/// Makes clients that share connections and threads. Nothing is opened before the first request.
#[derive(Clone, Default)]
pub struct HttpClients(Arc<Shared>);

#[derive(Default)]
struct Shared {
    agent: OnceLock<Agent>,
    threads: Threads,
}

impl std::fmt::Debug for HttpClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClients")
    }
}

impl HttpClients {
    /// Returns a client for one plugin, which may ask for URLs that begin like one of `allowed`.
    #[must_use]
    pub fn client(&self, allowed: Vec<Allowed>) -> Arc<dyn HttpClient> {
        Arc::new(Client {
            shared: self.0.clone(),
            allowed,
            under_way: Arc::default(),
        })
    }
}

struct Client {
    shared: Arc<Shared>,
    allowed: Vec<Allowed>,
    under_way: Arc<AtomicUsize>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let timeout = request.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
        let request = self.read(request)?;
        let turn = Turn::take(&self.under_way)?;
        let shared = self.shared.clone();
        let (given, wait) = answer();
        self.shared.threads.run(Box::new(move || {
            let _turn = turn;
            // Nobody who waits any more: the request isn't made.
            if given.is_wanted() {
                Given::put(given, exchange(shared.agent(), request, timeout));
            }
        }))?;
        wait.await
    }
}

/// One of the requests that may be under way.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(under_way: &Arc<AtomicUsize>) -> Result<Self, HttpError> {
        let turn = Self(under_way.clone());
        if under_way.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            return Err(HttpError::Busy);
        }
        Ok(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Client {
    /// Checks a request and turns it into what the agent takes.
    fn read(&self, request: HttpRequest) -> Result<Request<Vec<u8>>, HttpError> {
        let url = permitted(&request.url, &self.allowed).ok_or(HttpError::Denied(request.url))?;
        if request.body.len() > BODY_BYTES_MAX || request.headers.len() > HEADERS_MAX {
            return Err(HttpError::TooLarge);
        }
        let invalid = |what: &str| HttpError::Invalid(what.to_owned());
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("no method"))?;
        let mut made = Request::builder().method(method).uri(url.as_str());
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("no name of a field"))?;
            let value = HeaderValue::from_str(value).map_err(|_| invalid("no value of a field"))?;
            if OURS.contains(&name.as_str()) {
                return Err(invalid("a field that the client sets"));
            }
            made = made.header(name, value);
        }
        made.body(request.body.to_vec())
            .map_err(|error| HttpError::Invalid(error.to_string()))
    }
}

/// Fields that belong to the connection.
const OURS: [&str; 6] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

impl Shared {
    fn agent(&self) -> &Agent {
        self.agent.get_or_init(|| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .root_certs(RootCerts::PlatformVerifier)
                .unversioned_rustls_crypto_provider(provider)
                .build();
            let config = Agent::config_builder()
                .tls_config(tls)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .http_status_as_error(false)
                .proxy(None)
                .max_idle_age(KEPT)
                .user_agent(concat!("jackfield/", env!("CARGO_PKG_VERSION")))
                .build();
            Agent::new_with_config(config)
        })
    }
}

/// Makes the exchange, on a thread that may block.
fn exchange(agent: &Agent, request: Request<Vec<u8>>, timeout: Duration) -> Result<HttpResponse, HttpError> {
    let request = agent
        .configure_request(request)
        .timeout_global(Some(timeout))
        .allow_non_standard_methods(true)
        .build();
    let response = agent.run(request).map_err(error)?;
    read(response)
}

/// Reads an answer as far as it may be long.
fn read(response: Response<Body>) -> Result<HttpResponse, HttpError> {
    let (head, body) = response.into_parts();
    let mut content = Vec::new();
    let most = BODY_BYTES_MAX as u64 + 1;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => HttpError::Timeout,
        _ => match error.downcast::<ureq::Error>() {
            Ok(inner) => self::error(inner),
            Err(error) => HttpError::Failed(error.to_string()),
        },
    };
    body.into_reader()
        .take(most)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() > BODY_BYTES_MAX {
        return Err(HttpError::TooLarge);
    }
    let text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned);
    let headers = head.headers.iter();
    Ok(HttpResponse {
        status: head.status.as_u16(),
        headers: headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)))
            .collect(),
        body: content.into(),
    })
}

fn error(error: ureq::Error) -> HttpError {
    match error {
        ureq::Error::Timeout(_) => HttpError::Timeout,
        ureq::Error::BadUri(why) => HttpError::Invalid(why),
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => HttpError::TooLarge,
        error => HttpError::Failed(error.to_string()),
    }
}
