//! A plugin in the hands of a test: loaded, started, and asked one hook at a time.

use std::future::Future;
#[cfg(feature = "native")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker_types::{Message, QoS, ReasonCode, Source, SubscriptionFilter, TopicName};
use bytes::Bytes;
use plugin_api::{
    AclVerdict, Action, AuthVerdict, Capabilities, ConnectEdit, ConnectFlow, Event, Fault, FaultKind,
    LoadError, Plugin, RetainVerdict, StoreFault, StoreOp, SubscribeEdit, SubscribeFlow, UnsubscribeEdit,
};
#[cfg(feature = "native")]
use plugin_api::{PluginLoader, PluginSource};
#[cfg(feature = "native")]
use plugin_host_native::NativeLoader;

use crate::published::{Delivered, Published};
use crate::question::{Item, Question, Verdict};
use crate::wait::within;
use crate::{Client, TestHost};

/// How long any call may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The variable that names a built plugin for [`Harness::load`].
#[cfg(feature = "direct")]
const PLUGIN: &str = "JACKFIELD_PLUGIN";
/// The name of the instance.
#[cfg(feature = "native")]
const NAME: &str = "test";

/// A plugin that is loaded and started, and a broker that only remembers ([`TestHost`]).
///
/// Calls go through the plugin's ABI, also without a library, so what is wrong there shows in a unit test. They wait for
/// the answer, up to 30 s.
///
/// # Panics
/// A method of a hook that the plugin doesn't have panics, and so does one whose hook faulted where a verdict is asked
/// for: both are what a test wants to fail with. [`Harness::ask`] returns the fault.
pub struct Harness {
    plugin: Arc<dyn Plugin>,
    hooks: Capabilities,
    host: Arc<TestHost>,
    client: Client,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness")
            .field("plugin", &self.plugin.info())
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

impl Harness {
    /// Makes and starts an instance of the plugin `P` of this crate, with `options`. If the variable `JACKFIELD_PLUGIN`
    /// names a file, the plugin in that file is used instead: the same tests then run against what was built.
    ///
    /// # Errors
    /// The options are wrong, or it can't be made or started.
    #[cfg(feature = "direct")]
    pub fn load<P: plugin_sdk::native::Exported>(options: serde_json::Value) -> Result<Self, LoadError> {
        if let Some(file) = std::env::var_os(PLUGIN) {
            return Self::open(Path::new(&file), options);
        }
        Self::of(Self::made::<P>(&options)?)
    }

    /// Makes an instance of the plugin `P` of this crate without starting it: for [`crate::conformance::Subject::load`].
    ///
    /// # Errors
    /// The options are wrong, or it can't be made.
    #[cfg(feature = "direct")]
    pub fn made<P: plugin_sdk::native::Exported>(
        options: &serde_json::Value,
    ) -> Result<Arc<dyn Plugin>, LoadError> {
        // SAFETY: the trait promises that the entry is one, for as long as the process lives.
        unsafe { plugin_host_native::linked(P::entry(), NAME, &options.to_string()) }
    }

    /// Loads and starts the plugin in `file`, a shared library, with `options`.
    ///
    /// # Errors
    /// The file is refused, the options are wrong, or it can't be made or started.
    #[cfg(feature = "native")]
    pub fn open(file: &Path, options: serde_json::Value) -> Result<Self, LoadError> {
        Self::of(Self::made_of(file, &options)?)
    }

    /// Makes an instance of the plugin in `file`, a shared library, without starting it: for
    /// [`crate::conformance::Subject::load`].
    ///
    /// # Errors
    /// The file is refused, the options are wrong, or it can't be made.
    #[cfg(feature = "native")]
    pub fn made_of(file: &Path, options: &serde_json::Value) -> Result<Arc<dyn Plugin>, LoadError> {
        let refused = |why: String| LoadError::Refused {
            what: file.display().to_string(),
            why,
        };
        let file = file.canonicalize().map_err(|error| refused(error.to_string()))?;
        let folder = file.parent().ok_or_else(|| refused("it is no file".to_owned()))?;
        let source = PluginSource {
            what: file.display().to_string(),
            ..PluginSource::default()
        };
        let loader = NativeLoader::new([folder.to_owned()]);
        let options = options.to_string();
        let loaded = within(DEADLINE, loader.load(NAME, &source, &options));
        loaded.ok_or_else(|| refused("it wasn't loaded within 30 s".to_owned()))?
    }

