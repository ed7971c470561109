//! From a checked configuration to a broker that can be started: loads the plugins, puts the chains together, names the
//! listeners. Decides nothing; what is wrong with a configuration was told before.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use broker_core::{
    Bind, BridgeSpec, Broker, BrokerBuilder, Chain, Hook, HookSet, Listener, OnFault, PluginInUse, Use,
    memory_total,
};
use plugin_api::{LoadError, Plugin, PluginLoader};
use plugin_services::{Allowed, HttpClients, granted};

use crate::config_file::quantity::MemorySize;
use crate::config_file::{
    self, BridgeSettings, ChainSettings, FaultPolicy, Instance, ListenerSettings, Loaders, Settings,
    UseSettings,
};

/// A plugin that can't be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{name}`: {source}")]
pub struct AssembleError {
    /// Its name in the configuration.
    pub name: String,
    /// Why not.
    pub source: LoadError,
}

/// Loads the plugins and returns a builder with everything that `settings` say; more may be added to it before it is
/// started. Opens no port.
///
/// # Errors
/// Every plugin that can't be loaded.
pub async fn assemble(settings: &Settings, loaders: &Loaders) -> Result<BrokerBuilder, Vec<AssembleError>> {
    let assembled = assemble_with(settings, loaders, None).await?;
    Ok(assembled.0)
}

/// As [`assemble`], for a broker that runs if there is a `present`: with its plugins where nothing about them has changed, and
/// without a store, which stays the one it has. Returns the plugins that the builder has.
pub(crate) async fn assemble_with(
    settings: &Settings,
    loaders: &Loaders,
    present: Option<&Plugins>,
) -> Result<(BrokerBuilder, Plugins), Vec<AssembleError>> {
    let instances = &settings.instances;
    let http = HttpClients::default();
    let placed = load_all(instances, loaders, &http, present).await?;
    let plugins: Vec<_> = { placed.0.iter() }.map(|placed| placed.plugin.clone()).collect();
    let limits = settings.broker_limits;
    let mut builder = Broker::builder()
        .shared_strategy(settings.shared_strategy)
        .queue_full(limits.queue_full)
        .sessions_max(limits.sessions_max)
        .retained_max(limits.retained_max, limits.retained_bytes_max);
    if let Some(bytes) = memory_max(limits.memory_max) {
        builder = builder.memory_max(bytes);
    }
    if let Some(instance) = settings.store.as_ref().filter(|_| present.is_none()) {
        let store = load(instance, loaders, &http).await.map_err(|source| {
            vec![AssembleError {
                name: instance.name.clone(),
                source,
            }]
        })?;
        builder = builder.store_plugin(&instance.name, store);
    }
    if let Some(threads) = settings.worker_threads {
        builder = builder.shards(threads);
    }
    if let Some(interval) = settings.sys_interval {
        builder = builder.sys_interval(interval);
    }
    for listener in &settings.listeners {
        let chain = chain(&listener.chain, instances, &plugins);
        let mut opened = open(listener);
        if listener.chain.name.is_empty() {
            opened = opened.with_chain(chain);
        } else {
            opened = opened.chain(&listener.chain.name);
            builder = builder.chain(&listener.chain.name, chain);
        }
        builder = builder.listener(opened);
    }
    for settings in &settings.bridges {
        let mut spec = bridge(settings, plugins[settings.instance].clone());
        if let Some(passed) = &settings.chain {
            spec = spec.chain(&passed.name);
            builder = builder.chain(&passed.name, chain(passed, instances, &plugins));
        }
        builder = builder.bridge(spec);
    }
    Ok((builder, placed))
}

/// Returns the bytes that are meant; `None`: nobody knows what the machine has.
fn memory_max(size: MemorySize) -> Option<u64> {
    match size {
        MemorySize::Bytes(bytes) => Some(bytes.0),
        MemorySize::Percent(percent) => Some(memory_total()? / 100 * u64::from(percent)),
    }
}

/// The plugins of a configuration, each with what it was made from.
#[derive(Clone, Default)]
pub(crate) struct Plugins(Vec<Placed>);

