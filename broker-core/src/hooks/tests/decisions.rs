//! Authenticate and authorize: the first verdict or everybody's consent, what nobody's verdict means, and what may be
//! remembered.

use std::time::Duration;

use broker_types::Timestamp;
use plugin_api::{AclDecision, AclRequest, AclVerdict, AuthVerdict, Authorize, Denial, Grant};
use proptest::prelude::*;

use super::*;
use crate::chain::OnFault;

const MAX: QoS = QoS::ExactlyOnce;

fn allow(max_qos: QoS) -> Outcome {
    Outcome::Allow { max_qos }
}

fn denied() -> Outcome {
    Outcome::Deny(Denial::not_authorized())
}

#[tokio::test]
async fn who_is_let_in_as_nobody() {
    let empty = Chain::new();
    let skipping = Chain::new().authenticate(|_| AuthVerdict::Skip);
    let denying = Chain::new().authenticate(|_| AuthVerdict::bad_credentials());
    let came_with_nothing = AuthRequest {
        username: None,
        password: None,
        ..auth_request()
    };
    let only_a_name = AuthRequest {
        password: None,
        ..auth_request()
    };
    let refused = || AuthOutcome::Refuse(Denial::not_authorized());
    for (chain, request, anonymous, expected) in [
        (&empty, auth_request(), true, AuthOutcome::Anonymous),
        (&empty, came_with_nothing, true, AuthOutcome::Anonymous),
        (&empty, came_with_nothing, false, refused()),
        (&skipping, came_with_nothing, true, AuthOutcome::Anonymous),
        (&skipping, came_with_nothing, false, refused()),
        (&skipping, only_a_name, true, refused()),
        (&skipping, auth_request(), true, refused()),
        (
            &denying,
            came_with_nothing,
            true,
            AuthOutcome::Refuse(Denial::new(broker_types::ReasonCode::BadUserNameOrPassword)),
        ),
    ] {
        let outcome = compile(chain).authenticate(&client(), &request, anonymous).await;
        assert_eq!(outcome, expected, "{chain:?} {request:?} {anonymous}");
    }
}

#[tokio::test]
async fn the_first_authenticator_decides_or_all_must_consent() {
    let grant = |name: &str, cap| {
        AuthVerdict::Allow(Box::new(Grant {
            username: Some(name.to_owned()),
            attributes: vec![("by".into(), name.to_owned())],
            session_expiry_cap: Some(Duration::from_secs(cap)),
            ..Grant::default()
        }))
    };
    let verdicts = [
        AuthVerdict::Skip,
        grant("one", 5),
        AuthVerdict::Skip,
        grant("two", 9),
    ];
    let chain = verdicts.into_iter().fold(Chain::new(), |chain, verdict| {
        chain.authenticate(move |_| verdict.clone())
    });
    let ask = async |chain: &Chain| {
        compile(chain)
            .authenticate(&client(), &auth_request(), false)
            .await
    };

    let AuthOutcome::Allow {
        grant: first,
        authenticated: true,
    } = ask(&chain).await
    else {
        panic!()
    };
    assert_eq!(first.username.as_deref(), Some("one"));

    // The stricter rule of a nested chain holds for the whole.
    let all = Chain::new().chain(chain.clone().authenticate_all());
    let AuthOutcome::Allow {
        grant,
        authenticated: true,
    } = ask(&all).await
    else {
        panic!()
    };
    assert_eq!(grant.username.as_deref(), Some("two"));
    assert_eq!(
        (grant.attributes.len(), grant.session_expiry_cap),
        (2, Some(Duration::from_secs(5)))
    );

    let with_a_no = |chain: Chain| chain.authenticate(|_| AuthVerdict::bad_credentials());
    assert!(matches!(ask(&with_a_no(chain)).await, AuthOutcome::Allow { .. }));
    assert!(matches!(ask(&with_a_no(all)).await, AuthOutcome::Refuse(_)));
}

#[tokio::test]
async fn only_a_verdict_makes_a_client_authenticated() {
    let down = || {
        let chain = Chain::new().authenticate_async(|_| Box::pin(async { Err(backend_down()) }));
        let plugin = chain.plugins().next().unwrap().clone();
        Use::new("down", plugin).on_error(OnFault::Allow)
    };
    let yes = |chain: Chain| chain.authenticate(|_| AuthVerdict::allow());
    for (chain, expected) in [
        (Chain::new().plugin(down()), false),
        (yes(Chain::new().plugin(down())), false),
        (yes(Chain::new().plugin(down())).authenticate_all(), true),
        (yes(Chain::new()).plugin(down()).authenticate_all(), true),
        (
            Chain::new().plugin(down()).plugin(down()).authenticate_all(),
            false,
        ),
    ] {
        let outcome = compile(&chain)
            .authenticate(&client(), &auth_request(), false)
            .await;
        let AuthOutcome::Allow { authenticated, .. } = outcome else {
            panic!("{chain:?} {outcome:?}")
        };
        assert_eq!(authenticated, expected, "{chain:?}");
    }
}

