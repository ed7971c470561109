//! What plugins keep, with a durable store and with none.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use broker_core::{Chain, Listener};
use bytes::Bytes;
use plugin_api::{Capabilities, Fault, Host, KeyValue, KvError, Plugin, PluginInfo};

use crate::prelude::*;

/// A plugin that hands its host out.
#[derive(Default)]
struct Keeper(OnceLock<Arc<dyn Host>>);

#[async_trait]
impl Plugin for Keeper {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "keeper".to_owned(),
            version: "1".to_owned(),
            config_schema: None,
            hooks: Vec::new(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        // Plugins may use it while they start.
        let records = host.kv().ok_or_else(|| Fault::backend("no records"))?;
        let started = records
            .get("starts")
            .await
            .map_err(|error| Fault::backend(error.to_string()))?;
        let starts = started.map_or(0, |starts| starts[0]) + 1;
        let set = records
            .set("starts", Bytes::copy_from_slice(&[starts]), None)
            .await;
        set.map_err(|error| Fault::backend(error.to_string()))?;
        self.0.set(host).map_err(|_| Fault::backend("started twice"))
    }
}

fn with_keepers(disk: &MemoryStore, names: &[&str]) -> (Durable, Vec<Arc<dyn KeyValue>>) {
    let keepers: Vec<_> = names.iter().map(|_| Arc::new(Keeper::default())).collect();
    let chain = names
        .iter()
        .zip(&keepers)
        .fold(Chain::new(), |chain, (name, keeper)| {
            chain.plugin(broker_core::Use::new(*name, keeper.clone()))
        });
    let broker = Durable::with(
        disk,
        |listener: Listener| listener.with_chain(chain),
        |builder| builder,
    );
    let records = keepers.iter().map(|keeper| {
        let host = keeper.0.get().expect("it has started");
        host.kv().expect("it may keep records")
    });
    (broker, records.collect())
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn stores() -> [MemoryStore; 2] {
    [disk(), MemoryStore::new()]
}

#[test]
fn records_are_set_compared_scanned_and_removed() {
    for disk in stores() {
        let (broker, records) = with_keepers(&disk, &["one", "two"]);
        let (one, two) = (&records[0], &records[1]);
        broker.run(async {
            one.set("a", bytes("1"), None).await.expect("set");
            one.set("b", bytes("2"), None).await.expect("set");
            two.set("a", bytes("other"), None).await.expect("set");
            assert_eq!(one.get("a").await, Ok(Some(bytes("1"))));
            assert_eq!(two.get("a").await, Ok(Some(bytes("other"))));
            assert_eq!(one.get("nothing").await, Ok(None));
            let swap = |old, new| one.compare_and_set("a", old, new);
            assert_eq!(swap(Some(bytes("0")), bytes("9")).await, Ok(false));
            assert_eq!(swap(None, bytes("9")).await, Ok(false));
            assert_eq!(swap(Some(bytes("1")), bytes("3")).await, Ok(true));
            assert_eq!(one.compare_and_set("c", None, bytes("4")).await, Ok(true));
            let page = one.scan("", None, 2).await.expect("scan");
            assert_eq!(page, [("a".to_owned(), bytes("3")), ("b".to_owned(), bytes("2"))]);
            let rest = one.scan("", Some("b"), 9).await.expect("scan");
            assert_eq!(rest[0], ("c".to_owned(), bytes("4")));
            assert_eq!(one.scan("b", None, 9).await.expect("scan").len(), 1);
            one.delete("a").await.expect("delete");
            one.delete("a").await.expect("a second time is no error");
            assert_eq!(one.get("a").await, Ok(None));
            assert_eq!(two.get("a").await, Ok(Some(bytes("other"))));
        });
    }
}

#[test]
fn records_expire() {
    for disk in stores() {
        let (broker, records) = with_keepers(&disk, &["one"]);
        let one = &records[0];
        broker.run(async {
            let set = one.set("short", bytes("1"), Some(Duration::from_secs(10)));
            set.await.expect("set");
            broker.clock.advance(Duration::from_secs(9));
            assert_eq!(one.get("short").await, Ok(Some(bytes("1"))));
            broker.clock.advance(Duration::from_secs(1));
            assert_eq!(one.get("short").await, Ok(None));
            assert_eq!(one.scan("sh", None, 9).await, Ok(Vec::new()));
            assert_eq!(one.compare_and_set("short", None, bytes("2")).await, Ok(true));
            let set = one.set("gone", bytes("1"), Some(Duration::from_secs(1)));
            set.await.expect("set");
            broker.clock.advance(Duration::from_secs(2));
            // The next write takes what has expired away.
            one.set("x", bytes("1"), None).await.expect("set");
        });
        let gone = disk.records().iter().any(|(key, _)| key.ends_with(b"gone"));
        assert!(!gone);
    }
}

#[test]
fn a_plugin_keeps_no_more_than_it_may() {
    let (broker, records) = with_keepers(&disk(), &["one", "two"]);
    let (one, two) = (&records[0], &records[1]);
    broker.run(async {
        let large = Bytes::from(vec![0; 1024 * 1024]);
        let too_large = Bytes::from(vec![0; 1024 * 1024 + 1]);
        assert_eq!(one.set("a", too_large, None).await, Err(KvError::TooLarge));
        assert_eq!(
            one.set(&"k".repeat(1025), bytes("1"), None).await,
            Err(KvError::TooLarge)
        );
        let mut held = 0;
        while one.set(&format!("{held}"), large.clone(), None).await.is_ok() {
            held += 1;
        }
        assert_eq!(held, 63);
        assert_eq!(one.set("a", large.clone(), None).await, Err(KvError::Quota));
        one.set("0", large.clone(), None)
            .await
            .expect("in place of another");
        one.delete("0").await.expect("delete");
        one.set("a", large.clone(), None)
            .await
            .expect("there is room again");
        two.set("a", large, None)
            .await
            .expect("another plugin has room of its own");
    });
}

#[test]
fn records_survive_with_a_durable_store() {
    for end in End::BOTH {
        let (broker, records) = with_keepers(&disk(), &["one", "two"]);
        broker
            .run(async { records[0].set("a", bytes("1"), None).await })
            .expect("set");
        let (broker, records) = with_keepers(&broker.end(end), &["one", "two"]);
        broker.run(async {
            assert_eq!(records[0].get("a").await, Ok(Some(bytes("1"))));
            assert_eq!(records[1].get("a").await, Ok(None));
            assert_eq!(records[1].get("starts").await, Ok(Some(Bytes::from_static(&[2]))));
        });
    }
}

#[test]
fn a_record_is_set_when_it_is_durable() {
    let (broker, records) = with_keepers(&disk(), &["one"]);
    broker.disk().hold();
    let before = broker.disk().commits_asked();
    broker.run(async {
        let set = records[0].set("a", bytes("1"), None);
        let release = async {
            broker.disk().asked(before + 1).await;
            assert_eq!(records[0].get("a").await, Ok(None));
            broker.disk().release();
        };
        let (set, ()) = tokio::join!(set, release);
        set.expect("set");
    });
    broker
        .disk()
        .fail(0, u64::MAX, StoreFault::ReadOnly("disk full".to_owned()));
    let set = broker.run(async { records[0].set("a", bytes("2"), None).await });
    assert!(matches!(set, Err(KvError::Unavailable(_))));
    assert_eq!(
        broker.run(async { records[0].get("a").await }),
        Ok(Some(bytes("1")))
    );
}