    /// Starts any plugin, of whatever kind.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn of(plugin: Arc<dyn Plugin>) -> Result<Self, LoadError> {
        let host = Arc::new(TestHost::default());
        Self::with_host(plugin, host)
    }

    /// Starts any plugin with a host that was prepared, with records for example.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn with_host(plugin: Arc<dyn Plugin>, host: Arc<TestHost>) -> Result<Self, LoadError> {
        wait(plugin.start(host.clone()))
            .and_then(|started| started)
            .map_err(|fault| LoadError::Start(fault.to_string()))?;
        let hooks = plugin.capabilities();
        Ok(Self {
            plugin,
            hooks,
            host,
            client: Client::default(),
        })
    }

    /// Returns what it did with the broker's services.
    #[must_use]
    pub fn host(&self) -> &TestHost {
        &self.host
    }

    /// Returns the plugin itself.
    #[must_use]
    pub fn plugin(&self) -> &Arc<dyn Plugin> {
        &self.plugin
    }

    /// Returns its hooks.
    #[must_use]
    pub fn hooks(&self) -> &Capabilities {
        &self.hooks
    }

    /// Has the calls from here on made for `client`.
    pub fn client(&mut self, client: Client) -> &mut Self {
        self.client = client;
        self
    }

    /// Asks anything, and returns the fault if there is one. A call that takes longer than 30 s is dropped and a
    /// `Timeout` fault.
    ///
    /// # Errors
    /// The hook faulted.
    #[track_caller]
    pub fn ask(&self, question: &Question) -> Result<Verdict, Fault> {
        match wait(question.ask(&self.hooks))? {
            Some(said) => said,
            None => panic!(
                "the plugin has no hook `{}`, it has: {}",
                question.hook(),
                self.hooks.names().join(", ")
            ),
        }
    }

    /// Asks `authenticate` about the client. If it is let in, later calls are made for it as it was let in: with the
    /// granted name, attributes and mount.
    #[track_caller]
    pub fn login(&mut self) -> AuthVerdict {
        let password = self.client.secret().map(<[u8]>::to_vec);
        let question = Question::Authenticate(self.client.view(), password);
        let Verdict::Authenticate(verdict) = self.verdict(&question) else {
            unreachable!("authenticate says an AuthVerdict")
        };
        if let AuthVerdict::Allow(grant) = &verdict {
            self.client.granted(grant);
        }
        verdict
    }

    /// Asks `authorize` whether the client may publish to `topic`, with QoS 1.
    #[track_caller]
    pub fn may_publish(&self, topic: &str) -> AclVerdict {
        self.may(Action::Publish, topic)
    }

    /// Asks `authorize` whether the client may subscribe to `filter`, with QoS 1.
    #[track_caller]
    pub fn may_subscribe(&self, filter: &str) -> AclVerdict {
        self.may(Action::Subscribe, filter)
    }

    /// Asks `authorize` whether the client may get messages with `topic`.
    #[track_caller]
    pub fn may_receive(&self, topic: &str) -> AclVerdict {
        self.may(Action::Receive, topic)
    }

    #[track_caller]
    fn may(&self, action: Action, topic: &str) -> AclVerdict {
        let item = Item {
            topic: topic.to_owned(),
            qos: QoS::AtLeastOnce,
            retain: false,
            share: None,
        };
        match self.verdict(&Question::Authorize(self.client.view(), action, vec![item])) {
            Verdict::Authorize(mut decisions) => decisions.swap_remove(0).verdict,
            other => unreachable!("authorize says decisions: {other:?}"),
        }
    }

    /// Publishes as the client, with QoS 1.
    #[track_caller]
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> Published {
        self.publish_message(message(topic, payload))
    }

    /// Publishes a whole message as the client.
    #[track_caller]
    pub fn publish_message(&self, message: Message) -> Published {
        let question = Question::Publish(self.client.view(), message.clone(), Source::Client);
        Published::new(message, self.ask(&question))
    }

    /// Asks what subscribers of `class` get of a message.
    #[track_caller]
    pub fn deliver(&self, class: u32, topic: &str, payload: impl Into<Bytes>) -> Delivered {
        let message = message(topic, payload);
        let said = self.ask(&Question::Deliver(class, message.clone()));
        Delivered::new(message, said)
    }

    /// Asks what becomes of a Will Message of the client that fires.
    #[track_caller]
    pub fn will(&self, topic: &str, payload: impl Into<Bytes>) -> Delivered {
        let message = message(topic, payload);
        let said = self.ask(&Question::Will(self.client.view(), message.clone()));
        Delivered::new(message, said)
    }

    /// Asks whether a message is retained.
    #[track_caller]
    pub fn retain(&self, topic: &str, payload: impl Into<Bytes>) -> RetainVerdict {
        let message = Message {
            retain: true,
            ..message(topic, payload)
        };
        match self.verdict(&Question::Retain(message)) {
            Verdict::Retain(verdict) => verdict,
            other => unreachable!("retain says a RetainVerdict: {other:?}"),
        }
    }

    /// Asks what becomes of the client's CONNECT.
    #[track_caller]
    pub fn connect(&self) -> (ConnectFlow, ConnectEdit) {
        let view = self.client.view();
        let edit = ConnectEdit {
            client_id: view.id.clone(),
            username: view.username.clone(),
            clean_start: view.clean_start,
            keep_alive_cap: None,
            session_expiry_cap: None,
            mount: view.mount.clone(),
            user_properties: Vec::new(),
            server_reference: None,
        };
        match self.verdict(&Question::Connect(view, edit)) {
            Verdict::Connect(flow, edit) => (flow, edit),
            other => unreachable!("connect says a ConnectFlow: {other:?}"),
        }
    }

    /// Asks what becomes of a subscription to `filter` (perhaps with `$share/NAME/`), with QoS 1.
    #[track_caller]
    pub fn subscribe(&self, filter: &str) -> (SubscribeFlow, SubscribeEdit) {
        let filter = subscription(filter);
        let edit = SubscribeEdit {
            requested: filter.clone(),
            filter,
            max_qos: QoS::AtLeastOnce,
            no_local: false,
            id: None,
            class: 0,
        };
        match self.verdict(&Question::Subscribe(self.client.view(), edit)) {
            Verdict::Subscribe(flow, edit) => (flow, edit),
            other => unreachable!("subscribe says a SubscribeFlow: {other:?}"),
        }
    }

    /// Asks which filter an UNSUBSCRIBE of `filter` gives up.
    #[track_caller]
    pub fn unsubscribe(&self, filter: &str) -> SubscriptionFilter {
        let filter = subscription(filter);
        let edit = UnsubscribeEdit {
            requested: filter.clone(),
            filter,
        };
        match self.verdict(&Question::Unsubscribe(self.client.view(), edit)) {
            Verdict::Unsubscribe(edit) => edit.filter,
            other => unreachable!("unsubscribe says a filter: {other:?}"),
        }
    }

    /// Sends a request to `topic`, which begins with `$CONTROL/`, and returns the reply.
    ///
    /// # Errors
    /// The Reason Code that refuses.
    #[track_caller]
    pub fn control(&self, topic: &str, payload: impl Into<Bytes>) -> Result<Vec<u8>, ReasonCode> {
        let question = Question::Control(self.client.view(), name(topic), payload.into());
        match self.verdict(&question) {
            Verdict::Control(reply) => reply,
            other => unreachable!("control says a reply: {other:?}"),
        }
    }

    /// Tells what happened. Kinds that the plugin doesn't want pass it by.
    #[track_caller]
    pub fn notify(&self, events: Vec<Event>) {
        self.verdict(&Question::Events(events));
    }

    /// Moves the clock of timers and of the lifetimes of records, and calls the timers that are due.
    pub fn advance(&self, by: Duration) {
        for timer in self.host.advance(by) {
            let _ = wait(self.plugin.on_timer(timer));
        }
    }

    /// Applies a batch to its session store.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn commit(&self, batch: &[StoreOp]) -> Result<(), StoreFault> {
        let store = self.hooks.session_store.as_ref();
        let store = store.expect("the plugin has a session store");
        expect_in_time(wait(store.commit(batch, store.caps().strongest)))
    }

    /// Reads a record of its session store.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let store = self.hooks.session_store.as_ref();
        expect_in_time(wait(store.expect("the plugin has a session store").get(key)))
    }

    /// Reads records of its session store whose keys begin with `prefix`, behind the key `after`.
    ///
    /// # Errors
    /// What the store says.
    #[track_caller]
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreFault> {
        let store = self.hooks.session_store.as_ref();
        let store = store.expect("the plugin has a session store");
        expect_in_time(wait(store.scan(prefix, after, limit)))
    }

    /// Has its bridge carry messages out, and returns how many the other side has.
    ///
    /// # Errors
    /// What the bridge says.
    #[track_caller]
    pub fn egress(&self, batch: &[Message]) -> Result<usize, Fault> {
        let bridge = self.hooks.bridge.as_ref();
        wait(bridge.expect("the plugin has a bridge").egress(batch))?
    }

    /// Has its bridge wait for messages from the other side.
    ///
    /// # Errors
    /// What the bridge says.
    #[track_caller]
    pub fn ingress(&self) -> Result<Vec<Message>, Fault> {
        let bridge = self.hooks.bridge.as_ref();
        wait(bridge.expect("the plugin has a bridge").ingress())?
    }

    /// Asks whether it works.
    ///
    /// # Errors
    /// Why it doesn't.
    pub fn health(&self) -> Result<(), Fault> {
        wait(self.plugin.health())?
    }

    /// Returns the state that it would hand to its successor.
    #[must_use]
    pub fn save_state(&self) -> Option<Vec<u8>> {
        wait(self.plugin.save_state()).ok().flatten()
    }

    /// Gives it the state of a predecessor.
    ///
    /// # Errors
    /// It can't take it.
    pub fn load_state(&self, from_version: &str, state: &[u8]) -> Result<(), Fault> {
        wait(self.plugin.load_state(from_version, state))?
    }

    /// Ends it in order. Dropping a harness ends nothing.
    pub fn stop(self) {
        let _ = wait(self.plugin.stop(Duration::from_secs(1)));
    }

    /// Returns a verdict, or panics with the fault.
    #[track_caller]
    fn verdict(&self, question: &Question) -> Verdict {
        match self.ask(question) {
            Ok(verdict) => verdict,
            Err(fault) => panic!("{} faulted: {fault}", question.hook()),
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T, Fault> {
    within(DEADLINE, future).ok_or_else(|| Fault::new(FaultKind::Timeout, "no answer within 30 s"))
}

#[track_caller]
fn expect_in_time<T>(said: Result<Result<T, StoreFault>, Fault>) -> Result<T, StoreFault> {
    said.unwrap_or_else(|fault| Err(StoreFault::Unavailable(fault.to_string())))
}

#[track_caller]
fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap_or_else(|error| panic!("`{topic}` is no Topic Name: {error}"))
}

#[track_caller]
fn subscription(filter: &str) -> SubscriptionFilter {
    SubscriptionFilter::parse(filter).unwrap_or_else(|error| panic!("`{filter}` is no Topic Filter: {error}"))
}

#[track_caller]
fn message(topic: &str, payload: impl Into<Bytes>) -> Message {
    Message {
        qos: QoS::AtLeastOnce,
        ..Message::new(name(topic), payload)
    }
}
