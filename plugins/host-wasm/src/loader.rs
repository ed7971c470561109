//! The loader of kind `wasm`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use plugin_api::{LoadError, Plugin, PluginInfo, PluginLoader, PluginSource, async_trait};
use plugin_artefact::Artefact;

use crate::cache::Cache;
use crate::code::Code;
use crate::compile;
use crate::engine::Machine;
use crate::guest::Guest;
use crate::plugin::{self, WasmPlugin};

/// Loads Wasm components and core modules from folders that the operator allows: `use = "wasm:example.wasm"`.
///
/// A file that everybody may write isn't loaded, nor one that isn't what its `sha256` pins or its signature covers, nor one that
/// imports more than it was granted. Code is compiled once for each content; it and the memory of its instances are freed when
/// nobody uses it any more.
///
/// **Trust:** none is needed. A guest sees what its calls lend and what it was granted, and ends when it goes beyond its limits.
#[derive(Debug)]
pub struct WasmLoader {
    pub(crate) folders: Vec<PathBuf>,
    cache_folder: Option<PathBuf>,
    /// Made when the first component is loaded: nobody else pays for an engine.
    shop: OnceLock<Result<Shop, String>>,
    /// By digest.
    code: Mutex<HashMap<String, Weak<Code>>>,
}

/// Where components are compiled.
#[derive(Debug)]
struct Shop {
    machine: Arc<Machine>,
    cache: Option<Cache>,
}

impl WasmLoader {
    /// Returns a loader that looks for files in `folders`, then in those that a source brings along from the configuration, and
    /// nowhere else. It keeps no compiled code.
    #[must_use]
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            folders: folders.into_iter().collect(),
            cache_folder: None,
            shop: OnceLock::new(),
            code: Mutex::default(),
        }
    }

    /// Keeps compiled code in `folder`, which is made if it isn't there, and which only this user may enter. Where that can't be
    /// had, a warning is logged and everything is compiled at each start.
    #[must_use]
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache_folder = Some(folder.into());
        self
    }

    /// Returns the component of a source: from memory, from the cache, or newly compiled.
    pub(crate) async fn code(&self, source: &PluginSource) -> Result<Arc<Code>, LoadError> {
        let refused = |why: String| LoadError::Refused {
            what: source.what.clone(),
            why,
        };
        let file = Artefact::read(source, &self.folders)?;
        if let Some(code) = self.known(&file.digest) {
            return Ok(code);
        }
        let shop = self.shop().map_err(refused)?;
        let engine = &shop.machine.engine;
        let kept = shop
            .cache
            .as_ref()
            .and_then(|cache| cache.load(engine, &file.digest));
        let component = match kept {
            Some(component) => component,
            None => {
                let component = compile::component(&file.content).map_err(refused)?.into_owned();
                let compiled = compile::compile(engine.clone(), component)
                    .await
                    .map_err(refused)?;
                if let Some(cache) = &shop.cache {
                    cache.store(&file.digest, &compiled);
                }
                compiled
            }
        };
        let code = Code::new(component, shop.machine.clone())
            .await
            .map_err(refused)?;
        let code = Arc::new(code);
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, code| code.strong_count() > 0);
        known.insert(file.digest, Arc::downgrade(&code));
        Ok(code)
    }

    fn known(&self, digest: &str) -> Option<Arc<Code>> {
        let known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest)?.upgrade()
    }

    fn shop(&self) -> Result<&Shop, String> {
        let shop = self.shop.get_or_init(|| Shop::open(self.cache_folder.as_deref()));
        shop.as_ref().map_err(String::clone)
    }

    /// Returns the component if everything that it imports is granted.
    async fn granted(&self, source: &PluginSource) -> Result<Arc<Code>, LoadError> {
        let code = self.code(source).await?;
        code.imports
            .check(&source.grants)
            .map_err(|why| LoadError::Refused {
                what: source.what.clone(),
                why,
            })?;
        Ok(code)
    }
}

impl Shop {
    fn open(cache: Option<&Path>) -> Result<Self, String> {
        let machine = Arc::new(Machine::new()?);
        let cache = cache.and_then(|folder| {
            Cache::open(folder, &machine.engine)
                .inspect_err(|error| tracing::warn!(%error, "compiled Wasm code is not kept"))
                .ok()
        });
        Ok(Self { machine, cache })
    }
}

#[async_trait]
impl PluginLoader for WasmLoader {
    fn kind(&self) -> &'static str {
        "wasm"
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        Ok(plugin::info(&*self.code(source).await?))
    }

    fn file(&self, source: &PluginSource) -> Option<PathBuf> {
        Artefact::path(source, &self.folders)
    }

    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError> {
        self.granted(source).await?.validate(options).await
    }

    async fn load(
        &self,
        name: &str,
        source: &PluginSource,
        options: &str,
    ) -> Result<Arc<dyn Plugin>, LoadError> {
        let code = self.granted(source).await?;
        code.validate(options).await?;
        let guest = Guest::new(name, code, options, &source.sandbox, &source.grants);
        let guest = guest.map_err(|error| LoadError::Start(format!("{error:#}")))?;
        Ok(Arc::new(WasmPlugin::new(guest)))
    }
}
