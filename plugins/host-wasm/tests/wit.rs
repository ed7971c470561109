//! The contract is what it was. Once it is released nothing in it changes within 1.x; until then this test makes sure that
//! a change is meant.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;

use sha2::{Digest, Sha256};
use wit_component::WitPrinter;
use wit_parser::Resolve;

/// The digest of the contract as a printer writes it, so that comments and line ends may change.
const DIGEST: &str = "1c6bd0eda8c5d444ea22e3d54cab40c67c054e10589ea7f3eb1659a1552e7504";

#[test]
fn the_contract_is_what_it_was() {
    let mut resolve = Resolve::default();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugin-api/wit");
    let (package, _) = resolve.push_path(path).unwrap();
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer.print(&resolve, package, &[]).unwrap();
    let text = printer.output.to_string();
    let digest = Sha256::digest(&text).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    assert_eq!(
        digest, DIGEST,
        "plugin-api/wit changed; if that is meant, the digest changes with it:\n{text}"
    );
}
