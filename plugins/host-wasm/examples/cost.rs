//! What a guest costs: compiling it, finding it in the cache, making an instance, and a call. With a file, that file's
//! `transform`; without one, a guest that does nothing.
//!
//! ```console
//! $ cargo run --release -p plugin-host-wasm --example cost -- [FILE.wasm] [OPTIONS]
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "a tool that says what went wrong by falling over"
)]

#[path = "../tests/host/guests.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod guests;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_types::{
    ClientHandle, ClientId, Message, PropertiesBuilder, ProtocolVersion, QoS, Source, TopicName,
};
use plugin_api::{
    Answer, ClientView, Cx, MessageEdit, MessageParts, NoHost, Peer, Plugin, PluginLoader, PluginSource,
    Publish,
};
use plugin_host_wasm::WasmLoader;

/// Calls in a round, and rounds; the best one counts, because the others were disturbed.
const CALLS: u32 = 20_000;
const ROUNDS: u32 = 15;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let file = std::env::args().nth(1);
    let options = std::env::args().nth(2).unwrap_or_else(|| "{}".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let content = match &file {
        Some(file) => fs::read(file).unwrap(),
        None => guests::Guest::default().module(),
    };
    fs::write(folder.path().join("guest.wasm"), &content).unwrap();
    let mut source = PluginSource {
        what: "guest.wasm".to_owned(),
        ..PluginSource::default()
    };
    source.sandbox.memory_bytes_max = 256 << 20;
    println!("{:<44} {:>12}", "file, bytes", content.len());

    let begun = Instant::now();
    load(folder.path(), &source, &options).await;
    row("load, compiled", begun.elapsed());
    let begun = Instant::now();
    load(folder.path(), &source, &options).await;
    row("load, from the cache", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..20 {
        load(folder.path(), &source, &options).await;
    }
    row("20 plugins from the cache", begun.elapsed());

    let plugin = load(folder.path(), &source, &options).await;
    let hook = plugin.capabilities().publish.unwrap().hook;
    let plain = message(256);
    row("publish, 0 B", call(&*hook, &message(0)));
    row("publish, 256 B", call(&*hook, &plain));
    row("publish, 32 KiB", call(&*hook, &message(32 << 10)));
    let properties = PropertiesBuilder::new()
        .user("a", "1")
        .user("b", "2")
        .content_type("text/csv");
    let with_properties = Message {
        properties: properties.build().unwrap(),
        ..plain.clone()
    };
    row(
        "publish, 256 B, 3 properties not asked for",
        call(&*hook, &with_properties),
    );
    source.sandbox.fresh = true;
    let fresh = load(folder.path(), &source, &options).await;
    let hook = fresh.capabilities().publish.unwrap().hook;
    row("publish, 256 B, an instance for each call", call(&*hook, &plain));
    source.sandbox.fresh = false;
    source.sandbox.run = plugin_api::Run::Pool;
    let pooled = load(folder.path(), &source, &options).await;
    let hook = pooled.capabilities().publish.unwrap().hook;
    let begun = Instant::now();
    for _ in 0..CALLS / 10 {
        ask(&*hook, &plain).await;
    }
    row(
        "publish, 256 B, on a thread of its own",
        begun.elapsed() / (CALLS / 10),
    );
}

async fn load(folder: &Path, source: &PluginSource, options: &str) -> Arc<dyn Plugin> {
    let loader = WasmLoader::new([folder.to_owned()]).cache(folder.join("cache"));
    let plugin = loader.load("guest", source, options).await.unwrap();
    plugin.start(Arc::new(NoHost)).await.unwrap();
    plugin
}

fn message(bytes: usize) -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(TopicName::new("sensors/d1/reading").unwrap(), vec![b' '; bytes])
    }
}

/// Returns what a call costs that is answered at once.
fn call(hook: &dyn Publish, message: &Message) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..CALLS {
            assert!(at_once(ask(hook, message)), "it answers later");
        }
        best = best.min(begun.elapsed() / CALLS);
    }
    best
}

/// Tells whether a future is ready at once.
fn at_once(future: impl Future<Output = ()>) -> bool {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut cx).is_ready()
}

async fn ask(hook: &dyn Publish, message: &Message) {
    thread_local!(static CLIENT: Arc<ClientView> = client());
    let client = CLIENT.with(Arc::clone);
    let cx = Cx {
        client: &client,
        budget: Duration::from_secs(1),
    };
    let mut edit = MessageEdit::new(MessageParts::of(message, Source::Client));
    // A guest may refuse what is shown here; what it costs to be asked is the same.
    match hook.publish(&cx, &mut edit) {
        Answer::Now(answer) => drop(answer.unwrap()),
        Answer::Later(later) => drop(later.await.unwrap()),
    }
}

fn client() -> Arc<ClientView> {
    Arc::new(ClientView {
        handle: ClientHandle(7),
        id: ClientId::from("c"),
        username: None,
        authenticated: true,
        listener: "l".into(),
        peer: Peer::Local,
        version: ProtocolVersion::V5,
        clean_start: true,
        mount: "".into(),
        attributes: Arc::new([]),
        unrestricted: false,
        certificate: None,
    })
}

fn row(what: &str, took: Duration) {
    println!("{what:<44} {took:>12.1?}");
}
