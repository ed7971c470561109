//! The handle: from the program's own runtime, from another, from none, and after the end.

use std::time::Duration;

use broker_core::{Broker, HandleError};
use broker_types::{Message, QoS, ReasonCode, TopicName};

use crate::park::block_on;
use crate::{client, open, start};

fn message(topic: &str, payload: &'static str) -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(TopicName::new(topic).expect("a Topic Name"), payload)
    }
}

/// Publishes, looks up and kicks; the broker doesn't see who polls.
async fn all_of_it(broker: &Broker, name: &'static str) {
    let handle = broker.handle();
    let mut subscriber = client(broker, name).connect();
    subscriber.subscribe(name, 1);
    assert_eq!(handle.publish(message(name, "hello")).await, Ok(1));
    subscriber.take(name, "hello");
    assert_eq!(handle.publish(message("nobody", "hello")).await, Ok(0));

    let found = handle.client(name).expect("it is connected");
    assert_eq!(
        (found.id.as_str(), found.listener.as_str(), found.subscriptions),
        (name, "main", 1)
    );
    assert!(found.peer.is_some());
    assert!(handle.client("stranger").is_none());
    assert!(handle.clients().iter().any(|client| client.id == name));

    let kept = Message {
        retain: true,
        ..message("kept", "x")
    };
    handle.publish(kept).await.expect("it runs");
    let topic = TopicName::new("kept").expect("a Topic Name");
    assert_eq!(handle.retained(&topic).map(|kept| kept.payload), Some("x".into()));

    assert!(handle.kick(name, ReasonCode::AdministrativeAction));
    subscriber.expect_error(0x98);
    assert!(!handle.kick("stranger", ReasonCode::AdministrativeAction));
}

#[test]
fn from_no_runtime() {
    let broker = start(open());
    block_on(all_of_it(&broker, "none"));
}

#[test]
fn from_another_runtime_than_it_was_started_on() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
    };
    let broker = runtime().block_on(open().start()).expect("the broker starts");
    // the runtime that started it is gone
    runtime().block_on(all_of_it(&broker, "current"));
    runtime().block_on(async move {
        let task = tokio::spawn(async move {
            all_of_it(&broker, "task").await;
            broker.shutdown(Duration::from_secs(5)).await
        });
        assert_eq!(task.await.expect("it ran").cut, 0);
    });
}

/// A handle is a promise to answer, not to keep the broker alive.
#[test]
fn after_the_end_it_says_so() {
    for in_order in [true, false] {
        let broker = start(open());
        let handle = broker.handle();
        if in_order {
            block_on(broker.shutdown(Duration::from_secs(5)));
        } else {
            drop(broker);
        }
        assert_eq!(
            block_on(handle.publish(message("t", "x"))),
            Err(HandleError::Stopped)
        );
        assert!(!handle.kick("a", ReasonCode::AdministrativeAction));
    }
}

/// Many threads at once: each message arrives once, those of a thread in its order.
#[test]
fn from_many_threads_at_once() {
    let broker = start(open());
    let mut subscriber = client(&broker, "s").connect();
    subscriber.subscribe("t/+", 1);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let handle = broker.handle();
            scope.spawn(move || {
                let topic = format!("t/{thread}");
                for number in ["0", "1", "2", "3", "4"] {
                    assert_eq!(block_on(handle.publish(message(&topic, number))), Ok(1));
                }
            });
        }
        let mut next = [0_u8; 4];
        for _ in 0..20 {
            let received = subscriber.expect_any_publish();
            subscriber.acknowledge(&received);
            let thread = usize::from(received.topic.as_bytes()[2] - b'0');
            assert_eq!(received.payload, [b'0' + next[thread]], "{}", received.topic);
            next[thread] += 1;
        }
    });
    subscriber.expect_silence();
}
