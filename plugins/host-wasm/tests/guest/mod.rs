//! Loads the guests of the examples. Their tests are one program for each: they link the source, too, and a program holds one plugin.
#![allow(dead_code, reason = "each of the tests uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plugin_api::{Grants, LoadError, Plugin, PluginLoader, PluginSource, Sandbox};
use plugin_host_wasm::WasmLoader;
use plugin_testkit::{Harness, TestHost};
use serde_json::Value;

/// Returns a folder of an example.
pub(crate) fn example(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(folder)
}

/// Loads a guest.
pub(crate) fn load(
    file: &Path,
    options: &Value,
    grants: Grants,
    sandbox: Sandbox,
) -> Result<Arc<dyn Plugin>, LoadError> {
    let file = file.canonicalize().expect("it is there");
    let folder = file.parent().expect("a file is in a folder");
    let source = PluginSource {
        what: file.display().to_string(),
        grants,
        sandbox,
        ..PluginSource::default()
    };
    let loader = WasmLoader::new([folder.to_owned()]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(loader.load("test", &source, &options.to_string()))
}

/// Loads a guest that is granted one HTTP server, with a host that was prepared.
pub(crate) fn with_http(
    file: &Path,
    options: &Value,
    url: &str,
    sandbox: Sandbox,
    host: TestHost,
) -> Harness {
    let grants = Grants {
        http: vec![url.to_owned()],
        ..Grants::default()
    };
    let plugin = load(file, options, grants, sandbox).expect("it is loaded");
    Harness::with_host(plugin, Arc::new(host)).expect("it starts")
}
