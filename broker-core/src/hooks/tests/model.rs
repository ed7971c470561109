//! Random publish chains against a reference interpreter: verdict, order, rollback, where emitted messages enter, limits.
//! Slots answer at once and later, mixed.

use std::collections::VecDeque;
use std::time::Duration;

use broker_types::TopicFilter;
use bytes::Bytes;
use plugin_api::{Denial, FaultKind, Needs};
use proptest::prelude::*;

use super::*;
use crate::chain::OnFault;

const TOPICS: [&str; 4] = ["a", "b/c", "d", "$x/y"];
const FILTERS: [&str; 4] = ["#", "b/#", "+", "$x/+"];

/// What one plugin does with every message it sees, and how the chain uses it.
#[derive(Clone, Debug)]
struct Spec {
    answer: Pace,
    fails: Option<Failure>,
    flow: Flow,
    append: bool,
    moves_to: Option<usize>,
    emits: Vec<usize>,
    filter: Option<usize>,
    narrowed: Option<usize>,
    payload_max: usize,
    allow: Option<usize>,
    on_error: OnFault,
}

#[derive(Clone, Copy, Debug)]
enum Pace {
    Now,
    /// A future that is ready at once.
    Ready,
    /// A future that has to be woken.
    Woken,
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Error,
    Panic,
}

impl Spec {
    fn patch(&self, payload: &[u8]) -> Patch {
        Patch {
            payload: self.append.then(|| Bytes::from([payload, b"+"].concat())),
            topic: self.moves_to.map(|to| topic(TOPICS[to])),
            emitted: self.emits.iter().map(|to| message(TOPICS[*to])).collect(),
            ..Patch::default()
        }
    }

    fn fail(&self) -> Result<(), Fault> {
        match self.fails {
            None => Ok(()),
            Some(Failure::Error) => Err(Fault::new(FaultKind::Backend, "down")),
            Some(Failure::Panic) => panic!("on purpose"),
        }
    }

    fn wants(&self, topic: TopicRef<'_>, payload: &[u8]) -> bool {
        let mut filters = [self.filter, self.narrowed].into_iter().flatten();
        payload.len() <= self.payload_max
            && filters.all(|at| TopicFilter::new(FILTERS[at]).unwrap().matches(topic))
    }

    fn may(&self, to: &TopicName) -> bool {
        self.allow
            .is_none_or(|at| TopicFilter::new(FILTERS[at]).unwrap().matches(to.as_ref()))
    }
}

/// Slot, topic and payload.
type Seen = (usize, String, Vec<u8>);

struct Scripted {
    at: usize,
    spec: Spec,
    seen: Calls<Seen>,
}

impl Publish for Scripted {
    fn publish(&self, _cx: &Cx<'_>, message: &mut MessageEdit<'_>) -> Answer<Flow, (Flow, Patch)> {
        let seen = (self.at, message.topic().to_string(), message.payload().to_vec());
        self.seen.lock().unwrap().push(seen);
        let (spec, patch) = (self.spec.clone(), self.spec.patch(message.payload()));
        if let Pace::Now = spec.answer {
            message.apply(patch);
            return Answer::Now(spec.fail().map(|()| spec.flow));
        }
        // Edits made before an answer that comes later don't count.
        message.set_payload("scribble");
        message.emit(super::message("a"));
        Answer::later(async move {
            if let Pace::Woken = spec.answer {
                tokio::task::yield_now().await;
            }
            spec.fail().map(|()| (spec.flow, patch))
        })
    }
}

