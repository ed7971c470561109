//! The program as a client of its own broker: it passes the chain, has a Session, and is told how it ends.

use std::sync::mpsc::channel;
use std::time::Duration;

use broker_core::{Chain, Link, LinkError, LinkSender, Listener, SubscribeOptions};
use broker_types::{Message, QoS, ReasonCode, SubscriptionId, TopicName};
use plugin_api::{AclVerdict, Action, AuthVerdict, ConnectFlow, Denial, Flow, Peer};

use crate::park::block_on;
use crate::{client, open, start, with_chain};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

fn message(topic: &str, payload: impl Into<String>, qos: QoS) -> Message {
    Message {
        qos,
        ..Message::new(TopicName::new(topic).expect("a Topic Name"), payload.into())
    }
}

/// Takes the next message and acknowledges it.
async fn take(link: &mut Link) -> String {
    let delivery = link.recv().await.expect("the link lives");
    let text = String::from_utf8(delivery.message.payload.to_vec()).expect("text");
    delivery.ack();
    text
}

#[test]
fn every_qos_goes_both_ways() {
    let broker = start(open());
    block_on(async {
        let mut link = broker.handle().link("inside").connect().await.expect("let in");
        assert_eq!(link.client_id(), "inside");
        assert!(!link.session_present());
        let mut guest = client(&broker, "outside").connect();
        guest.subscribe("out/#", 2);
        assert_eq!(link.subscribe("in/#", ExactlyOnce).await, Ok(ExactlyOnce));
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            assert_eq!(link.publish(message("out/x", "hello", qos)).await, Ok(()));
            guest.take("out/x", "hello");
            guest.publish("in/x", format!("{qos:?}"), qos as u8);
            let delivery = link.recv().await.expect("the link lives");
            assert_eq!(
                (delivery.message.qos, delivery.message.topic.as_str()),
                (qos, "in/x")
            );
            assert_eq!(delivery.message.payload, format!("{qos:?}"));
            delivery.ack();
        }
        link.unsubscribe("in/#").await.expect("it was there");
        guest.publish("in/x", "unheard", 1);
        assert!(link.try_recv().is_none());
        link.close().await;
        assert!(
            !broker
                .handle()
                .clients()
                .iter()
                .any(|client| client.id == "inside")
        );
    });
}

/// The chain sees the link as a client with the name it gives itself, and its rules hold, unless it asked that they don't.
#[test]
fn it_passes_the_chain() {
    let (seen, sights) = channel();
    let chain = Chain::new()
        .authenticate(|_| AuthVerdict::bad_credentials())
        .authorize(move |client, action, item| {
            let who = (client.username.as_deref().map(str::to_owned), client.peer);
            seen.send((who, client.authenticated)).expect("the test listens");
            match (action, item.topic) {
                (Action::Publish, "free") | (Action::Subscribe, "free") => AclVerdict::Allow,
                _ => AclVerdict::Skip,
            }
        })
        .on_publish("#", |_, message| {
            message.set_payload(message.payload().to_ascii_uppercase());
            Flow::Continue
        });
    let broker = start(with_chain(chain));
    let refused = Err(LinkError::Refused(ReasonCode::NotAuthorized));
    block_on(async {
        let link = broker.handle().link("svc").username("service").connect();
        let mut link = link.await.expect("no authenticator is asked");
        assert_eq!(link.publish(message("closed", "x", AtLeastOnce)).await, refused);
        assert_eq!(
            link.subscribe("closed", AtMostOnce).await,
            refused.clone().map(|()| AtMostOnce)
        );
        let who = (Some("service".to_owned()), Peer::Local);
        assert_eq!(
            sights.try_iter().collect::<Vec<_>>(),
            [(who.clone(), true), (who, true)]
        );
        link.subscribe("free", AtMostOnce).await.expect("allowed");
        link.publish(message("free", "x", AtLeastOnce))
            .await
            .expect("allowed");
        assert_eq!(take(&mut link).await, "X");

        let sovereign = broker.handle().link("root").unrestricted().connect();
        let mut sovereign = sovereign.await.expect("let in");
        let asked = sights.try_iter().count();
        sovereign
            .subscribe("closed", AtLeastOnce)
            .await
            .expect("nobody is asked");
        sovereign
            .publish(message("closed", "y", AtLeastOnce))
            .await
            .expect("nobody is asked");
        assert_eq!(take(&mut sovereign).await, "Y", "other plugins still see it");
        assert_eq!(sights.try_iter().count(), 0, "after {asked} questions before");
    });
    // [MQTT-3.1.4-2]: who comes through the socket is still decided about
    client(&broker, "stranger").refused(0x86);
}

