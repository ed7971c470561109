//! Finding and checking a file: it is where the operator lets plugins be, nobody else can write it, it is the file that was
//! pinned or signed, and it is read once.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use plugin_api::{LoadError, PluginSource};
use sha2::{Digest, Sha256};

use crate::signature::{SIGNATURE_SUFFIX, SignatureError, check_signature};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The largest file of a detached signature.
const SIGNATURE_BYTES_MAX: u64 = 4096;
/// The permission bit "others may write".
const OTHERS_WRITE: u32 = 0o002;
/// The permission bit of folders in which only owners may rename.
const STICKY: u32 = 0o1000;

/// A plugin's file that may be loaded: its bytes, read once and checked.
#[derive(Debug)]
pub struct Artefact {
    /// The stem of its file name, like `libauth`.
    pub stem: String,
    /// Its SHA-256, lower-case hexadecimal.
    pub digest: String,
    /// Its bytes, at most 1 GiB.
    pub content: Vec<u8>,
}

impl Artefact {
    /// Returns where the file is that `source` names, found as [`Self::read`] finds it; `None`: nowhere.
    #[must_use]
    pub fn path(source: &PluginSource, folders: &[PathBuf]) -> Option<PathBuf> {
        let folders: Vec<PathBuf> = folders.iter().chain(&source.folders).cloned().collect();
        find(Path::new(&source.what), &folders).ok()?
    }

    /// Finds the file that `source` names below one of `folders` or of the source's own folders, reads it once, and holds what was
    /// read to the source's digest and signature. Blocks on the disk.
    ///
    /// # Errors
    /// Why it may not be loaded, for the operator.
    pub fn read(source: &PluginSource, folders: &[PathBuf]) -> Result<Self, LoadError> {
        let what = source.what.as_str();
        let refused = |why: String| LoadError::Refused {
            what: what.to_owned(),
            why,
        };
        let folders: Vec<PathBuf> = folders.iter().chain(&source.folders).cloned().collect();
        let path = find(Path::new(what), &folders).map_err(&refused)?;
        let path = path.ok_or_else(|| LoadError::NotFound {
            what: what.to_owned(),
            did_you_mean: neighbour(what, &folders),
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
        signed(source, &path, &content).map_err(refused)?;
        Ok(Self {
            digest,
            stem: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            content,
        })
    }
}

/// Checks the signature, if the source wants one: its own, or the one in the file beside the plugin.
fn signed(source: &PluginSource, path: &Path, content: &[u8]) -> Result<(), String> {
    let Some(public_key) = &source.public_key else {
        return match source.signature {
            Some(_) => Err("its signature can't be checked without a `public_key`".to_owned()),
            None => Ok(()),
        };
    };
    let detached;
    let signature = match &source.signature {
        Some(signature) => signature,
        None => {
            detached = beside(path)?;
            &detached
        }
    };
    check_signature(public_key, signature, content).map_err(|error| match error {
        SignatureError::Wrong => "its signature is not that of this file and `public_key`".to_owned(),
        error => error.to_string(),
    })
}

/// Reads the signature beside a plugin.
fn beside(path: &Path) -> Result<String, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(SIGNATURE_SUFFIX);
    let path = PathBuf::from(name);
    let missing = |error: &dyn std::fmt::Display| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        format!("it must be signed, and its signature `{name}` can't be read: {error}")
    };
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > SIGNATURE_BYTES_MAX => Err(missing(&"it is too large")),
        Ok(_) => fs::read_to_string(&path).map_err(|error| missing(&error)),
        Err(error) => Err(missing(&error)),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::SecretKey;

    fn source(what: &str) -> PluginSource {
        PluginSource {
            what: what.to_owned(),
            ..PluginSource::default()
        }
    }

    fn why(source: &PluginSource, folders: &[PathBuf]) -> String {
        Artefact::read(source, folders).unwrap_err().to_string()
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
        let absolute = inside.join("libmy_auth.so");
        for what in ["libmy_auth.so", absolute.to_str().unwrap()] {
            let found = Artefact::read(&source(what), &allowed).unwrap();
            assert_eq!(
                (found.stem.as_str(), &found.content[..]),
                ("libmy_auth", &b"x"[..])
            );
        }
        assert!(why(&source(outside.join("x.so").to_str().unwrap()), &allowed).contains("outside"));
        assert!(why(&source("link.so"), &allowed).contains("outside"));
        assert!(why(&source("../out/x.so"), &allowed).contains(".."));
        assert!(why(&source("../out/x.so"), &[]).contains(".."));
        let lost = Artefact::read(&source("my-auth"), &allowed).unwrap_err();
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
        assert!(Artefact::read(&pinned, &folders).is_ok());
    }

    #[test]
    fn a_signature_is_held_to_what_was_read() {
        let place = tempfile::tempdir().unwrap();
        let folders = [place.path().to_owned()];
        fs::write(place.path().join("a.so"), "content").unwrap();
        let key = SecretKey::generate().unwrap();
        let mut signed = source("a.so");
        signed.public_key = Some(key.public());
        assert!(why(&signed, &folders).contains("`a.so.sig` can't be read"));
        fs::write(place.path().join("a.so.sig"), key.sign(b"content") + "\n").unwrap();
        assert_eq!(Artefact::read(&signed, &folders).unwrap().content, b"content");
        // What the configuration says is what holds.
        signed.signature = Some(key.sign(b"other"));
        assert!(why(&signed, &folders).contains("not that of this file"));
        signed.signature = Some(key.sign(b"content"));
        assert!(Artefact::read(&signed, &folders).is_ok());
        fs::write(place.path().join("a.so"), "Content").unwrap();
        assert!(why(&signed, &folders).contains("not that of this file"));
        signed.public_key = None;
        assert!(why(&signed, &folders).contains("without a `public_key`"));
    }
}
