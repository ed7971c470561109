//! Private copies of libraries: the system's loader opens files, not bytes, so what was checked is written where nobody else can
//! change it. The name tells which one it is, for debuggers and profilers.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use plugin_artefact::Artefact;

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
    pub(crate) fn write(&self, library: &Artefact) -> io::Result<PathBuf> {
        let path = self
            .0
            .join(format!("{}-{}.so", library.stem, &library.digest[..16]));
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
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_is_private_and_goes_with_its_folder() {
        let copies = Copies::new().unwrap();
        let library = Artefact {
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
