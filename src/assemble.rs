//! From a checked configuration to a broker that can be started: loads the plugins, puts the chains together, names the
//! listeners. Decides nothing; what is wrong with a configuration was told before.

use std::sync::Arc;

use broker_core::{Bind, Broker, BrokerBuilder, Chain, Hook, HookSet, Listener, OnFault, Use};
use plugin_api::{LoadError, Plugin, PluginLoader};

use crate::config_file::{
    self, ChainSettings, FaultPolicy, Instance, ListenerSettings, Loaders, Settings, UseSettings,
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
    let plugins = load_all(&settings.instances, loaders).await?;
    let limits = settings.broker_limits;
    let mut builder = Broker::builder()
        .shared_strategy(settings.shared_strategy)
        .queue_full(limits.queue_full)
        .sessions_max(limits.sessions_max)
        .retained_max(limits.retained_max, limits.retained_bytes_max);
    if let Some(threads) = settings.worker_threads {
        builder = builder.shards(threads);
    }
    if let Some(interval) = settings.sys_interval {
        builder = builder.sys_interval(interval);
    }
    for listener in &settings.listeners {
        let chain = chain(&listener.chain, &settings.instances, &plugins);
        let mut opened = open(listener);
        if listener.chain.name.is_empty() {
            opened = opened.with_chain(chain);
        } else {
            opened = opened.chain(&listener.chain.name);
            builder = builder.chain(&listener.chain.name, chain);
        }
        builder = builder.listener(opened);
    }
    Ok(builder)
}

async fn load_all(
    instances: &[Instance],
    loaders: &Loaders,
) -> Result<Vec<Arc<dyn Plugin>>, Vec<AssembleError>> {
    let mut plugins = Vec::new();
    let mut errors = Vec::new();
    for instance in instances {
        match load(instance, loaders).await {
            Ok(plugin) => plugins.push(plugin),
            Err(source) => errors.push(AssembleError {
                name: instance.name.clone(),
                source,
            }),
        }
    }
    if errors.is_empty() {
        Ok(plugins)
    } else {
        Err(errors)
    }
}

async fn load(instance: &Instance, loaders: &Loaders) -> Result<Arc<dyn Plugin>, LoadError> {
    let has_it = |loader: &&Arc<dyn PluginLoader>| loader.kind() == instance.loader;
    let loader = loaders.iter().find(has_it).ok_or_else(|| LoadError::NotFound {
        what: format!("{}:{}", instance.loader, instance.source.what),
        did_you_mean: None,
    })?;
    loader
        .load(&instance.name, &instance.source, &instance.options)
        .await
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
    match settings.timeout {
        Some(timeout) => link.timeout(timeout),
        None => link,
    }
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
