//! From what the configuration names to bytes that may be loaded: the file is where the operator lets plugins be, nobody
//! else can write it, it is the file that was pinned, and what is opened is a private copy of exactly what was hashed.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io};

use plugin_api::{LoadError, PluginSource};
use sha2::{Digest, Sha256};

use crate::elf;

/// The largest library that is loaded.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The permission bit "others may write".
const OTHERS_WRITE: u32 = 0o002;
/// The permission bit of folders in which only owners may rename.
const STICKY: u32 = 0o1000;

/// A library that may be loaded.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its SHA-256, lower-case hexadecimal.
    pub(crate) digest: String,
    /// The stem of its file name.
    stem: OsString,
    content: Vec<u8>,
}

impl Checked {
    /// Finds the file that `source` names below one of `folders`, reads it once and checks what was read.
    ///
    /// # Errors
    /// Why it may not be loaded.
    pub(crate) fn read(source: &PluginSource, folders: &[PathBuf]) -> Result<Self, LoadError> {
        let what = source.what.as_str();
        let refused = |why: String| LoadError::Refused {
            what: what.to_owned(),
            why,
        };
        let path = find(Path::new(what), folders).map_err(&refused)?;
        let path = path.ok_or_else(|| LoadError::NotFound {
            what: what.to_owned(),
            did_you_mean: neighbour(what, folders),
        })?;
        guarded(&path).map_err(&refused)?;
        let content = fs::read(&path).map_err(|error| refused(error.to_string()))?;
        let digest = hex(&Sha256::digest(&content));
        match &source.sha256 {
            Some(pin) if !pin.eq_ignore_ascii_case(&digest) => {
                return Err(refused(format!("its SHA-256 is {digest}, not the pinned {pin}")));
            }
            _ => {}
        }
        elf::check(&content).map_err(refused)?;
        Ok(Self {
            digest,
            stem: path.file_stem().unwrap_or_default().to_owned(),
            content,
        })
    }
}

impl Checked {
    /// Returns its length.
    pub(crate) const fn bytes(&self) -> u64 {
        self.content.len() as u64
    }
}

