//! The plugin: from an [`AclRequest`] to decisions.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use plugin_api::{
    AclDecision, AclRequest, AclVerdict, Answer, Authorize, Capabilities, Cx, Denial, Fault, Host, LoadError,
    NoHost, Plugin, PluginInfo, TimerId, run_blocking,
};
use plugin_basis::{FileError, WatchedFile, options, schema};

use crate::identity::Identity;
use crate::rule_set::RuleSet;
use crate::{Format, Options, mosquitto, shape};

/// Makes the plugin from its options, a JSON object.
///
/// # Errors
/// The options are wrong, or the file is.
pub fn load(_name: &str, options_json: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    let options: Options = options(options_json)?;
    let plugin = AclFile::new(options).map_err(|error| LoadError::Options {
        key: "file".into(),
        why: error.to_string(),
    })?;
    Ok(Arc::new(plugin))
}

/// Returns what is known of the plugin before it runs.
#[must_use]
pub fn info() -> PluginInfo {
    PluginInfo {
        id: "acl-file".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        config_schema: Some(schema::<Options>()),
        hooks: vec!["authorize".into()],
    }
}

/// Decides by the rules of a file.
pub struct AclFile {
    options: Options,
    authorizer: Arc<Authorizer>,
    host: OnceLock<Arc<dyn Host>>,
    timer: OnceLock<TimerId>,
    /// Whether the chain was told to ask at delivery.
    asked_receive: OnceLock<bool>,
}

/// The part that chains hold.
struct Authorizer {
    file: Arc<WatchedFile<RuleSet>>,
}

impl AclFile {
    /// Reads the file at `path`, with the other options as they are by default.
    ///
    /// # Errors
    /// The file can't be read, or a rule of it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        Self::new(Options::new(path))
    }

    /// Makes the plugin as `options` say.
    ///
    /// # Errors
    /// The file can't be read, or a rule of it.
    pub fn new(options: Options) -> Result<Self, FileError> {
        let file = Arc::new(open(&options)?);
        Ok(Self {
            options,
            authorizer: Arc::new(Authorizer { file }),
            host: OnceLock::new(),
            timer: OnceLock::new(),
            asked_receive: OnceLock::new(),
        })
    }

    fn host(&self) -> &dyn Host {
        self.host.get().map_or(&NoHost, |host| &**host)
    }

    /// Deliveries are asked about if receiving differs from subscribing, and if rules may change under a subscription:
    /// a right that was taken away must end what it had allowed.
    fn wants_receive(&self, rules: &RuleSet) -> bool {
        self.options.watch || rules.needs_receive()
    }
}

fn open(options: &Options) -> Result<WatchedFile<RuleSet>, FileError> {
    let parse = match options.format {
        Format::Toml => shape::parse,
        Format::Mosquitto => mosquitto::parse,
    };
    WatchedFile::open(&options.file, parse)
}

#[async_trait]
impl Plugin for AclFile {
    fn info(&self) -> PluginInfo {
        info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        let host = self.host.get_or_init(|| host);
        if self.options.watch {
            self.timer.get_or_init(|| self.authorizer.file.watch(&**host));
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let wants = self.wants_receive(&self.authorizer.file.value());
        Capabilities {
            authorize: Some(self.authorizer.clone()),
            authorize_receive: *self.asked_receive.get_or_init(|| wants),
            ..Capabilities::default()
        }
    }

    /// The same options: reads the file again. Other options, and rules that need to be asked at delivery where that
    /// wasn't so, need a new instance.
    async fn reconfigure(&self, json: &str) -> Result<bool, Fault> {
        let wanted: Options = options(json).map_err(|error| Fault::backend(error.to_string()))?;
        if wanted != self.options {
            return Ok(false);
        }
        let rules = run_blocking(self.host(), move || open(&wanted).map(|file| file.shared()))
            .await?
            .map_err(|error| Fault::backend(error.to_string()))?;
        if self.wants_receive(&rules) && self.asked_receive.get() == Some(&false) {
            return Ok(false);
        }
        self.authorizer.file.replace(rules);
        self.host().invalidate(None);
        Ok(true)
    }

    async fn on_timer(&self, _timer: TimerId) {
        if self.authorizer.file.poll(self.host()).await {
            self.host().invalidate(None);
        }
    }

    async fn stop(&self, _drain: Duration) {
        if let Some(timer) = self.timer.get() {
            self.host().cancel_timer(*timer);
        }
    }
}

impl std::fmt::Debug for AclFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AclFile")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Authorize for Authorizer {
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        let rules = self.file.value();
        let client = Identity::of(cx.client);
        for (item, decision) in request.items.iter().zip(out) {
            let verdict = match rules.decide(&client, request.action, item.topic) {
                Some(true) => AclVerdict::Allow,
                Some(false) => AclVerdict::Deny(Denial::not_authorized()),
                None => AclVerdict::Skip,
            };
            *decision = AclDecision::fixed(verdict);
        }
        Answer::now(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::path::Path;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Waker};

