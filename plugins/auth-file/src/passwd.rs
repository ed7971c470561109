//! Changing a password file as a text: what `jackfield passwd` does. Comments, order and everybody else's lines stay as
//! they are. Reading and writing the file is the caller's ([`crate::replace_file`]).

use crate::LineError;
use crate::stored::{Scheme, Stored};
use crate::users::{Users, entry};

/// Why a password file wasn't changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswdError {
    /// The file is wrong already.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The user can't stand in a file.
    #[error("user name `{user}`: {why}")]
    User {
        /// The user.
        user: String,
        /// Why not.
        why: &'static str,
    },
    /// The user isn't there.
    #[error("there is no user `{user}`")]
    Unknown {
        /// The user.
        user: String,
    },
    /// The system has no random numbers for a salt.
    #[error("no random numbers for a salt: {0}")]
    Random(String),
}

/// A user of a password file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswdEntry {
    /// The User Name.
    pub user: String,
    /// How the password is hashed.
    pub scheme: Scheme,
}

/// Returns `text` with `user` having `password`, hashed with argon2id: its line replaced, or a new one at the end. Costs
/// some 20 ms.
///
/// # Errors
/// The user name can't stand in a file, the text is no password file, or there is no salt to be had.
pub fn add(text: &str, user: &str, password: &[u8]) -> Result<String, PasswdError> {
    check_user(user)?;
    Users::parse(text)?;
    let hash = Stored::make(password).map_err(|error| PasswdError::Random(error.to_string()))?;
    let line = format!("{user}:{hash}\n");
    let mut replaced = false;
    let mut changed = rewrite(text, user, |out| {
        out.push_str(&line);
        replaced = true;
    });
    if !replaced {
        if !changed.is_empty() && !changed.ends_with('\n') {
            changed.push('\n');
        }
        changed.push_str(&line);
    }
    Ok(changed)
}

/// Returns `text` without `user`.
///
/// # Errors
/// The user isn't there, or the text is no password file.
pub fn remove(text: &str, user: &str) -> Result<String, PasswdError> {
    if !Users::parse(text)?.contains(user) {
        return Err(PasswdError::Unknown { user: user.into() });
    }
    Ok(rewrite(text, user, |_| {}))
}

/// Tells whether `user` has `password`. Costs what the hash costs.
///
/// # Errors
/// The user isn't there, or the text is no password file.
pub fn verify(text: &str, user: &str, password: &[u8]) -> Result<bool, PasswdError> {
    let users = Users::parse(text)?;
    if !users.contains(user) {
        return Err(PasswdError::Unknown { user: user.into() });
    }
    Ok(users.verify(user, password))
}

/// Returns all users, in the order of the file.
///
/// # Errors
/// The text is no password file.
pub fn list(text: &str) -> Result<Vec<PasswdEntry>, PasswdError> {
    Users::parse(text)?;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((user, hash)) = entry(number, line)? {
            let stored = Stored::parse(hash).map_err(|why| LineError { line: number, why })?;
            found.push(PasswdEntry {
                user: user.into(),
                scheme: stored.scheme(),
            });
        }
    }
    Ok(found)
}

/// Copies `text`, with what `instead` writes in place of the line of `user`.
fn rewrite(text: &str, user: &str, mut instead: impl FnMut(&mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match entry(number, line) {
            Ok(Some((name, _))) if name == user => instead(&mut out),
            _ => out.push_str(line),
        }
    }
    out
}

fn check_user(user: &str) -> Result<(), PasswdError> {
    let why = if user.is_empty() {
        "must not be empty"
    } else if user.len() > usize::from(u16::MAX) {
        "must not be longer than 65535 bytes"
    } else if user.trim() != user {
        "must not begin or end with a blank"
    } else if user.starts_with('#') {
        "must not begin with `#`"
    } else if user.contains(|c: char| c == ':' || c.is_control()) {
        "must not contain a colon or control characters"
    } else {
        return Ok(());
    };
    Err(PasswdError::User {
        user: user.into(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ann:$7$101$uEVoSZUZQfoE0aBq$r+MItx3SaykJh871N6Yr0RDqH8pulg2irhRtV4GTzPlMfj7tg0dI53NxyD8TJnMEzliL/noaeIsCh9AVvNhUHw==";

    #[test]
    fn a_user_is_added_changed_and_removed_and_the_rest_stays() {
        let text = format!("# people\n{ANN}");
        let two = add(&text, "bob", b"one").unwrap();
        assert!(
            two.starts_with(&format!("# people\n{ANN}\nbob:$argon2id$")),
            "{two}"
        );
        assert_eq!(verify(&two, "bob", b"one"), Ok(true));
        let changed = add(&two, "ann", b"new").unwrap();
        assert_eq!(verify(&changed, "ann", b"new"), Ok(true));
        assert_eq!(verify(&changed, "ann", b"secret"), Ok(false));
        let users = |text: &str| {
            list(text)
                .unwrap()
                .into_iter()
                .map(|e| e.user)
                .collect::<Vec<_>>()
        };
        assert_eq!(users(&changed), ["ann", "bob"]);
        let less = remove(&changed, "ann").unwrap();
        assert_eq!(users(&less), ["bob"]);
        assert!(less.starts_with("# people\n"));
        assert_eq!(
            remove(&less, "ann"),
            Err(PasswdError::Unknown { user: "ann".into() })
        );
    }

    #[test]
    fn schemes_are_listed() {
        let text = add(ANN, "bob", b"one").unwrap();
        let schemes: Vec<_> = list(&text)
            .unwrap()
            .iter()
            .map(|e| e.scheme.to_string())
            .collect();
        assert_eq!(schemes, ["pbkdf2-sha512", "argon2"]);
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        for user in ["", "#x", "a:b", " a", "a ", "a\nb", &"x".repeat(65_536)] {
            assert!(
                matches!(add("", user, b"x"), Err(PasswdError::User { .. })),
                "{user:?}"
            );
        }
        assert!(matches!(add("nonsense", "a", b"x"), Err(PasswdError::Line(_))));
    }
}
