//! Who is told what, how many events wait, and that one plugin has one queue.

use plugin_api::{Event, EventKind, EventMask, Events, async_trait};

use super::*;
use crate::chain::OnFault;

/// Notes what it is told: the batches' sizes, and the kinds.
#[derive(Default)]
struct Notes {
    batches: Mutex<Vec<usize>>,
    kinds: Mutex<Vec<EventKind>>,
}

#[async_trait]
impl Events for Notes {
    async fn notify(&self, batch: &[Event]) -> Result<(), Fault> {
        self.batches.lock().unwrap().push(batch.len());
        self.kinds
            .lock()
            .unwrap()
            .extend(batch.iter().map(|event| event.kind));
        if batch[0].kind == EventKind::AuthFailed {
            panic!("on purpose");
        }
        Ok(())
    }
}

fn noting(mask: EventMask) -> (Arc<Notes>, Arc<dyn Plugin>) {
    let notes = Arc::new(Notes::default());
    let capabilities = Capabilities {
        events: Some((mask, notes.clone())),
        ..Capabilities::default()
    };
    (notes, Arc::new(Fake(capabilities)))
}

async fn run_all(hub: &EventHub) {
    for runner in hub.take_runners() {
        runner.await;
    }
}

fn event(kind: EventKind) -> Event {
    Event::new(kind)
}

#[tokio::test]
async fn each_plugin_is_told_the_kinds_it_wants() {
    let hub = EventHub::new();
    let (connects, one) = noting(EventMask::NONE.with(EventKind::Connected));
    let (all, two) = noting(EventMask::ALL);
    let chain = Chain::new()
        .plugin(Use::new("one", one))
        .plugin(Use::new("two", two));
    let set = try_compile(&chain, &hub).unwrap();
    drop(chain);
    for kind in [EventKind::Connected, EventKind::Acked, EventKind::Disconnected] {
        assert!(set.events().wants(kind));
        set.events().push(event(kind));
    }
    drop(set);
    run_all(&hub).await;
    assert_eq!(*connects.kinds.lock().unwrap(), [EventKind::Connected]);
    assert_eq!(all.kinds.lock().unwrap().len(), 3);
}

#[test]
fn nobody_makes_events_that_nobody_wants() {
    let hub = EventHub::new();
    let (_, plugin) = noting(EventMask::NONE.with(EventKind::Connected));
    let set = try_compile(&Chain::new().plugin(Use::new("x", plugin)), &hub).unwrap();
    assert!(!set.events().wants(EventKind::Published));
    assert!(set.events().wants(EventKind::Connected));
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let hub = EventHub::new();
    let (notes, plugin) = noting(EventMask::ALL);
    let set = try_compile(&Chain::new().plugin(Use::new("x", plugin)), &hub).unwrap();
    for _ in 0..8_192 {
        set.events().push(event(EventKind::Connected));
    }
    assert_eq!(set.counts()[0].events_dropped, 0);
    for _ in 0..3 {
        set.events().push(event(EventKind::Disconnected));
    }
    assert_eq!(set.counts()[0].events_dropped, 3);
    drop(set);
    run_all(&hub).await;
    assert_eq!(*notes.batches.lock().unwrap(), [256; 32]);
    assert!(!notes.kinds.lock().unwrap().contains(&EventKind::Disconnected));
}

#[tokio::test]
async fn one_plugin_has_one_queue_in_all_chains() {
    let hub = EventHub::new();
    let (notes, plugin) = noting(EventMask::ALL);
    let link = |name: &str| Chain::new().plugin(Use::new(name, plugin.clone()));
    let (a, b) = (
        try_compile(&link("a"), &hub).unwrap(),
        try_compile(&link("b"), &hub).unwrap(),
    );
    let runners = hub.take_runners();
    assert_eq!(runners.len(), 1);
    let again = try_compile(&link("a").chain(link("b")), &hub).unwrap();
    assert!(
        hub.take_runners().is_empty(),
        "a new compilation goes on with the old queue"
    );
    for (set, kind) in [
        (&a, EventKind::Connected),
        (&b, EventKind::Acked),
        (&again, EventKind::Disconnected),
    ] {
        set.events().push(event(kind));
    }
    EventSink::union([a.events(), b.events()]).push(event(EventKind::RetainedCleared));
    drop((a, b, again));
    for runner in runners {
        runner.await;
    }
    let expected = [
        EventKind::Connected,
        EventKind::Acked,
        EventKind::Disconnected,
        EventKind::RetainedCleared,
    ];
    assert_eq!(*notes.kinds.lock().unwrap(), expected, "in order, and each once");
    // Gone and back: the next one is a new queue.
    try_compile(&link("a"), &hub).unwrap();
    assert_eq!(hub.take_runners().len(), 1);
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_the_next_batch() {
    let hub = EventHub::new();
    let (notes, plugin) = noting(EventMask::ALL);
    let chain = Chain::new().plugin(Use::new("x", plugin).on_error(OnFault::Disconnect));
    let set = try_compile(&chain, &hub).unwrap();
    for _ in 0..256 {
        set.events().push(event(EventKind::AuthFailed));
    }
    set.events().push(event(EventKind::Connected));
    let told = |set: &ChainSet| set.counts()[0].events_failed;
    let runner = tokio::spawn(async move { run_all(&hub).await });
    while notes.batches.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*notes.batches.lock().unwrap(), [256, 1]);
    assert_eq!(told(&set), 1);
    drop(set);
    runner.await.unwrap();
}
