//! Requests under `$CONTROL/`.

use broker_types::{ReasonCode, TopicName};
use plugin_abi::{self as abi, values::*};
use plugin_api::{Control, ControlRequest, Cx, Fault, async_trait};

use super::{Hooks, ONE};
use crate::ask::{Form, Question, Shown, size_32};
use crate::border::{lend, lend_bytes};
use crate::side::Table;

struct Request {
    topic: TopicName,
    payload: Vec<u8>,
}

impl Question for Request {
    fn form(&self) -> Form {
        ONE
    }

    fn put(&self, table: &Table, shown: &Shown<'_>) -> i32 {
        let Some(function) = table.0.control else {
            return JF_EUNSUP;
        };
        let asked = abi::ControlIn {
            size: size_32::<abi::ControlIn>(),
            rsv: 0,
            topic: lend(Some(self.topic.as_str())),
            payload: lend_bytes(Some(&self.payload)),
        };
        // SAFETY: a function of this instance with its own `self`; what it is lent lives until it returns.
        unsafe { function(table.0.self_, shown.ctx, &raw const asked, shown.out()) }
    }
}

#[async_trait]
impl Control for Hooks {
    async fn control(
        &self,
        cx: &Cx<'_>,
        request: &ControlRequest<'_>,
    ) -> Result<Result<Vec<u8>, ReasonCode>, Fault> {
        let question = Request {
            topic: request.topic.to_owned(),
            payload: request.payload.to_vec(),
        };
        let reply = self.0.answer(Some(cx.into()), question).await?;
        match reply.verdict(0).verdict {
            JF_V_CONTINUE => Ok(Ok(reply.take(0).data.unwrap_or_default())),
            JF_V_REJECT => Ok(Err(reply.reason(0)?)),
            _ => Err(reply.unknown(0)),
        }
    }
}
