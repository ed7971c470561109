//! What a plugin must survive in a broker: odd payloads, topics and clients, options that aren't its own, many threads,
//! being made and ended again and again. A refusal and a fault are answers; a panic, a lie and silence are not.
//!
//! A plugin that ends the process ends this one: run it in a process of its own, as `jackfield plugin test` does.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_types::{Message, QoS, Source, TopicName};
use bytes::Bytes;
use plugin_api::{Action, Capabilities, FaultKind, LoadError, Plugin, SessionStore, StoreFault, StoreOp};
use serde_json::Value;

use crate::question::Question;
use crate::wait::within;
use crate::{Client, Harness, sample};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often instances are made and ended.
const LIVES: usize = 100;
/// Threads that call at once, and how often each calls.
const CROWD: (usize, usize) = (8, 500);
/// The longest text of MQTT.
const TEXT_MAX: usize = 65_535;

/// Makes an instance with these options, not started.
pub type Load<'a> = dyn Fn(&Value) -> Result<Arc<dyn Plugin>, LoadError> + Sync + 'a;

/// A plugin that is examined.
pub struct Subject<'a> {
    /// How it is made.
    pub load: &'a Load<'a>,
    /// Options that are right.
    pub options: Value,
    /// The largest payload it is shown, in bytes.
    pub payload_bytes_max: usize,
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Something that is asked of it.
pub struct Probe {
    /// A name for it.
    pub name: &'static str,
    /// What is asked, as a sentence.
    pub about: &'static str,
    run: fn(&Subject<'_>, &mut Finding),
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// How it came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// What must be mended. None: it has passed.
    pub failures: Vec<String>,
    /// What may be meant so.
    pub remarks: Vec<String>,
    /// Calls that were made.
    pub calls: usize,
    /// Calls that were answered with a fault, which is allowed.
    pub faults: usize,
}

/// Everything that is asked, in order.
pub const PROBES: [Probe; 11] = [
    Probe {
        name: "description",
        about: "It says who it is, has a schema that is JSON, and hooks.",
        run: description,
    },
    Probe {
        name: "options",
        about: "It refuses options that it doesn't have.",
        run: options,
    },
    Probe {
        name: "ordinary",
        about: "Every hook answers an ordinary question.",
        run: ordinary,
    },
    Probe {
        name: "payloads",
        about: "Payloads of 0 bytes up to the limit, no UTF-8, cut and deep JSON.",
        run: payloads,
    },
    Probe {
        name: "topics",
        about: "The longest Topic Names and Topic Filters, wildcards, shares, all of Unicode.",
        run: topics,
    },
    Probe {
        name: "clients",
        about: "Clients without a name, with the longest names, with passwords that are no text.",
        run: clients,
    },
    Probe {
        name: "threads",
        about: "Hooks are called by eight threads at once.",
        run: threads,
    },
    Probe {
        name: "lives",
        about: "An instance is made, started, asked and ended a hundred times.",
        run: lives,
    },
    Probe {
        name: "instances",
        about: "Two instances live side by side, and one goes on when the other has ended.",
        run: instances,
    },
    Probe {
        name: "state",
        about: "State that it hands over is taken by its successor.",
        run: state,
    },
    Probe {
        name: "store",
        about: "A session store keeps records in order, and a batch wholly or not at all.",
        run: store,
    },
];

impl Probe {
    /// Asks it of a plugin.
    #[must_use]
    pub fn run(&self, subject: &Subject<'_>) -> Finding {
        let mut finding = Finding::default();
        (self.run)(subject, &mut finding);
        finding
    }
}

impl Finding {
    fn fail(&mut self, why: impl Into<String>) {
        // The same failure a hundred times is one failure.
        let why = why.into();
        if !self.failures.contains(&why) {
            self.failures.push(why);
        }
    }

    /// Puts a question; `with` says what is odd about it.
    fn ask(&mut self, hooks: &Capabilities, question: &Question, with: &str) {
        let hook = question.hook();
        let said = match within(DEADLINE, question.ask(hooks)) {
            // It hasn't the hook.
            Some(None) => return,
            Some(Some(said)) => said,
            None => {
                let seconds = DEADLINE.as_secs();
                return self.fail(format!("{hook} with {with}: no answer within {seconds} s"));
            }
        };
        self.calls += 1;
        match said {
            Err(fault) if matches!(fault.kind, FaultKind::Backend | FaultKind::CircuitOpen) => {
                self.faults += 1
            }
            Err(fault) => self.fail(format!("{hook} with {with}: {fault}")),
            Ok(_) => {}
        }
    }
}

impl Subject<'_> {
    fn made(&self, finding: &mut Finding) -> Option<Arc<dyn Plugin>> {
        let made = (self.load)(&self.options);
        made.map_err(|error| finding.fail(format!("it can't be made: {error}")))
            .ok()
    }

