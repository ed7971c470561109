//! A native plugin that sees every message and does nothing: what the border costs.
#![deny(unsafe_code)]

use plugin_sdk::prelude::*;

/// No options.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

struct Noop;

impl Plugin for Noop {
    type Config = Options;

    fn create(_: Options, _: Host) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Publish for Noop {
    fn publish(&self, _: &Cx<'_>, _: &mut Message<'_>) -> Result<Flow, Fault> {
        Ok(Flow::Continue)
    }
}

plugin_sdk::export_plugin!(Noop: publish);
