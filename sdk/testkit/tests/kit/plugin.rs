//! A plugin for the tests of the kit: as its option says, well behaved or not.

use std::time::Duration;

use plugin_sdk::prelude::*;

/// What the plugin does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Put before each payload.
    #[serde(default)]
    pub(crate) prefix: String,
    /// How it misbehaves: `panic` on payloads that aren't text.
    #[serde(default)]
    pub(crate) mode: String,
}

pub(crate) struct Sample {
    options: Options,
    host: Host,
}

impl Plugin for Sample {
    type Config = Options;

    fn create(options: Options, host: Host) -> Result<Self, String> {
        Ok(Self { options, host })
    }

    fn start(&self) -> Result<(), Fault> {
        self.host.log(Level::Info, "ready");
        self.host
            .timer(Duration::from_secs(1), Some(Duration::from_secs(2)));
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest {
            publish: vec!["in/#".to_owned()],
            ..Interest::default()
        }
    }

    fn on_timer(&self, _timer: TimerId) {
        self.host.counter("ticks", 1);
    }
}

impl Authenticate for Sample {
    fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        Ok(match request.password {
            Some(b"secret") => AuthVerdict::Allow(Grant {
                attributes: vec![("role".to_owned(), "writer".to_owned())],
                ..Grant::default()
            }),
            Some(_) => {
                let denial = Denial::new(ReasonCode::BadUserNameOrPassword);
                AuthVerdict::Deny(denial.because("no such password"))
            }
            None => AuthVerdict::Skip,
        })
    }
}

impl Authorize for Sample {
    fn authorize(&self, cx: &Cx<'_>, _item: &AclItem<'_>) -> Result<AclDecision, Fault> {
        let writer = cx.attribute("role") == Some("writer");
        Ok(AclDecision::fixed(if writer {
            AclVerdict::Allow
        } else {
            AclVerdict::Skip
        }))
    }
}

impl Publish for Sample {
    fn publish(&self, _cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
        let text = match std::str::from_utf8(message.payload()) {
            Ok("drop") => return Ok(Flow::Drop),
            Ok(text) => text,
            Err(_) if self.options.mode == "panic" => panic!("no text"),
            Err(error) => return Err(error.into()),
        };
        let louder = format!("{}{text}", self.options.prefix);
        if text == "copy" {
            message.emit(&NewMessage {
                topic: "copies",
                payload: b"copy",
                ..NewMessage::default()
            })?;
        }
        message.set_payload(louder.as_bytes())?;
        Ok(Flow::Continue)
    }
}

plugin_sdk::export_plugin!(Sample: authenticate, authorize, publish);