    use broker_types::{ClientHandle, ClientId, ProtocolVersion, QoS, ReasonCode};
    use plugin_api::{AclItem, Action, ClientView, Level, NewMessage, Peer};

    use super::*;

    const OWN: &str =
        "[[rules]]\nwho = { user = \"*\" }\nallow = [\"publish\", \"subscribe\"]\ntopics = [\"own/%u/#\"]\n";

    /// Without a broker, blocking jobs run at once and every call is done at its first poll.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not done at the first poll"),
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn json(path: &Path, rest: &str) -> String {
        format!("{{\"file\":{:?}{rest}}}", path.to_str().unwrap())
    }

    fn ask(plugin: &AclFile, authenticated: bool, action: Action, topics: &[&str]) -> Vec<AclDecision> {
        let view = Arc::new(ClientView {
            handle: ClientHandle(1),
            id: ClientId::from("c"),
            username: Some("ann".into()),
            authenticated,
            listener: "l".into(),
            peer: Peer::Local,
            version: ProtocolVersion::V5,
            clean_start: true,
            mount: "".into(),
            attributes: [].into(),
            certificate: None,
            unrestricted: false,
        });
        let cx = Cx {
            client: &view,
            budget: Duration::from_secs(1),
        };
        let items: Vec<_> = topics
            .iter()
            .map(|topic| AclItem {
                topic,
                qos: QoS::AtMostOnce,
                retain: false,
                share: None,
            })
            .collect();
        let request = AclRequest {
            action,
            items: &items,
        };
        let mut out = vec![AclDecision::default(); items.len()];
        let hook = plugin.capabilities().authorize.unwrap();
        assert!(matches!(
            hook.authorize(&cx, &request, &mut out),
            Answer::Now(Ok(()))
        ));
        out
    }

    fn allows(plugin: &AclFile, topic: &str) -> bool {
        ask(plugin, true, Action::Publish, &[topic])[0].verdict == AclVerdict::Allow
    }

    #[test]
    fn every_filter_of_a_subscribe_gets_its_own_decision() {
        let (_folder, path) = file(OWN);
        let plugin = AclFile::open(path).unwrap();
        let decisions = ask(&plugin, true, Action::Subscribe, &["own/ann/#", "#", "own/bob/x"]);
        let deny = || AclDecision::fixed(AclVerdict::Deny(Denial::new(ReasonCode::NotAuthorized)));
        assert_eq!(decisions, [AclDecision::fixed(AclVerdict::Allow), deny(), deny()]);
    }

    #[test]
    fn a_user_name_that_nobody_granted_is_none() {
        let (_folder, path) = file(OWN);
        let plugin = AclFile::open(path).unwrap();
        let decisions = ask(&plugin, false, Action::Publish, &["own/ann/x"]);
        assert!(matches!(decisions[0].verdict, AclVerdict::Deny(_)));
    }

