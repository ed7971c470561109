//! Plugins out of nothing but hooks, for what a chain has no closure for.

use std::sync::Arc;

use plugin_api::{
    AclDecision, AclRequest, AclVerdict, Action, Answer, Authorize, Capabilities, Cx, Exchange,
    ExchangeRequest, ExchangeVerdict, Fault, Plugin, PluginInfo, async_trait,
};

/// A plugin that is its capabilities.
pub(super) struct Plugged(Capabilities);

impl Plugged {
    /// Owns an Authentication Method.
    pub(super) fn exchange(
        method: &str,
        step: impl Fn(&ExchangeRequest<'_>) -> ExchangeVerdict + Send + Sync + 'static,
    ) -> Self {
        Self(Capabilities {
            exchange: Some((vec![method.into()], Arc::new(Closure(step)))),
            ..Capabilities::default()
        })
    }

    /// Is asked at delivery too.
    pub(super) fn authorize_receive(
        decide: impl Fn(&str, Action, &str) -> AclVerdict + Send + Sync + 'static,
    ) -> Self {
        Self(Capabilities {
            authorize: Some(Arc::new(Closure(decide))),
            authorize_receive: true,
            ..Capabilities::default()
        })
    }
}

impl Plugin for Plugged {
    fn info(&self) -> PluginInfo {
        PluginInfo {
            id: "plugged".into(),
            ..PluginInfo::default()
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.0.clone()
    }
}

struct Closure<F>(F);

#[async_trait]
impl<F> Exchange for Closure<F>
where
    F: Fn(&ExchangeRequest<'_>) -> ExchangeVerdict + Send + Sync,
{
    async fn exchange(&self, _: &Cx<'_>, request: &ExchangeRequest<'_>) -> Result<ExchangeVerdict, Fault> {
        Ok((self.0)(request))
    }
}

impl<F> Authorize for Closure<F>
where
    F: Fn(&str, Action, &str) -> AclVerdict + Send + Sync,
{
    fn authorize(
        &self,
        cx: &Cx<'_>,
        request: &AclRequest<'_>,
        out: &mut [AclDecision],
    ) -> Answer<(), Vec<AclDecision>> {
        for (item, decision) in request.items.iter().zip(out) {
            decision.verdict = (self.0)(cx.client.id.as_str(), request.action, item.topic);
        }
        Answer::now(())
    }
}
