//! Standard output. A reader that went away (`jackfield … | head`) ends a command quietly.

use std::io::{self, Write};

use super::exit::{Exit, Failure, Outcome};

/// Writes a line.
pub(crate) fn line(text: impl std::fmt::Display) -> Outcome {
    check(writeln!(io::stdout().lock(), "{text}"))
}

/// Turns what writing said into what the program says.
pub(crate) fn check(written: io::Result<()>) -> Outcome {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::new(Exit::Io, format!("standard output: {error}")),
    })
}
