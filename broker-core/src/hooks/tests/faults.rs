//! What a fault does: every kind of failure, every policy, every hook. The expectations are those of the paragraph "On
//! error, timeout or panic" of each hook.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use plugin_api::{
    Accept, AcceptVerdict, AclDecision, AclRequest, AuthVerdict, Authenticate, Authorize, Connect,
    ConnectFlow, Control, ControlRequest, Deliver, DeliverFlow, Exchange, ExchangePhase, ExchangeRequest,
    ExchangeVerdict, FaultKind, Later, Retain, RetainVerdict, ShareMember, SharePick, Subscribe,
    SubscribeFlow, Unsubscribe, Will, WillFlow, async_trait,
};

use super::*;
use crate::chain::{Hook, OnFault};

const ACTIONS: [OnFault; 5] = [
    OnFault::Deny,
    OnFault::Skip,
    OnFault::Drop,
    OnFault::Disconnect,
    OnFault::Allow,
];

/// How a plugin fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Panic,
    PanicLater,
    Error,
    ErrorLater,
    Hang,
}

const FAILURES: [Failure; 5] = [
    Failure::Panic,
    Failure::PanicLater,
    Failure::Error,
    Failure::ErrorLater,
    Failure::Hang,
];

/// Has every hook; each changes what it can, and then fails. Works once it is told to.
struct Broken {
    failure: Mutex<Option<Failure>>,
    calls: AtomicUsize,
}

impl Broken {
    fn new(failure: Failure) -> Arc<Self> {
        Arc::new(Self {
            failure: Mutex::new(Some(failure)),
            calls: AtomicUsize::new(0),
        })
    }

    fn call(&self) -> Option<Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        *self.failure.lock().unwrap()
    }

    fn now<T>(&self, value: T) -> Result<T, Fault> {
        match self.call() {
            None => Ok(value),
            Some(Failure::Error | Failure::ErrorLater) => Err(backend_down()),
            Some(Failure::Panic | Failure::PanicLater | Failure::Hang) => panic!("on purpose"),
        }
    }

    async fn later<T>(&self, value: T) -> Result<T, Fault> {
        fail_later(self.call(), value).await
    }

    fn answer<N, L: Send + 'static>(&self, now: N, later: L) -> Answer<N, L> {
        match self.call() {
            None => Answer::now(now),
            Some(Failure::Error) => Answer::fault(backend_down()),
            Some(Failure::Panic) => panic!("on purpose"),
            failure => Answer::Later(Box::pin(fail_later(failure, later)) as Later<L>),
        }
    }
}

async fn fail_later<T>(failure: Option<Failure>, value: T) -> Result<T, Fault> {
    match failure {
        None => Ok(value),
        Some(Failure::Hang) => pending().await,
        Some(Failure::Error) => Err(backend_down()),
        Some(Failure::Panic) => panic!("on purpose"),
        Some(Failure::ErrorLater) => {
            tokio::task::yield_now().await;
            Err(backend_down())
        }
        Some(Failure::PanicLater) => {
            tokio::task::yield_now().await;
            panic!("on {}", "purpose")
        }
    }
}

impl Accept for Broken {
    fn accept(&self, _: &Incoming) -> Result<AcceptVerdict, Fault> {
        self.now(AcceptVerdict::Continue)
    }
}

#[async_trait]
impl Connect for Broken {
    async fn connect(&self, _: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        edit.mount = "broken/".into();
        self.later(ConnectFlow::Continue).await
    }
}

#[async_trait]
impl Authenticate for Broken {
    async fn authenticate(&self, _: &Cx<'_>, _: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        self.later(AuthVerdict::allow()).await
    }
}

#[async_trait]
impl Exchange for Broken {
    async fn exchange(&self, _: &Cx<'_>, _: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        self.later(ExchangeVerdict::Challenge(Vec::new())).await
    }
}

impl Authorize for Broken {
    fn authorize(
        &self,
        _: &Cx<'_>,
        _: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        out.fill(AclDecision::fixed(plugin_api::AclVerdict::AllowMaxQos(
            QoS::AtMostOnce,
        )));
        self.answer((), out.to_vec())
    }
}

#[async_trait]
impl Subscribe for Broken {
    async fn subscribe(&self, _: &Cx<'_>, edit: &mut SubscribeEdit) -> Result<SubscribeFlow, Fault> {
        edit.class = 9;
        self.later(SubscribeFlow::Continue).await
    }
}

