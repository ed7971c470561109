//! ACL files, in both formats: read or refused with a place, never a panic.

use plugin_acl_file::{AclFile, Format, Options};

pub(crate) fn body(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("acl");
    std::fs::write(&file, data).expect("a file can be written");
    for format in [Format::Toml, Format::Mosquitto] {
        let mut options = Options::new(&file);
        options.format = format;
        if let Err(error) = AclFile::new(options) {
            assert!(!error.to_string().is_empty());
        }
    }
}
