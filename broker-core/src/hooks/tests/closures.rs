//! Closures as hooks, each through the chain it makes.

use std::time::Duration;

use broker_types::ReasonCode;
use plugin_api::{
    AcceptVerdict, AclVerdict, AuthVerdict, ConnectFlow, DeliverFlow, Denial, RetainVerdict, SubscribeFlow,
};

use super::*;

#[test]
fn accept_closes_or_delays() {
    let second = Duration::from_secs(1);
    let chain = Chain::new()
        .on_accept(move |_| AcceptVerdict::Delay(second))
        .on_accept(move |_| AcceptVerdict::Delay(second * 100));
    let delay = Duration::from_secs(61);
    assert_eq!(compile(&chain).accept(&incoming()), AcceptOutcome::Go { delay });
    let chain = chain.on_accept(|_| AcceptVerdict::Drop);
    assert_eq!(compile(&chain).accept(&incoming()), AcceptOutcome::Close);
}

#[tokio::test]
async fn connect_changes_what_follows() {
    let chain = Chain::new()
        .on_connect(|_, edit| {
            edit.client_id = "assigned".into();
            edit.clean_start = false;
            ConnectFlow::Continue
        })
        .on_connect(|_, edit| {
            edit.mount = format!("{}/", edit.client_id).into();
            ConnectFlow::Stop
        })
        .on_connect(|_, _| ConnectFlow::Reject(Denial::not_authorized()));
    let ConnectOutcome::Go(edit) = compile(&chain).connect(&client(), connect_edit()).await else {
        panic!("refused")
    };
    assert_eq!((edit.client_id.as_str(), &*edit.mount), ("assigned", "assigned/"));
    assert!(edit.clean_start, "Clean Start is read only");
}

#[tokio::test]
async fn a_redirect_keeps_its_server_reference() {
    let chain = Chain::new().on_connect(|_, edit| {
        edit.server_reference = Some("other:1883".into());
        ConnectFlow::Reject(Denial::new(ReasonCode::UseAnotherServer))
    });
    let ConnectOutcome::Reject(denial, edit) = compile(&chain).connect(&client(), connect_edit()).await
    else {
        panic!("not refused")
    };
    assert_eq!(denial.reason, ReasonCode::UseAnotherServer);
    assert_eq!(edit.server_reference.as_deref(), Some("other:1883"));
}

#[tokio::test]
async fn what_no_packet_can_carry_is_a_fault() {
    for bad in [
        (|edit: &mut ConnectEdit| edit.mount = "a/+/".into()) as fn(&mut ConnectEdit),
        |edit| edit.client_id = "a\0".into(),
        |edit| edit.server_reference = Some("x".repeat(65_536)),
        |edit| edit.user_properties.push(("\0".into(), String::new())),
    ] {
        let chain = Chain::new().on_connect(move |_, edit| {
            bad(edit);
            ConnectFlow::Continue
        });
        let outcome = compile(&chain).connect(&client(), connect_edit()).await;
        let unchanged = Box::new(connect_edit());
        assert_eq!(
            outcome,
            ConnectOutcome::Reject(Denial::new(ReasonCode::ServerUnavailable), unchanged)
        );
    }
    let grant = plugin_api::Grant {
        mount: Some("#".into()),
        ..plugin_api::Grant::default()
    };
    let chain = Chain::new().authenticate(move |_| AuthVerdict::Allow(Box::new(grant.clone())));
    assert_eq!(
        compile(&chain)
            .authenticate(&client(), &auth_request(), false)
            .await,
        AuthOutcome::Refuse(Denial::new(ReasonCode::ServerUnavailable))
    );
}

#[tokio::test]
async fn authenticators_may_wait() {
    let chain = Chain::new().authenticate_async(|request| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(AuthVerdict::allow_as(format!(
                "{}!",
                request.username.unwrap_or_default()
            )))
        })
    });
    let outcome = compile(&chain)
        .authenticate(&client(), &auth_request(), false)
        .await;
    let AuthOutcome::Allow {
        grant,
        authenticated: true,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(grant.username.as_deref(), Some("u!"));
}

#[tokio::test]
async fn authorize_sees_each_topic() {
    let chain = Chain::new().authorize(|client, _, item| match item.topic == client.id.as_str() {
        true => AclVerdict::Allow,
        false => AclVerdict::Skip,
    });
    let decisions = authorize(
        &compile(&chain),
        Action::Subscribe,
        &[acl_item("c"), acl_item("d")],
    )
    .await;
    let outcomes: Vec<_> = decisions.into_iter().map(|decision| decision.outcome).collect();
    let max_qos = QoS::ExactlyOnce;
    assert_eq!(
        outcomes,
        [
            Outcome::Allow { max_qos },
            Outcome::Deny(Denial::not_authorized())
        ]
    );
}