#[derive(Clone)]
struct Placed {
    instance: Instance,
    /// A hash of its file, if it came from one.
    content: Option<u64>,
    plugin: Arc<dyn Plugin>,
    /// It isn't what `instance` describes: that one was swapped back, and this is the one before.
    failed: bool,
}

impl Plugins {
    /// Takes for each plugin that was swapped back the one that is in its place. Returns the names of these.
    pub(crate) fn follow(&mut self, in_use: &[PluginInUse]) -> Vec<String> {
        let mut swapped_back = Vec::new();
        for placed in &mut self.0 {
            let is_in_use = in_use
                .iter()
                .any(|used| Arc::ptr_eq(&used.plugin, &placed.plugin));
            let by_name = in_use.iter().find(|used| *used.name == *placed.instance.name);
            if let (false, Some(used)) = (is_in_use, by_name) {
                placed.plugin = used.plugin.clone();
                placed.failed = true;
            }
            if placed.failed {
                swapped_back.push(placed.instance.name.clone());
            }
        }
        self.0.retain(|placed| {
            in_use
                .iter()
                .any(|used| Arc::ptr_eq(&used.plugin, &placed.plugin))
        });
        swapped_back
    }

    /// Tells whether the plugin `name` is one that was put back.
    pub(crate) fn has_failed(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|placed| placed.failed && placed.instance.name == name)
    }

    /// Returns those that were in `before` too, with their names and options.
    pub(crate) fn kept<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<dyn Plugin>, &'a str)> {
        let was_there =
            |plugin: &Arc<dyn Plugin>| before.0.iter().any(|placed| Arc::ptr_eq(&placed.plugin, plugin));
        { self.0.iter() }
            .filter(move |placed| !placed.failed && was_there(&placed.plugin))
            .map(|placed| (&*placed.instance.name, &placed.plugin, &*placed.instance.options))
    }

    fn find(&self, instance: &Instance, content: Option<u64>) -> Option<Placed> {
        let mut all = self.0.iter();
        all.find(|placed| placed.instance == *instance && placed.content == content)
            .cloned()
    }
}

async fn load_all(
    instances: &[Instance],
    loaders: &Loaders,
    http: &HttpClients,
    present: Option<&Plugins>,
) -> Result<Plugins, Vec<AssembleError>> {
    let mut plugins = Vec::new();
    let mut errors = Vec::new();
    for instance in instances {
        let content = content(instance, loaders);
        if let Some(placed) = present.and_then(|present| present.find(instance, content)) {
            plugins.push(placed);
            continue;
        }
        match load(instance, loaders, http).await {
            Ok(plugin) => plugins.push(Placed {
                instance: instance.clone(),
                content,
                plugin,
                failed: false,
            }),
            Err(source) => errors.push(AssembleError {
                name: instance.name.clone(),
                source,
            }),
        }
    }
    match errors.is_empty() {
        true => Ok(Plugins(plugins)),
        false => Err(errors),
    }
}

/// Returns a hash of what is in the file of an instance: enough to see that it has changed.
fn content(instance: &Instance, loaders: &Loaders) -> Option<u64> {
    let loader = loaders.iter().find(|loader| loader.kind() == instance.loader)?;
    let bytes = std::fs::read(loader.file(&instance.source)?).ok()?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}

async fn load(
    instance: &Instance,
    loaders: &Loaders,
    http: &HttpClients,
) -> Result<Arc<dyn Plugin>, LoadError> {
    let has_it = |loader: &&Arc<dyn PluginLoader>| loader.kind() == instance.loader;
    let loader = loaders.iter().find(has_it).ok_or_else(|| LoadError::NotFound {
        what: format!("{}:{}", instance.loader, instance.source.what),
        did_you_mean: None,
    })?;
    let plugin = loader
        .load(&instance.name, &instance.source, &instance.options)
        .await?;
    let grants = &instance.source.grants;
    // What makes no sense was reported when the file was checked.
    let urls = grants.http.iter().filter_map(|url| Allowed::parse(url).ok());
    let urls: Vec<Allowed> = urls.collect();
    let http = (!urls.is_empty()).then(|| http.client(urls));
    Ok(granted(plugin, grants.kv, http))
}