    fn started(&self, finding: &mut Finding) -> Option<Harness> {
        let started = Harness::of(self.made(finding)?);
        started.map_err(|error| finding.fail(error.to_string())).ok()
    }
}

fn description(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.made(finding) else {
        return;
    };
    let info = plugin.info();
    if info.id.is_empty() || info.version.is_empty() {
        finding.fail(format!(
            "its id is `{}` and its version `{}`",
            info.id, info.version
        ));
    }
    if info.hooks.is_empty() {
        finding.fail("it has no hooks");
    }
    match info.config_schema.as_deref().map(serde_json::from_str::<Value>) {
        None => finding
            .remarks
            .push("it has no schema: `jackfield check` can't check its options".to_owned()),
        Some(Err(error)) => finding.fail(format!("its schema isn't JSON: {error}")),
        Some(Ok(Value::Object(_))) => {}
        Some(Ok(_)) => finding.fail("its schema is no object"),
    }
}

fn options(subject: &Subject<'_>, finding: &mut Finding) {
    let schema = subject
        .made(finding)
        .and_then(|plugin| plugin.info().config_schema);
    if schema.is_some_and(|schema| closed(&schema)) {
        // The broker checks options against the schema, before the plugin sees them.
        return;
    }
    let mut wrong = subject.options.clone();
    let Some(options) = wrong.as_object_mut() else {
        return finding.fail("its options are no object");
    };
    options.insert("an option that nobody has".to_owned(), Value::Bool(true));
    match (subject.load)(&wrong) {
        Err(LoadError::Options { .. }) => {}
        Err(error) => finding.remarks.push(format!("an unknown option is refused without naming it: {error}")),
        Ok(_) => finding.remarks.push(
            "an unknown option is taken: a misspelled one will not be noticed (Rust: `#[serde(deny_unknown_fields)]`)"
                .to_owned(),
        ),
    }
    for (wrong, what) in [
        (Value::Null, "null"),
        (Value::from(7), "a number"),
        (Value::from(vec![1]), "a list"),
    ] {
        if (subject.load)(&wrong).is_ok() {
            finding.remarks.push(format!("{what} is taken as options"));
        }
    }
}

/// Tells whether a schema takes only an object, and only with the keys that it names.
fn closed(schema: &str) -> bool {
    let schema: Value = serde_json::from_str(schema).unwrap_or(Value::Null);
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("additionalProperties").and_then(Value::as_bool) == Some(false)
}

fn ordinary(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    for question in sample::questions(plugin.hooks(), &Bytes::from_static(b"21.5")) {
        finding.ask(plugin.hooks(), &question, "an ordinary question");
    }
    if let Err(fault) = plugin.health() {
        finding.fail(format!("it says that it isn't well: {fault}"));
    }
    end(&plugin, finding);
}