#[async_trait]
impl Unsubscribe for Broken {
    async fn unsubscribe(&self, _: &Cx<'_>, edit: &mut UnsubscribeEdit) -> Result<(), Fault> {
        edit.filter = SubscriptionFilter::parse("broken").unwrap();
        self.later(()).await
    }
}

impl Publish for Broken {
    fn publish(&self, _: &Cx<'_>, edit: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        edit.set_payload("broken");
        edit.emit(message("broken"));
        self.answer(Flow::Continue, (Flow::Continue, Patch::default()))
    }
}

impl Retain for Broken {
    fn retain(&self, _: &Message) -> Result<RetainVerdict, Fault> {
        self.now(RetainVerdict::Store)
    }
}

impl Deliver for Broken {
    fn deliver(&self, _: u32, edit: &mut MessageEdit<'_>) -> Answer<DeliverFlow, (DeliverFlow, Patch)> {
        edit.set_payload("broken");
        self.answer(DeliverFlow::Continue, (DeliverFlow::Continue, Patch::default()))
    }
}

#[async_trait]
impl Will for Broken {
    async fn will(&self, _: &Cx<'_>, edit: &mut MessageEdit<'_>) -> Result<WillFlow, Fault> {
        edit.set_payload("broken");
        edit.emit(message("broken"));
        self.later(WillFlow::Continue).await
    }
}

