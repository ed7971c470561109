//! Records of the plugin in the broker. A guest that imports this runs on threads of its own, because the store may wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plugin_api::{KeyValue, KvError};

use crate::bindings::imported::kv::{Error, Host};
use crate::state::State;

/// Records that one `scan` gives at most.
const SCAN_MAX: u32 = 1024;

impl State {
    fn kv(&self) -> Result<Arc<dyn KeyValue>, Error> {
        let host = self.services.host();
        host.and_then(|host| host.kv())
            .ok_or_else(|| Error::Unavailable("the broker has no records for this plugin".to_owned()))
    }
}

impl Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let found = self.kv()?.get(&key).await.map_err(failed)?;
        Ok(found.map(Vec::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Result<(), Error> {
        let ttl = ttl_ms.map(Duration::from_millis);
        self.kv()?.set(&key, value.into(), ttl).await.map_err(failed)
    }

    async fn delete(&mut self, key: String) -> Result<(), Error> {
        self.kv()?.delete(&key).await.map_err(failed)
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        old: Option<Vec<u8>>,
        new: Vec<u8>,
    ) -> Result<bool, Error> {
        let old = old.map(Bytes::from);
        self.kv()?
            .compare_and_set(&key, old, new.into())
            .await
            .map_err(failed)
    }

    async fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        max: u32,
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let max = max.min(SCAN_MAX) as usize;
        let found = self
            .kv()?
            .scan(&prefix, after.as_deref(), max)
            .await
            .map_err(failed)?;
        Ok(found
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect())
    }
}

fn failed(error: KvError) -> Error {
    match error {
        KvError::TooLarge => Error::TooLarge,
        KvError::Quota => Error::Quota,
        error => Error::Unavailable(error.to_string()),
    }
}
