//! Compiled code that is kept from one start to the next, because compiling takes long and loading doesn't.
//!
//! Machine code that is loaded runs with the rights of the broker, so only what this installation wrote itself is: entries
//! lie in a folder that only this user can enter, and bear a keyed digest over their name and content, whose key lies there too.
//! An entry is named after the digest of the component and the engine that compiled it, so a changed file, other
//! settings, another version of the engine or another kind of processor find nothing. Whatever is wrong with an entry: it is
//! compiled again and overwritten, never loaded.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Entries that are kept; the oldest goes first.
const ENTRIES_MAX: usize = 256;
/// The largest entry that is looked at.
const ENTRY_BYTES_MAX: u64 = 512 << 20;
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const SUFFIX: &str = "cwasm";
/// Permission bits of group and others.
const NOT_OWNER: u32 = 0o077;

/// A folder of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
    /// What tells engines apart.
    engine: String,
}

impl Cache {
    /// Opens the folder, and makes it if it isn't there.
    ///
    /// # Errors
    /// It is no folder that only this user can enter, or the disk doesn't play along.
    pub(crate) fn open(folder: &Path, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        guard(folder, fs::symlink_metadata(folder)?.is_dir(), "no folder")?;
        let path = folder.join(KEY_FILE);
        let key = match read_key(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(&path)?,
            key => key?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            key,
            engine: name_of(engine),
        })
    }

    /// Returns the compiled component whose bytes have this digest, if there is one that can be trusted.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let entry = read_guarded(&path, ENTRY_BYTES_MAX).ok()?;
        let (mac, code) = entry.split_at_checked(MAC_BYTES)?;
        if self.mac(digest, code).verify_slice(mac).is_err() {
            tracing::warn!(entry = %path.display(), "compiled code was changed; it is compiled again");
            return None;
        }
        deserialize(engine, code)
            .inspect_err(|error| tracing::debug!(%error, "compiled code of another engine"))
            .ok()
    }

    /// Keeps a compiled component. One that can't be kept is compiled again next time.
    pub(crate) fn store(&self, digest: &str, component: &Component) {
        let path = self.path(digest);
        let kept = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| {
                self.write(&path, digest, &code)
                    .map_err(|error| error.to_string())
            });
        if let Err(error) = kept {
            tracing::warn!(entry = %path.display(), %error, "compiled code can't be kept");
        }
    }

    fn write(&self, path: &Path, digest: &str, code: &[u8]) -> io::Result<()> {
        self.make_room()?;
        let mac = self.mac(digest, code).finalize().into_bytes();
        // Readers see the old entry or the new one. Two writers have the same content.
        let (half, mut file) = half_of(path)?;
        file.write_all(&mac)?;
        file.write_all(code)?;
        fs::rename(&half, path)
    }

    /// Removes the oldest entries, so that one more has room.
    fn make_room(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|suffix| suffix == SUFFIX) {
                entries.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        entries.sort_unstable();
        let surplus = (entries.len() + 1).saturating_sub(ENTRIES_MAX);
        entries
            .iter()
            .take(surplus)
            .try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.{SUFFIX}", self.engine))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(digest.as_bytes());
        mac.update(self.engine.as_bytes());
        mac.update(code);
        mac
    }
}

/// Loads machine code.
#[expect(
    unsafe_code,
    reason = "machine code runs with our rights, however it is loaded"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code bears a digest under a key that only this user can read, so it is what `serialize` gave to a process
    // of this user, unchanged. The engine itself compares version, settings and processor.
    unsafe { Component::deserialize(engine, code) }
}

/// Returns a name that engines share if one can run what the other compiled.
fn name_of(engine: &Engine) -> String {
    struct Digesting(Sha256);
    impl Hasher for Digesting {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            let digest = self.0.clone().finalize();
            digest
                .iter()
                .take(8)
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        }
    }
    let mut digesting = Digesting(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut digesting);
    format!("{:016x}", digesting.finish())
}

/// Checks that something is what it should be, is this user's, and that nobody else can touch it.
fn guard(path: &Path, is_right: bool, what: &str) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let refused = |why: &str| Err(io::Error::other(format!("{} {why}", path.display())));
    if !is_right {
        return refused(&format!("is {what}"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to somebody else");
    }
    if metadata.mode() & NOT_OWNER != 0 {
        return refused("can be entered by others (chmod go-rwx)");
    }
    Ok(())
}

/// Reads a file of this user that nobody else can touch.
fn read_guarded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::symlink_metadata(path)?;
    guard(
        path,
        metadata.is_file() && metadata.len() <= bytes_max,
        "no file, or too large",
    )?;
    fs::read(path)
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let key = read_guarded(path, KEY_BYTES as u64)?;
    key.try_into()
        .map_err(|_| io::Error::other(format!("{} is no key; remove it", path.display())))
}