#[async_trait]
impl Control for Broken {
    async fn control(
        &self,
        _: &Cx<'_>,
        _: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, broker_types::ReasonCode>, Fault> {
        self.later(Ok(b"reply".to_vec())).await
    }
}

impl SharePick for Broken {
    fn pick(&self, _: &str, _: &str, _: &[ShareMember], _: &Message) -> Option<usize> {
        self.now(Some(0)).unwrap()
    }
}

fn capabilities(hook: Hook, broken: &Arc<Broken>) -> Capabilities {
    let (plugin, none) = (broken.clone(), Capabilities::default());
    match hook {
        Hook::Accept => Capabilities {
            accept: Some(plugin),
            ..none
        },
        Hook::Connect => Capabilities {
            connect: Some(plugin),
            ..none
        },
        Hook::Authenticate => Capabilities {
            authenticate: Some(plugin),
            ..none
        },
        Hook::Exchange => Capabilities {
            exchange: Some((vec!["X".into()], plugin)),
            ..none
        },
        Hook::Authorize => Capabilities {
            authorize: Some(plugin),
            ..none
        },
        Hook::Subscribe => Capabilities {
            subscribe: Some(plugin),
            ..none
        },
        Hook::Unsubscribe => Capabilities {
            unsubscribe: Some(plugin),
            ..none
        },
        Hook::Publish => Capabilities {
            publish: everywhere(plugin),
            ..none
        },
        Hook::Retain => Capabilities {
            retain: Some(plugin),
            ..none
        },
        Hook::Deliver => Capabilities {
            deliver: everywhere(plugin),
            ..none
        },
        Hook::Will => Capabilities {
            will: Some(plugin),
            ..none
        },
        Hook::Control => Capabilities {
            control: Some((vec!["x".into()], plugin)),
            ..none
        },
        Hook::SharePick => Capabilities {
            share_pick: Some(plugin),
            ..none
        },
        Hook::Events => none,
    }
}

/// Asks one hook and says what came of it.
async fn ask(hook: Hook, set: &Arc<ChainSet>) -> String {
    let untouched = |changed: bool| if changed { " with the edits of a fault" } else { "" };
    match hook {
        Hook::Accept => match set.accept(&incoming()) {
            AcceptOutcome::Go { .. } => "go".into(),
            AcceptOutcome::Close => "close".into(),
        },
        Hook::Connect => match set.connect(&client(), connect_edit()).await {
            ConnectOutcome::Go(edit) => format!("go{}", untouched(*edit != connect_edit())),
            ConnectOutcome::Reject(denial, _) => format!("{}", denial.reason),
            ConnectOutcome::Close => "close".into(),
        },
        Hook::Authenticate => match set.authenticate(&client(), &auth_request(), false).await {
            AuthOutcome::Allow { authenticated, .. } => format!("allow, authenticated: {authenticated}"),
            AuthOutcome::Anonymous => "anonymous".into(),
            AuthOutcome::Refuse(denial) => format!("{}", denial.reason),
            AuthOutcome::Close => "close".into(),
        },
        Hook::Exchange => {
            let request = ExchangeRequest {
                phase: ExchangePhase::Start,
                exchange: 1,
                method: "X",
                data: None,
            };
            match set.exchange_owner("X").unwrap().step(&client(), &request).await {
                ExchangeOutcome::Deny(denial) => format!("{}", denial.reason),
                ExchangeOutcome::Close => "close".into(),
                other => format!("{other:?}"),
            }
        }
        Hook::Authorize => {
            let [decision] = &authorize(set, Action::Publish, &[acl_item("a")]).await[..] else {
                panic!()
            };
            let outcome = match &decision.outcome {
                Outcome::Allow { max_qos } => format!("allow {max_qos}"),
                Outcome::Deny(denial) => format!("{}", denial.reason),
                Outcome::Fault(action) => format!("fault {action:?}"),
            };
            outcome
                + if decision.cache_for.is_some() {
                    ", to be remembered"
                } else {
                    ""
                }
        }
        Hook::Subscribe => match &set.subscribe(&client(), vec![subscribe_edit("a")]).await[..] {
            [FilterOutcome::Go(edit)] => format!("go{}", untouched(*edit != subscribe_edit("a"))),
            [FilterOutcome::Reject(denial)] => format!("{}", denial.reason),
            [FilterOutcome::Close] => "close".into(),
            _ => panic!("not one outcome"),
        },
        Hook::Unsubscribe => match &set.unsubscribe(&client(), vec![unsubscribe_edit("a")]).await[..] {
            [FilterOutcome::Go(edit)] => format!("go{}", untouched(*edit != unsubscribe_edit("a"))),
            [FilterOutcome::Reject(denial)] => format!("{}", denial.reason),
            [FilterOutcome::Close] => "close".into(),
            _ => panic!("not one outcome"),
        },
        Hook::Publish => {
            let (published, out) = publish(set, &message("a")).await;
            let changed = out != message("a") || !published.emitted.is_empty();
            format!("{:?}{}", published.verdict, untouched(changed))
        }
        Hook::Retain => format!("{:?}", set.retain(&message("a"))),
        Hook::Deliver => {
            let (outcome, out) = deliver(set, 0, &message("a")).await;
            format!("{outcome:?}{}", untouched(out != message("a")))
        }
        Hook::Will => {
            let willed = set.will(&client(), message("a")).await;
            let emitted = !willed.emitted.is_empty();
            match willed.message {
                Some(out) => format!("sent{}", untouched(emitted || out != message("a"))),
                None => format!("nobody{}", untouched(emitted)),
            }
        }
        Hook::Control => {
            let request = ControlRequest {
                topic: in_topic("$CONTROL/x/y"),
                payload: b"",
            };
            format!("{:?}", set.control(&client(), &request).await)
        }
        Hook::SharePick => {
            let member = ShareMember {
                client_id: "m".into(),
                connected: true,
                inflight: 0,
            };
            format!("{:?}", set.share_pick("s", "a", &[member], &message("a")))
        }
        Hook::Events => String::new(),
    }
}

/// What a fault does with this policy.
fn expected(hook: Hook, action: OnFault) -> &'static str {
    use OnFault::{Allow, Deny, Disconnect, Drop, Skip};
    match (hook, action) {
        (Hook::Accept, Deny | Drop | Disconnect) => "close",
        (Hook::Accept, Skip | Allow) => "go",
        (Hook::Connect | Hook::Authenticate, Deny) => "0x88 Server unavailable",
        (Hook::Connect | Hook::Authenticate | Hook::Exchange, Drop | Disconnect) => "close",
        (Hook::Connect, Skip | Allow) => "go",
        (Hook::Authenticate, Skip) => "0x87 Not authorized",
        (Hook::Authenticate, Allow) => "allow, authenticated: false",
        (Hook::Exchange, Deny | Skip | Allow) => "0x88 Server unavailable",
        (Hook::Authorize, Deny) => "fault Deny",
        (Hook::Authorize, Drop) => "fault Drop",
        (Hook::Authorize, Disconnect) => "fault Disconnect",
        (Hook::Authorize, Skip) => "0x87 Not authorized",
        (Hook::Authorize, Allow) => "allow 2",
        (Hook::Subscribe | Hook::Unsubscribe, Deny | Drop) => "0x83 Implementation specific error",
        (Hook::Subscribe | Hook::Unsubscribe, Disconnect) => "close",
        (Hook::Subscribe | Hook::Unsubscribe, Skip | Allow) => "go",
        (Hook::Publish, Deny) => "Fault(Deny)",
        (Hook::Publish, Drop) => "Fault(Drop)",
        (Hook::Publish, Disconnect) => "Fault(Disconnect)",
        (Hook::Publish, Skip | Allow) => "Pass",
        (Hook::Retain, Deny | Drop | Disconnect) => "Pass",
        (Hook::Retain, Skip | Allow) => "Store",
        (Hook::Deliver, Deny | Drop | Disconnect) => "Drop",
        (Hook::Deliver, Skip | Allow) => "Send",
        (Hook::Will, Deny | Drop | Disconnect) => "nobody",
        (Hook::Will, Skip | Allow) => "sent",
        (Hook::Control, Deny) => "Fault(Deny)",
        (Hook::Control, Disconnect) => "Fault(Disconnect)",
        (Hook::Control, Drop | Skip | Allow) => "Reply([])",
        (Hook::SharePick, _) => "None",
        (Hook::Events, _) => "",
    }
}

