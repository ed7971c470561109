//! Lets in who is in its table of users.
#![deny(unsafe_code)]
#![cfg_attr(target_family = "wasm", no_std)]

use plugin_sdk::alloc::collections::BTreeMap;
use plugin_sdk::prelude::*;

/// What stands under `config` in the broker's configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The password of each user.
    users: BTreeMap<String, String>,
}

struct {{type}} {
    options: Options,
    host: Host,
}

impl Plugin for {{type}} {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Ok(Self { options, host })
    }
}

impl Authenticate for {{type}} {
    fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        // Nothing to go by: the next plugin of the chain is asked.
        let (Some(user), Some(password)) = (request.username, request.password) else {
            return Ok(AuthVerdict::Skip);
        };
        if self.options.users.get(user).is_some_and(|known| same(known.as_bytes(), password)) {
            return Ok(AuthVerdict::allow());
        }
        self.host.log(Level::Info, &format!("refused {user}"));
        let denial = Denial::new(ReasonCode::BadUserNameOrPassword);
        Ok(AuthVerdict::Deny(denial.because("wrong user name or password")))
    }
}

/// Compares in a time that tells nothing of the content.
fn same(known: &[u8], given: &[u8]) -> bool {
    known.len() == given.len() && known.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

plugin_sdk::export_plugin!({{type}}: authenticate);

#[cfg(test)]
mod tests {
    use plugin_testkit::plugin_api::AuthVerdict;
    use plugin_testkit::{Client, Harness, json};

    use super::{{type}};

    #[test]
    fn only_who_is_known_comes_in() {
        let mut plugin = Harness::load::<{{type}}>(json!({ "users": { "anna": "open sesame" } })).unwrap();
        let client = |password: &str| Client::new("c1").username("anna").password(password);
        assert_eq!(plugin.client(client("open sesame")).login(), AuthVerdict::allow());
        assert!(matches!(plugin.client(client("open")).login(), AuthVerdict::Deny(_)));
        assert!(plugin.host().has_logged("refused anna"));
    }

    #[test]
    fn a_misspelled_option_is_told() {
        let error = Harness::load::<{{type}}>(json!({ "user": {} })).unwrap_err();
        assert!(error.to_string().contains("user"), "{error}");
    }
}
