//! How the program ends: every exit code, and the failure that carries one to `main`.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes of all commands. `pub` and `sub` also end with the Reason Code of a refused CONNECT, and `sub -W` with
/// [`TIMED_OUT`], as mosquitto's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command failed.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// An address can't be bound, or the peer isn't there.
    Unavailable = 69,
    /// A bug of ours.
    Internal = 70,
    /// Reading or writing failed.
    Io = 74,
    /// Not allowed.
    Permission = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

/// `sub -W`: the time is over.
pub(crate) const TIMED_OUT: u8 = 27;

/// Why a command didn't succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

/// What a command returns.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure with a message for people.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            code: exit as u8,
            message: message.into(),
            hint: None,
        }
    }

    /// A failure that was told already, or needs no words.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            code,
            message: String::new(),
            hint: None,
        }
    }

    /// A CONNECT that was refused; ends with its Reason Code.
    pub(crate) fn refused(reason_code: u8, message: impl Into<String>) -> Self {
        Self {
            code: reason_code.max(1),
            message: message.into(),
            hint: None,
        }
    }

    /// An I/O error on `what`, which may be a file or an address.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::AddrInUse
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut => Exit::Unavailable,
            _ => Exit::Io,
        };
        Self::new(exit, format!("{what}: {error}"))
    }

    /// The same with a line on what to do.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The same without a word.
    pub(crate) fn without_words(self) -> Self {
        Self::silent(self.code())
    }

    /// Returns the exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Writes it to standard error and gives its code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("jackfield: {}", self.message);
        }
        if let Some(hint) = &self.hint {
            eprintln!("  {hint}");
        }
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_have_the_code_of_their_kind() {
        for (kind, code) in [
            (io::ErrorKind::AddrInUse, 69),
            (io::ErrorKind::ConnectionRefused, 69),
            (io::ErrorKind::PermissionDenied, 77),
            (io::ErrorKind::NotFound, 74),
        ] {
            assert_eq!(Failure::io("x", &kind.into()).code(), code, "{kind}");
        }
    }

    #[test]
    fn a_refusal_is_never_success() {
        assert_eq!(Failure::refused(0, "").code(), 1);
        assert_eq!(Failure::refused(0x87, "").code(), 0x87);
    }
}
