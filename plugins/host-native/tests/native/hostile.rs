//! Plugins that do what they should, and plugins that do what they should not: nothing of it gets past the border.

use std::time::Duration;

use crate::common::{client, compiled, cx};
use broker_types::{Message, ProtocolVersion, QoS, ReasonCode, Source, TopicName};
use plugin_api::{
    AclDecision, AclItem, AclRequest, AclVerdict, Action, Answer, AuthRequest, AuthVerdict, Fault, FaultKind,
    Flow, LoadError, MessageEdit, MessageParts, Plugin, PluginLoader, RetainVerdict, StoreFault, StoreOp,
    TimerId,
};

const REQUEST: AuthRequest<'_> = AuthRequest {
    client_id: "c",
    username: Some("u"),
    password: Some(b"secret"),
    certificate: None,
    sni: None,
    version: ProtocolVersion::V5,
    clean_start: true,
};

async fn authenticate(plugin: &dyn Plugin) -> Result<AuthVerdict, Fault> {
    let client = client();
    let hook = plugin.capabilities().authenticate.unwrap();
    hook.authenticate(&cx(&client), &REQUEST).await
}

#[tokio::test]
async fn who_a_library_is_is_checked_before_it_runs() {
    for (macros, why) in [
        ("ENTRY_MAGIC=7", "doesn't begin"),
        ("ENTRY_MAJOR=2", "built for ABI 2.1, this broker has 1.1"),
        ("ENTRY_MINOR=9", "built for ABI 1.9, this broker has 1.1"),
        ("ENTRY_SIZE=40", "too short"),
        (
            "jackfield_plugin_v1=something_else",
            "doesn't export `jackfield_plugin_v1`",
        ),
    ] {
        let Some(compiled) = compiled(&[macros]) else {
            return;
        };
        let error = compiled.loader().inspect(&compiled.source()).await.unwrap_err();
        assert!(error.to_string().contains(why), "{macros}: {error}");
    }
}

#[tokio::test]
async fn a_library_says_what_it_is_and_what_options_are_wrong() {
    let Some(compiled) = compiled(&[]) else { return };
    let info = compiled.loader().inspect(&compiled.source()).await.unwrap();
    assert_eq!((info.id.as_str(), info.version.as_str()), ("test.c", "1.0.0"));
    let hooks = [
        "authenticate",
        "authorize",
        "publish",
        "retain",
        "session-store",
        "bridge",
    ];
    assert_eq!(info.hooks, hooks);
    let wrong = compiled
        .loader()
        .check(&compiled.source(), "{\"mode\":\"wrong\"}")
        .await;
    let expected = LoadError::Options {
        key: "mode".to_owned(),
        why: "must be right".to_owned(),
    };
    assert_eq!(wrong, Err(expected));
}