#[tokio::test]
async fn subscriptions_change_filter_class_and_highest_qos() {
    let chain = Chain::new()
        .on_subscribe(|_, edit| {
            edit.filter = SubscriptionFilter::parse("x/#").unwrap();
            edit.max_qos = QoS::AtMostOnce;
            edit.class = 7;
            edit.no_local = true;
            SubscribeFlow::Continue
        })
        .on_subscribe(|_, edit| {
            edit.max_qos = QoS::ExactlyOnce;
            match edit.requested.filter.as_str() {
                "no" => SubscribeFlow::Reject(Denial::not_authorized()),
                _ => SubscribeFlow::Continue,
            }
        });
    let edits = vec![subscribe_edit("no"), subscribe_edit("yes")];
    let outcomes = compile(&chain).subscribe(&client(), edits).await;
    assert_eq!(outcomes[0], FilterOutcome::Reject(Denial::not_authorized()));
    let expected = SubscribeEdit {
        filter: SubscriptionFilter::parse("x/#").unwrap(),
        max_qos: QoS::AtMostOnce,
        class: 7,
        ..subscribe_edit("yes")
    };
    assert_eq!(outcomes[1], FilterOutcome::Go(expected));
}

#[tokio::test]
async fn publish_may_wait_and_sees_the_client() {
    let chain = Chain::new()
        .on_publish("a", |cx, edit| {
            edit.set_payload(cx.client.id.as_str().to_owned());
            Flow::Continue
        })
        .on_publish_async("a", |client, message| async move {
            assert_eq!((client.id.as_str(), &message.payload[..]), ("c", &b"c"[..]));
            let patch = Patch {
                topic: Some(topic("b")),
                ..Patch::default()
            };
            Ok((Flow::Stop, patch))
        })
        .on_publish(Vec::new(), |_, _| Flow::Drop);
    let (published, out) = publish(&compile(&chain), &message("a")).await;
    assert_eq!(published.verdict, Verdict::Pass);
    assert_eq!((out.topic.as_str(), &out.payload[..]), ("b", &b"c"[..]));
}

#[tokio::test]
async fn deliver_goes_from_end_to_beginning_and_follows_the_topic() {
    let append = |class: u32, edit: &mut MessageEdit<'_>, mark: &str| {
        edit.set_payload([edit.payload(), format!("{mark}{class}").as_bytes()].concat());
        DeliverFlow::Continue
    };
    let chain = Chain::new()
        .on_deliver("other", move |class, edit| append(class, edit, "a"))
        .on_deliver("t", move |class, edit| append(class, edit, "b"))
        .on_deliver("t", move |class, edit| {
            edit.set_topic(topic("other"));
            append(class, edit, "c")
        });
    let (outcome, out) = deliver(&compile(&chain), 5, &message("t")).await;
    assert_eq!((outcome, &out.payload[..]), (DeliverOutcome::Send, &b"pc5a5"[..]));
    let chain = chain.on_deliver("t", |_, _| DeliverFlow::Drop);
    assert_eq!(
        deliver(&compile(&chain), 5, &message("t")).await.0,
        DeliverOutcome::Drop
    );
}

#[test]
fn the_shortest_time_of_retention_holds_and_pass_is_final() {
    let keep = |secs| move |_: &Message| RetainVerdict::StoreFor(Duration::from_secs(secs));
    let chain = Chain::new().on_retain(|_| RetainVerdict::Store);
    assert_eq!(compile(&chain).retain(&message("a")), Retained::Store);
    let chain = chain.on_retain(keep(5)).on_retain(keep(2)).on_retain(keep(9));
    assert_eq!(
        compile(&chain).retain(&message("a")),
        Retained::StoreFor(Duration::from_secs(2))
    );
    let chain = chain.on_retain(|_| RetainVerdict::Pass);
    assert_eq!(compile(&chain).retain(&message("a")), Retained::Pass);
}

#[tokio::test]
async fn a_mount_counts_for_what_a_plugin_may_publish() {
    let mounted = Arc::new(ClientView {
        mount: "tenant/".into(),
        ..view()
    });
    let moving = |to: &'static str| {
        let chain = Chain::new().on_publish(Vec::new(), move |_, edit| {
            edit.set_topic(topic(to));
            Flow::Continue
        });
        let plugin = chain.plugins().next().unwrap().clone();
        compile(&Chain::new().plugin(Use::new("x", plugin).allow_publish("tenant/+")))
    };
    let verdict = async |to| publish_as(&mounted, &moving(to), &message("a")).await.0.verdict;
    assert_eq!(verdict("b").await, Verdict::Pass);
    assert_eq!(verdict("tenant/b").await, Verdict::Fault(FaultAction::Deny));
}
