//! Telemetry in JSON, made uniform on its way in: units converted, readings out of range dropped, facts added.
//!
//! The plugin sees a message, decides, and sends back the payload only if something changed. Which topics it is for is
//! said in the configuration: the broker doesn't even call it for others.
#![cfg_attr(target_family = "wasm", no_std)]
#![deny(unsafe_code)]

mod options;
mod unit;

use plugin_sdk::prelude::*;
use serde_json::{Map, Value};

pub use options::{Conversion, Invalid, Options, Range};
pub use unit::Unit;

/// The plugin.
#[derive(Debug)]
pub struct Telemetry {
    options: Options,
}

impl Plugin for Telemetry {
    type Config = Options;

    fn create(options: Options, _host: Host) -> Result<Self, String> {
        Self::check(&options)?;
        Ok(Self { options })
    }

    fn check(options: &Options) -> Result<(), String> {
        options.complaint().map_or(Ok(()), Err)
    }
}

impl Publish for Telemetry {
    fn publish(&self, cx: &Cx<'_>, message: &mut Message<'_>) -> Result<Flow, Fault> {
        let Ok(mut reading) = serde_json::from_slice::<Map<String, Value>>(message.payload()) else {
            cx.host().counter("invalid", 1);
            return Ok(match self.options.invalid {
                Invalid::Pass => Flow::Continue,
                Invalid::Drop => Flow::Drop,
                Invalid::Reject => {
                    let denial = Denial::new(ReasonCode::PayloadFormatInvalid);
                    Flow::Reject(denial.because("the payload is no JSON object"))
                }
            });
        };
        let converted = self.convert(&mut reading);
        if !self.options.only.iter().all(|range| range.holds(&reading)) {
            cx.host().counter("out_of_range", 1);
            return Ok(Flow::Drop);
        }
        if converted | self.enrich(message.topic(), &mut reading) {
            message.set_payload(&serde_json::to_vec(&reading)?)?;
        }
        Ok(Flow::Continue)
    }
}

impl Telemetry {
    /// Converts what is there; tells whether anything was.
    fn convert(&self, reading: &mut Map<String, Value>) -> bool {
        let mut changed = false;
        for conversion in &self.options.convert {
            let Some(number) = reading.get(&conversion.field).and_then(Value::as_f64) else {
                continue;
            };
            let number = conversion.from.to(conversion.to, number);
            reading.insert(
                conversion.field.clone(),
                rounded(number, conversion.digits).into(),
            );
            changed = true;
        }
        changed
    }

    /// Adds the facts and the levels of the topic; what the device itself says is left alone.
    fn enrich(&self, topic: &str, reading: &mut Map<String, Value>) -> bool {
        let before = reading.len();
        for (field, fact) in &self.options.add {
            reading.entry(field.as_str()).or_insert_with(|| fact.clone());
        }
        for (field, level) in &self.options.levels {
            if let Some(name) = topic.split('/').nth(usize::from(*level)) {
                reading.entry(field.as_str()).or_insert_with(|| name.into());
            }
        }
        reading.len() > before
    }
}

/// Rounds to so many digits behind the point.
fn rounded(number: f64, digits: u8) -> f64 {
    /// Above this, a double has no digits behind the point.
    const EXACT: f64 = 9.0e15;
    let power = (0..digits).fold(1.0, |power, _| power * 10.0);
    let scaled = number * power;
    if !(-EXACT..EXACT).contains(&scaled) {
        return number;
    }
    // `f64::round` is in `std` alone.
    (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64 as f64 / power
}

plugin_sdk::export_plugin!(Telemetry: publish);
