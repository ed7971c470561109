//! A store behind an HTTP server: Sessions, queues and Retained Messages outlive the broker and its machine.
//!
//! The server has three verbs, and bytes are hexadecimal in its texts. `POST /commit` has a line for each operation (`put KEY VALUE`,
//! `delete KEY`, `expect KEY VALUE`, `absent KEY`) and does all of them or, with 409, none. `GET /get/KEY` is the value or 404.
//! `GET /scan/MAX/PREFIX/AFTER` has a line `KEY VALUE` for each record.
#![cfg_attr(target_family = "wasm", no_std)]
#![deny(unsafe_code)]

mod text;

use core::time::Duration;

use plugin_sdk::Record;
use plugin_sdk::prelude::*;
use text::{bytes, commands, hex, record};

/// The longest that the server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest batch: what the broker wants of a store.
const BATCH_BYTES_MAX: u64 = 16 << 20;
/// The largest value.
const VALUE_BYTES_MAX: u64 = 2 << 20;

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The server, without a slash at the end.
    pub url: String,
}

/// The plugin.
#[derive(Debug)]
pub struct Remote {
    url: String,
    host: Host,
}

impl Plugin for Remote {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        let url = options.url.trim_end_matches('/').to_owned();
        Ok(Self { url, host })
    }
}

impl SessionStore for Remote {
    fn caps(&self) -> StoreCaps {
        StoreCaps {
            strongest: Durability::Fsync,
            shared: false,
            batch_bytes_max: BATCH_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    /// The server syncs every commit, so it is always as durable as anybody wants.
    async fn commit(&self, batch: &[StoreOp], _want: Durability) -> Result<(), StoreFault> {
        let request = HttpRequest::post(format!("{}/commit", self.url), commands(batch));
        match self.send(request).await? {
            (409, _) => Err(StoreFault::Conflict),
            (413, _) => Err(StoreFault::TooLarge),
            answer => good(answer).map(|_| ()),
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let request = HttpRequest::get(format!("{}/get/{}", self.url, hex(key)));
        match self.send(request).await? {
            (404, _) => Ok(None),
            answer => good(answer).and_then(|value| bytes(&value)).map(Some),
        }
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<Record>, StoreFault> {
        let (prefix, after) = (hex(prefix), hex(after.unwrap_or_default()));
        let request = HttpRequest::get(format!("{}/scan/{max}/{prefix}/{after}", self.url));
        let lines = good(self.send(request).await?)?;
        lines.lines().map(record).collect()
    }
}

impl Remote {
    /// Returns status and text.
    async fn send(&self, request: HttpRequest) -> Result<(u16, String), StoreFault> {
        let unavailable = |why: String| StoreFault::Unavailable(why);
        let http = self.host.http();
        let http = http.ok_or_else(|| unavailable("`allow.http` grants nothing".to_owned()))?;
        let answer = http.send(&request.within(PATIENCE)).await;
        let answer = answer.map_err(|error| unavailable(error.to_string()))?;
        let text = String::from_utf8(answer.body);
        let text = text.map_err(|_| StoreFault::Corrupt("the server answers no text".to_owned()))?;
        Ok((answer.status, text))
    }
}

fn good((status, text): (u16, String)) -> Result<String, StoreFault> {
    match status {
        200..=299 => Ok(text),
        _ => Err(StoreFault::Unavailable(format!("the server answers {status}"))),
    }
}

plugin_sdk::export_plugin!(Remote: session_store);
