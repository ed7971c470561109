//! Turns degrees Celsius into Fahrenheit, or any number into another one.
#![deny(unsafe_code)]
#![cfg_attr(target_family = "wasm", no_std)]

use plugin_sdk::prelude::*;

/// What stands under `config` in the broker's configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What a number is multiplied with.
    factor: f64,
    /// What is added then.
    offset: f64,
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

    /// Messages elsewhere never come here, and cost nothing.
    fn interest(&self) -> Interest {
        Interest {
            publish: vec!["celsius/#".to_string()],
            ..Interest::default()
        }
    }
}

impl Publish for {{type}} {
    fn publish(&self, _cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
        let Some(number) = number(message.payload()) else {
            let denial = Denial::new(ReasonCode::PayloadFormatInvalid);
            return Ok(Flow::Reject(denial.because("not a number")));
        };
        let converted = number * self.options.factor + self.options.offset;
        message.set_payload(format!("{converted}").as_bytes())?;
        self.host.counter("converted", 1);
        Ok(Flow::Continue)
    }
}

fn number(payload: &[u8]) -> Option<f64> {
    let number: f64 = core::str::from_utf8(payload).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

plugin_sdk::export_plugin!({{type}}: publish);

#[cfg(test)]
mod tests {
    use plugin_testkit::{Harness, json};

    use super::{{type}};

    #[test]
    fn numbers_are_converted_and_nothing_else_passes() {
        let plugin = Harness::load::<{{type}}>(json!({ "factor": 1.8, "offset": 32.0 })).unwrap();
        assert_eq!(plugin.publish("celsius/kitchen", "20").text(), "68");
        assert!(plugin.publish("celsius/kitchen", "warm").refused().is_some());
        assert!(plugin.publish("elsewhere", "20").passed_by());
        assert_eq!(plugin.host().counter_of("converted"), 1);
    }
}
