//! Guests that don't play along. Each ends with a fault of the right kind within its budget, and what they did is gone with
//! the instance.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker_types::{ClientHandle, ReasonCode};
use plugin_api::{Fault, FaultKind, Flow, Host, Level, NewMessage, PluginLoader, Run, TimerId};

use crate::asked::{everything, publish};
use crate::guests::{Guest, KEEP, Shelf, every_function, on_publish};

const LOOP: &str = "(loop (br 0)) unreachable";
const HOOKS: &[&str] = &[
    "accept",
    "connection",
    "authenticate",
    "enhanced-auth",
    "authorize",
    "subscribe",
    "unsubscribe",
    "transform",
    "retained",
    "deliver",
    "will",
    "events",
    "control",
    "share-pick",
];

fn transform(body: &str) -> Guest {
    Guest {
        functions: on_publish(body),
        ..Guest::default()
    }
}

/// Returns what a guest dies of when it has all the time it wants.
async fn fault(guest: &Guest) -> Fault {
    let shelf = Shelf::new();
    let plugin = shelf
        .start(guest, |source| {
            source.sandbox.run = Run::Pool;
            source.sandbox.cpu_max = Duration::from_secs(3600);
        })
        .await;
    let (_, first) = publish(&*plugin, "x").await;
    let (_, second) = publish(&*plugin, "x").await;
    let (first, second) = (first.unwrap_err(), second.unwrap_err());
    assert_eq!(
        first.kind, second.kind,
        "a new instance does the same: {first}, {second}"
    );
    first
}

#[tokio::test]
async fn a_trap_in_every_export_is_a_trap() {
    let shelf = Shelf::new();
    let guest = Guest {
        exports: HOOKS,
        functions: every_function(HOOKS, "unreachable"),
        ..Guest::default()
    };
    let plugin = shelf.start(&guest, |_| ()).await;
    for _ in 0..2 {
        let said = everything(&*plugin).await;
        assert_eq!(said.len(), HOOKS.len() - 1);
        for (hook, fault) in said {
            assert_eq!(fault.unwrap().kind, FaultKind::Trap, "{hook}");
        }
    }
}

#[tokio::test]
async fn a_loop_in_every_export_is_ended() {
    let shelf = Shelf::new();
    let guest = Guest {
        exports: HOOKS,
        functions: every_function(HOOKS, LOOP),
        ..Guest::default()
    };
    let plugin = shelf
        .start(&guest, |source| source.sandbox.cpu_max = Duration::from_millis(5))
        .await;
    for _ in 0..2 {
        for (hook, fault) in everything(&*plugin).await {
            assert_eq!(fault.unwrap().kind, FaultKind::Timeout, "{hook}");
        }
    }
}

#[tokio::test]
async fn a_loop_fails_once_where_it_was_called_and_then_on_a_thread_of_its_own() {
    let shelf = Shelf::new();
    let plugin = shelf.start(&transform(LOOP), |_| ()).await;
    let (at_once, first) = publish(&*plugin, "x").await;
    assert!(at_once);
    assert_eq!(first.unwrap_err().text, "it ran for more than 2 ms");
    let (at_once, second) = publish(&*plugin, "x").await;
    assert!(!at_once);
    assert_eq!(second.unwrap_err().text, "it ran for more than 50 ms");
}

#[tokio::test]
async fn who_must_run_where_it_is_called_fails_there_each_time() {
    let shelf = Shelf::new();
    let plugin = shelf
        .start(&transform(LOOP), |source| source.sandbox.run = Run::Inline)
        .await;
    for _ in 0..2 {
        let (at_once, answer) = publish(&*plugin, "x").await;
        assert!(at_once);
        assert_eq!(answer.unwrap_err().kind, FaultKind::Timeout);
    }
}

/// While one guest spins on its thread, the thread that serves connections goes on; nothing here looks at a clock.
#[tokio::test]
async fn others_go_on_while_a_guest_spins() {
    let shelf = Shelf::new();
    let spinning = shelf
        .start(&transform(LOOP), |source| {
            source.sandbox.run = Run::Pool;
            source.sandbox.instances = NonZeroUsize::MIN;
            source.sandbox.cpu_max = Duration::from_secs(3600);
        })
        .await;
    let quick = shelf.start(&Guest::default(), |_| ()).await;
    let mut spins = Box::pin(publish(&*spinning, "x"));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(spins.as_mut().poll(cx).is_pending()));
    assert!(begun.await);
    for _ in 0..1000 {
        let (at_once, answer) = publish(&*quick, "x").await;
        assert!(at_once);
        assert_eq!(answer.unwrap().0, Flow::Continue);
    }
    let still = std::future::poll_fn(|cx| std::task::Poll::Ready(spins.as_mut().poll(cx).is_pending()));
    assert!(still.await);
    // Nobody waits for it any more, so it is ended, and its thread does something else.
    drop(spins);
    spinning.health().await.unwrap();
}