/// The file is another one between the look and the opening: what is loaded is what was hashed.
#[tokio::test]
async fn a_library_that_is_cut_or_pinned_to_other_bytes_is_not_loaded() {
    let Some(compiled) = compiled(&[]) else { return };
    let mut pinned = compiled.source();
    pinned.sha256 = Some("0".repeat(64));
    assert!(compiled.loader().inspect(&pinned).await.is_err());
    let whole = std::fs::read(compiled.path()).unwrap();
    for len in [0, 10, 64, 500, whole.len() / 2] {
        std::fs::write(compiled.path(), &whole[..len]).unwrap();
        let refused = compiled.loader().inspect(&compiled.source()).await;
        assert!(
            matches!(refused, Err(LoadError::Refused { .. })),
            "{len}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn an_instance_that_breaks_the_rules_is_not_made() {
    let Some(compiled) = compiled(&[]) else { return };
    for (mode, why) in [
        ("no-create", "not today"),
        ("no-table", "no table"),
        ("no-interest", "no interest"),
        ("null-function", "`publish` and has no function"),
        ("unoffered", "hook `will`, which its library doesn't offer"),
        ("unheard-of", "hooks that nobody knows"),
        ("bad-filter", "`a/#/b`"),
        ("huge-list", "longer than 1024"),
        ("serial-retain", "answer at once"),
    ] {
        let error = compiled.try_load(mode, "").await.err().unwrap();
        assert!(error.contains(why), "{mode}: {error}");
    }
}

/// Whatever sizes the structs say: the instance is refused or has fewer functions, and nothing is read beyond them.
#[tokio::test]
async fn structs_of_every_size_are_read_as_far_as_they_say() {
    let Some(compiled) = compiled(&[]) else { return };
    for size in 0..=300 {
        for kind in ["size", "isize"] {
            if let Ok(plugin) = compiled.try_load(&format!("{kind}-{size}"), "").await {
                let _ = plugin.capabilities();
            }
        }
    }
    assert!(
        compiled.try_load("size-1000", "").await.is_ok(),
        "a newer plugin's table may be longer"
    );
}

#[tokio::test]
async fn the_life_of_an_instance() {
    let Some(compiled) = compiled(&[]) else { return };
    let (plugin, host) = compiled.start("allow", "").await;
    assert_eq!(*host.lines.lock().unwrap(), ["started"]);
    assert_eq!(plugin.save_state().await.as_deref(), Some(&b"state"[..]));
    assert_eq!(plugin.load_state("1.0.0", b"state").await, Ok(()));
    assert!(plugin.load_state("1", b"").await.is_err());
    assert_eq!(plugin.reconfigure("{}").await, Ok(false));
    plugin.stop(Duration::from_secs(1)).await;
    for (mode, kind, text) in [
        ("ill", FaultKind::Backend, "not well"),
        (
            "no-start",
            FaultKind::Backend,
            "something it depends on is not available",
        ),
    ] {
        let plugin = compiled.try_load(mode, "").await.unwrap();
        let fault = plugin.start(host.clone()).await.unwrap_err();
        assert_eq!((fault.kind, fault.text.as_ref()), (kind, text));
    }
}

#[tokio::test]
async fn verdicts_come_with_what_is_attached() {
    let Some(compiled) = compiled(&[]) else { return };
    for also in ["", "pool", "serial"] {
        let (plugin, _) = compiled.start("allow", also).await;
        let Ok(AuthVerdict::Allow(grant)) = authenticate(&*plugin).await else {
            panic!("not allowed ({also})");
        };
        assert_eq!(grant.username.as_deref(), Some("u"));
        assert_eq!(grant.mount.as_deref(), Some("tenant/"));
        assert_eq!(grant.expires_in, Some(Duration::from_secs(60)));
        assert_eq!(grant.attributes, [("peer".to_owned(), "unix".to_owned())]);
        let (plugin, _) = compiled.start("deny", also).await;
        let Ok(AuthVerdict::Deny(denial)) = authenticate(&*plugin).await else {
            panic!("not denied ({also})");
        };
        assert_eq!(
            (denial.reason, denial.text.as_deref()),
            (ReasonCode::Banned, Some("go away"))
        );
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_a_fault_and_never_a_verdict() {
    let Some(compiled) = compiled(&[]) else { return };
    for also in ["", "pool", "serial"] {
        for (mode, kind, text) in [
            ("fault", FaultKind::Panic, "it broke"),
            ("unavailable", FaultKind::Backend, "no database"),
            ("bad-verdict", FaultKind::Protocol, "verdict 77"),
            ("fold-verdict", FaultKind::Protocol, "verdict 16"),
            ("bad-status", FaultKind::Protocol, "status 42"),
            ("bad-reason", FaultKind::Protocol, "no refusal"),
            ("bad-mount", FaultKind::Protocol, "no part of a topic"),
            ("later-fault", FaultKind::Panic, "it broke later"),
            ("later-two", FaultKind::Protocol, "2 verdicts, not 1"),
        ] {
            let (plugin, _) = compiled.start(mode, also).await;
            let fault = authenticate(&*plugin).await.unwrap_err();
            assert_eq!(fault.kind, kind, "{mode} {also}: {fault}");
            assert!(fault.text.contains(text), "{mode} {also}: {fault}");
        }
        let (plugin, _) = compiled.start("bad-text", also).await;
        assert_eq!(
            authenticate(&*plugin).await,
            Ok(AuthVerdict::Skip),
            "a service believed too much"
        );
    }
}

#[tokio::test]
async fn a_call_is_answered_once_however_often_it_is_completed() {
    let Some(compiled) = compiled(&[]) else { return };
    for also in ["", "pool", "serial"] {
        for (mode, stale) in [("later", 0), ("at-once", 0), ("twice", 1), ("race", 31)] {
            let (plugin, host) = compiled.start(mode, also).await;
            let Ok(AuthVerdict::Allow(grant)) = authenticate(&*plugin).await else {
                panic!("not allowed: {mode}");
            };
            assert_eq!(grant.username.as_deref(), Some("later"), "{mode}");
            host.await_counter("completed", 1);
            host.await_counter("stale", stale);
            assert_eq!(host.counter_of("completed"), 1, "{mode} {also}");
        }
    }
    let (plugin, _) = compiled.start("both", "").await;
    let fault = authenticate(&*plugin).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol, "{fault}");
}

#[tokio::test]
async fn a_call_that_is_never_completed_is_cancelled_and_its_late_end_frees_it() {
    let Some(compiled) = compiled(&[]) else { return };
    for also in ["", "pool", "serial"] {
        let (plugin, host) = compiled.start("never", also).await;
        let waited = tokio::time::timeout(Duration::from_millis(50), authenticate(&*plugin)).await;
        assert!(waited.is_err(), "it answered");
        host.await_counter("cancelled", 1);
        plugin.on_timer(TimerId(1)).await;
        assert_eq!(host.counter_of("late-sink"), 1, "{also}");
        assert_eq!(
            (host.counter_of("stale"), host.counter_of("freed")),
            (1, 1),
            "{also}"
        );
        plugin.on_timer(TimerId(1)).await;
        assert_eq!(host.counter_of("late-sink"), 1, "the sink is closed ({also})");
    }
}

fn message() -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(TopicName::new("a/b").unwrap(), "quiet")
    }
}

async fn publish(plugin: &dyn Plugin, edit: &mut MessageEdit<'_>) -> Result<Flow, Fault> {
    let client = client();
    let scoped = plugin.capabilities().publish.unwrap();
    assert_eq!(scoped.filters[0].as_str(), "a/+");
    match scoped.hook.publish(&cx(&client), edit) {
        Answer::Now(flow) => flow,
        Answer::Later(later) => {
            let (flow, patch) = later.await?;
            edit.apply(patch);
            Ok(flow)
        }
    }
}

#[tokio::test]
async fn a_message_is_edited_multiplied_and_refused() {
    let Some(compiled) = compiled(&[]) else { return };
    let message = message();
    for also in ["", "pool", "serial"] {
        let edit = &mut MessageEdit::new(MessageParts::of(&message, Source::Client));
        let (plugin, _) = compiled.start("shout", also).await;
        assert_eq!(publish(&*plugin, edit).await, Ok(Flow::Stop));
        assert_eq!((edit.topic().as_str(), edit.payload()), ("loud", &b"QUIET"[..]));
        assert_eq!(
            edit.properties()
                .user()
                .map(|user| user.value)
                .collect::<Vec<_>>(),
            ["c"]
        );
        let emitted = &edit.drafted().unwrap().emitted;
        assert_eq!(
            (emitted[0].topic.as_str(), &emitted[0].payload[..]),
            ("more", &b"a/b"[..])
        );

        let edit = &mut MessageEdit::new(MessageParts::of(&message, Source::Client));
        let (plugin, _) = compiled.start("throttle", also).await;
        assert_eq!(
            publish(&*plugin, edit).await,
            Ok(Flow::Throttle(Duration::from_millis(250)))
        );
        let (plugin, _) = compiled.start("reject", also).await;
        let Ok(Flow::Reject(denial)) = publish(&*plugin, edit).await else {
            panic!("not rejected");
        };
        assert_eq!(
            (denial.reason, denial.text.as_deref()),
            (ReasonCode::PayloadFormatInvalid, Some("no"))
        );
        let (plugin, _) = compiled.start("emit-nothing", also).await;
        assert_eq!(
            publish(&*plugin, edit).await.unwrap_err().kind,
            FaultKind::Protocol
        );
    }
}

#[tokio::test]
async fn retain_answers_at_once_or_not_at_all() {
    let Some(compiled) = compiled(&[]) else { return };
    let (plugin, _) = compiled.start("pass", "").await;
    let retain = plugin.capabilities().retain.unwrap();
    assert_eq!(
        retain.retain(&message()),
        Ok(RetainVerdict::StoreFor(Duration::from_secs(9)))
    );
    let (plugin, _) = compiled.start("pend-at-once", "").await;
    let fault = plugin
        .capabilities()
        .retain
        .unwrap()
        .retain(&message())
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol);
}