fn chain(settings: &ChainSettings, instances: &[Instance], plugins: &[Arc<dyn Plugin>]) -> Chain {
    let uses = settings.uses.iter().map(|entry| {
        let (instance, plugin) = (&instances[entry.instance], &plugins[entry.instance]);
        link(entry, Use::new(instance.name.as_str(), plugin.clone()))
    });
    let mut chain = uses.fold(Chain::new(), Chain::plugin);
    if settings.authenticate_all {
        chain = chain.authenticate_all();
    }
    if settings.authorize_all {
        chain = chain.authorize_all();
    }
    chain
}

fn link(settings: &UseSettings, mut link: Use) -> Use {
    link = link
        .topics(settings.topics.clone())
        .on_error(on_fault(settings.on_error))
        .on_timeout(on_fault(settings.on_timeout));
    if settings.narrowed {
        let hooks = settings.hooks.iter().filter_map(|name| Hook::from_name(name));
        link = link.on(hooks.collect::<HookSet>());
    }
    if let Some(condition) = &settings.when {
        link = link.when(condition.clone());
    }
    if let Some(filters) = &settings.allow_publish {
        link = link.allow_publish(filters.clone());
    }
    match settings.timeout {
        Some(timeout) => link.timeout(timeout),
        None => link,
    }
}

fn bridge(settings: &BridgeSettings, carrier: Arc<dyn Plugin>) -> BridgeSpec {
    let spec = BridgeSpec::new(settings.name.as_str(), carrier)
        .queue_max(settings.queued_messages_max, settings.queued_bytes_max);
    let spec = settings.outgoing.iter().cloned().fold(spec, BridgeSpec::outgoing);
    settings.incoming.iter().cloned().fold(spec, BridgeSpec::incoming)
}

fn open(settings: &ListenerSettings) -> Listener {
    let listener = Listener::bind(match &settings.bind {
        config_file::Bind::Tcp(address) => Bind::Tcp(*address),
        config_file::Bind::Unix(path) => Bind::Unix(path.clone()),
    });
    let listener = listener
        .name(&settings.name)
        .limits(settings.limits.clone())
        .protocols(settings.protocols.clone())
        .anonymous(settings.anonymous)
        .shared_sessions(settings.shared_sessions);
    match &settings.mount {
        Some(mount) => listener.mount(mount),
        None => listener,
    }
}

