//! Who need not keep which rule. Each line is a decision, so it shows in review.

/// Folders whose crates may contain `unsafe`: the borders to C and to machine code.
pub(crate) const UNSAFE: [&str; 4] = [
    "plugin-api/abi/",
    "plugins/host-native/",
    "plugins/host-wasm/",
    "sdk/",
];

/// Files that may name folders of a machine or be of any length, because others wrote them or a program does.
pub(crate) const NOT_OURS: [&str; 4] = [
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "examples/wasm-auth/c/bindings/guest.c",
];
