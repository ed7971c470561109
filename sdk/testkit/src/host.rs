//! A broker that only remembers: what a plugin did with its services, for assertions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_types::{ClientHandle, ReasonCode};
use bytes::Bytes;
use plugin_api::{
    Fault, Host, HttpClient, HttpError, HttpRequest, HttpResponse, KeyValue, KvError, Level, NewMessage,
    TimerId, async_trait,
};

/// The largest key in bytes, as in a broker.
const KEY_BYTES_MAX: usize = 1024;

/// What stands in for the broker. Everything that a plugin does with its services is kept, until it is asked for.
#[derive(Debug, Default)]
pub struct TestHost {
    seen: Mutex<Seen>,
    records: Arc<Records>,
    web: Arc<Web>,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<(Level, String)>,
    published: Vec<NewMessage>,
    kicked: Vec<(ClientHandle, ReasonCode, bool)>,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    timers: Vec<Timer>,
    last_timer: u64,
    now: Duration,
    invalidated: usize,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    id: TimerId,
    due: Duration,
    every: Option<Duration>,
}

impl TestHost {
    /// Returns the log lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.seen().lines.clone()
    }

    /// Tells whether a log line contains `text`.
    #[must_use]
    pub fn has_logged(&self, text: &str) -> bool {
        self.seen().lines.iter().any(|(_, line)| line.contains(text))
    }

    /// Takes the messages that it published by itself.
    #[must_use]
    pub fn take_published(&self) -> Vec<NewMessage> {
        std::mem::take(&mut self.seen().published)
    }

    /// Takes the clients that it kicked, with Reason Code and whether their Will Message is sent.
    #[must_use]
    pub fn take_kicked(&self) -> Vec<(ClientHandle, ReasonCode, bool)> {
        std::mem::take(&mut self.seen().kicked)
    }

    /// Returns a counter, 0 if it was never added to.
    #[must_use]
    pub fn counter_of(&self, name: &str) -> u64 {
        self.seen().counters.get(name).copied().unwrap_or(0)
    }

    /// Returns a gauge, if it was set.
    #[must_use]
    pub fn gauge_of(&self, name: &str) -> Option<f64> {
        self.seen().gauges.get(name).copied()
    }

    /// Returns how often it had cached decisions dropped.
    #[must_use]
    pub fn invalidations(&self) -> usize {
        self.seen().invalidated
    }

    /// Returns the plugin's own key-value records.
    #[must_use]
    pub fn records(&self) -> BTreeMap<String, Bytes> {
        let records = self.records.lock();
        records
            .iter()
            .map(|(key, record)| (key.clone(), record.value.clone()))
            .collect()
    }

    /// Sets a key-value record, as if the plugin had done so before.
    pub fn set_record(&self, key: &str, value: impl Into<Bytes>) {
        let value = value.into();
        self.records
            .lock()
            .insert(key.to_owned(), Record { value, until: None });
    }

    /// Has requests with this method and URL answered so, until it is said otherwise. Everything else is refused, as what
    /// isn't granted is.
    pub fn answer_http(&self, method: &str, url: &str, status: u16, body: impl Into<Bytes>) {
        let answer = HttpResponse {
            status,
            headers: Vec::new(),
            body: body.into(),
        };
        let asked = (method.to_owned(), url.to_owned());
        self.web.lock().answers.insert(asked, answer);
    }

    /// Takes the HTTP requests that it made.
    #[must_use]
    pub fn take_requests(&self) -> Vec<HttpRequest> {
        std::mem::take(&mut self.web.lock().requests)
    }

    /// Moves the clock of timers and records by `by` and returns the timers that are due, in order.
    pub(crate) fn advance(&self, by: Duration) -> Vec<TimerId> {
        let mut seen = self.seen();
        seen.now += by;
        let now = seen.now;
        self.records.expire(now);
        let mut due: Vec<(Duration, TimerId)> = Vec::new();
        seen.timers.retain_mut(|timer| {
            while timer.due <= now {
                due.push((timer.due, timer.id));
                match timer.every {
                    Some(every) => timer.due += every.max(Duration::from_millis(1)),
                    None => return false,
                }
            }
            true
        });
        due.sort_by_key(|(due, _)| *due);
        due.into_iter().map(|(_, id)| id).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for TestHost {
    fn log(&self, level: Level, text: &str) {
        self.seen().lines.push((level, text.to_owned()));
    }

    fn publish(&self, message: NewMessage) -> Result<(), Fault> {
        self.seen().published.push(message);
        Ok(())
    }

    fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool {
        self.seen().kicked.push((client, reason, with_will));
        true
    }

    fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
        let mut seen = self.seen();
        seen.last_timer += 1;
        let id = TimerId(seen.last_timer);
        let due = seen.now + first;
        seen.timers.push(Timer { id, due, every });
        id
    }

    fn cancel_timer(&self, timer: TimerId) {
        self.seen().timers.retain(|known| known.id != timer);
    }

    fn counter(&self, name: &str, add: u64) {
        *self.seen().counters.entry(name.to_owned()).or_default() += add;
    }

    fn gauge(&self, name: &str, value: f64) {
        self.seen().gauges.insert(name.to_owned(), value);
    }

    fn invalidate(&self, _client: Option<ClientHandle>) {
        self.seen().invalidated += 1;
    }

    /// Runs the job on a thread of its own.
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        let spawned = std::thread::Builder::new()
            .name("plugin-job".to_owned())
            .spawn(job);
        spawned
            .map(drop)
            .map_err(|error| Fault::backend(error.to_string()))
    }

    fn kv(&self) -> Option<Arc<dyn KeyValue>> {
        Some(self.records.clone())
    }

    fn http(&self) -> Option<Arc<dyn HttpClient>> {
        Some(self.web.clone())
    }
}

