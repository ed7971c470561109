//! `jackfield passwd`: password files of the `auth-file` plugin. A password is asked for on the terminal, or read from
//! standard input; it never stands on the command line, where everybody on the machine can read it.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use plugin_auth_file::{self as auth_file, PasswdError};

use super::exit::{Exit, Failure, Outcome};
use super::output;

/// `jackfield passwd`.
#[derive(Debug, Subcommand)]
pub(crate) enum Passwd {
    /// Add a user or give one another password; makes the file if it isn't there
    Add(User),
    /// Remove a user
    Rm(User),
    /// Check a user's password; exit code 1 if it is wrong
    Verify(User),
    /// List the users and how their passwords are hashed
    List {
        /// The password file
        file: PathBuf,
    },
}

/// A user of a file.
#[derive(Debug, Args)]
pub(crate) struct User {
    /// The password file: lines USER:HASH, as Jackfield and mosquitto_passwd write them
    file: PathBuf,
    /// The User Name
    user: String,
}

impl Passwd {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Add(at) => {
                let text = match fs::read_to_string(&at.file) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                    read => read.map_err(|error| Failure::io(at.file.display(), &error))?,
                };
                let password = ask_twice()?;
                at.write(auth_file::add(&text, &at.user, password.as_bytes()))
            }
            Self::Rm(at) => at.write(auth_file::remove(&read(&at.file)?, &at.user)),
            Self::Verify(at) => {
                let text = read(&at.file)?;
                let password = ask("Password: ")?;
                let right = auth_file::verify(&text, &at.user, password.as_bytes());
                match right.map_err(|error| at.failure(&error))? {
                    true => Ok(()),
                    false => Err(Failure::new(Exit::Failed, "wrong password")),
                }
            }
            Self::List { file } => {
                let entries = auth_file::list(&read(&file)?);
                for entry in entries.map_err(|error| failure(&file, &error))? {
                    output::line(format_args!("{}\t{}", entry.user, entry.scheme))?;
                }
                Ok(())
            }
        }
    }
}

impl User {
    fn write(&self, changed: Result<String, PasswdError>) -> Outcome {
        let text = changed.map_err(|error| self.failure(&error))?;
        auth_file::replace_file(&self.file, text.as_bytes())
            .map_err(|error| Failure::io(self.file.display(), &error))
    }

    fn failure(&self, error: &PasswdError) -> Failure {
        failure(&self.file, error)
    }
}

fn failure(file: &Path, error: &PasswdError) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::io("password", &error);
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map_err(failed);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask_twice() -> Result<String, Failure> {
    let password = ask("Password: ")?;
    if password.is_empty() {
        return Err(Failure::new(Exit::Failed, "an empty password is not taken"));
    }
    if io::stdin().is_terminal() && ask("Again: ")? != password {
        return Err(Failure::new(Exit::Failed, "the two are not the same"));
    }
    Ok(password)
}
