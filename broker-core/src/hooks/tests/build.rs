//! From a chain as written to a chain as it runs.

use broker_types::TopicFilter;
use plugin_api::{
    AcceptVerdict, Control, ControlRequest, Exchange, ExchangeRequest, ExchangeVerdict, async_trait,
};

use super::*;
use crate::chain::{Hook, HookSet};

struct Owner(&'static str);

#[async_trait]
impl Exchange for Owner {
    async fn exchange(&self, _cx: &Cx<'_>, _request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        Ok(ExchangeVerdict::Challenge(Vec::new()))
    }
}

#[async_trait]
impl Control for Owner {
    async fn control(
        &self,
        _cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, broker_types::ReasonCode>, Fault> {
        Ok(Ok([request.payload, self.0.as_bytes()].concat()))
    }
}

fn owner(methods: &[&str], prefixes: &[&str]) -> Capabilities {
    owner_named("", methods, prefixes)
}

fn owner_named(name: &'static str, methods: &[&str], prefixes: &[&str]) -> Capabilities {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Capabilities {
        exchange: Some((owned(methods), Arc::new(Owner(name)))),
        control: Some((owned(prefixes), Arc::new(Owner(name)))),
        ..Capabilities::default()
    }
}

async fn payload(set: &Arc<ChainSet>, to: &str) -> String {
    let (published, message) = publish(set, &message(to)).await;
    assert_eq!(published.verdict, Verdict::Pass);
    String::from_utf8(message.payload.to_vec()).unwrap()
}

#[tokio::test]
async fn nested_chains_stand_where_they_are_put() {
    let inner = Chain::new()
        .plugin(used("2", stamped("2", &[])))
        .plugin(used("3", stamped("3", &[])));
    let outer = Chain::new()
        .plugin(used("1", stamped("1", &[])))
        .chain(Chain::new().chain(inner))
        .plugin(used("4", stamped("4", &[])));
    assert_eq!(payload(&compile(&outer), "a").await, "p1234");
}

#[tokio::test]
async fn one_plugin_in_two_places_is_two_slots_and_one_instance() {
    let plugin: Arc<dyn Plugin> = Arc::new(Fake(stamped("x", &[])));
    let other: Arc<dyn Plugin> = Arc::new(Fake(stamped("y", &[])));
    let inner = Chain::new().plugin(Use::new("second", plugin.clone()));
    let chain = Chain::new()
        .plugin(Use::new("first", plugin.clone()))
        .plugin(Use::new("other", other))
        .chain(inner);
    assert_eq!(payload(&compile(&chain), "a").await, "pxyx");
    let plugins: Vec<_> = chain.plugins().collect();
    assert_eq!(plugins.len(), 2);
    assert!(Arc::ptr_eq(plugins[0], &plugin));
}

#[tokio::test]
async fn topics_narrow_what_the_plugin_wants() {
    let chain = Chain::new()
        .plugin(used("a", stamped("a", &["t/+"])).topics("+/1"))
        .plugin(used("b", stamped("b", &[])).topics(["t/2", "u/#"]))
        .plugin(used("c", stamped("c", &["t/#", "u/1"])));
    let set = compile(&chain);
    for (to, expected) in [
        ("t/1", "pac"),
        ("t/2", "pbc"),
        ("u/1", "pbc"),
        ("u/2", "pb"),
        ("v/1", "p"),
        ("$t/1", "p"),
    ] {
        assert_eq!(payload(&set, to).await, expected, "{to}");
    }
    assert!(set.interest(in_topic("v/1")).publish.is_empty());
}

#[test]
fn a_use_may_have_fewer_hooks_than_its_plugin() {
    let both = || Capabilities {
        accept: Chain::new()
            .on_accept(|_| AcceptVerdict::Drop)
            .plugins()
            .next()
            .unwrap()
            .capabilities()
            .accept,
        ..stamped("x", &[])
    };
    let all = compile(&Chain::new().plugin(used("x", both())));
    assert!(all.mask().has(HookMask::PUBLISH));
    assert_eq!(all.accept(&incoming()), AcceptOutcome::Close);
    let some = compile(&Chain::new().plugin(used("x", both()).on(Hook::Publish)));
    assert_eq!(some.mask(), HookMask::PUBLISH);
    assert_eq!(
        some.accept(&incoming()),
        AcceptOutcome::Go {
            delay: std::time::Duration::ZERO
        }
    );
    let wrong = Chain::new().plugin(used("x", both()).on([Hook::Publish, Hook::Will]));
    assert_eq!(
        try_compile(&wrong, &EventHub::new()).err(),
        Some(ChainError::NoSuchHook {
            plugin: "x".into(),
            hook: Hook::Will,
            has: HookSet::from([Hook::Accept, Hook::Publish]),
        })
    );
}

#[test]
fn an_empty_chain_has_no_hooks() {
    assert_eq!(compile(&Chain::new()).mask(), HookMask::default());
    assert!(
        !compile(&Chain::new())
            .events()
            .wants(plugin_api::EventKind::Connected)
    );
}

#[test]
fn receive_is_asked_only_where_wanted() {
    let authorizer = Chain::new().authorize(|_, _, _| plugin_api::AclVerdict::Allow);
    let capabilities = authorizer.plugins().next().unwrap().capabilities();
    assert!(!compile(&authorizer).mask().has(HookMask::RECEIVE));
    let wants = Capabilities {
        authorize_receive: true,
        ..capabilities
    };
    assert!(
        compile(&Chain::new().plugin(used("x", wants)))
            .mask()
            .has(HookMask::RECEIVE)
    );
}

#[test]
fn filters_are_checked() {
    let error = TopicFilter::new("a#").unwrap_err();
    let expected = Some(ChainError::Filter {
        plugin: "x".into(),
        error,
    });
    let chain = Chain::new().plugin(used("x", stamped("x", &[])).topics("a#"));
    assert_eq!(try_compile(&chain, &EventHub::new()).err(), expected);
    let chain = Chain::new().plugin(used("x", stamped("x", &[])).allow_publish(["a", "a#"]));
    assert_eq!(try_compile(&chain, &EventHub::new()).err(), expected);
    let chain = Chain::new().on_publish("a#", |_, _| Flow::Continue);
    assert!(matches!(
        try_compile(&chain, &EventHub::new()),
        Err(ChainError::Filter { .. })
    ));
}

#[tokio::test]
async fn sixty_four_slots_and_no_more() {
    let full = (0..64).fold(Chain::new(), |chain, _| {
        chain.plugin(used("x", stamped("x", &["a/#"])))
    });
    assert_eq!(payload(&compile(&full), "a").await.len(), 65);
    let over = full.plugin(used("x", stamped("x", &[])));
    assert_eq!(
        try_compile(&over, &EventHub::new()).err(),
        Some(ChainError::TooMany { hook: Hook::Publish })
    );
}

#[test]
fn a_name_has_one_owner() {
    let two = |first, second| Chain::new().plugin(used("1", first)).plugin(used("2", second));
    let owners = |what: &str| {
        Some(ChainError::TwoOwners {
            what: what.into(),
            first: "1".into(),
            second: "2".into(),
        })
    };
    let chain = two(owner(&["SCRAM", "X"], &["p"]), owner(&["Y", "X"], &["q"]));
    assert_eq!(
        try_compile(&chain, &EventHub::new()).err(),
        owners("the Authentication Method `X`")
    );
    let chain = two(owner(&["X"], &["p"]), owner(&["Y"], &["p"]));
    assert_eq!(
        try_compile(&chain, &EventHub::new()).err(),
        owners("the control prefix `p`")
    );
    let set = compile(&two(owner(&["X"], &["p"]), owner(&["Y"], &["q"])));
    assert!(set.exchange_owner("X").is_some() && set.exchange_owner("Y").is_some());
    assert!(set.exchange_owner("Z").is_none() && set.exchange_owner("x").is_none());

    let plugin: Arc<dyn Plugin> = Arc::new(Fake(owner(&["X"], &["p"])));
    let twice = Chain::new()
        .plugin(Use::new("1", plugin.clone()))
        .plugin(Use::new("2", plugin));
    assert!(
        try_compile(&twice, &EventHub::new()).is_ok(),
        "the same plugin owns it"
    );
}

#[tokio::test]
async fn a_control_request_goes_to_the_longest_prefix() {
    let chain = Chain::new()
        .plugin(used("1", owner_named("short", &[], &["a", "x"])))
        .plugin(used("2", owner_named("long", &[], &["a/b"])));
    let set = compile(&chain);
    let ask = async |to: &str| {
        let request = ControlRequest {
            topic: in_topic(to),
            payload: b"by ",
        };
        set.control(&client(), &request).await
    };
    for (to, by) in [
        ("$CONTROL/a/x", "short"),
        ("$CONTROL/a", "short"),
        ("$CONTROL/a/b/c", "long"),
    ] {
        assert_eq!(
            ask(to).await,
            ControlOutcome::Reply(format!("by {by}").into_bytes()),
            "{to}"
        );
    }
    for to in ["$CONTROL/ab/x", "$CONTROL/b", "a/x", "$CONTROL"] {
        assert_eq!(
            ask(to).await,
            ControlOutcome::Refuse(broker_types::ReasonCode::NotAuthorized),
            "{to}"
        );
    }
    let counts = set.counts();
    let calls: Vec<_> = counts
        .iter()
        .map(|counts| (&*counts.plugin, &counts.calls[..]))
        .collect();
    assert_eq!(
        calls,
        [("1", &[(Hook::Control, 2)][..]), ("2", &[(Hook::Control, 1)][..])]
    );
}

#[test]
fn a_connection_remembers_interest_for_one_generation() {
    let chain = |filter| Chain::new().plugin(used("x", stamped("x", &[filter])));
    let compile = |filter, generation| {
        ChainSet::compile(&chain(filter), &instance, generation, &EventHub::new()).unwrap()
    };
    let (before, after) = (compile("t/#", 1), compile("u/#", 2));
    let mut cache = InterestCache::default();
    // As many as it holds, and more.
    for count in [8, 20] {
        let topics: Vec<_> = (0..count)
            .map(|n| format!("{}/{}", ["t", "u"][n % 2], n / 2))
            .collect();
        let long = format!("t/{}", "x".repeat(300));
        for set in [&before, &after, &before] {
            for _ in 0..2 {
                for text in topics.iter().chain([&long]) {
                    assert_eq!(
                        cache.get(set, in_topic(text)),
                        set.interest(in_topic(text)),
                        "{text}"
                    );
                }
            }
        }
    }
    assert!(!before.interest(in_topic("t/1")).publish.is_empty());
}
