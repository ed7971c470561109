//! Health, and state that one generation of a plugin hands over to the next.

use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::state::More;

/// Asks whether it works; a guest without the interface does as long as it can be called.
pub(crate) struct Health;

impl Ask for Health {
    type Answer = Result<(), String>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let Some(swap) = &exports.swap else {
            return Ok(Ok(()));
        };
        let (health,) = caller.call(swap.func_health(), ()).await?;
        Ok(health)
    }
}

/// Asks for its state.
pub(crate) struct Save;

impl Ask for Save {
    type Answer = Vec<u8>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let (state,) = caller.call(offered(&exports.swap)?.func_save(), ()).await?;
        Ok(state)
    }
}

/// Gives it the state of the generation before.
pub(crate) struct Load {
    pub(crate) from_version: String,
    pub(crate) state: Vec<u8>,
}

impl Ask for Load {
    type Answer = Result<(), String>;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<Self::Answer> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(None, More::NONE);
        let arguments = (self.from_version.as_str(), self.state.as_slice());
        let (loaded,) = caller
            .call(offered(&exports.swap)?.func_load(), arguments)
            .await?;
        Ok(loaded)
    }
}