/// Opens a file of this process's own beside `path`, which nobody else may read, to be put in its place when it is whole.
fn half_of(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let half = path.with_extension(format!("{}.half", std::process::id()));
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&half)?;
    Ok((half, file))
}

/// Makes the key. Of two processes that begin at once, one makes it and the other reads it.
fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let (half, mut file) = half_of(path)?;
    file.write_all(&key)?;
    let linked = fs::hard_link(&half, path);
    fs::remove_file(&half)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use wasmtime::Config;

    use super::*;

    /// A component that has nothing.
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const DIGEST: &str = "d1";

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with one entry.
    fn filled() -> (tempfile::TempDir, Engine, Cache) {
        let parent = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(&parent.path().join("cache"), &engine).unwrap();
        let component = Component::from_binary(&engine, COMPONENT).unwrap();
        assert!(cache.load(&engine, DIGEST).is_none());
        cache.store(DIGEST, &component);
        assert!(cache.load(&engine, DIGEST).is_some());
        (parent, engine, cache)
    }

    #[test]
    fn a_second_start_finds_what_the_first_one_kept() {
        let (_parent, engine, cache) = filled();
        let again = Cache::open(&cache.folder, &engine).unwrap();
        assert!(again.load(&engine, DIGEST).is_some());
        assert!(again.load(&engine, "d2").is_none());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let (_parent, engine, cache) = filled();
        let path = cache.path(DIGEST);
        let whole = fs::read(&path).unwrap();
        for at in [0, MAC_BYTES - 1, MAC_BYTES, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(cache.load(&engine, DIGEST).is_none(), "byte {at}");
        }
        fs::write(&path, &whole[..MAC_BYTES / 2]).unwrap();
        assert!(cache.load(&engine, DIGEST).is_none());
        fs::write(&path, &whole).unwrap();
        assert!(cache.load(&engine, DIGEST).is_some());
    }

    #[test]
    fn an_entry_under_another_name_is_not_loaded() {
        let (_parent, engine, cache) = filled();
        fs::copy(cache.path(DIGEST), cache.path("d2")).unwrap();
        assert!(cache.load(&engine, "d2").is_none());
    }

    #[test]
    fn another_engine_finds_nothing_even_if_it_looks_at_the_same_entry() {
        let (_parent, engine, cache) = filled();
        let mut config = Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        let elsewhere = Cache::open(&cache.folder, &other).unwrap();
        assert_ne!(cache.path(DIGEST), elsewhere.path(DIGEST));
        assert!(elsewhere.load(&other, DIGEST).is_none());
        assert!(
            cache.load(&other, DIGEST).is_none(),
            "the engine compares for itself"
        );
        assert!(cache.load(&engine, DIGEST).is_some());
    }

    #[test]
    fn what_others_can_touch_is_not_trusted() {
        let (_parent, engine, cache) = filled();
        mode(&cache.path(DIGEST), 0o620);
        assert!(cache.load(&engine, DIGEST).is_none());
        mode(&cache.path(DIGEST), 0o600);
        mode(&cache.folder, 0o750);
        assert!(Cache::open(&cache.folder, &engine).is_err());
        mode(&cache.folder, 0o700);
        mode(&cache.folder.join(KEY_FILE), 0o640);
        assert!(Cache::open(&cache.folder, &engine).is_err());
    }

    #[test]
    fn a_link_to_another_folder_is_no_cache() {
        let (parent, engine, cache) = filled();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&cache.folder, &link).unwrap();
        assert!(Cache::open(&link, &engine).is_err());
    }

    #[test]
    fn an_entry_of_another_key_is_not_loaded() {
        let (_parent, engine, cache) = filled();
        fs::remove_file(cache.folder.join(KEY_FILE)).unwrap();
        let again = Cache::open(&cache.folder, &engine).unwrap();
        assert!(again.load(&engine, DIGEST).is_none());
    }

    #[test]
    fn entries_are_bounded() {
        let (_parent, engine, cache) = filled();
        let component = Component::from_binary(&engine, COMPONENT).unwrap();
        for number in 0..ENTRIES_MAX + 3 {
            cache.store(&format!("n{number}"), &component);
        }
        let entries = fs::read_dir(&cache.folder).unwrap();
        let is_entry = |path: &Path| path.extension().is_some_and(|suffix| suffix == SUFFIX);
        let count = entries
            .filter(|entry| is_entry(&entry.as_ref().unwrap().path()))
            .count();
        assert_eq!(count, ENTRIES_MAX);
    }
}