/// What one authorizer says about each item, or its fault.
#[derive(Clone, Debug)]
struct Spec {
    later: bool,
    answer: Result<Vec<AclDecision>, OnFault>,
}

struct Scripted {
    spec: Spec,
    at: usize,
    seen: Calls<(usize, Vec<usize>)>,
}

impl Authorize for Scripted {
    fn authorize(
        &self,
        _cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let asked: Vec<usize> = request
            .items
            .iter()
            .map(|item| item.topic.parse().unwrap())
            .collect();
        assert_eq!(out.len(), asked.len());
        self.seen.lock().unwrap().push((self.at, asked.clone()));
        let answer = match &self.spec.answer {
            Ok(decisions) => Ok(asked
                .iter()
                .map(|item| decisions[*item].clone())
                .collect::<Vec<_>>()),
            Err(_) => Err(backend_down()),
        };
        // What is written before a fault or an answer that comes later doesn't count.
        out.fill(AclDecision::fixed(AclVerdict::Allow));
        if self.spec.later {
            return Answer::later(async move {
                tokio::task::yield_now().await;
                answer
            });
        }
        Answer::Now(answer.map(|decisions| out.clone_from_slice(&decisions)))
    }
}

const ITEMS: usize = 3;

fn chain_of(specs: &[Spec], all: bool, seen: &Calls<(usize, Vec<usize>)>) -> Chain {
    let chain = specs.iter().enumerate().fold(Chain::new(), |chain, (at, spec)| {
        let hook: Arc<dyn Authorize> = Arc::new(Scripted {
            spec: spec.clone(),
            at,
            seen: seen.clone(),
        });
        let on_error = *spec.answer.as_ref().err().unwrap_or(&OnFault::Deny);
        let capabilities = Capabilities {
            authorize: Some(hook),
            ..Capabilities::default()
        };
        chain.plugin(used("scripted", capabilities).on_error(on_error))
    });
    if all { chain.authorize_all() } else { chain }
}

/// What the documentation says of one item. Also who is asked about it.
fn reference(specs: &[Spec], all: bool, item: usize) -> (Decision, Vec<usize>) {
    let mut cache_for = Some(AclDecision::FOREVER);
    let (mut allowed, mut asked) = (None::<QoS>, Vec::new());
    let mut end = None;
    for (at, spec) in specs.iter().enumerate() {
        asked.push(at);
        let verdict = match &spec.answer {
            Ok(decisions) => {
                cache_for = cache_for.and_then(|a| decisions[item].cache_for.map(|b| a.min(b)));
                decisions[item].verdict.clone()
            }
            Err(action) => {
                cache_for = None;
                match action {
                    OnFault::Skip => AclVerdict::Skip,
                    OnFault::Allow => AclVerdict::Allow,
                    OnFault::Deny | OnFault::Drop | OnFault::Disconnect => {
                        end = Some(Outcome::Fault(action.action().unwrap()));
                        break;
                    }
                }
            }
        };
        let qos = match verdict {
            AclVerdict::Skip => continue,
            AclVerdict::Allow => MAX,
            AclVerdict::AllowMaxQos(qos) => qos,
            AclVerdict::Deny(denial) => {
                end = Some(Outcome::Deny(denial));
                break;
            }
        };
        allowed = Some(allowed.map_or(qos, |before| before.min(qos)));
        if !all {
            break;
        }
    }
    let undecided = if specs.is_empty() { allow(MAX) } else { denied() };
    let outcome = end.or(allowed.map(allow)).unwrap_or(undecided);
    (Decision { outcome, cache_for }, asked)
}

