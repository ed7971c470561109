//! Devices that sign in with a token, and may use the topics below their own name.
//!
//! A token is the device's name and a word that only its group knows: `d1:blue`. The plugin is the whole of it: options with
//! a schema, two hooks, a counter. It would work the same as a built-in plugin; what makes it native is the last line.
#![deny(unsafe_code)]

use std::collections::BTreeMap;

use plugin_sdk::prelude::*;

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The word of each group of devices.
    groups: BTreeMap<String, String>,
}

/// The plugin.
#[derive(Debug)]
pub struct Tokens {
    groups: BTreeMap<String, String>,
    host: Host,
}

impl Plugin for Tokens {
    type Config = Options;

    fn create(config: Options, host: Host) -> Result<Self, String> {
        Ok(Self {
            groups: config.groups,
            host,
        })
    }

    fn check(config: &Options) -> Result<(), String> {
        match config.groups.iter().find(|(_, word)| word.len() < 4) {
            Some((group, _)) => Err(format!("the word of group `{group}` is shorter than 4")),
            None => Ok(()),
        }
    }

    fn start(&self) -> Result<(), Fault> {
        self.host
            .log(Level::Info, &format!("{} groups", self.groups.len()));
        Ok(())
    }
}

impl Authenticate for Tokens {
    fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let Some(token) = request
            .password
            .and_then(|password| std::str::from_utf8(password).ok())
        else {
            return Ok(AuthVerdict::Skip);
        };
        let Some((device, word)) = token.split_once(':') else {
            return Ok(AuthVerdict::Skip);
        };
        let group = self.groups.iter().find(|(_, known)| known.as_str() == word);
        let Some((group, _)) = group.filter(|_| request.username == Some(device)) else {
            self.host.counter("refused", 1);
            let denial = Denial::new(ReasonCode::BadUserNameOrPassword);
            return Ok(AuthVerdict::Deny(denial.because("no such token")));
        };
        Ok(AuthVerdict::Allow(Grant {
            attributes: vec![("group".to_owned(), group.clone())],
            ..Grant::default()
        }))
    }
}

impl Authorize for Tokens {
    /// A device has the tree below its name, and reads what is meant for its group.
    fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        let mut levels = item.topic.split('/');
        let own = levels.next() == Some("device") && levels.next() == cx.username();
        let group = cx
            .attribute("group")
            .is_some_and(|group| item.topic.strip_prefix("group/") == Some(group));
        let allowed = own || (group && item.action != Action::Publish);
        Ok(AclDecision::fixed(if allowed {
            AclVerdict::Allow
        } else {
            AclVerdict::Skip
        }))
    }
}

plugin_sdk::export_plugin!(Tokens: authenticate, authorize);
