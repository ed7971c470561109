//! `broker-proto` does no I/O: its `clippy.toml` bans clocks, sockets, threads and chance, and clippy, which the gate
//! runs, does the rest. Here is only seen to it that the ban stays.

use crate::repository::files;

const METHODS: [&str; 12] = [
    "std::env::var",
    "std::fs::File::create",
    "std::fs::File::open",
    "std::fs::read",
    "std::fs::write",
    "std::process::Command::new",
    "std::thread::Builder::spawn",
    "std::thread::scope",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];
const TYPES: [&str; 9] = [
    "std::hash::RandomState",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::unix::net::UnixListener",
    "std::os::unix::net::UnixStream",
    "std::thread::Thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Returns what `config`, a `clippy.toml`, doesn't ban.
fn complaints(config: &str) -> Vec<String> {
    let config: toml::Table = config.parse().expect("clippy.toml is TOML");
    let bans = |list: &str, path: &str| {
        let entries = config
            .get(list)
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten();
        let mut named = entries.filter_map(|entry| entry.as_str().or_else(|| entry.get("path")?.as_str()));
        named.any(|named| named == path)
    };
    let methods = METHODS.iter().filter(|path| !bans("disallowed-methods", path));
    let types = TYPES.iter().filter(|path| !bans("disallowed-types", path));
    methods
        .chain(types)
        .map(|path| format!("broker-core/proto/clippy.toml doesn't ban {path}"))
        .collect()
}

#[test]
fn the_protocol_has_no_clock_no_socket_no_thread_and_no_chance() {
    let config = files()
        .iter()
        .find(|file| file.path == "broker-core/proto/clippy.toml");
    crate::expect_tidy(&complaints(&config.expect("the file is there").text));
    // Nobody lifts the ban where it hurts.
    let lifted = files()
        .iter()
        .filter(|file| file.path.starts_with("broker-core/proto/"));
    let lifted = lifted.filter(|file| file.is("rs") && file.text.contains("clippy::disallowed"));
    let lifted: Vec<_> = lifted
        .map(|file| format!("{}: lifts the ban on I/O", file.path))
        .collect();
    crate::expect_tidy(&lifted);
}

#[test]
fn a_ban_that_is_lifted_is_found() {
    let config =
        "disallowed-methods = [\"std::thread::spawn\", { path = \"std::thread::sleep\", reason = \"x\" }]\n";
    let found = complaints(config);
    assert_eq!(found.len(), METHODS.len() + TYPES.len() - 2);
    assert!(
        found
            .iter()
            .any(|complaint| complaint.ends_with("std::time::Instant::now")),
        "{found:?}"
    );
}