fn with_verdict() -> impl Iterator<Item = Hook> {
    Hook::ALL.iter().copied().filter(|hook| *hook != Hook::Events)
}

#[tokio::test(start_paused = true)]
async fn every_failure_does_what_the_operator_chose_at_every_hook() {
    for hook in with_verdict() {
        for failure in FAILURES {
            if failure == Failure::Hang && hook.deadline().is_none() {
                continue;
            }
            for action in ACTIONS {
                let broken = Broken::new(failure);
                let other = if action == OnFault::Allow {
                    OnFault::Deny
                } else {
                    OnFault::Allow
                };
                let link = used("broken", capabilities(hook, &broken));
                let link = match failure {
                    Failure::Hang => link.on_error(other).on_timeout(action),
                    _ => link.on_error(action).on_timeout(other),
                };
                let set = compile(&Chain::new().plugin(link));
                let begun = tokio::time::Instant::now();
                assert_eq!(
                    ask(hook, &set).await,
                    expected(hook, action),
                    "{hook} {failure:?} {action:?}"
                );
                let took = begun.elapsed();
                match (failure, hook.deadline()) {
                    (Failure::Hang, Some(deadline)) => {
                        assert!(
                            (deadline..deadline + Duration::from_millis(2)).contains(&took),
                            "{hook} {took:?}"
                        );
                    }
                    _ => assert_eq!(took, Duration::ZERO, "{hook}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_asks_nobody_and_does_what_the_operator_chose() {
    for hook in with_verdict() {
        for failure in [Failure::Panic, Failure::ErrorLater, Failure::Hang] {
            if failure == Failure::Hang && hook.deadline() > Some(Duration::from_secs(1)) {
                continue; // five of them take longer than the window
            }
            if hook == Hook::SharePick || (failure == Failure::Hang && hook.deadline().is_none()) {
                continue;
            }
            for action in ACTIONS {
                let broken = Broken::new(failure);
                let set = compile(
                    &Chain::new().plugin(used("broken", capabilities(hook, &broken)).on_error(action)),
                );
                for _ in 0..5 {
                    ask(hook, &set).await;
                }
                assert!(set.counts()[0].circuit_open, "{hook} {failure:?}");
                assert_eq!(
                    ask(hook, &set).await,
                    expected(hook, action),
                    "{hook} {failure:?} {action:?}"
                );
                assert_eq!(broken.calls.load(Ordering::Relaxed), 5, "{hook} was asked");
                let faults = &set.counts()[0].faults;
                assert!(faults.contains(&(FaultKind::CircuitOpen, 1)), "{faults:?}");

                // It works again, and one call finds that out.
                *broken.failure.lock().unwrap() = None;
                tokio::time::advance(Duration::from_secs(1)).await;
                ask(hook, &set).await;
                assert!(!set.counts()[0].circuit_open, "{hook}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_timeouts_opened_answers_as_a_timeout() {
    let broken = Broken::new(Failure::Hang);
    let link = used("slow", capabilities(Hook::Publish, &broken)).on_timeout(OnFault::Skip);
    let set = compile(&Chain::new().plugin(link));
    for _ in 0..6 {
        assert_eq!(ask(Hook::Publish, &set).await, "Pass");
    }
    assert_eq!(broken.calls.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_forgotten_when_the_plugin_works_again() {
    let broken = Broken::new(Failure::Error);
    let set = compile(&Chain::new().plugin(used("broken", capabilities(Hook::Authorize, &broken))));
    let now = broker_types::Timestamp::ZERO;
    let (mut cache, item) = (AclCache::default(), acl_item("a"));
    let mut ask = async || {
        let stamp = set.stamp(0);
        if let Some(outcome) = cache.get(stamp, now, Action::Publish, &item) {
            return outcome.clone();
        }
        let decisions = authorize(&set, Action::Publish, &[item]).await;
        cache.put(stamp, now, Action::Publish, &item, &decisions[0]);
        decisions[0].outcome.clone()
    };
    assert_eq!(ask().await, Outcome::Fault(FaultAction::Deny));
    *broken.failure.lock().unwrap() = None;
    let max_qos = QoS::AtMostOnce;
    assert_eq!(ask().await, Outcome::Allow { max_qos });
    *broken.failure.lock().unwrap() = Some(Failure::Error);
    assert_eq!(
        ask().await,
        Outcome::Allow { max_qos },
        "what was a verdict is remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn the_use_sets_the_deadline() {
    let broken = Broken::new(Failure::Hang);
    let timeout = Duration::from_millis(5);
    let link = used("slow", capabilities(Hook::Publish, &broken)).timeout(timeout);
    let set = compile(&Chain::new().plugin(link));
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(Hook::Publish, &set).await, "Fault(Deny)");
    assert!(begun.elapsed() < timeout * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_destructor_that_panics_is_a_fault_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    struct Bombed;
    impl Publish for Bombed {
        fn publish(&self, _: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
            let bomb = Bomb;
            let hangs = message.topic().as_str() == "hangs";
            Answer::later(async move {
                if hangs {
                    pending::<()>().await;
                }
                drop(bomb);
                Ok((Flow::Continue, Patch::default()))
            })
        }
    }
    let capabilities = Capabilities {
        publish: everywhere(Arc::new(Bombed)),
        ..Capabilities::default()
    };
    let set = compile(&Chain::new().plugin(used("bomb", capabilities)));
    assert_eq!(
        publish(&set, &message("a")).await.0.verdict,
        Verdict::Fault(FaultAction::Deny)
    );
    // The client goes before the plugin is awaited, and while it is.
    let parts = message("a");
    let mut edit = MessageEdit::new(MessageParts::of(&parts, Source::Client));
    let slots = set.interest(in_topic("a")).publish;
    drop(set.publish(&client(), slots, &mut edit));
    let hangs = message("hangs");
    let mut call = Box::pin(publish(&set, &hangs));
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
    drop(call);
}

#[tokio::test]
async fn after_a_close_no_filter_is_asked_about() {
    let broken = Broken::new(Failure::Error);
    let link = used("broken", capabilities(Hook::Subscribe, &broken)).on_error(OnFault::Disconnect);
    let set = compile(&Chain::new().plugin(link));
    let outcomes = set
        .subscribe(&client(), vec![subscribe_edit("a"), subscribe_edit("b")])
        .await;
    assert_eq!(outcomes, [FilterOutcome::Close, FilterOutcome::Close]);
    assert_eq!(broken.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn what_the_connection_awaits_can_move_between_threads() {
    fn send<T: Send>(_: T) {}
    let set = compile(&Chain::new());
    let client = client();
    let exchange = ExchangeRequest {
        phase: ExchangePhase::Start,
        exchange: 1,
        method: "X",
        data: None,
    };
    let control = ControlRequest {
        topic: in_topic("$CONTROL/x"),
        payload: b"",
    };
    send(set.connect(&client, connect_edit()));
    send(set.authenticate(&client, &auth_request(), false));
    send(set.subscribe(&client, Vec::new()));
    send(set.unsubscribe(&client, Vec::new()));
    send(set.will(&client, message("a")));
    send(set.control(&client, &control));
    if let Some(owner) = set.exchange_owner("X") {
        send(owner.step(&client, &exchange));
    }
}