#[tokio::test]
async fn all_filters_of_a_subscribe_are_decided_in_one_call() {
    let Some(compiled) = compiled(&[]) else { return };
    let client = client();
    let item = |topic, qos| AclItem {
        topic,
        qos,
        retain: false,
        share: None,
    };
    let items = [
        item("a", QoS::ExactlyOnce),
        item("n", QoS::AtMostOnce),
        item("b", QoS::AtMostOnce),
    ];
    let request = AclRequest {
        action: Action::Subscribe,
        items: &items,
    };
    for (mode, also) in [
        ("pass", ""),
        ("pass", "pool"),
        ("pass", "serial"),
        ("acl-later", ""),
    ] {
        let (plugin, _) = compiled.start(mode, also).await;
        let mut out = vec![AclDecision::default(); 3];
        let hook = plugin.capabilities().authorize.unwrap();
        match hook.authorize(&cx(&client), &request, &mut out) {
            Answer::Now(result) => result.unwrap(),
            Answer::Later(later) => out = later.await.unwrap(),
        }
        if mode == "acl-later" {
            assert!(out.iter().all(|decision| decision.verdict == AclVerdict::Allow));
            continue;
        }
        assert_eq!(out[0].verdict, AclVerdict::AllowMaxQos(QoS::AtLeastOnce));
        assert_eq!(out[0].cache_for, Some(AclDecision::FOREVER));
        assert!(matches!(out[1].verdict, AclVerdict::Deny(_)));
        assert_eq!(out[2].verdict, AclVerdict::AllowMaxQos(QoS::AtMostOnce));
    }
}

