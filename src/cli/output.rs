//! What commands print. A reader that went away (`jackfield … | head`) ends a command quietly.

use std::io::{self, Write};

use jackfield::config_file::Report;

use super::exit::{Exit, Failure, Outcome};

/// Writes a line to standard output.
pub(crate) fn line(text: impl std::fmt::Display) -> Outcome {
    check(writeln!(io::stdout().lock(), "{text}"))
}

/// Writes a text that has its line ends to standard output.
pub(crate) fn text(text: &[u8]) -> Outcome {
    check(io::stdout().lock().write_all(text))
}

/// Writes what is wrong with a configuration to standard error, and where to read more.
pub(crate) fn report(report: &Report) {
    eprintln!("{report}");
    if let Some(first) = report.iter().next() {
        eprintln!("More about it: jackfield explain {}", first.code);
    }
}

/// Turns what writing said into what the program says.
pub(crate) fn check(written: io::Result<()>) -> Outcome {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::new(Exit::Io, format!("standard output: {error}")),
    })
}
