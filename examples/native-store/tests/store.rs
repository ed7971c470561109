//! The store from its library, as a broker has it: what the kit asks of every store, and a broker that is started again.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jackfield::native::NativeLoader;
use jackfield::plugin_api::{LoadError, Plugin, PluginLoader, PluginSource};
use jackfield::types::{Message, QoS, TopicName};
use jackfield::{Broker, Listener};
use plugin_testkit::conformance::{PROBES, Subject};
use plugin_testkit::json;

/// The library, which cargo builds beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    test.with_file_name("libexample_native_store.so")
}

async fn load(options: &serde_json::Value) -> Result<Arc<dyn Plugin>, LoadError> {
    let loader = NativeLoader::new([library().parent().expect("a folder").to_owned()]);
    let source = PluginSource {
        what: "libexample_native_store.so".to_owned(),
        ..PluginSource::default()
    };
    loader.load("log", &source, &options.to_string()).await
}

#[test]
fn it_is_what_a_store_must_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let load = |options: &serde_json::Value| runtime.block_on(load(options));
    let subject = Subject {
        load: &load,
        options: json!({ "file": folder.path().join("log"), "sync": false }),
        payload_bytes_max: 1 << 20,
    };
    // Two instances with one file is what a store must refuse.
    for probe in PROBES.iter().filter(|probe| probe.name != "instances") {
        assert_eq!(probe.run(&subject).failures, [""; 0], "{}", probe.name);
    }
}

#[tokio::test]
async fn what_is_retained_is_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log");
    for round in 0..3 {
        let plugin = load(&json!({ "file": file })).await.expect("it loads");
        let broker = Broker::builder()
            .shards(1)
            .listener(Listener::tcp("127.0.0.1:0").anonymous(true))
            .store_plugin("log", plugin)
            .start()
            .await
            .expect("it starts");
        assert_eq!(broker.handle().gauges().retained, round, "what was kept before");
        let message = Message {
            qos: QoS::AtLeastOnce,
            retain: true,
            ..Message::new(TopicName::new(format!("kept/{round}")).expect("a topic"), "value")
        };
        broker.handle().publish(message).await.expect("it is published");
        broker.shutdown(Duration::from_secs(20)).await;
    }
}