fn chain(specs: &[Spec], seen: &Calls<Seen>) -> Chain {
    let filter = |at: &usize| TopicFilter::new(FILTERS[*at]).unwrap();
    specs.iter().enumerate().fold(Chain::new(), |chain, (at, spec)| {
        let hook: Arc<dyn Publish> = Arc::new(Scripted {
            at,
            spec: spec.clone(),
            seen: seen.clone(),
        });
        let scoped = Scoped {
            hook,
            filters: spec.filter.iter().map(filter).collect(),
            needs: Needs {
                payload_bytes_max: spec.payload_max,
                ..Needs::default()
            },
        };
        let capabilities = Capabilities {
            publish: Some(scoped),
            ..Capabilities::default()
        };
        let narrowed: Vec<_> = spec.narrowed.iter().map(filter).collect();
        let mut link = used("scripted", capabilities)
            .topics(narrowed)
            .on_error(spec.on_error);
        if let Some(at) = &spec.allow {
            link = link.allow_publish(filter(at));
        }
        chain.plugin(link)
    })
}

/// What the documentation says, written down as simply as can be.
fn reference(specs: &[Spec], first: &Message) -> (Published, Message, Vec<Seen>) {
    let (mut seen, mut out, mut throttle) = (Vec::new(), Vec::new(), Duration::ZERO);
    let (mut verdict, mut own, mut emitted) = (Verdict::Pass, first.clone(), 0);
    let mut faults = vec![0; specs.len()];
    let mut queue = VecDeque::from([(first.clone(), 0, 0)]);
    while let Some((mut message, from, hop)) = queue.pop_front() {
        let mut end = Verdict::Pass;
        for (at, spec) in specs.iter().enumerate().skip(from) {
            if !spec.wants(message.topic.as_ref(), &message.payload) {
                continue;
            }
            let mut failed = faults[at] == 5; // the breaker is open
            let patch = spec.patch(&message.payload);
            if !failed {
                seen.push((at, message.topic.to_string(), message.payload.to_vec()));
                failed = spec.fails.is_some()
                    || (hop == 8 && !patch.emitted.is_empty())
                    || emitted + patch.emitted.len() > 1024
                    || !patch
                        .topic
                        .iter()
                        .chain(patch.emitted.iter().map(|m| &m.topic))
                        .all(|to| spec.may(to));
                faults[at] += usize::from(failed);
            }
            if failed {
                match spec.on_error {
                    OnFault::Skip | OnFault::Allow => continue,
                    OnFault::Deny => end = Verdict::Fault(FaultAction::Deny),
                    OnFault::Drop => end = Verdict::Fault(FaultAction::Drop),
                    OnFault::Disconnect => end = Verdict::Fault(FaultAction::Disconnect),
                }
                break;
            }
            message.topic = patch.topic.unwrap_or(message.topic);
            message.payload = patch.payload.unwrap_or(message.payload);
            emitted += patch.emitted.len();
            queue.extend(patch.emitted.into_iter().map(|new| (new, at + 1, hop + 1)));
            match spec.flow.clone() {
                Flow::Continue => continue,
                Flow::Throttle(pause) => {
                    throttle = throttle.max(pause);
                    continue;
                }
                Flow::Stop => {}
                Flow::Drop => end = Verdict::Drop,
                Flow::Reject(denial) => end = Verdict::Reject(denial),
                Flow::Disconnect(denial) => end = Verdict::Disconnect(denial),
            }
            break;
        }
        let failed = matches!(end, Verdict::Fault(FaultAction::Deny | FaultAction::Disconnect));
        let refused = failed || matches!(end, Verdict::Reject(_) | Verdict::Disconnect(_));
        if hop == 0 {
            (verdict, own) = (end, message);
        } else if failed {
            verdict = end;
        } else if end == Verdict::Pass {
            out.push(message);
        }
        if failed || (hop == 0 && refused) {
            queue.clear();
            out.clear();
        }
    }
    let published = Published {
        verdict,
        throttle,
        emitted: out,
    };
    (published, own, seen)
}

fn flows() -> impl Strategy<Value = Flow> {
    prop_oneof![
        12 => Just(Flow::Continue),
        1 => Just(Flow::Stop),
        1 => Just(Flow::Drop),
        1 => Just(Flow::Reject(Denial::not_authorized())),
        1 => Just(Flow::Disconnect(Denial::not_authorized())),
        1 => (0..3u64).prop_map(|secs| Flow::Throttle(Duration::from_secs(secs))),
    ]
}

