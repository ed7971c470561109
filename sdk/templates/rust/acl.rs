//! Everybody may use the topics below their own name.
#![deny(unsafe_code)]
#![cfg_attr(target_family = "wasm", no_std)]

use plugin_sdk::prelude::*;

/// What stands under `config` in the broker's configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The first level of everybody's topics: `ROOT/USER/…`.
    root: String,
}

struct {{type}} {
    options: Options,
}

impl Plugin for {{type}} {
    type Config = Options;

    fn create(options: Options, _host: Host) -> Result<Self, String> {
        Ok(Self { options })
    }

    /// Told by `jackfield check`, before anything starts.
    fn check(options: &Options) -> Result<(), String> {
        match options.root.contains(['/', '+', '#']) {
            true => Err("`root` is one level of a topic".to_string()),
            false => Ok(()),
        }
    }
}

impl Authorize for {{type}} {
    fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        let mut levels = item.topic.split('/');
        let own = levels.next() == Some(self.options.root.as_str())
            && cx.username().is_some_and(|user| levels.next() == Some(user))
            && levels.next().is_some();
        // The answer for a topic never changes, so the connection may remember it.
        Ok(AclDecision::fixed(match own {
            true => AclVerdict::Allow,
            false => AclVerdict::Skip,
        }))
    }
}

plugin_sdk::export_plugin!({{type}}: authorize);

#[cfg(test)]
mod tests {
    use plugin_testkit::plugin_api::AclVerdict;
    use plugin_testkit::{Client, Harness, json};

    use super::{{type}};

    #[test]
    fn everybody_has_the_topics_below_their_name() {
        let mut plugin = Harness::load::<{{type}}>(json!({ "root": "device" })).unwrap();
        plugin.client(Client::new("c1").username("anna"));
        assert_eq!(plugin.may_publish("device/anna/x"), AclVerdict::Allow);
        assert_eq!(plugin.may_subscribe("device/anna/#"), AclVerdict::Allow);
        assert_eq!(plugin.may_publish("device/bob/x"), AclVerdict::Skip);
    }

    #[test]
    fn a_root_of_two_levels_is_refused() {
        assert!(Harness::load::<{{type}}>(json!({ "root": "a/b" })).is_err());
    }
}
