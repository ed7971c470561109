//! `jackfield plugin keygen`, `sign` and `verify`: Ed25519 over a plugin's file. The secret key is a file that only its
//! owner may read; it is never printed.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use plugin_artefact::{SIGNATURE_SUFFIX, SecretKey, SignatureError, check_signature};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;

/// `jackfield plugin keygen`.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Where the secret key goes; must not be there yet
    file: PathBuf,
}

/// `jackfield plugin sign`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The plugin; its signature is written beside it, as FILE.sig
    file: PathBuf,
    /// The secret key, as `jackfield plugin keygen` wrote it
    #[arg(short, long, value_name = "FILE")]
    key: PathBuf,
}

/// `jackfield plugin verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The plugin
    file: PathBuf,
    /// The public key of whoever must have signed it
    #[arg(short, long, value_name = "KEY")]
    public_key: String,
    /// The signature [default: that in FILE.sig]
    #[arg(short, long)]
    signature: Option<String>,
}

impl Keygen {
    pub(crate) fn run(self) -> Outcome {
        let key = SecretKey::generate().map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options
            .open(&self.file)
            .and_then(|mut file| writeln!(file, "{}", key.secret()));
        written.map_err(|error| Failure::io(self.file.display(), &error))?;
        output::line(format_args!(
            "wrote {}; keep it secret, and keep a copy",
            self.file.display()
        ))?;
        output::line(format_args!("public_key = \"{}\"", key.public()))
    }
}

impl Sign {
    pub(crate) fn run(self) -> Outcome {
        let content = read(&self.file)?;
        let text = fs::read_to_string(&self.key).map_err(|error| Failure::io(self.key.display(), &error))?;
        let mode = fs::metadata(&self.key).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            let shown = self.key.display();
            return Err(Failure::new(
                Exit::Permission,
                format!("{shown}: others may read this secret key"),
            )
            .hint(format!("chmod 600 {shown}")));
        }
        let key = SecretKey::parse(&text)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", self.key.display())))?;
        let signature = key.sign(&content);
        let beside = beside(&self.file);
        fs::write(&beside, format!("{signature}\n"))
            .map_err(|error| Failure::io(beside.display(), &error))?;
        output::line(format_args!("wrote {}", beside.display()))?;
        output::line(format_args!("public_key = \"{}\"", key.public()))
    }
}

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        let content = read(&self.file)?;
        let signature = match self.signature {
            Some(signature) => signature,
            None => {
                let beside = beside(&self.file);
                fs::read_to_string(&beside).map_err(|error| Failure::io(beside.display(), &error))?
            }
        };
        match check_signature(&self.public_key, &signature, &content) {
            Ok(()) => output::line(format_args!("{}: the signature is good", self.file.display())),
            Err(error @ (SignatureError::Key | SignatureError::Form)) => {
                Err(Failure::new(Exit::Usage, error.to_string()))
            }
            Err(error) => Err(Failure::new(
                Exit::Failed,
                format!("{}: {error}", self.file.display()),
            )),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::io(file.display(), &error))
}

fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(SIGNATURE_SUFFIX);
    name.into()
}
