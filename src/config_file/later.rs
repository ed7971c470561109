//! Keys and values of the design that this version doesn't have yet. They are refused by name, so that nobody believes
//! that TLS is on because no error came.

use super::tree::{Path, Step};

/// Keys, with `*` for any name or index.
const KEYS: &[&str] = &[
    "admin",
    "telemetry",
    "reload",
    "node.id",
    "node.data_dir",
    "store.durability",
    "sys.compat",
    "plugins.*.required",
    "plugins.*.isolate",
    "listeners.*.tls",
    "listeners.*.ws",
    "listeners.*.proxy_protocol",
    "listeners.*.durability",
];

/// Values of keys that exist.
const VALUES: &[(&str, &[&str])] = &[
    ("store.engine", &["fjall", "redb"]),
    ("listeners.*.transport", &["ws", "quic"]),
    ("log.format", &["journald"]),
];

/// Loaders of plugins, as they stand before the colon of `use`.
const LOADERS: &[&str] = &["wasm"];

/// Tells whether a later version has this key.
pub(super) fn is_key(path: &Path) -> bool {
    KEYS.iter().any(|pattern| matches(pattern, path))
}

/// Tells whether a later version takes this value here.
pub(super) fn is_value(path: &Path, value: &str) -> bool {
    VALUES
        .iter()
        .any(|(pattern, values)| matches(pattern, path) && values.contains(&value))
}

/// Tells whether a later version has this loader.
pub(super) fn is_loader(kind: &str) -> bool {
    LOADERS.contains(&kind)
}

fn matches(pattern: &str, path: &Path) -> bool {
    let mut steps = path.0.iter();
    let same = |part: &str, step: &Step| match step {
        Step::Key(key) => part == "*" || part == key,
        Step::Index(_) => part == "*",
    };
    pattern
        .split('.')
        .all(|part| steps.next().is_some_and(|step| same(part, step)))
        && steps.next().is_none()
}