#[tokio::test]
async fn a_store_and_a_bridge_behind_the_border() {
    let Some(compiled) = compiled(&[]) else { return };
    let (plugin, _) = compiled.start("pass", "").await;
    let store = plugin.capabilities().session_store.unwrap();
    assert_eq!(store.caps().batch_bytes_max, 1000);
    let key = bytes::Bytes::from_static(b"k");
    let delete = StoreOp::Delete { key: key.clone() };
    let want = plugin_api::Durability::Fsync;
    assert_eq!(store.commit(&[delete], want).await, Ok(()));
    let expect = StoreOp::Expect { key, value: None };
    assert_eq!(store.commit(&[expect], want).await, Err(StoreFault::Conflict));
    assert_eq!(store.get(b"k").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.get(b"none").await, Ok(None));
    assert_eq!(store.scan(b"", None, 10).await.unwrap().len(), 2);
    assert!(matches!(
        store.scan(b"", None, 1).await,
        Err(StoreFault::Corrupt(_))
    ));
    assert!(matches!(
        store.scan(b"x", None, 10).await,
        Err(StoreFault::Corrupt(_))
    ));
    let bridge = plugin.capabilities().bridge.unwrap();
    assert_eq!(bridge.egress(&[message(), message()]).await, Ok(1));
    assert_eq!(bridge.ingress().await.unwrap()[0].topic.as_str(), "in");
    let (plugin, _) = compiled.start("unsorted", "").await;
    let store = plugin.capabilities().session_store.unwrap();
    assert!(matches!(
        store.scan(b"", None, 10).await,
        Err(StoreFault::Corrupt(_))
    ));
    let (plugin, _) = compiled.start("greedy", "").await;
    let fault = plugin
        .capabilities()
        .bridge
        .unwrap()
        .egress(&[message()])
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Protocol);
}
