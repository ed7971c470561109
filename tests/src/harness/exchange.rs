//! A plugin that owns one Authentication Method and asks a closure; chains have no closure for enhanced authentication.

use std::sync::Arc;

use plugin_api::{
    Capabilities, Cx, Exchange, ExchangeRequest, ExchangeVerdict, Fault, Plugin, PluginInfo, async_trait,
};

/// A closure that takes the steps of an exchange.
struct Step<F>(F);

#[async_trait]
impl<F> Exchange for Step<F>
where
    F: Fn(&ExchangeRequest<'_>) -> ExchangeVerdict + Send + Sync,
{
    async fn exchange(&self, _: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        Ok((self.0)(request))
    }
}

/// The plugin around it.
pub(super) struct Method {
    name: &'static str,
    exchange: Arc<dyn Exchange>,
}

impl Method {
    pub(super) fn new(
        name: &'static str,
        step: impl Fn(&ExchangeRequest<'_>) -> ExchangeVerdict + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            exchange: Arc::new(Step(step)),
        }
    }
}

impl Plugin for Method {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: self.name.into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exchange: Some((vec![self.name.into()], self.exchange.clone())),
            ..Capabilities::default()
        }
    }
}
