//! The flags that say where configuration comes from, shared by `run`, `check` and `config`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jackfield::builtin::Builtins;
use jackfield::config_file::{self, Bind, Flag, Loaded, Report, Sources};
use plugin_api::PluginLoader;

use super::exit::{Exit, Failure};

/// What lies over the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Overrides {
    /// Read jackfield.NAME.toml over the file
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Set a key, as in TOML: --set limits.inflight_max=100
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Overrides {
    /// Puts the layers together.
    pub(crate) fn sources(&self, file: Option<PathBuf>) -> Sources {
        let profile = self.profile.as_deref();
        Sources {
            file,
            unsaved: None,
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
                })
                .collect(),
            set: self.set.clone(),
            flags: profile
                .map(|name| flag("--profile", name, &["profile"], name))
                .into_iter()
                .collect(),
        }
    }
}

/// A flag that sets a key to `value`.
pub(crate) fn flag(name: &str, shown: &str, key: &[&str], value: &str) -> Flag {
    Flag {
        shown: format!("{name} {shown}"),
        key: key.iter().map(|&part| part.to_owned()).collect(),
        value: value.to_owned(),
    }
}

/// The flags that `--listen` stands for: one listener more, called `listen`. Where no file says otherwise everybody on
/// this machine may use it; whoever opens it to the network has to say who comes in.
pub(crate) fn listen(addresses: &[String], with_file: bool) -> Vec<Flag> {
    let mut flags = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        let name = if i == 0 {
            "listen".to_owned()
        } else {
            format!("listen_{}", i + 1)
        };
        flags.push(flag("--listen", address, &["listeners", &name, "bind"], address));
        let local = address.parse().is_ok_and(|bind: Bind| bind.is_local());
        if local && !with_file {
            flags.push(flag(
                "--listen",
                address,
                &["listeners", &name, "anonymous"],
                "true",
            ));
        }
    }
    flags
}

/// The loaders of this program.
pub(crate) fn loaders() -> Vec<Arc<dyn PluginLoader>> {
    vec![
        Arc::new(Builtins),
        #[cfg(feature = "native")]
        Arc::new(jackfield::native::NativeLoader::default()),
        #[cfg(feature = "wasm")]
        Arc::new(wasm_loader()),
    ]
}

/// The loader of components, with a folder for compiled code where this user or service has one for such things.
#[cfg(feature = "wasm")]
pub(crate) fn wasm_loader() -> jackfield::wasm::WasmLoader {
    let loader = jackfield::wasm::WasmLoader::new([]);
    let folder = |name: &str, below: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(std::path::PathBuf::from(value).join(below))
    };
    let folder = folder("CACHE_DIRECTORY", "wasm")
        .or_else(|| folder("XDG_CACHE_HOME", "jackfield/wasm"))
        .or_else(|| folder("HOME", ".cache/jackfield/wasm"));
    match folder {
        Some(folder) => loader.cache(folder),
        None => loader,
    }
}

/// A runtime for what the program itself awaits; the broker brings its own.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format!("can't start: {error}")))
}

/// Reads and checks.
pub(crate) async fn load(sources: &Sources) -> Result<Loaded, Report> {
    config_file::load(sources, &loaders()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_opens_to_everybody_only_on_this_machine() {
        let keys = |addresses: &[&str], with_file| {
            let addresses: Vec<_> = addresses.iter().map(|&a| a.to_owned()).collect();
            let flags = listen(&addresses, with_file);
            flags
                .iter()
                .map(|flag| flag.key[1..].join("."))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&["1883"], false), ["listen.bind", "listen.anonymous"]);
        assert_eq!(
            keys(&["0.0.0.0:1883", "unix:/x"], false),
            ["listen.bind", "listen_2.bind", "listen_2.anonymous"]
        );
        assert_eq!(keys(&["1883"], true), ["listen.bind"]);
    }
}