/// With credentials, authenticators decide.
#[test]
fn it_may_log_in_like_anybody_else() {
    let chain = Chain::new().authenticate(|request| match (request.username, request.password) {
        (Some("anna"), Some(b"secret")) => AuthVerdict::allow(),
        _ => AuthVerdict::bad_credentials(),
    });
    let broker = start(with_chain(chain));
    block_on(async {
        let link = broker.handle().link("a").login("anna", "secret").connect().await;
        let link = link.expect("the password is right");
        let found = broker.handle().client("a").expect("it is connected");
        assert_eq!(found.username.as_deref(), Some("anna"));
        drop(link);
        let wrong = broker
            .handle()
            .link("b")
            .unrestricted()
            .login("anna", "guess")
            .connect()
            .await;
        assert_eq!(
            wrong.err(),
            Some(LinkError::Refused(ReasonCode::BadUserNameOrPassword))
        );
    });
}

/// Nothing is lost and nothing piles up when the program is slow: at most its Receive Maximum is out, the rest waits in the
/// Session.
#[test]
fn who_does_not_acknowledge_gets_no_more() {
    let broker = start(open());
    block_on(async {
        let link = broker.handle().link("slow").receive_maximum(3).connect();
        let mut link = link.await.expect("let in");
        link.subscribe("t", AtLeastOnce).await.expect("allowed");
        let sender = link.sender();
        for number in 0..500 {
            let sent = sender
                .publish(message("t", number.to_string(), AtLeastOnce))
                .await;
            assert_eq!(sent, Ok(()));
        }
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(link.recv().await.expect("the link lives"));
        }
        link.publish(message("elsewhere", "x", AtLeastOnce))
            .await
            .expect("a round trip");
        assert!(link.try_recv().is_none(), "three are out");
        for (number, delivery) in held.into_iter().enumerate() {
            assert_eq!(delivery.message.payload, number.to_string());
            delivery.ack();
        }
        for number in 3..500 {
            assert_eq!(take(&mut link).await, number.to_string());
        }
    });
}

