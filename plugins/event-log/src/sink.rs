//! Where lines go: a file that may be moved away, or a stream of the process. All of it blocks.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use plugin_basis::Stamp;

/// An open place for lines.
#[derive(Debug)]
pub(crate) struct Sink {
    target: Target,
    /// The last write failed and may have left half a line.
    torn: bool,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Opens what the option `path` names.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let target = match path {
            "-" => Target::Stdout,
            "stderr" => Target::Stderr,
            path => Target::File {
                path: path.into(),
                file: append_to(Path::new(path))?,
            },
        };
        Ok(Self { target, torn: false })
    }

    /// Writes whole lines.
    pub(crate) fn write(&mut self, lines: &str) -> io::Result<()> {
        let broken = std::mem::replace(&mut self.torn, true);
        let mut out: Box<dyn Write + '_> = match &mut self.target {
            Target::Stdout => Box::new(io::stdout().lock()),
            Target::Stderr => Box::new(io::stderr().lock()),
            Target::File { file, .. } => Box::new(file),
        };
        if broken {
            out.write_all(b"\n")?;
        }
        out.write_all(lines.as_bytes())?;
        out.flush()?;
        drop(out);
        self.torn = false;
        Ok(())
    }

    /// Opens the file anew if another one, or none, has its name now. Returns whether it did.
    pub(crate) fn reopen_if_moved(&mut self) -> io::Result<bool> {
        let Target::File { path, file } = &mut self.target else {
            return Ok(false);
        };
        let ours = Stamp::from(&file.metadata()?);
        if Stamp::of(path).is_some_and(|now| now.is_same_file(&ours)) {
            return Ok(false);
        }
        *file = append_to(path)?;
        self.torn = false;
        Ok(true)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_name_not_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let old = folder.path().join("log.1");
        std::fs::write(&path, "before\n").unwrap();
        let mut sink = Sink::open(path.to_str().unwrap()).unwrap();
        sink.write("one\n").unwrap();
        assert!(!sink.reopen_if_moved().unwrap());
        std::fs::rename(&path, &old).unwrap();
        sink.write("two\n").unwrap();
        assert!(sink.reopen_if_moved().unwrap());
        assert!(!sink.reopen_if_moved().unwrap());
        sink.write("three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\none\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_file(&path).unwrap();
        assert!(sink.reopen_if_moved().unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_file_cut_short_is_written_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = Sink::open(path.to_str().unwrap()).unwrap();
        sink.write("one\n").unwrap();
        std::fs::write(&path, "").unwrap();
        sink.write("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_failed_write_spoils_one_line_only() {
        if !Path::new("/dev/full").exists() {
            println!("no /dev/full here: nothing tested");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sink = Sink::open("/dev/full").unwrap();
        assert!(sink.write("lost\n").is_err());
        sink.target = Target::File {
            file: append_to(&path).unwrap(),
            path: path.clone(),
        };
        sink.write("one\n").unwrap();
        sink.write("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\none\ntwo\n");
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no/log");
        assert!(Sink::open(path.to_str().unwrap()).is_err());
    }
}
