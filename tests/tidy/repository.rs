//! The repository as the checks see it: its files, its packages. Reads, judges nothing.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand};

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Returns whether the path ends in `.extension`.
    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, end)| end == extension)
    }
}

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 5] = [".git", "target", "tmp", "node_modules", "__pycache__"];

/// Returns the root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the repository")
}

/// Returns every tracked text file.
pub(crate) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| paths().iter().cloned().filter_map(read).collect())
}

/// Returns the path of every tracked file, text or not.
pub(crate) fn paths() -> &'static [String] {
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        tracked().unwrap_or_else(|| {
            let mut found = Vec::new();
            walk(root(), &mut found);
            found
        })
    })
}

/// Returns what cargo knows of the packages of the workspace. Resolves nothing, so it needs no network.
pub(crate) fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .current_dir(root())
            .no_deps()
            .exec()
            .expect("cargo reads the manifests")
    })
}

/// Returns a path from the root, with `/`.
///
/// # Panics
/// If the path is not in the repository.
pub(crate) fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("a path of the repository");
    inside.to_str().expect("our paths are UTF-8").replace('\\', "/")
}

/// Returns the paths that git keeps, or `None` where there is no git or this is no checkout of ours.
fn tracked() -> Option<Vec<String>> {
    let out = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let list = String::from_utf8(out.stdout).ok()?;
    let paths: Vec<String> = list.split_terminator('\0').map(str::to_owned).collect();
    paths.iter().any(|path| path == "Cargo.toml").then_some(paths)
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let kind = entry.file_type().expect("a file has a type");
        if kind.is_file() {
            found.push(relative(&entry.path()));
        } else if kind.is_dir() && !FOREIGN.iter().any(|name| entry.file_name() == *name) {
            walk(&entry.path(), found);
        }
    }
}

/// Returns a file, unless it is binary or gone from the working tree.
fn read(path: String) -> Option<File> {
    let text = std::fs::read_to_string(root().join(&path)).ok()?;
    Some(File { path, text })
}

#[test]
fn walking_finds_what_git_keeps() {
    let mut walked = Vec::new();
    walk(root(), &mut walked);
    assert!(
        walked.iter().any(|path| path == "tests/tidy/repository.rs"),
        "{walked:?}"
    );
    for file in files() {
        assert!(
            walked.contains(&file.path),
            "{} is not found by walking",
            file.path
        );
    }
}