#[test]
fn many_tasks_publish_through_one_link() {
    async fn all(sender: LinkSender, task: usize) {
        for number in 0..50 {
            let sent = sender
                .publish(message("t", format!("{task} {number}"), ExactlyOnce))
                .await;
            assert_eq!(sent, Ok(()));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let broker = start(open());
    runtime.block_on(async {
        let mut link = broker.handle().link("hub").connect().await.expect("let in");
        link.subscribe("t", ExactlyOnce).await.expect("allowed");
        let tasks: Vec<_> = (0..8)
            .map(|task| tokio::spawn(all(link.sender(), task)))
            .collect();
        let mut next = [0; 8];
        for _ in 0..8 * 50 {
            let text = take(&mut link).await;
            let (task, number) = text.split_once(' ').expect("two numbers");
            let task: usize = task.parse().expect("a number");
            assert_eq!(number, next[task].to_string());
            next[task] += 1;
        }
        for task in tasks {
            task.await.expect("it ran");
        }
    });
}

#[test]
fn shared_subscriptions_and_identifiers() {
    let broker = start(open());
    block_on(async {
        let mut links = Vec::new();
        for name in ["a", "b"] {
            let link = broker.handle().link(name).connect().await.expect("let in");
            let id = SubscriptionId::new(7);
            let options = SubscribeOptions {
                qos: AtLeastOnce,
                ..SubscribeOptions::default()
            };
            let granted = link.sender().subscribe_with("$share/g/t", options, id).await;
            assert_eq!(granted, Ok(AtLeastOnce));
            links.push(link);
        }
        let mut guest = client(&broker, "p").connect();
        for _ in 0..20 {
            guest.publish("t", "x", 1);
        }
        guest.sync();
        let mut shares = Vec::new();
        for link in &mut links {
            link.publish(message("elsewhere", "x", AtLeastOnce))
                .await
                .expect("a round trip");
            let mut count = 0;
            while let Some(delivery) = link.try_recv() {
                assert_eq!(delivery.subscription_ids.first().map(|id| id.get()), Some(7));
                delivery.ack();
                count += 1;
            }
            shares.push(count);
        }
        assert_eq!(shares.iter().sum::<usize>(), 20, "{shares:?}");
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    });
}

#[test]
fn a_session_waits_for_its_link() {
    let broker = start(open());
    block_on(async {
        let resume = || broker.handle().link("r").resume(Duration::from_secs(3600));
        let link = resume().connect().await.expect("let in");
        assert!(!link.session_present());
        link.subscribe("t", ExactlyOnce).await.expect("allowed");
        link.close().await;
        client(&broker, "p").connect().publish("t", "while away", 2);
        let mut link = resume().connect().await.expect("let in");
        assert!(link.session_present());
        let unanswered = link.recv().await.expect("the link lives");
        assert_eq!(unanswered.message.payload, "while away");
        // not acknowledged, so it comes again
        drop(unanswered);
        drop(link);
        let mut link = resume().connect().await.expect("let in");
        assert_eq!(take(&mut link).await, "while away");
    });
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-10]
#[test]
fn dropping_it_publishes_the_will_and_closing_it_does_not() {
    let broker = start(open());
    let mut watcher = client(&broker, "w").connect();
    watcher.subscribe("will", 0);
    block_on(async {
        for (payload, in_order) in [("closed", true), ("dropped", false)] {
            let will = message("will", payload, AtMostOnce);
            let link = broker.handle().link("x").will(will, Duration::ZERO).connect();
            let link = link.await.expect("let in");
            if in_order {
                link.close().await;
            } else {
                drop(link);
            }
        }
    });
    watcher.expect_publish("will", "dropped");
}

#[test]
fn it_is_told_how_it_ends() {
    let broker = start(open());
    let handle = broker.handle();
    block_on(async {
        let mut kicked = handle.link("k").connect().await.expect("let in");
        assert!(handle.kick("k", ReasonCode::AdministrativeAction));
        assert!(kicked.recv().await.is_none());
        assert_eq!(
            kicked.publish(message("t", "x", AtMostOnce)).await,
            Err(LinkError::Ended(ReasonCode::AdministrativeAction))
        );

        let mut first = handle.link("twice").connect().await.expect("let in");
        let second = handle.link("twice").connect().await.expect("let in");
        assert!(first.recv().await.is_none());
        assert_eq!(
            first.subscribe("t", AtMostOnce).await,
            Err(LinkError::Ended(ReasonCode::SessionTakenOver))
        );

        assert_eq!(broker.shutdown(Duration::from_secs(5)).await.cut, 0);
        assert_eq!(
            second.publish(message("t", "x", AtMostOnce)).await,
            Err(LinkError::Ended(ReasonCode::ServerShuttingDown))
        );
        assert_eq!(
            handle.link("late").connect().await.err(),
            Some(LinkError::Stopped)
        );
    });
}

#[test]
fn what_cannot_be_is_said() {
    let refuses = Chain::new().on_connect(|_, _| ConnectFlow::Reject(Denial::new(ReasonCode::Banned)));
    let broker = start(open().listener(Listener::internal().name("closed").with_chain(refuses)));
    block_on(async {
        let nowhere = broker.handle().link("x").listener("nowhere").connect().await;
        assert_eq!(nowhere.err(), Some(LinkError::NoListener("nowhere".into())));
        let closed = broker.handle().link("x").listener("closed").connect().await;
        assert_eq!(closed.err(), Some(LinkError::Refused(ReasonCode::Banned)));
        let link = broker.handle().link("x").connect().await.expect("let in");
        let long = "x".repeat(70_000);
        let sent = link.subscribe(&long, AtMostOnce).await;
        assert!(matches!(sent, Err(LinkError::Invalid(_))), "{sent:?}");
        let sent = link.subscribe("a/#/b", AtMostOnce).await;
        assert!(
            matches!(sent, Err(LinkError::Refused(_) | LinkError::Ended(_))),
            "{sent:?}"
        );
        let unnamed = broker.handle().link("").connect().await.expect("let in");
        assert!(!unnamed.client_id().is_empty(), "the broker chose one");
    });
}