/// Returns the file without links and detours, if there is one.
fn find(what: &Path, folders: &[PathBuf]) -> Result<Option<PathBuf>, String> {
    if what.components().any(|part| part == Component::ParentDir) {
        return Err("its path must not have `..`".to_owned());
    }
    let real = |folder: &PathBuf| folder.canonicalize().ok();
    let allowed: Vec<PathBuf> = folders.iter().filter_map(real).collect();
    for folder in &allowed {
        // An absolute path replaces the folder; whether it is allowed is looked at in any case.
        match folder.join(what).canonicalize() {
            Ok(found) if allowed.iter().any(|folder| found.starts_with(folder)) => return Ok(Some(found)),
            Ok(found) => return Err(format!("it is {}, outside of {}", found.display(), list(folders))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    if what.is_absolute() && what.exists() {
        return Err(format!("it is outside of {}", list(folders)));
    }
    Ok(None)
}

fn list(folders: &[PathBuf]) -> String {
    let mut text = String::from("the folders for plugins:");
    for folder in folders {
        // Writing to a String can't fail.
        let _ = write!(text, " {}", folder.display());
    }
    text
}

/// Checks that the file is a file of bearable size and that not everybody can put another one in its place.
fn guarded(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err("it is larger than 1 GiB".to_owned());
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err("everybody may write it (chmod o-w)".to_owned());
    }
    let folder = path.parent().map(fs::metadata);
    match folder {
        Some(Ok(folder)) if folder.mode() & OTHERS_WRITE != 0 && folder.mode() & STICKY == 0 => {
            Err("everybody may write its folder (chmod o-w)".to_owned())
        }
        _ => Ok(()),
    }
}

/// Returns a file with a similar name.
fn neighbour(what: &str, folders: &[PathBuf]) -> Option<String> {
    let bare = |name: &str| {
        name.trim_start_matches("lib")
            .trim_end_matches(".so")
            .replace('_', "-")
    };
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .into_iter()
        .find(|name| name != what && bare(name) == bare(what))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A folder that only this process's user can look into, for copies that are what was hashed. It goes with its owner.
#[derive(Debug)]
pub(crate) struct Copies(PathBuf);

impl Copies {
    /// Makes the folder.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("jackfield-plugins-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // Of a process that had this number before.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the copy of a library; its name tells which one it is.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn write(&self, library: &Checked) -> io::Result<PathBuf> {
        let mut name = library.stem.clone();
        name.push(format!("-{}.so", &library.digest[..16]));
        let path = self.0.join(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o500)
            .open(&path)?;
        file.write_all(&library.content)?;
        Ok(path)
    }
}

impl Drop for Copies {
    /// What is loaded stays loaded.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, folder = %self.0.display(), "copies of plugins stay behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn source(what: &str) -> PluginSource {
        PluginSource {
            what: what.to_owned(),
            ..PluginSource::default()
        }
    }

    fn why(source: &PluginSource, folders: &[PathBuf]) -> String {
        Checked::read(source, folders).unwrap_err().to_string()
    }

    #[test]
    fn files_are_looked_for_in_the_allowed_folders_only() {
        let place = tempfile::tempdir().unwrap();
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(inside.join("libmy_auth.so"), "x").unwrap();
        fs::write(outside.join("x.so"), "x").unwrap();
        symlink(outside.join("x.so"), inside.join("link.so")).unwrap();
        let allowed = [inside.clone()];
        // Found, but no library.
        assert!(why(&source("libmy_auth.so"), &allowed).contains("no shared library"));
        let absolute = inside.join("libmy_auth.so");
        assert!(why(&source(absolute.to_str().unwrap()), &allowed).contains("no shared library"));
        assert!(why(&source(outside.join("x.so").to_str().unwrap()), &allowed).contains("outside"));
        assert!(why(&source("link.so"), &allowed).contains("outside"));
        assert!(why(&source("../out/x.so"), &allowed).contains(".."));
        assert!(why(&source("../out/x.so"), &[]).contains(".."));
        let lost = Checked::read(&source("my-auth"), &allowed).unwrap_err();
        assert_eq!(
            lost,
            LoadError::NotFound {
                what: "my-auth".to_owned(),
                did_you_mean: Some("libmy_auth.so".to_owned())
            }
        );
    }

    #[test]
    fn a_file_that_everybody_may_write_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let (folders, path) = ([place.path().to_owned()], place.path().join("a.so"));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(why(&source("a.so"), &folders).contains("everybody may write it"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(why(&source("a.so"), &folders).contains("its folder"));
    }

    #[test]
    fn a_pin_is_held_to_what_was_read() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("a.so"), "x").unwrap();
        let mut pinned = source("a.so");
        pinned.sha256 = Some("00".repeat(32));
        let folders = [place.path().to_owned()];
        assert!(why(&pinned, &folders).contains("not the pinned"));
        pinned.sha256 = Some("2D711642B726B04401627CA9FBAC32F5C8530FB1903CC4DB02258717921A4881".to_owned());
        assert!(why(&pinned, &folders).contains("no shared library"));
    }

    #[test]
    fn a_copy_is_private_and_goes_with_its_folder() {
        let copies = Copies::new().unwrap();
        let library = Checked {
            digest: "0123456789abcdef0".to_owned(),
            stem: "libx".into(),
            content: b"x".to_vec(),
        };
        let path = copies.write(&library).unwrap();
        assert!(path.ends_with("libx-0123456789abcdef.so"));
        let folder = path.parent().unwrap().to_owned();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert!(copies.write(&library).is_err(), "a copy is never written over");
        drop(copies);
        assert!(!folder.exists());
    }
}