fn specs() -> impl Strategy<Value = Spec> {
    let verdict = prop_oneof![
        3 => Just(AclVerdict::Skip),
        1 => Just(AclVerdict::Allow),
        1 => (0..3u8).prop_map(|bits| AclVerdict::AllowMaxQos(QoS::from_bits(bits).unwrap())),
        1 => Just(AclVerdict::Deny(Denial::not_authorized().because("no"))),
    ];
    let cache_for = prop_oneof![
        1 => Just(None),
        2 => Just(Some(AclDecision::FOREVER)),
        2 => (1..9u64).prop_map(|secs| Some(Duration::from_secs(secs))),
    ];
    let decision = (verdict, cache_for).prop_map(|(verdict, cache_for)| AclDecision { verdict, cache_for });
    let action = proptest::sample::select(vec![
        OnFault::Deny,
        OnFault::Skip,
        OnFault::Drop,
        OnFault::Disconnect,
        OnFault::Allow,
    ]);
    let answer = prop_oneof![
        5 => proptest::collection::vec(decision, ITEMS).prop_map(Ok),
        1 => action.prop_map(Err),
    ];
    (any::<bool>(), answer).prop_map(|(later, answer)| Spec { later, answer })
}

proptest! {
    #[test]
    fn authorizers_decide_as_the_reference_does(specs in proptest::collection::vec(specs(), 0..6), all: bool) {
        let seen = Calls::default();
        let set = compile(&chain_of(&specs, all, &seen));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let items = ["0", "1", "2"].map(acl_item);
        let decisions = runtime.block_on(authorize(&set, Action::Subscribe, &items));
        let expected: Vec<_> = (0..ITEMS).map(|item| reference(&specs, all, item)).collect();
        for (at, asked) in taken(&seen) {
            let open: Vec<_> = (0..ITEMS).filter(|item| expected[*item].1.contains(&at)).collect();
            prop_assert_eq!(asked, open, "slot {} is asked about what is open, in one call", at);
        }
        let expected: Vec<_> = expected.into_iter().map(|(decision, _)| decision).collect();
        prop_assert_eq!(decisions, expected);
    }
}

fn saying(verdict: AclVerdict, cache_for: Option<Duration>, receive: bool) -> Capabilities {
    let decision = AclDecision { verdict, cache_for };
    let spec = Spec {
        later: false,
        answer: Ok(vec![decision; ITEMS]),
    };
    Capabilities {
        authorize: Some(Arc::new(Scripted {
            spec,
            at: 0,
            seen: Calls::default(),
        })),
        authorize_receive: receive,
        ..Capabilities::default()
    }
}

#[tokio::test]
async fn receive_asks_those_who_want_to_be_asked() {
    let forever = Some(AclDecision::FOREVER);
    let deny = AclVerdict::Deny(Denial::not_authorized());
    let no_says = |receive| used("no", saying(deny.clone(), forever, receive));
    let skips = |receive| used("skip", saying(AclVerdict::Skip, forever, receive));
    for (chain, expected) in [
        (Chain::new(), allow(MAX)),
        (Chain::new().plugin(no_says(true)), denied()),
        (Chain::new().plugin(skips(true)), denied()),
        // Whoever isn't asked now has allowed the subscription.
        (Chain::new().plugin(no_says(false)), allow(MAX)),
        (
            Chain::new().plugin(skips(true)).plugin(no_says(false)),
            allow(MAX),
        ),
        (Chain::new().plugin(skips(false)).plugin(no_says(true)), denied()),
    ] {
        let decisions = authorize(&compile(&chain), Action::Receive, &[acl_item("0")]).await;
        assert_eq!(decisions[0].outcome, expected, "{chain:?}");
    }
}

#[tokio::test]
async fn as_many_decisions_as_topics_or_a_fault() {
    struct Short;
    impl Authorize for Short {
        fn authorize(
            &self,
            _: &Cx<'_>,
            _: &AclRequest<'_>,
            _: &mut [AclDecision],
        ) -> Answer<(), Vec<AclDecision>> {
            Answer::later(async { Ok(vec![AclDecision::fixed(AclVerdict::Allow)]) })
        }
    }
    let capabilities = Capabilities {
        authorize: Some(Arc::new(Short)),
        ..Capabilities::default()
    };
    let set = compile(&Chain::new().plugin(used("short", capabilities)));
    let one = authorize(&set, Action::Subscribe, &[acl_item("0")]).await;
    assert_eq!(one[0].outcome, allow(MAX));
    let two = authorize(&set, Action::Subscribe, &[acl_item("0"), acl_item("1")]).await;
    let fault = Decision {
        outcome: Outcome::Fault(FaultAction::Deny),
        cache_for: None,
    };
    assert_eq!(two, [fault.clone(), fault]);
}

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn remembered(cache_for: Option<Duration>) -> Decision {
    Decision {
        outcome: allow(QoS::AtLeastOnce),
        cache_for,
    }
}

fn forever() -> Decision {
    remembered(Some(AclDecision::FOREVER))
}

