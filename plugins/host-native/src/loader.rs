//! The loader of kind `native`.

use std::collections::HashMap;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plugin_abi as abi;
use plugin_api::{
    Bridge, LoadError, Plugin, PluginInfo, PluginLoader, PluginSource, SessionStore, async_trait,
};
use plugin_artefact::Artefact;

use crate::border::{self, Sized32};
use crate::copies::Copies;
use crate::elf;
use crate::hooks::{NativeBridge, NativeStore};
use crate::instance::Instance;
use crate::library::{BRIDGE, Library, Refusal, SESSION_STORE};
use crate::plugin::NativePlugin;

/// Libraries of one loader beyond which each further one is warned of: none of them is ever unloaded.
const LIBRARIES_WARNED: usize = 64;

/// Loads shared libraries from folders that the operator allows: `use = "native:libexample.so"`.
///
/// A file that everybody may write isn't loaded, nor one that isn't what its `sha256` pins. What is loaded is a private
/// copy of the bytes that were hashed. A library is loaded once for each content, and stays loaded until the process ends.
///
/// **Trust:** a native plugin can do whatever the broker's process can. What one doesn't trust belongs into Wasm.
#[derive(Debug, Default)]
pub struct NativeLoader {
    pub(crate) folders: Vec<PathBuf>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    /// By digest.
    libraries: HashMap<String, Arc<Library>>,
    /// Made when the first library is loaded.
    copies: Option<Copies>,
}

impl NativeLoader {
    /// Returns a loader that looks for libraries in `folders`, then in those that a source brings along from the
    /// configuration, and nowhere else.
    #[must_use]
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            folders: folders.into_iter().collect(),
            loaded: Mutex::default(),
        }
    }

    /// Loads the library of a source, if it isn't loaded already.
    pub(crate) fn library(&self, source: &PluginSource) -> Result<Arc<Library>, LoadError> {
        let refused = |why: String| LoadError::Refused {
            what: source.what.clone(),
            why,
        };
        let checked = Artefact::read(source, &self.folders)?;
        elf::check(&checked.content).map_err(refused)?;
        let mut loaded = self.loaded();
        if let Some(library) = loaded.libraries.get(&checked.digest) {
            return Ok(library.clone());
        }
        if loaded.libraries.len() >= LIBRARIES_WARNED {
            let (libraries, plugin) = (loaded.libraries.len(), &source.what);
            tracing::warn!(
                plugin,
                libraries,
                "libraries stay in memory; a restart gives it back"
            );
        }
        for peculiarity in elf::peculiarities(&checked.content) {
            tracing::warn!(plugin = source.what, "not fit for being swapped: {peculiarity}");
        }
        let copy = loaded
            .copy(&checked)
            .map_err(|error| refused(error.to_string()))?;
        let library = Arc::new(Library::open(&copy).map_err(refused)?);
        loaded.libraries.insert(checked.digest, library.clone());
        Ok(library)
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    fn copy(&mut self, library: &Artefact) -> std::io::Result<PathBuf> {
        let copies = match &mut self.copies {
            Some(copies) => copies,
            none => none.insert(Copies::new()?),
        };
        copies.write(library)
    }
}

#[async_trait]
impl PluginLoader for NativeLoader {
    fn kind(&self) -> &'static str {
        "native"
    }

    async fn inspect(&self, source: &PluginSource) -> Result<PluginInfo, LoadError> {
        Ok(self.library(source)?.info.clone())
    }

    fn file(&self, source: &PluginSource) -> Option<PathBuf> {
        Artefact::path(source, &self.folders)
    }

    async fn check(&self, source: &PluginSource, options: &str) -> Result<(), LoadError> {
        self.library(source)?.check(options).map_err(wrong_options)
    }

    async fn load(
        &self,
        name: &str,
        source: &PluginSource,
        options: &str,
    ) -> Result<Arc<dyn Plugin>, LoadError> {
        let library = self.library(source)?;
        make(&library, name, options)
    }
}

/// Has a library check options and make an instance of them.
pub(crate) fn make(library: &Library, name: &str, options: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    library.check(options).map_err(wrong_options)?;
    let instance = Instance::create(library, name, options).map_err(|refusal| {
        if refusal.key.is_empty() {
            LoadError::Start(refusal.why)
        } else {
            wrong_options(refusal)
        }
    })?;
    let store = provider(&instance, library.has_store, SESSION_STORE, NativeStore::new)?;
    let bridge = provider(&instance, library.has_bridge, BRIDGE, NativeBridge::new)?;
    Ok(Arc::new(NativePlugin {
        info: library.info.clone(),
        instance,
        store: store.map(|store| Arc::new(store) as Arc<dyn SessionStore>),
        bridge: bridge.map(|bridge| Arc::new(bridge) as Arc<dyn Bridge>),
    }))
}

fn wrong_options(refusal: Refusal) -> LoadError {
    LoadError::Options {
        key: refusal.key,
        why: refusal.why,
    }
}

/// Asks an instance for an extension that its library offers.
fn provider<T: Sized32, P>(
    instance: &Arc<Instance>,
    offered: bool,
    name: &CStr,
    wrap: impl FnOnce(&Arc<Instance>, T) -> Result<P, String>,
) -> Result<Option<P>, LoadError> {
    let Some(extension) = instance.table.0.extension.filter(|_| offered) else {
        return Ok(None);
    };
    // SAFETY: a function of this instance with its own `self`, under the lock of [control] calls.
    let there = instance.control(|table| unsafe { extension(table.0.self_, name.as_ptr()) });
    if there.is_null() {
        return Ok(None);
    }
    // SAFETY: the plugin says that this is the table of the extension that was asked for.
    let table = unsafe { border::copy(there.cast::<T>(), 8) };
    let table =
        table.ok_or_else(|| LoadError::Start(format!("its {} has no size", name.to_string_lossy())))?;
    wrap(instance, table).map(Some).map_err(LoadError::Start)
}

const _: () = assert!(
    abi::MAJOR == 1,
    "this host is for version 1; version 2 will be a second one beside it"
);
