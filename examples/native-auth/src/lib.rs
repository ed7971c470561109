//! Who may connect and what they may do: a table of users, and a server over HTTP that is asked about everybody else.
//!
//! A user who is let in gets a role, which later plugins see as an attribute, and the topics below `device/<name>/`; everybody of a
//! role reads `role/<role>/…`. Whoever is kept out is told why.
//!
//! Asking the server takes time, so the hook is an `async fn`: only the client that waits for the answer waits.
#![deny(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use plugin_sdk::prelude::*;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the answer about a topic holds.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The users that are known here, by name.
    #[serde(default)]
    users: BTreeMap<String, User>,
    /// A server that is asked about other users: it gets a POST of user name, line feed, password. 200 lets in, and the body is the
    /// role; 403 keeps out, and the body says why. Needs `allow.http`.
    #[serde(default)]
    ask: Option<String>,
}

/// A user.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct User {
    /// The password.
    password: String,
    /// What kind of user it is.
    #[serde(default = "device")]
    role: String,
    /// Keeps the user out, and says why.
    #[serde(default)]
    barred: Option<String>,
}

fn device() -> String {
    "device".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct Users {
    options: Options,
    host: Host,
}

impl Plugin for Users {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Ok(Self { options, host })
    }

    fn check(options: &Options) -> Result<(), String> {
        let short = |(_, user): &(&String, &User)| user.password.len() < 4;
        match options.users.iter().find(short) {
            Some((name, _)) => Err(format!("the password of user `{name}` is shorter than 4")),
            None => Ok(()),
        }
    }

    fn start(&self) -> Result<(), Fault> {
        if self.options.ask.is_some() && self.host.http().is_none() {
            return Err(Fault(
                "`ask` needs `allow.http` with the beginning of its URL".to_owned(),
            ));
        }
        self.host
            .log(Level::Info, &format!("{} users", self.options.users.len()));
        Ok(())
    }
}

impl Users {
    /// Lets a user in.
    fn allow(role: &str) -> AuthVerdict {
        AuthVerdict::Allow(Grant {
            attributes: vec![("role".to_owned(), role.to_owned())],
            ..Grant::default()
        })
    }

    /// Keeps a user out.
    fn deny(&self, reason: ReasonCode, why: &str) -> AuthVerdict {
        self.host.counter("refused", 1);
        AuthVerdict::Deny(Denial::new(reason).because(why))
    }

    /// Asks the server.
    async fn ask(&self, url: &str, name: &str, password: &str) -> Result<AuthVerdict, Fault> {
        let http = self
            .host
            .http()
            .ok_or_else(|| Fault("HTTP isn't granted".to_owned()))?;
        let request = HttpRequest::post(url, format!("{name}\n{password}")).within(PATIENCE);
        let answer = http.send(&request).await?;
        let said = String::from_utf8_lossy(&answer.body);
        match answer.status {
            200 => Ok(Self::allow(said.trim())),
            403 => Ok(self.deny(ReasonCode::NotAuthorized, said.trim())),
            // Neither yes nor no: the operator's `on_error` decides.
            other => Err(Fault(format!("{url} answered {other}"))),
        }
    }
}

impl AsyncAuthenticate for Users {
    async fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let password = request.password.map(std::str::from_utf8);
        let (Some(name), Some(Ok(password))) = (request.username, password) else {
            return Ok(AuthVerdict::Skip);
        };
        match (self.options.users.get(name), &self.options.ask) {
            (Some(user), _) if user.password != password => {
                Ok(self.deny(ReasonCode::BadUserNameOrPassword, "wrong password"))
            }
            (Some(user), _) => Ok(match &user.barred {
                Some(why) => self.deny(ReasonCode::Banned, why),
                None => Self::allow(&user.role),
            }),
            (None, Some(url)) => self.ask(url, name, password).await,
            (None, None) => Ok(AuthVerdict::Skip),
        }
    }
}

impl Authorize for Users {
    /// Is asked for every message, so it answers at once.
    fn authorize(&self, cx: &Cx<'_>, item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        let mut levels = item.topic.splitn(3, '/');
        let own = match (levels.next(), levels.next()) {
            (Some("device"), whose) => whose == cx.username(),
            (Some("role"), role) => role == cx.attribute("role") && item.action != Action::Publish,
            _ => false,
        };
        Ok(AclDecision {
            verdict: if own { AclVerdict::Allow } else { AclVerdict::Skip },
            cache_for: Some(REMEMBERED),
        })
    }
}

plugin_sdk::export_plugin!(Users: async authenticate, authorize);
