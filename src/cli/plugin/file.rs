//! A plugin file on a command line: which loader it is for, and how it is loaded.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugin_api::{Grants, LoadError, Plugin, PluginLoader, PluginSource};
use serde_json::Value;

use super::super::exit::{Exit, Failure};
use super::super::source::{loaders, runtime};

/// The name of an instance that a command makes.
const NAME: &str = "plugin";

/// A file, and who loads it.
pub(super) struct PluginFile {
    pub(super) path: PathBuf,
    /// `native` or `wasm`.
    pub(super) kind: &'static str,
    pub(super) source: PluginSource,
    loader: Arc<dyn PluginLoader>,
}

impl std::fmt::Debug for PluginFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PluginFile").field(&self.path).finish()
    }
}

impl PluginFile {
    /// Finds the loader for a file. The folder that it is in is taken for one of plugins: who names a file means it.
    pub(super) fn find(path: &Path) -> Result<Self, Failure> {
        let real = path
            .canonicalize()
            .map_err(|error| Failure::io(path.display(), &error))?;
        if real.is_dir() {
            let message = format!("{} is a folder, not a plugin file", path.display());
            return Err(Failure::new(Exit::Usage, message)
                .hint("`jackfield plugin build` says which file it has built, usually one in build/"));
        }
        let kind = kind_of(&real).map_err(|error| Failure::io(path.display(), &error))?;
        let loader = loaders().into_iter().find(|loader| loader.kind() == kind);
        let loader = loader.ok_or_else(|| {
            let message = format!("{}: this jackfield can't load {kind} plugins", path.display());
            Failure::new(Exit::Failed, message).hint(format!("build it with `--features {kind}`"))
        })?;
        let source = PluginSource {
            what: real.display().to_string(),
            folders: real.parent().map(Path::to_owned).into_iter().collect(),
            grants: everything(),
            ..PluginSource::default()
        };
        Ok(Self {
            path: real,
            kind,
            source,
            loader,
        })
    }

    /// Makes an instance, not started.
    pub(super) fn load(&self, options: &Value) -> Result<Arc<dyn Plugin>, LoadError> {
        let runtime = runtime().map_err(|_| LoadError::Start("there is no runtime".to_owned()))?;
        runtime.block_on(self.loader.load(NAME, &self.source, &options.to_string()))
    }

    /// Makes an instance, or says why there is none.
    pub(super) fn loaded(&self, options: &Value) -> Result<Arc<dyn Plugin>, Failure> {
        self.load(options).map_err(|error| refused(&error))
    }

    /// Returns the facts that every loader tells.
    pub(super) fn info(&self) -> Result<plugin_api::PluginInfo, Failure> {
        let info = runtime()?.block_on(self.loader.inspect(&self.source));
        info.map_err(|error| refused(&error))
    }
}

/// Returns every grant there is short of files and connections: there is no broker behind what these commands load, so a service that
/// is granted leads nowhere.
fn everything() -> Grants {
    Grants {
        kv: true,
        http: vec!["https://".to_owned()],
        clock: true,
        random: true,
        publish: true,
        clients: true,
        env: Vec::new(),
        dirs: Some(Vec::new()),
        sockets: Vec::new(),
    }
}

/// A plugin that isn't loaded. What is wrong with options can be mended on the command line.
pub(super) fn refused(error: &LoadError) -> Failure {
    let failure = Failure::new(Exit::Failed, error.to_string());
    match error {
        LoadError::Options { .. } => failure.hint(
            "options are those of a `jackfield.toml` beside the project, or --options '{\"key\": …}'; \
             `jackfield plugin inspect` shows the schema",
        ),
        _ => failure,
    }
}

/// Tells by the first bytes what a file is for; what is neither is left to the native loader, which says what is wrong.
fn kind_of(path: &Path) -> std::io::Result<&'static str> {
    let mut first = [0; 4];
    let read = fs::File::open(path)?.read(&mut first)?;
    Ok(if first[..read] == *b"\0asm" {
        "wasm"
    } else {
        "native"
    })
}

/// Reads options from a command line.
pub(super) fn options(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(options @ Value::Object(_)) => Ok(options),
        Ok(_) => Err("options are a JSON object".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