fn specs() -> impl Strategy<Value = Spec> {
    let answer = prop_oneof![3 => Just(Pace::Now), 1 => Just(Pace::Ready), 1 => Just(Pace::Woken)];
    let fails =
        prop_oneof![12 => Just(None), 1 => Just(Some(Failure::Error)), 1 => Just(Some(Failure::Panic))];
    let on_error = prop_oneof![
        4 => Just(OnFault::Skip),
        1 => Just(OnFault::Allow),
        1 => Just(OnFault::Drop),
        1 => Just(OnFault::Deny),
        1 => Just(OnFault::Disconnect),
    ];
    let rarely = || proptest::option::weighted(0.2, 0..4usize);
    let emits = prop_oneof![
        3 => Just(Vec::new()),
        2 => proptest::collection::vec(0..4usize, 1..3),
        1 => Just(vec![0; 40]),
    ];
    let payload_max = prop_oneof![9 => Just(usize::MAX), 1 => 0..4usize];
    let places = (rarely(), rarely(), rarely(), rarely());
    (
        answer,
        fails,
        flows(),
        any::<bool>(),
        emits,
        payload_max,
        on_error,
        places,
    )
        .prop_map(
            |(
                answer,
                fails,
                flow,
                append,
                emits,
                payload_max,
                on_error,
                (moves_to, filter, narrowed, allow),
            )| Spec {
                answer,
                fails,
                flow,
                append,
                moves_to,
                emits,
                filter,
                narrowed,
                payload_max,
                allow,
                on_error,
            },
        )
}

fn check(specs: &[Spec], message: &Message) {
    let seen = Calls::default();
    let set = compile(&chain(specs, &seen));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (published, own) = runtime.block_on(publish(&set, message));
    let (expected, expected_own, expected_seen) = reference(specs, message);
    assert_eq!(taken(&seen), expected_seen, "who saw what");
    assert_eq!(published, expected);
    assert_eq!(own, expected_own, "the message itself");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn chains_do_what_the_reference_does(specs in proptest::collection::vec(specs(), 0..14), to in 0..4usize) {
        check(&specs, &message(TOPICS[to]));
    }
}

/// One that emits and is content.
fn emitting(answer: Pace, emits: usize) -> Spec {
    Spec {
        answer,
        fails: None,
        flow: Flow::Continue,
        append: true,
        moves_to: None,
        emits: vec![0; emits],
        filter: None,
        narrowed: None,
        payload_max: usize::MAX,
        allow: None,
        on_error: OnFault::Skip,
    }
}

#[test]
fn eight_hops_are_the_end() {
    let only_emitted_ones = Spec {
        filter: Some(0),
        ..emitting(Pace::Now, 1)
    };
    for answer in [Pace::Now, Pace::Ready, Pace::Woken] {
        // Ten in a row, each emitting for every message: the longest line of descent is cut at the eighth.
        let specs = vec![
            Spec {
                answer,
                ..only_emitted_ones.clone()
            };
            10
        ];
        check(&specs, &message("a"));
    }
}

#[test]
fn what_one_message_makes_others_emit_has_a_bound() {
    for (count, verdict) in [(1024, Verdict::Pass), (1025, Verdict::Fault(FaultAction::Deny))] {
        let spec = Spec {
            on_error: OnFault::Deny,
            ..emitting(Pace::Now, count)
        };
        let specs = [spec];
        check(&specs, &message("a"));
        let set = compile(&chain(&specs, &Calls::default()));
        let parts = message("a");
        let mut edit = MessageEdit::new(MessageParts::of(&parts, Source::Client));
        let slots = set.interest(in_topic("a")).publish;
        let Step::Now(published) = set.publish(&client(), slots, &mut edit) else {
            panic!("it answers at once")
        };
        assert_eq!(published.verdict, verdict);
    }
}