fn on_fault(policy: FaultPolicy) -> OnFault {
    match policy {
        FaultPolicy::Deny => OnFault::Deny,
        FaultPolicy::Skip => OnFault::Skip,
        FaultPolicy::Drop => OnFault::Drop,
        FaultPolicy::Disconnect => OnFault::Disconnect,
        FaultPolicy::Allow => OnFault::Allow,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use broker_types::{Message, QoS, TopicName};
    use plugin_api::{Bridge, Capabilities, Fault, NewMessage, PluginInfo, PluginSource, async_trait};
    use tokio::sync::{Mutex, mpsc};

    use super::*;
    use crate::config_file::{Sources, load};

    const DEADLINE: Duration = Duration::from_secs(30);

    /// Carries messages into one channel, and those of another back.
    struct Carrier {
        out: mpsc::UnboundedSender<NewMessage>,
        back: Mutex<mpsc::UnboundedReceiver<NewMessage>>,
    }

    #[async_trait]
    impl Bridge for Carrier {
        async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault> {
            for message in batch {
                self.out.send(message.clone()).unwrap();
            }
            Ok(batch.len())
        }

        async fn ingress(&self) -> Result<Vec<NewMessage>, Fault> {
            match self.back.lock().await.recv().await {
                Some(message) => Ok(vec![message]),
                None => std::future::pending().await,
            }
        }
    }

    struct Carries(Arc<Carrier>);

    impl Plugin for Carries {
        fn info(&self) -> PluginInfo {
            PluginInfo {
                hooks: vec!["bridge".to_owned()],
                ..PluginInfo::default()
            }
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities {
                bridge: Some(self.0.clone()),
                ..Capabilities::default()
            }
        }
    }

    /// `test:echo` sends back what it carries out, `test:tap` shows it to the test.
    struct Tests {
        echo: Arc<dyn Plugin>,
        tap: Arc<dyn Plugin>,
    }

    #[async_trait]
    impl PluginLoader for Tests {
        fn kind(&self) -> &'static str {
            "test"
        }

        async fn inspect(&self, _: &PluginSource) -> Result<PluginInfo, LoadError> {
            Ok(self.echo.info())
        }

        async fn check(&self, _: &PluginSource, _: &str) -> Result<(), LoadError> {
            Ok(())
        }

        async fn load(&self, name: &str, _: &PluginSource, _: &str) -> Result<Arc<dyn Plugin>, LoadError> {
            Ok(if name == "echo" { &self.echo } else { &self.tap }.clone())
        }
    }

    fn carrier(
        out: mpsc::UnboundedSender<NewMessage>,
        back: mpsc::UnboundedReceiver<NewMessage>,
    ) -> Arc<dyn Plugin> {
        let back = Mutex::new(back);
        Arc::new(Carries(Arc::new(Carrier { out, back })))
    }

    const OPEN: &str =
        "[node]\nworker_threads = 2\n[listeners.main]\nbind = '127.0.0.1:0'\nanonymous = true\n";

    async fn start(text: &str, loaders: &Loaders) -> Broker {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("j.toml");
        fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let loaded = load(&sources, loaders)
            .await
            .unwrap_or_else(|report| panic!("{report}"));
        let builder = assemble(&loaded.settings, loaders).await.unwrap();
        builder.start().await.unwrap()
    }

    #[tokio::test]
    async fn messages_go_over_the_bridges_of_the_file_and_come_back() {
        let (to_echo, from_echo) = mpsc::unbounded_channel();
        let (to_test, mut seen) = mpsc::unbounded_channel();
        let (_nothing, comes) = mpsc::unbounded_channel();
        let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Tests {
            echo: carrier(to_echo, from_echo),
            tap: carrier(to_test, comes),
        })];
        let text = format!(
            "[plugins]\necho.use = 'test:echo'\ntap.use = 'test:tap'\n{OPEN}\
             [[bridges]]\nname = 'there_and_back'\nplugin = 'echo'\n\
             out = [{{ filter = 'plant/+/raw/#', to = 'cloud/+/#', qos = 1 }}]\n\
             in = [{{ filter = 'cloud/#', to = 'plant/echo/#' }}]\n\
             [[bridges]]\nname = 'shown'\nplugin = 'tap'\nout = [{{ filter = 'plant/echo/#' }}]\n"
        );
        let broker = start(&text, &loaders).await;
        let message = Message {
            qos: QoS::ExactlyOnce,
            ..Message::new(TopicName::new("plant/7/raw/temp").unwrap(), b"21".to_vec())
        };
        broker.handle().publish(message).await.unwrap();
        let came = tokio::time::timeout(DEADLINE, seen.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (came.topic.as_str(), &came.payload[..], came.qos),
            ("plant/echo/7/temp", &b"21"[..], QoS::AtLeastOnce)
        );
        let names: Vec<_> = broker
            .handle()
            .bridges()
            .iter()
            .map(|bridge| bridge.name.to_string())
            .collect();
        assert_eq!(names, ["there_and_back", "shown"]);
        broker.shutdown(DEADLINE).await;
    }

    #[tokio::test]
    async fn the_ceiling_for_memory_is_that_of_the_file() {
        for (written, expected) in [
            ("'64MiB'", Some(64 << 20)),
            ("'25 %'", memory_total().map(|bytes| bytes / 100 * 25)),
        ] {
            let text = format!("{OPEN}[limits]\nmemory_max = {written}\n");
            let broker = start(&text, &[]).await;
            assert_eq!(broker.handle().gauges().memory_max, expected, "{written}");
            broker.shutdown(DEADLINE).await;
        }
    }
}