#[tokio::test]
async fn bombs_are_defused() {
    let memory = "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable";
    assert_eq!(fault(&transform(memory)).await.kind, FaultKind::Memory);
    let at_once = format!("(drop (memory.grow (i32.const 65000))) {KEEP}");
    assert_eq!(fault(&transform(&at_once)).await.kind, FaultKind::Memory);
    let table = Guest {
        functions: on_publish(
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0)) unreachable",
        ) + "(table $t 1 funcref)",
        ..Guest::default()
    };
    assert_eq!(fault(&table).await.kind, FaultKind::Memory);
    let recursion = Guest {
        functions: on_publish("(call $deep) unreachable") + "(func $deep (call $deep) (call $deep))",
        ..Guest::default()
    };
    let deep = fault(&recursion).await;
    assert_eq!(deep.kind, FaultKind::Trap);
    assert!(deep.text.contains("call stack exhausted"), "{deep}");
}

/// A verdict of 100 MB, and one of a thousand messages that are all the same 60 kB: both are more than a guest may hold.
#[tokio::test]
async fn an_answer_that_is_too_large_is_no_answer() {
    // change(patch { payload: some(list) }): case 1; payload is some at 16, pointer at 20, length at 24.
    let huge = "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store8 (i32.const 2064) (i32.const 1))
        (i32.store (i32.const 2068) (i32.const 0)) (i32.store (i32.const 2072) (i32.const 100000000)) (i32.const 2048)";
    assert_eq!(fault(&transform(huge)).await.kind, FaultKind::Protocol);
    // emit(list): case 4, list at 4. A message is 80 bytes: topic at 0, payload at 8.
    let bomb = Guest {
        functions: on_publish(
            "(drop (memory.grow (i32.const 8)))
            (loop
                (global.set $at (i32.add (i32.const 131072) (i32.mul (global.get $i) (i32.const 80))))
                (i32.store (global.get $at) (i32.const 16)) (i32.store offset=4 (global.get $at) (i32.const 7))
                (i32.store offset=8 (global.get $at) (i32.const 0)) (i32.store offset=12 (global.get $at) (i32.const 60000))
                (global.set $i (i32.add (global.get $i) (i32.const 1)))
                (br_if 0 (i32.lt_u (global.get $i) (i32.const 1000))))
            (i32.store8 (i32.const 2048) (i32.const 4)) (i32.store (i32.const 2052) (i32.const 131072))
            (i32.store (i32.const 2056) (i32.const 1000)) (i32.const 2048)",
        ) + "(global $i (mut i32) (i32.const 0)) (global $at (mut i32) (i32.const 0))",
        ..Guest::default()
    };
    let fault = fault(&bomb).await;
    assert!(
        matches!(fault.kind, FaultKind::Protocol | FaultKind::Trap),
        "{fault}"
    );
}

#[tokio::test]
async fn lies_are_faults_and_never_verdicts() {
    let verdict = |case: u8, rest: &str| {
        transform(&format!(
            "(i32.store8 (i32.const 2048) (i32.const {case})) {rest} (i32.const 2048)"
        ))
    };
    let lies = [
        ("no such verdict", verdict(99, "")),
        // change(patch { topic: some }): some at 4, pointer at 8, length at 12.
        (
            "a topic that isn't UTF-8",
            verdict(
                1,
                "(i32.store8 (i32.const 2052) (i32.const 1)) (i32.store (i32.const 2056) (i32.const 3000))
                 (i32.store (i32.const 2060) (i32.const 1)) (i32.store8 (i32.const 3000) (i32.const 255))",
            ),
        ),
        (
            "a topic with a wildcard",
            verdict(
                1,
                "(i32.store8 (i32.const 2052) (i32.const 1)) (i32.store (i32.const 2056) (i32.const 3000))
                 (i32.store (i32.const 2060) (i32.const 1)) (i32.store8 (i32.const 3000) (i32.const 35))",
            ),
        ),
        (
            "a text beyond the memory",
            verdict(
                1,
                "(i32.store8 (i32.const 2052) (i32.const 1)) (i32.store (i32.const 2060) (i32.const -1))",
            ),
        ),
        // reject(denial): reason at 4.
        (
            "a refusal with success",
            verdict(6, "(i32.store8 (i32.const 2052) (i32.const 1))"),
        ),
        ("a verdict that isn't there", transform("(i32.const -4)")),
    ];
    for (what, guest) in lies {
        let fault = fault(&guest).await;
        assert_eq!(fault.kind, FaultKind::Protocol, "{what}: {fault}");
    }
}

