//! The text of `jackfield.toml`: a configuration, or a report whose places are inside the text.

use std::sync::Arc;

use jackfield::builtin::Builtins;
use jackfield::config_file::{Sources, load};
use plugin_api::PluginLoader;

pub(crate) fn body(data: &[u8]) {
    // what it includes lies on this machine's disk, and is nobody's business
    if data.windows(7).any(|word| word == b"include") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("jackfield.toml");
    std::fs::write(&file, data).expect("a file can be written");
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let loaders: [Arc<dyn PluginLoader>; 1] = [Arc::new(Builtins)];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    if let Err(report) = runtime.block_on(load(&sources, &loaders)) {
        assert!(report.has_errors());
        let lines = String::from_utf8_lossy(data).lines().count().max(1);
        for found in report.iter() {
            let snippet = found.place.as_ref().and_then(|place| place.snippet.as_ref());
            if let Some(snippet) = snippet {
                assert!((1..=lines + 1).contains(&snippet.line), "{found:?}");
            }
        }
        assert!(
            !report.to_string().contains('\x1b'),
            "what a file says must not colour a terminal"
        );
    }
}