#[test]
fn decisions_hold_as_long_as_they_say() {
    let (mut cache, stamp, item) = (AclCache::default(), Stamp::default(), acl_item("a"));
    cache.put(stamp, NOW, Action::Publish, &item, &remembered(None));
    assert_eq!(cache.get(stamp, NOW, Action::Publish, &item), None);
    cache.put(
        stamp,
        NOW,
        Action::Publish,
        &item,
        &remembered(Some(Duration::from_secs(1))),
    );
    let almost = NOW + Duration::from_millis(999);
    assert_eq!(
        cache.get(stamp, almost, Action::Publish, &item),
        Some(&allow(QoS::AtLeastOnce))
    );
    assert_eq!(
        cache.get(stamp, NOW + Duration::from_secs(1), Action::Publish, &item),
        None
    );
    cache.put(stamp, NOW, Action::Publish, &item, &forever());
    let late = NOW + Duration::from_secs(1 << 40);
    assert!(cache.get(stamp, late, Action::Publish, &item).is_some());
    cache.clear();
    assert_eq!(cache.get(stamp, late, Action::Publish, &item), None);
}

#[test]
fn decisions_are_about_all_that_was_asked() {
    let (mut cache, stamp) = (AclCache::default(), Stamp::default());
    let item = AclItem {
        share: Some("s"),
        ..acl_item("a")
    };
    cache.put(stamp, NOW, Action::Subscribe, &item, &forever());
    assert!(cache.get(stamp, NOW, Action::Subscribe, &item).is_some());
    for (action, other) in [
        (Action::Publish, item),
        (Action::Subscribe, AclItem { topic: "b", ..item }),
        (
            Action::Subscribe,
            AclItem {
                qos: QoS::ExactlyOnce,
                ..item
            },
        ),
        (Action::Subscribe, AclItem { retain: true, ..item }),
        (Action::Subscribe, AclItem { share: None, ..item }),
        (
            Action::Subscribe,
            AclItem {
                share: Some("t"),
                ..item
            },
        ),
    ] {
        assert_eq!(cache.get(stamp, NOW, action, &other), None, "{other:?}");
    }
}

#[test]
fn invalidated_decisions_are_forgotten_also_those_under_way() {
    let used = used("x", saying(AclVerdict::Allow, None, false));
    let bystander: Arc<dyn Plugin> = Arc::new(Fake(Capabilities::default()));
    let set = compile(
        &Chain::new()
            .plugin(used.clone())
            .plugin(Use::new("y", bystander.clone())),
    );
    let (mut cache, item) = (AclCache::default(), acl_item("a"));
    let before = set.stamp(0);
    cache.put(before, NOW, Action::Publish, &item, &forever());
    set.invalidate(&bystander);
    assert!(cache.get(set.stamp(0), NOW, Action::Publish, &item).is_some());
    assert!(
        cache.get(set.stamp(1), NOW, Action::Publish, &item).is_none(),
        "this client alone"
    );

    cache.put(before, NOW, Action::Publish, &item, &forever());
    set.invalidate(used.plugin());
    assert!(cache.get(set.stamp(0), NOW, Action::Publish, &item).is_none());
    // Asked before the invalidation, answered after it.
    cache.put(before, NOW, Action::Publish, &item, &forever());
    assert!(cache.get(set.stamp(0), NOW, Action::Publish, &item).is_none());
}

#[test]
fn a_connection_remembers_a_bounded_number() {
    let (mut cache, stamp) = (AclCache::default(), Stamp::default());
    let topics: Vec<_> = (0..1_025).map(|n| n.to_string()).collect();
    for text in &topics {
        cache.put(stamp, NOW, Action::Publish, &acl_item(text), &forever());
    }
    let mut known = |text: &str| cache.get(stamp, NOW, Action::Publish, &acl_item(text)).is_some();
    assert!(
        known("1024") && !known("0") && !known("1023"),
        "the 1,025th starts anew"
    );

    let long = "x".repeat(40_000);
    let longer = "y".repeat(40_000);
    let mut cache = AclCache::default();
    for text in ["a", &long, "b", &longer] {
        cache.put(stamp, NOW, Action::Publish, &acl_item(text), &forever());
    }
    let mut known = |text: &str| cache.get(stamp, NOW, Action::Publish, &acl_item(text)).is_some();
    assert!(known(&longer) && !known(&long) && !known("a"));
    cache.put(stamp, NOW, Action::Publish, &acl_item("c"), &forever());
    assert!(
        cache
            .get(stamp, NOW, Action::Publish, &acl_item(&longer))
            .is_some(),
        "there is room again"
    );
}
