//! The `[[bridges]]` of the file: each has a plugin that can carry, and rules whose names on the other side can be made.

use broker_core::BridgeRule;
use broker_types::QoS;

use super::chains::Chains;
use super::check::Checks;
use super::code::Code;
use super::settings::BridgeSettings;
use super::shape::{self, Bridge};
use super::tree::Path;

/// What a plugin must have to carry.
const HOOK: &str = "bridge";

/// Checks all bridges and makes settings of them.
pub(super) async fn read(
    bridges: &[Bridge],
    chains: &mut Chains<'_>,
    checks: &mut Checks<'_>,
) -> Vec<BridgeSettings> {
    let mut settings = Vec::new();
    for (i, bridge) in bridges.iter().enumerate() {
        let path = Path::of(["bridges"]).index(i);
        check_name(bridge, &bridges[..i], &path.key("name"), checks);
        let chain = bridge.chain.as_ref().map(|name| {
            chains.check_chain(name, &path.key("chain"), checks);
            chains.used.push(name.clone());
            chains.flatten(name)
        });
        let outgoing = rules(&bridge.out, &path.key("out"), checks);
        let incoming = rules(&bridge.r#in, &path.key("in"), checks);
        check_carrier(bridge, &path.key("plugin"), chains, checks).await;
        // What isn't there was reported.
        let Some(instance) = chains.instance(&bridge.plugin, None) else {
            continue;
        };
        settings.push(BridgeSettings {
            name: bridge.name.clone(),
            instance,
            chain,
            outgoing,
            incoming,
            queued_messages_max: bridge.queued_messages_max,
            queued_bytes_max: usize::try_from(bridge.queued_bytes_max.0).unwrap_or(usize::MAX),
        });
    }
    settings
}

fn check_name(bridge: &Bridge, earlier: &[Bridge], path: &Path, checks: &mut Checks<'_>) {
    checks.name(path, &bridge.name);
    if earlier.iter().any(|other| other.name == bridge.name) {
        let message = format!("another bridge is called `{}` already", bridge.name);
        checks.error(Code::DuplicateName, message, path);
    }
}

/// Checks that the bridge's plugin, whose name stands at `path`, is there and can carry.
async fn check_carrier(bridge: &Bridge, path: &Path, chains: &Chains<'_>, checks: &mut Checks<'_>) {
    let name = bridge.plugin.as_str();
    chains.check_instance(name, None, path, checks).await;
    if let Some(Some(known)) = chains.plugins.get(name)
        && !known.hooks.iter().any(|hook| hook == HOOK)
    {
        let message = format!("`{name}` has no hook `{HOOK}`, so it can't carry messages");
        let help = format!("it has {}", known.hooks.join(", "));
        checks.error_with(Code::UnknownHook, message, path, Some(help));
    }
}

/// Makes the rules that stand at `path`.
fn rules(written: &[shape::BridgeRule], path: &Path, checks: &mut Checks<'_>) -> Vec<BridgeRule> {
    let mut rules = Vec::new();
    for (i, written) in written.iter().enumerate() {
        let mut rule = BridgeRule::new(written.filter.0.as_str());
        if let Some(to) = &written.to {
            rule = rule.to(to.0.as_str());
        }
        if let Some(qos) = written.qos.and_then(QoS::from_bits) {
            rule = rule.qos(qos);
        }
        if let Err(error) = rule.check() {
            checks.error(Code::BadRule, error.to_string(), &path.index(i).key("to"));
        }
        rules.push(rule);
    }
    rules
}
