//! A bridge to programs that speak no MQTT: what leaves is posted to a webhook, what comes in is fetched from an inbox. Queues, order
//! and trying again are the broker's affair; this only carries.
#![cfg_attr(target_family = "wasm", no_std)]
#![deny(unsafe_code)]

use core::time::Duration;

use plugin_sdk::prelude::*;
use serde::Serialize;

/// The longest that the other side may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where messages are posted: a JSON array of objects with `topic`, `payload`, `qos` and `retain`.
    pub webhook: String,
    /// Where messages come from: a GET gives such an array, and only once.
    pub inbox: Option<String>,
}

/// The plugin.
#[derive(Debug)]
pub struct Webhook {
    options: Options,
    host: Host,
}

/// A message as the other side sees it. A payload that is no UTF-8 has its odd bytes replaced.
#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    topic: String,
    payload: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
}

impl Plugin for Webhook {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Ok(Self { options, host })
    }
}

impl Bridge for Webhook {
    async fn egress(&self, batch: &[OwnedMessage]) -> Result<usize, Fault> {
        let letters: Vec<_> = batch.iter().map(letter).collect();
        let request = HttpRequest::post(self.options.webhook.clone(), serde_json::to_vec(&letters)?)
            .header("content-type", "application/json");
        self.send(request).await?;
        Ok(batch.len())
    }

    async fn ingress(&self) -> Result<Vec<OwnedMessage>, Fault> {
        let Some(inbox) = &self.options.inbox else {
            return Ok(Vec::new());
        };
        let answer = self.send(HttpRequest::get(inbox.clone())).await?;
        let letters: Vec<Letter> = match answer.body.is_empty() {
            true => Vec::new(),
            false => serde_json::from_slice(&answer.body)?,
        };
        Ok(letters.into_iter().map(message).collect())
    }
}

impl Webhook {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let Some(http) = self.host.http() else {
            return Err(Fault("`allow.http` grants nothing".to_owned()));
        };
        let request = request.within(PATIENCE);
        let answer = http.send(&request).await?;
        match answer.status {
            200..=299 => Ok(answer),
            status => Err(Fault(format!("{} answers {status}", request.url))),
        }
    }
}

fn letter(message: &OwnedMessage) -> Letter {
    Letter {
        topic: message.topic.clone(),
        payload: String::from_utf8_lossy(&message.payload).into_owned(),
        qos: message.qos.bits(),
        retain: message.retain,
    }
}

fn message(letter: Letter) -> OwnedMessage {
    OwnedMessage {
        topic: letter.topic,
        payload: letter.payload.into_bytes(),
        qos: QoS::from_bits(letter.qos).unwrap_or_default(),
        retain: letter.retain,
        properties: Properties::default(),
    }
}

plugin_sdk::export_plugin!(Webhook: bridge);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_there_and_back() {
        let sent = OwnedMessage {
            topic: "a/b".to_owned(),
            payload: b"21.5".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
            ..OwnedMessage::default()
        };
        let text = serde_json::to_string(&letter(&sent)).unwrap();
        assert_eq!(text, r#"{"topic":"a/b","payload":"21.5","qos":1,"retain":true}"#);
        assert_eq!(message(serde_json::from_str(&text).unwrap()), sent);
        let short: Letter = serde_json::from_str(r#"{"topic":"a","payload":""}"#).unwrap();
        assert_eq!(message(short).qos, QoS::AtMostOnce);
    }
}
