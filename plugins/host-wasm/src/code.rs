//! A component that was compiled and looked at: what it imports, which hooks it has, who it says it is. Several configured uses of
//! one file share it.

use std::sync::Arc;

use plugin_api::{Grants, LoadError};
use wasmtime::component::{Component, InstancePre, Linker};

use crate::bindings::exported::lifecycle::Complaint;
use crate::engine::{Machine, Pulse};
use crate::exports::{Indices, NAMES, offered};
use crate::imports::{Imports, PACKAGE, speaks};
use crate::instance::Instance;
use crate::manifest::Identity;
use crate::services::{self, Services};
use crate::state::State;
use crate::stop;
use crate::wasi::Wasi;

/// Milliseconds that a throw-away instance may run to say what it is, or whether options make sense.
const TICKS_MAX: u32 = 1000;
/// The memory that a throw-away instance may have.
const MEMORY_MAX: usize = 256 << 20;

/// A compiled component.
#[derive(Debug)]
pub(crate) struct Code {
    component: Component,
    /// Where it was compiled; its clock must tick as long as there are instances.
    machine: Arc<Machine>,
    pub(crate) imports: Imports,
    pub(crate) indices: Indices,
    pub(crate) identity: Identity,
}

impl Code {
    /// Looks at a component, and asks it who it is, in an instance that is thrown away.
    ///
    /// # Errors
    /// It isn't a plugin of this contract.
    pub(crate) async fn new(component: Component, machine: Arc<Machine>) -> Result<Self, String> {
        check_exports(&component)?;
        let imports = Imports::read(&component)?;
        let linked = link(&component, &imports).map_err(|error| unfit(&error))?;
        let mut code = Self {
            indices: Indices::find(&linked),
            component,
            machine,
            imports,
            identity: Identity {
                id: String::new(),
                version: String::new(),
                config_schema: None,
            },
        };
        code.check_hooks()?;
        let mut instance = code.throw_away(&linked).await.map_err(|error| unfit(&error))?;
        let described = async {
            let describe = offered(&instance.exports.describe)?;
            instance.caller.call(describe.func_get(), ()).await
        };
        let (manifest,) = described
            .await
            .map_err(|error| format!("it can't say what it is: {}", stop::fault(&error)))?;
        code.identity = Identity::read(&manifest)?;
        Ok(code)
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.machine.pulse
    }

    /// Returns the component with the services that it imports. What wasn't granted isn't there: see [`Imports::check`].
    pub(crate) fn linked(&self) -> wasmtime::Result<InstancePre<State>> {
        link(&self.component, &self.imports)
    }

    /// Asks whether options make sense, in an instance that is thrown away.
    ///
    /// # Errors
    /// They don't, or the guest failed over them.
    pub(crate) async fn validate(&self, options: &str) -> Result<(), LoadError> {
        let asked = async {
            let mut instance = self.throw_away(&self.linked()?).await?;
            let lifecycle = offered(&instance.exports.lifecycle)?;
            let (valid,) = instance
                .caller
                .call(lifecycle.func_validate(), (options,))
                .await?;
            wasmtime::Result::Ok(valid)
        };
        match asked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(complaint)) => Err(wrong_options(complaint)),
            Err(error) => Err(LoadError::Start(format!(
                "it failed over its options: {}",
                stop::fault(&error)
            ))),
        }
    }

    /// Makes an instance that has no broker behind it and nothing of the world.
    async fn throw_away(&self, linked: &InstancePre<State>) -> wasmtime::Result<Instance> {
        let services = Arc::new(Services::new(&self.identity.id));
        let state = State::new(services.clone(), self.pulse().clone(), MEMORY_MAX);
        let state = match self.imports.wasi {
            true => state.with_wasi(Wasi::new(&Grants::default(), &services)?),
            false => state,
        };
        Instance::new(self, linked, state, TICKS_MAX).await
    }

    /// Checks that it has what every plugin has, and at least one hook.
    fn check_hooks(&self) -> Result<(), String> {
        let indices = &self.indices;
        if indices.describe.is_none() || indices.lifecycle.is_none() {
            return Err(format!(
                "it doesn't export {PACKAGE}describe and {PACKAGE}lifecycle"
            ));
        }
        if indices.hooks().is_empty() {
            return Err("it has no hook: it exports only what it is".to_owned());
        }
        Ok(())
    }
}

/// Checks that something of the contract is exported, and nothing of another version of it.
fn check_exports(component: &Component) -> Result<(), String> {
    let kind = component.component_type();
    let mut ours = 0;
    for (name, _) in kind.exports(component.engine()) {
        let Some(interface) = name.strip_prefix(PACKAGE) else {
            continue;
        };
        let (interface, version) = interface.split_once('@').unwrap_or((interface, ""));
        if !speaks(version) || !NAMES.contains(&interface) {
            return Err(format!(
                "it exports `{name}`, this broker speaks {PACKAGE} 1.0: rebuild it for that"
            ));
        }
        ours += 1;
    }
    if ours == 0 {
        // What has no component type becomes a component without exports, silently.
        return Err(format!(
            "it exports nothing of {PACKAGE}: a module must be built with bindings of the contract (wit-bindgen or the SDK), \
             which tell what it imports and exports"
        ));
    }
    Ok(())
}

fn link(component: &Component, imports: &Imports) -> wasmtime::Result<InstancePre<State>> {
    let mut linker = Linker::new(component.engine());
    for service in &imports.services {
        services::link(&mut linker, *service)?;
    }
    if imports.wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    linker.instantiate_pre(component)
}

fn unfit(error: &wasmtime::Error) -> String {
    format!("it doesn't fit {PACKAGE} 1.0: {error:#}")
}

/// Says what is wrong with options.
pub(crate) fn wrong_options(complaint: Complaint) -> LoadError {
    LoadError::Options {
        key: complaint.key,
        why: complaint.why,
    }
}
