//! The `[store]` of the file: which plugin keeps what must survive the broker, if one does.

use super::chains::Chains;
use super::check::Checks;
use super::code::Code;
use super::later;
use super::settings::Instance;
use super::shape::Store;
use super::tree::Path;

/// What a plugin must have to be a store.
const HOOK: &str = "session-store";
/// The engine that keeps nothing.
const MEMORY: &str = "memory";

/// Checks the store and returns the plugin that is to be it, as an instance of its own; `None`: memory.
pub(super) async fn read(store: &Store, chains: &Chains<'_>, checks: &mut Checks<'_>) -> Option<Instance> {
    let name = store.engine.as_str();
    if name == MEMORY {
        return None;
    }
    let path = Path::of(["store", "engine"]);
    if later::is_value(&path, name) && !chains.plugins.contains_key(name) {
        let message = format!("`store.engine = \"{name}\"` is not available in this version");
        checks.error(Code::NotAvailable, message, &path);
        return None;
    }
    chains.check_instance(name, None, &path, checks).await;
    let known = chains.plugins.get(name)?.as_ref()?;
    if !known.hooks.iter().any(|hook| hook == HOOK) {
        let message = format!("`{name}` has no hook `{HOOK}`, so it can't be the store");
        let help = format!("it has {}", known.hooks.join(", "));
        checks.error_with(Code::UnknownHook, message, &path, Some(help));
    }
    Some(known.instance(name))
}