/// What stands in for HTTP servers.
#[derive(Debug, Default)]
struct Web(Mutex<Page>);

#[derive(Debug, Default)]
struct Page {
    answers: BTreeMap<(String, String), HttpResponse>,
    requests: Vec<HttpRequest>,
}

impl Web {
    fn lock(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Web {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut page = self.lock();
        let asked = (request.method.clone(), request.url.clone());
        let answer = page.answers.get(&asked).cloned();
        page.requests.push(request);
        answer.ok_or(HttpError::Denied(asked.1))
    }
}

#[derive(Debug)]
struct Record {
    value: Bytes,
    /// On the clock of the tests.
    until: Option<Duration>,
}

#[derive(Debug, Default)]
struct Records {
    by_key: Mutex<BTreeMap<String, Record>>,
    now: Mutex<Duration>,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expire(&self, now: Duration) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.lock()
            .retain(|_, record| record.until.is_none_or(|until| until > now));
    }

    fn now(&self) -> Duration {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checked(key: &str) -> Result<(), KvError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(KvError::TooLarge);
    }
    Ok(())
}

#[async_trait]
impl KeyValue for Records {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, KvError> {
        checked(key)?;
        Ok(self.lock().get(key).map(|record| record.value.clone()))
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), KvError> {
        checked(key)?;
        let until = ttl.map(|ttl| self.now() + ttl);
        self.lock().insert(key.to_owned(), Record { value, until });
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), KvError> {
        self.lock().remove(key);
        Ok(())
    }

    async fn compare_and_set(&self, key: &str, old: Option<Bytes>, new: Bytes) -> Result<bool, KvError> {
        checked(key)?;
        let mut records = self.lock();
        if records.get(key).map(|record| &record.value) != old.as_ref() {
            return Ok(false);
        }
        let record = Record {
            value: new,
            until: None,
        };
        records.insert(key.to_owned(), record);
        Ok(true)
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, Bytes)>, KvError> {
        let records = self.lock();
        let found = records
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(found
            .take(max)
            .map(|(key, record)| (key.clone(), record.value.clone()))
            .collect())
    }
}
