//! Requests to the plugin over MQTT.

use broker_types::ReasonCode;
use plugin_api::{Control, ControlRequest, Cx, Fault, async_trait};

use super::{Hooks, Who, who};
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::message::reason;
use crate::state::More;

struct OnControl {
    who: Who,
    topic: String,
    payload: Vec<u8>,
}

impl Ask for OnControl {
    type Answer = Result<Vec<u8>, u8>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Result<Vec<u8>, u8>> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let function = offered(&exports.control)?.func_on_control();
        let arguments = (who(), self.topic.as_str(), self.payload.as_slice());
        let (answer,) = caller.call(function, arguments).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Control for Hooks {
    async fn control(
        &self,
        cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        let ask = OnControl {
            who: cx.client.clone(),
            topic: request.topic.as_str().to_owned(),
            payload: request.payload.to_vec(),
        };
        match self.guest.ask_owned(ask).await? {
            Ok(reply) => Ok(Ok(reply)),
            Err(code) => Ok(Err(reason(code)?)),
        }
    }
}