    #[test]
    fn deliveries_are_asked_about_only_where_it_matters() {
        let receive = "[[rules]]\ndeny = [\"receive\"]\ntopics = [\"a\"]\n";
        for (text, rest, expected) in [
            (OWN, "", true),
            (OWN, ",\"watch\":false", false),
            (receive, ",\"watch\":false", true),
            ("topic a", ",\"watch\":false,\"format\":\"mosquitto\"", true),
        ] {
            let (_folder, path) = file(text);
            let plugin = load("acl", &json(&path, rest)).unwrap();
            assert_eq!(plugin.capabilities().authorize_receive, expected, "{text} {rest}");
        }
    }

    /// Counts how often cached decisions were dropped.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Host for Counting {
        fn log(&self, _level: Level, _text: &str) {}
        fn publish(&self, message: NewMessage) -> Result<(), Fault> {
            NoHost.publish(message)
        }
        fn kick(&self, client: ClientHandle, reason: ReasonCode, with_will: bool) -> bool {
            NoHost.kick(client, reason, with_will)
        }
        fn timer(&self, first: Duration, every: Option<Duration>) -> TimerId {
            NoHost.timer(first, every)
        }
        fn cancel_timer(&self, _timer: TimerId) {}
        fn counter(&self, _name: &str, _add: u64) {}
        fn gauge(&self, _name: &str, _value: f64) {}
        fn invalidate(&self, client: Option<ClientHandle>) {
            assert_eq!(client, None);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn spawn_blocking(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
            NoHost.spawn_blocking(job)
        }
    }

    #[test]
    fn new_rules_hold_at_once_and_cached_decisions_are_dropped() {
        let (_folder, path) = file(OWN);
        let plugin = AclFile::open(&path).unwrap();
        let host = Arc::new(Counting::default());
        now(plugin.start(host.clone())).unwrap();
        assert!(allows(&plugin, "own/ann/x"));
        std::fs::write(&path, OWN.replace("own/", "owned/")).unwrap();
        now(plugin.on_timer(TimerId(0)));
        assert!(!allows(&plugin, "own/ann/x"));
        assert!(allows(&plugin, "owned/ann/x"));
        assert_eq!(host.0.load(Ordering::Relaxed), 1);
        std::fs::write(&path, "rubbish").unwrap();
        now(plugin.on_timer(TimerId(0)));
        now(plugin.on_timer(TimerId(0)));
        assert!(allows(&plugin, "owned/ann/x"));
        assert_eq!(host.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn the_same_options_read_again_and_others_want_a_new_instance() {
        let (_folder, path) = file(OWN);
        let plugin = AclFile::new(Options {
            watch: false,
            ..Options::new(&path)
        })
        .unwrap();
        assert!(!plugin.capabilities().authorize_receive);
        let same = json(&path, ",\"watch\":false");
        std::fs::write(&path, OWN.replace("own/", "owned/")).unwrap();
        assert_eq!(now(plugin.reconfigure(&same)), Ok(true));
        assert!(allows(&plugin, "owned/ann/x"));
        assert_eq!(now(plugin.reconfigure(&json(&path, ""))), Ok(false));
        std::fs::write(&path, "[[rules]]\nallow = [\"receive\"]\ntopics = [\"a\"]\n").unwrap();
        assert_eq!(now(plugin.reconfigure(&same)), Ok(false));
        std::fs::write(&path, "rubbish").unwrap();
        assert!(now(plugin.reconfigure(&same)).is_err());
        assert!(allows(&plugin, "owned/ann/x"));
    }

    #[test]
    fn options_are_checked_when_loading() {
        let (_folder, path) = file("rubbish");
        let Err(LoadError::Options { key, why }) = load("acl", &json(&path, "")) else {
            panic!("a broken file was taken");
        };
        assert_eq!(key, "file");
        assert!(why.contains("line 1"), "{why}");
        for rest in [",\"format\":\"yaml\"", ",\"wacth\":true"] {
            assert!(
                matches!(load("acl", &json(&path, rest)), Err(LoadError::Options { .. })),
                "{rest}"
            );
        }
    }
}
