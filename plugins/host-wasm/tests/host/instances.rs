//! How instances live: used again, replaced when they fail, alone when they must be, asked for their state.

use std::num::NonZeroUsize;

use plugin_api::{Flow, Plugin, PluginLoader, Run};

use crate::asked::publish;
use crate::guests::{Guest, KEEP, Shelf, every_function, on_publish};

/// A guest that counts its calls: it keeps the first message and drops the others; the third is its last.
fn counts() -> Guest {
    Guest {
        functions: on_publish(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.eq (global.get $calls) (i32.const 3)) (then unreachable))
             ;; case 0 is keep, case 3 drop
             (i32.store8 (i32.const 2048) (select (i32.const 0) (i32.const 3) (i32.eq (global.get $calls) (i32.const 1))))
             (i32.const 2048)",
        ) + "(global $calls (mut i32) (i32.const 0))",
        ..Guest::default()
    }
}

async fn flow(plugin: &dyn Plugin) -> Option<Flow> {
    publish(plugin, "x").await.1.ok().map(|(flow, _)| flow)
}

#[tokio::test]
async fn an_instance_is_used_again_until_it_fails() {
    let shelf = Shelf::new();
    for run in [Run::Auto, Run::Inline, Run::Pool] {
        let plugin = shelf
            .start(&counts(), |source| {
                source.sandbox.run = run;
                source.sandbox.instances = NonZeroUsize::MIN;
            })
            .await;
        for _ in 0..2 {
            assert_eq!(flow(&*plugin).await, Some(Flow::Continue), "{run:?}");
            assert_eq!(flow(&*plugin).await, Some(Flow::Drop), "{run:?}");
            assert_eq!(flow(&*plugin).await, None, "{run:?}");
        }
    }
}

#[tokio::test]
async fn each_call_can_have_an_instance_of_its_own() {
    let shelf = Shelf::new();
    let plugin = shelf.start(&counts(), |source| source.sandbox.fresh = true).await;
    for _ in 0..5 {
        assert_eq!(flow(&*plugin).await, Some(Flow::Continue));
    }
}

#[tokio::test]
async fn two_uses_of_one_file_know_nothing_of_each_other() {
    let shelf = Shelf::new();
    let (one, other) = (
        shelf.start(&counts(), |_| ()).await,
        shelf.start(&counts(), |_| ()).await,
    );
    assert_eq!(flow(&*one).await, Some(Flow::Continue));
    assert_eq!(flow(&*one).await, Some(Flow::Drop));
    assert_eq!(flow(&*other).await, Some(Flow::Continue));
}

#[tokio::test]
async fn a_serial_guest_has_one_instance_whoever_calls() {
    let shelf = Shelf::new();
    let serial = Guest {
        traits: 1,
        ..counts()
    };
    let plugin = shelf.start(&serial, |_| ()).await;
    let answers = (flow(&*plugin), flow(&*plugin), flow(&*plugin));
    let (first, second, third) = tokio::join!(answers.0, answers.1, answers.2);
    assert_eq!(
        (first, second, third),
        (Some(Flow::Continue), Some(Flow::Drop), None)
    );
}

#[tokio::test]
async fn a_serial_guest_hands_its_state_over() {
    let shelf = Shelf::new();
    // save gives the byte at 3000, load writes it; on-publish keeps while it is 0, and counts.
    let swap = r#"
        (func (export "jackfield:plugin/swap@1.0.0#health") (result i32) (i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048))
        (func (export "jackfield:plugin/swap@1.0.0#save") (result i32)
            (i32.store (i32.const 2048) (i32.const 3000)) (i32.store (i32.const 2052) (i32.const 1)) (i32.const 2048))
        (func (export "jackfield:plugin/swap@1.0.0#load") (param i32 i32 i32 i32) (result i32)
            (i32.store8 (i32.const 3000) (i32.load8_u (local.get 2))) (i32.store8 (i32.const 2048) (i32.const 0)) (i32.const 2048))"#;
    let guest = Guest {
        exports: &["transform", "swap"],
        traits: 1,
        functions: on_publish(
            "(i32.store8 (i32.const 2048) (select (i32.const 0) (i32.const 3) (i32.eqz (i32.load8_u (i32.const 3000)))))
             (i32.store8 (i32.const 3000) (i32.const 9)) (i32.const 2048)",
        ) + swap,
        ..Guest::default()
    };
    let old = shelf.start(&guest, |_| ()).await;
    assert_eq!(flow(&*old).await, Some(Flow::Continue));
    assert_eq!(flow(&*old).await, Some(Flow::Drop));
    let state = old.save_state().await.unwrap();
    assert_eq!(state, [9]);
    let new = shelf.start(&guest, |_| ()).await;
    new.load_state("1.0", &state).await.unwrap();
    assert_eq!(flow(&*new).await, Some(Flow::Drop));
}

#[tokio::test]
async fn who_must_answer_at_once_cannot_be_alone() {
    let shelf = Shelf::new();
    let guest = Guest {
        exports: &["retained"],
        functions: every_function(&["retained"], KEEP),
        traits: 1,
        ..Guest::default()
    };
    let source = shelf.put("guest.wasm", &guest.module());
    let plugin = shelf.loader.load("x", &source, "{}").await.unwrap();
    assert!(
        plugin
            .start(std::sync::Arc::new(plugin_api::NoHost))
            .await
            .is_err()
    );
}

/// The tick drops the message of the next call on each instance.
#[tokio::test]
async fn every_instance_is_ticked() {
    let shelf = Shelf::new();
    let guest = Guest {
        tick_ms: Some(1000),
        functions: on_publish(
            "(i32.store8 (i32.const 2048) (select (i32.const 0) (i32.const 3) (i32.eqz (i32.load8_u (i32.const 3000)))))
             (i32.const 2048)",
        ) + r#"(func (export "jackfield:plugin/lifecycle@1.0.0#tick") (i32.store8 (i32.const 3000) (i32.const 1)))"#,
        ..Guest::default()
    };
    let plugin = shelf.start(&guest, |_| ()).await;
    assert_eq!(flow(&*plugin).await, Some(Flow::Continue));
    // NoHost calls every timer 0.
    plugin.on_timer(plugin_api::TimerId(1)).await;
    assert_eq!(flow(&*plugin).await, Some(Flow::Continue));
    plugin.on_timer(plugin_api::TimerId(0)).await;
    assert_eq!(flow(&*plugin).await, Some(Flow::Drop));
}
