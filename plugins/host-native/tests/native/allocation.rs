//! A hook that answers at once costs no allocation on its way across the border and back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::common::{client, compiled, cx};
use broker_types::{Message, Source, TopicName};
use plugin_api::{AclDecision, AclItem, AclRequest, Action, Answer, Flow, MessageEdit, MessageParts};

/// Counts what this thread allocates.
struct Counting;

thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

// SAFETY: everything is done by the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending counts nothing.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, there: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(there, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how many allocations `work` makes once everything is warm.
fn allocations(mut work: impl FnMut()) -> usize {
    (0..10).for_each(|_| work());
    let before = COUNT.get();
    (0..100).for_each(|_| work());
    COUNT.get() - before
}

#[tokio::test]
async fn a_message_that_passes_allocates_nothing() {
    let Some(compiled) = compiled(&[]) else { return };
    let (plugin, _) = compiled.start("pass", "").await;
    let (client, offered) = (client(), plugin.capabilities());
    let hook = offered.publish.unwrap().hook;
    let message = Message::new(TopicName::new("a/b").unwrap(), "x");
    let publish = || {
        let mut edit = MessageEdit::new(MessageParts::of(&message, Source::Client));
        let answer = hook.publish(&cx(&client), &mut edit);
        assert!(matches!(answer, Answer::Now(Ok(Flow::Continue))));
    };
    assert_eq!(allocations(publish), 0);

    let hook = offered.authorize.unwrap();
    let items = [AclItem {
        topic: "n",
        qos: broker_types::QoS::AtMostOnce,
        retain: false,
        share: None,
    }];
    let request = AclRequest {
        action: Action::Publish,
        items: &items,
    };
    let authorize = || {
        let mut out = [AclDecision::default()];
        let answer = hook.authorize(&cx(&client), &request, &mut out);
        assert!(matches!(answer, Answer::Now(Ok(()))));
    };
    assert_eq!(allocations(authorize), 0);
}
