//! What the checks of the meaning share: where to report, and the rules for names.

use super::code::Code;
use super::diagnostic::{Diagnostic, Place, Report, Severity};
use super::origins::Origins;
use super::tree::Path;

/// Collects what is found.
pub(super) struct Checks<'a> {
    pub(super) origins: &'a Origins,
    /// The environment, for what the file says to look for there.
    pub(super) variables: &'a [(String, String)],
    pub(super) report: Report,
}

impl Checks<'_> {
    /// Reports the value at `path`.
    pub(super) fn error(&mut self, code: Code, message: String, path: &Path) {
        self.error_with(code, message, path, None);
    }

    /// Reports the value at `path` and says what to do.
    pub(super) fn error_with(&mut self, code: Code, message: String, path: &Path, help: Option<String>) {
        let place = self.origins.place(path);
        self.push(Severity::Error, code, message, place, help);
    }

    /// Reports the key at the end of `path`.
    pub(super) fn key_error(&mut self, code: Code, message: String, path: &Path, help: Option<String>) {
        let place = self.origins.key_place(path);
        self.push(Severity::Error, code, message, place, help);
    }

    /// Has a doubt about the key at the end of `path`.
    pub(super) fn warn(&mut self, code: Code, message: String, path: &Path, help: Option<String>) {
        let place = self.origins.key_place(path);
        self.push(Severity::Warning, code, message, place, help);
    }

    /// Has a doubt about the value at `path`.
    pub(super) fn warn_value(&mut self, code: Code, message: String, path: &Path, help: Option<String>) {
        let place = self.origins.place(path);
        self.push(Severity::Warning, code, message, place, help);
    }

    fn push(
        &mut self,
        severity: Severity,
        code: Code,
        message: String,
        place: Option<Place>,
        help: Option<String>,
    ) {
        self.report.push(Diagnostic {
            severity,
            code,
            message,
            place,
            label: String::new(),
            help,
        });
    }

    /// Checks the name of an instance, chain or listener, which is the last key of `path`.
    pub(super) fn name(&mut self, path: &Path, name: &str) {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        // `__` parts the names in an environment variable.
        if name.is_empty() || !name.bytes().all(good) || name.contains("__") {
            let help = "use small letters, digits and single `_`, so that environment variables can name it";
            let message = format!("`{name}` can't be a name");
            self.key_error(Code::BadName, message, path, Some(help.to_owned()));
        }
    }
}