/// Who keeps what was lent for a call can't use it afterwards.
#[tokio::test]
async fn a_handle_that_is_kept_is_a_fault() {
    let keeps = Guest {
        functions: every_function(&["transform"], KEEP),
        ..Guest::default()
    };
    let fault = fault(&keeps).await;
    assert!(
        matches!(fault.kind, FaultKind::Protocol | FaultKind::Trap),
        "{fault}"
    );
}

#[tokio::test]
async fn a_guest_that_never_gets_ready_is_ended() {
    let shelf = Shelf::new();
    let init = Guest {
        init: "(loop (br 0))",
        ..Guest::default()
    };
    let source = shelf.put("init.wasm", &init.module());
    let plugin = shelf.loader.load("x", &source, "{}").await.unwrap();
    let fault = plugin.start(Arc::new(plugin_api::NoHost)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Timeout);
    let start = Guest {
        functions: on_publish(KEEP) + "(func $never (loop (br 0))) (start $never)",
        ..Guest::default()
    };
    let source = shelf.put("start.wasm", &start.module());
    assert!(shelf.loader.inspect(&source).await.is_err());
    let validate = Guest {
        validate: "(loop (br 0))",
        ..Guest::default()
    };
    let source = shelf.put("validate.wasm", &validate.module());
    assert!(shelf.loader.check(&source, "{}").await.is_err());
}

/// Remembers the gauges.
#[derive(Default)]
struct Gauges(Mutex<HashMap<String, f64>>);

impl Gauges {
    fn memory(&self) -> f64 {
        self.0
            .lock()
            .unwrap()
            .get("memory_bytes")
            .copied()
            .unwrap_or_default()
    }
}

impl Host for Gauges {
    fn log(&self, _: Level, _: &str) {}
    fn publish(&self, _: NewMessage) -> Result<(), Fault> {
        Ok(())
    }
    fn kick(&self, _: ClientHandle, _: ReasonCode, _: bool) -> bool {
        false
    }
    fn timer(&self, _: Duration, _: Option<Duration>) -> TimerId {
        TimerId(0)
    }
    fn cancel_timer(&self, _: TimerId) {}
    fn counter(&self, _: &str, _: u64) {}
    fn gauge(&self, name: &str, value: f64) {
        self.0.lock().unwrap().insert(name.to_owned(), value);
    }
    fn invalidate(&self, _: Option<ClientHandle>) {}
    fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        job();
        Ok(())
    }
}

/// A guest that takes ten pages and traps leaves nothing; neither does one that is dropped.
#[tokio::test]
async fn memory_is_given_back() {
    let shelf = Shelf::new();
    let guest = transform("(drop (memory.grow (i32.const 10))) unreachable");
    let source = shelf.put("guest.wasm", &guest.module());
    let plugin = shelf.loader.load("guest", &source, "{}").await.unwrap();
    let gauges = Arc::new(Gauges::default());
    plugin.start(gauges.clone()).await.unwrap();
    let idle = gauges.memory();
    assert_eq!(idle, 65536.0, "the instance that began");
    for _ in 0..3 {
        assert!(publish(&*plugin, "x").await.1.is_err());
    }
    assert_eq!(
        gauges.memory(),
        0.0,
        "the instance that trapped is gone, and no other was needed"
    );
    drop(plugin);
    let keeps = shelf.put(
        "keeps.wasm",
        &transform(&format!("(drop (memory.grow (i32.const 10))) {KEEP}")).module(),
    );
    let plugin = shelf.loader.load("keeps", &keeps, "{}").await.unwrap();
    plugin.start(gauges.clone()).await.unwrap();
    assert!(publish(&*plugin, "x").await.1.is_ok());
    assert_eq!(gauges.memory(), 11.0 * 65536.0);
    drop(plugin);
    assert_eq!(gauges.memory(), 0.0);
}
