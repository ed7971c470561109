//! An authenticator that asks an HTTP server: the same as [its siblings in C, JavaScript and Python](../README.md).
//!
//! What the plugin may ask is said in the configuration (`allow.http`), and the broker does the asking. While the server thinks, only
//! the client that wants in waits.
#![cfg_attr(target_family = "wasm", no_std)]
#![deny(unsafe_code)]

use core::time::Duration;

use plugin_sdk::prelude::*;
use serde::Serialize;

/// The longest that a client waits for the server.
const PATIENCE: Duration = Duration::from_secs(2);

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where to ask: gets client_id, username and password as JSON.
    pub url: String,
}

/// The plugin.
#[derive(Debug)]
pub struct HttpAuth {
    url: String,
    host: Host,
}

/// What the server is asked.
#[derive(Serialize)]
struct Question<'a> {
    client_id: &'a str,
    username: &'a str,
    password: &'a str,
}

impl Plugin for HttpAuth {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Self::check(&options)?;
        Ok(Self {
            url: options.url,
            host,
        })
    }

    fn check(options: &Options) -> Result<(), String> {
        let good = options.url.starts_with("http://") || options.url.starts_with("https://");
        if good {
            Ok(())
        } else {
            Err("`url` must begin with http:// or https://".to_owned())
        }
    }
}

impl AsyncAuthenticate for HttpAuth {
    async fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let (Some(username), Some(password)) = (request.username, request.password) else {
            return Ok(AuthVerdict::Skip);
        };
        let question = serde_json::to_vec(&Question {
            client_id: request.client_id,
            username,
            password: &String::from_utf8_lossy(password),
        })?;
        let Some(http) = self.host.http() else {
            return Err(Fault("`allow.http` grants nothing".to_owned()));
        };
        let asked = HttpRequest::post(self.url.clone(), question)
            .header("content-type", "application/json")
            .within(PATIENCE);
        verdict(&http.send(&asked).await?)
    }
}

/// Any status is an answer: 2xx lets in, 401 and 403 keep out, 404 says that somebody else may know.
fn verdict(answer: &HttpResponse) -> Result<AuthVerdict, Fault> {
    let reason = match answer.status {
        200..=299 => return Ok(AuthVerdict::allow()),
        401 => ReasonCode::BadUserNameOrPassword,
        403 => ReasonCode::NotAuthorized,
        404 => return Ok(AuthVerdict::Skip),
        status => return Err(Fault(format!("the server for logins answers {status}"))),
    };
    let text = String::from_utf8_lossy(&answer.body);
    let denial = Denial::new(reason);
    Ok(AuthVerdict::Deny(if text.is_empty() {
        denial
    } else {
        denial.because(text)
    }))
}

plugin_sdk::export_plugin!(HttpAuth: async authenticate);

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<AuthVerdict, Fault> {
        verdict(&HttpResponse {
            status,
            body: body.into(),
            ..HttpResponse::default()
        })
    }

    #[test]
    fn each_status_is_a_verdict_or_a_fault() {
        assert_eq!(answered(204, ""), Ok(AuthVerdict::allow()));
        assert_eq!(answered(401, ""), Ok(AuthVerdict::bad_credentials()));
        let denied = Denial::not_authorized().because("not today");
        assert_eq!(answered(403, "not today"), Ok(AuthVerdict::Deny(denied)));
        assert_eq!(answered(404, "?"), Ok(AuthVerdict::Skip));
        assert!(answered(500, "").is_err());
    }
}