fn payloads(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    let hooks = plugin.hooks();
    let max = subject.payload_bytes_max;
    let odd: [(&str, Vec<u8>); 14] = [
        ("an empty payload", Vec::new()),
        ("a payload of one byte", vec![b'x']),
        ("a payload that is no UTF-8", b"a\xff\xfe\x80b".to_vec()),
        (
            "a payload that is half a character",
            "a\u{20ac}".as_bytes()[..2].to_vec(),
        ),
        ("a payload of zeros", vec![0; 1024]),
        ("a payload of control characters", (0..32).collect()),
        ("a payload with a BOM", b"\xef\xbb\xbf{}".to_vec()),
        ("JSON that is cut", br#"{"temperature":21."#.to_vec()),
        (
            "JSON with a huge number",
            br#"{"value":1e999999,"n":-99999999999999999999999}"#.to_vec(),
        ),
        ("JSON with a key twice", br#"{"value":1,"value":"x"}"#.to_vec()),
        ("JSON 100,000 brackets deep", vec![b'['; 100_000]),
        ("a payload of separators", b";,\t|\n".repeat(1000)),
        ("a payload of 64 KiB", vec![b'7'; 64 << 10]),
        ("the largest payload", vec![b'{'; max]),
    ];
    for (what, payload) in odd {
        for question in sample::questions(hooks, &payload.into()) {
            if carries(&question) {
                finding.ask(hooks, &question, what);
            }
        }
    }
    end(&plugin, finding);
}

const fn carries(question: &Question) -> bool {
    matches!(
        question,
        Question::Publish(..)
            | Question::Retain(_)
            | Question::Deliver(..)
            | Question::Will(..)
            | Question::Control(..)
            | Question::SharePick { .. }
    )
}

fn topics(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    let hooks = plugin.hooks();
    let client = Client::default().view();
    let names = [
        ("/".to_owned(), "the topic `/`"),
        ("a//b/".to_owned(), "empty levels"),
        ("x".repeat(TEXT_MAX), "a topic of 65,535 bytes"),
        ("x/".repeat(TEXT_MAX / 2), "a topic of 32,767 levels"),
        (
            "\u{10fffd}/é/ space /\u{1}".to_owned(),
            "a topic of odd characters",
        ),
        ("$SYS/broker/x".to_owned(), "a topic that begins with $"),
    ];
    for (topic, what) in names {
        let Ok(name) = TopicName::new(topic.as_str()) else {
            continue;
        };
        let message = Message {
            qos: QoS::ExactlyOnce,
            retain: true,
            ..Message::new(name, "1")
        };
        for question in [
            Question::Publish(client.clone(), message.clone(), Source::Client),
            Question::Publish(client.clone(), message.clone(), Source::Bridge),
            Question::Deliver(7, message.clone()),
            Question::Will(client.clone(), message.clone()),
            Question::Retain(message),
            Question::Authorize(client.clone(), Action::Publish, vec![sample::item(&topic)]),
            Question::Authorize(client.clone(), Action::Receive, vec![sample::item(&topic)]),
        ] {
            finding.ask(hooks, &question, what);
        }
    }
    for (filter, what) in [
        ("#", "the filter `#`"),
        ("+/+/+", "a filter of wildcards"),
        ("$share/g/a/#", "a Shared Subscription"),
        ("$SYS/#", "a filter that begins with $"),
    ] {
        finding.ask(
            hooks,
            &Question::Subscribe(client.clone(), sample::subscribe(filter)),
            what,
        );
        finding.ask(
            hooks,
            &Question::Unsubscribe(client.clone(), sample::unsubscribe(filter)),
            what,
        );
    }
    let many = (0..1000).map(|n| sample::item(&format!("a/{n}/+/#"))).collect();
    finding.ask(
        hooks,
        &Question::Authorize(client, Action::Subscribe, many),
        "1,000 filters",
    );
    end(&plugin, finding);
}

fn clients(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    let hooks = plugin.hooks();
    let long = "ü".repeat(TEXT_MAX / 2);
    for (client, what) in [
        (Client::new(""), "an empty Client Identifier"),
        (Client::new(&long).username(&long), "names of 65,534 bytes"),
        (Client::new("c").username(""), "an empty User Name"),
        (Client::new("#/+").username("$SYS/#"), "names that are wildcards"),
        (
            Client::new("c\u{1}\u{202e}").username("\u{10fffd}"),
            "names of odd characters",
        ),
    ] {
        let view = client.view();
        for (password, with) in [
            (None, "no Password"),
            (Some(Vec::new()), "an empty Password"),
            (Some(b"\xff\0\xfe".to_vec()), "a Password that is no text"),
            (Some(vec![b':'; TEXT_MAX]), "a Password of 65,535 bytes"),
        ] {
            let question = Question::Authenticate(view.clone(), password);
            finding.ask(hooks, &question, &format!("{what} and {with}"));
        }
        let message = Message::new(sample::topic_of(None), "1");
        for question in [
            Question::Accept(sample::incoming(&view)),
            Question::Connect(view.clone(), sample::connect(&view)),
            Question::Authorize(view.clone(), Action::Publish, vec![sample::item("a/b")]),
            Question::Subscribe(view.clone(), sample::subscribe("a/#")),
            Question::Publish(view, message, Source::Client),
        ] {
            finding.ask(hooks, &question, what);
        }
    }
    end(&plugin, finding);
}

fn threads(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    let questions = sample::questions(plugin.hooks(), &Bytes::from_static(b"21.5"));
    let (crowd, times) = CROWD;
    let faults = AtomicUsize::new(0);
    let found = std::thread::scope(|scope| {
        let call = || {
            let mut own = Finding::default();
            for _ in 0..times {
                for question in &questions {
                    own.ask(plugin.hooks(), question, "eight threads at once");
                }
            }
            faults.fetch_add(own.faults, Ordering::Relaxed);
            own.failures
        };
        let threads: Vec<_> = (0..crowd).map(|_| scope.spawn(call)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|found| found.unwrap_or_else(|_| vec!["a thread that called it panicked".to_owned()]))
            .collect::<Vec<_>>()
    });
    found.into_iter().for_each(|failure| finding.fail(failure));
    finding.calls += crowd * times * questions.len();
    finding.faults += faults.into_inner();
    end(&plugin, finding);
}

fn lives(subject: &Subject<'_>, finding: &mut Finding) {
    for life in 1..=LIVES {
        let Some(plugin) = subject.started(finding) else {
            return finding.fail(format!("it failed in life {life} of {LIVES}"));
        };
        for question in sample::questions(plugin.hooks(), &Bytes::from_static(b"1")) {
            finding.ask(plugin.hooks(), &question, "a new instance");
        }
        end(&plugin, finding);
    }
}

fn instances(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(one) = subject.started(finding) else {
        return;
    };
    let other = match subject.made(finding).map(Harness::of) {
        Some(Ok(other)) => other,
        Some(Err(error)) => {
            // Both may want the same port or file.
            finding
                .remarks
                .push(format!("a second instance with the same options: {error}"));
            return end(&one, finding);
        }
        None => return,
    };
    for question in sample::questions(one.hooks(), &Bytes::from_static(b"1")) {
        finding.ask(one.hooks(), &question, "two instances");
        finding.ask(other.hooks(), &question, "two instances");
    }
    end(&one, finding);
    drop(one);
    for question in sample::questions(other.hooks(), &Bytes::from_static(b"1")) {
        finding.ask(other.hooks(), &question, "the other instance ended");
    }
    end(&other, finding);
}

fn state(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(old) = subject.started(finding) else {
        return;
    };
    let Some(state) = old.save_state() else {
        return finding.remarks.push("it hands no state over".to_owned());
    };
    let version = old.plugin().info().version;
    end(&old, finding);
    let Some(new) = subject.started(finding) else {
        return;
    };
    if let Err(fault) = new.load_state(&version, &state) {
        finding.fail(format!("it doesn't take its own state: {fault}"));
    }
    if let Err(fault) = new.load_state("0.0.0", b"\xff not a state") {
        finding
            .remarks
            .push(format!("state that is none is refused: {fault}"));
    }
    end(&new, finding);
}

fn store(subject: &Subject<'_>, finding: &mut Finding) {
    let Some(plugin) = subject.started(finding) else {
        return;
    };
    if let Some(store) = &plugin.hooks().session_store {
        finding.calls += 1;
        match within(DEADLINE, keeps(&**store)) {
            Some(Ok(())) => {}
            Some(Err(why)) => finding.fail(why),
            None => finding.fail(format!("no answer within {} s", DEADLINE.as_secs())),
        }
    }
    end(&plugin, finding);
}

/// Puts a few records below a prefix of its own, and takes them away again.
async fn keeps(store: &dyn SessionStore) -> Result<(), String> {
    let key = |name: &str| Bytes::from(format!("conformance/{name}"));
    let put = |name: &str, value: &'static [u8]| StoreOp::Put {
        key: key(name),
        value: Bytes::from_static(value),
    };
    let failed = |what: &str, fault: StoreFault| format!("{what}: {fault}");
    let want = store.caps().strongest;
    let three = [put("b", b"2"), put("a", b"1"), put("c", b"\0\xff"), put("a", b"")];
    store
        .commit(&three, want)
        .await
        .map_err(|fault| failed("a batch", fault))?;
    let got = store.get(&key("a")).await.map_err(|fault| failed("get", fault))?;
    if got.as_deref() != Some(b"") {
        return Err(format!(
            "the last of two values of one batch doesn't hold: {got:?}"
        ));
    }
    let conflict = [
        put("a", b"never"),
        StoreOp::Expect {
            key: key("b"),
            value: None,
        },
    ];
    match store.commit(&conflict, want).await {
        Err(StoreFault::Conflict) => {}
        other => {
            return Err(format!(
                "an expectation that doesn't hold must be a conflict: {other:?}"
            ));
        }
    }
    let scanned = store.scan(b"conformance/", None, 100).await;
    let scanned = scanned.map_err(|fault| failed("scan", fault))?;
    let expected = [("a", &b""[..]), ("b", b"2"), ("c", b"\0\xff")]
        .map(|(name, value)| (key(name), Bytes::from_static(value)));
    if scanned != expected {
        return Err(format!(
            "a scan must be in the order of keys, and a refused batch leave nothing: {scanned:?}"
        ));
    }
    let rest = store.scan(b"conformance/", Some(&key("a")), 1).await;
    let rest = rest.map_err(|fault| failed("scan", fault))?;
    if rest != expected[1..2] {
        return Err(format!(
            "a scan must go on behind `after`, and stop at its limit: {rest:?}"
        ));
    }
    let delete = ["a", "b", "c", "none"].map(|name| StoreOp::Delete { key: key(name) });
    store
        .commit(&delete, want)
        .await
        .map_err(|fault| failed("deleting", fault))?;
    match store.scan(b"conformance/", None, 100).await {
        Ok(left) if left.is_empty() => Ok(()),
        other => Err(format!("what was deleted must be gone: {other:?}")),
    }
}

/// Ends an instance, in time.
fn end(plugin: &Harness, finding: &mut Finding) {
    let stopped: Option<()> = within(DEADLINE, stop(plugin.plugin()));
    if stopped.is_none() {
        finding.fail(format!("it doesn't end within {} s", DEADLINE.as_secs()));
    }
}

fn stop(plugin: &Arc<dyn Plugin>) -> impl Future<Output = ()> + '_ {
    plugin.stop(Duration::from_secs(1))
}
