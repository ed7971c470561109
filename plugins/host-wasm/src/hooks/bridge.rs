//! Where messages go next, and come from. A bridge has one instance, on a thread of its own.

use plugin_api::{Bridge, Fault, NewMessage, async_trait};

use super::Hooks;
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::message::{Lent, new_messages, protocol};
use crate::state::More;

struct Egress(Vec<NewMessage>);

impl Ask for Egress {
    type Answer = Result<u32, String>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Result<u32, String>> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let lent = Lent::new(&self.0);
        let batch = lent.params();
        let function = offered(&exports.bridge)?.func_egress();
        let (taken,) = caller.call(function, (batch.as_slice(),)).await?;
        Ok(taken)
    }
}

struct Ingress;

impl Ask for Ingress {
    type Answer = Result<Vec<crate::bindings::types::NewMessageResult>, String>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let (messages,) = caller.call(offered(&exports.bridge)?.func_ingress(), ()).await?;
        Ok(messages)
    }
}

#[async_trait]
impl Bridge for Hooks {
    async fn egress(&self, batch: &[NewMessage]) -> Result<usize, Fault> {
        let taken = self.guest.ask_owned(Egress(batch.to_vec())).await?;
        let taken = taken.map_err(Fault::backend)? as usize;
        if taken > batch.len() {
            return Err(protocol(format!("it took {taken} of {} messages", batch.len())));
        }
        Ok(taken)
    }

    async fn ingress(&self) -> Result<Vec<NewMessage>, Fault> {
        let given = self.guest.ask_owned(Ingress).await?;
        new_messages(given.map_err(Fault::backend)?)
    }
}
