//! From what the file says to what it means: the checks that need more than one key, then [`Settings`].

use broker_core::SharedStrategy;

use super::bridges;
use super::chains::Chains;
use super::check::Checks;
use super::code::Code;
use super::diagnostic::{Diagnostic, Report, Severity};
use super::listeners;
use super::origins::Origins;
use super::plugins::{self, Loaders};
use super::settings::{LogSettings, Settings};
use super::shape::{File, ShareStrategy};
use super::store;
use super::tree::Path;
use super::trials;

/// Checks the whole. `None`: there is an error in the report.
pub(super) async fn resolve(
    file: &File,
    origins: &Origins,
    variables: &[(String, String)],
    loaders: &Loaders,
) -> (Option<Settings>, Report) {
    let mut checks = Checks {
        origins,
        variables,
        report: Report::default(),
    };
    let base = origins.folder_of(&Path::of(["node", "plugin_dirs"]));
    let folders: Vec<_> = { file.node.plugin_dirs.iter() }
        .map(|folder| base.join(folder))
        .collect();
    let plugins = plugins::find(&file.plugins, &folders, loaders, &mut checks).await;
    let mut chains = Chains {
        chains: &file.chains,
        plugins: &plugins,
        instances: Vec::new(),
        isolated: Vec::new(),
        with: Vec::new(),
        used: Vec::new(),
        store: None,
    };
    chains.check_all(&mut checks).await;
    let whole = !checks.report.has_errors() && !origins.is_pruned_under(&["plugins", "chains"]);
    listeners::check_files(&file.limits, &Path::of(["limits"]), &mut checks);
    let listeners = listeners::read(&file.listeners, &file.limits, &mut chains, whole, &mut checks).await;
    let bridges = bridges::read(&file.bridges, &mut chains, &mut checks).await;
    let store = store::read(&file.store, &chains, &mut checks).await;
    chains.store = store.as_ref().map(|store| store.name.clone());
    let tests = trials::read(&file.tests, &listeners, &mut chains, &mut checks);
    let lost = |found: &Diagnostic| matches!(found.code, Code::UnknownChain | Code::UnknownPlugin);
    if whole
        && !origins.is_pruned_under(&["listeners", "bridges", "store", "tests"])
        && !checks.report.iter().any(lost)
    {
        chains.unused(&mut checks);
    }
    if listeners.is_empty() && !origins.is_pruned_under(&["listeners"]) {
        checks.report.push(Diagnostic {
            severity: Severity::Error,
            code: Code::NoListener,
            message: "there is no listener".to_owned(),
            place: None,
            label: String::new(),
            help: Some("add a table `[listeners.main]` with `bind = \"127.0.0.1:1883\"`".to_owned()),
        });
    }
    let instances = chains.instances;
    let settings = file.limits.broker().map(|broker_limits| Settings {
        worker_threads: file.node.worker_threads,
        log: LogSettings {
            level: file.log.level,
            format: file.log.format,
            targets: file.log.targets.clone().into_iter().collect(),
        },
        broker_limits,
        shared_strategy: shared_strategy(file.shared_subscriptions.strategy),
        sys_interval: file.sys.enabled.then_some(file.sys.interval.0),
        instances,
        listeners,
        bridges,
        store,
        tests,
    });
    (settings, checks.report)
}

fn shared_strategy(written: ShareStrategy) -> SharedStrategy {
    match written {
        ShareStrategy::RoundRobin => SharedStrategy::RoundRobin,
        ShareStrategy::Random => SharedStrategy::Random,
        ShareStrategy::Sticky => SharedStrategy::Sticky,
        ShareStrategy::HashClient => SharedStrategy::HashClient,
        ShareStrategy::HashTopic => SharedStrategy::HashTopic,
        ShareStrategy::LeastInflight => SharedStrategy::LeastInflight,
    }
}
