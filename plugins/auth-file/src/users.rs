//! The users of a file: reading its text, finding one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::stored::Stored;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl From<LineError> for (Option<usize>, String) {
    fn from(error: LineError) -> Self {
        (Some(error.line), error.why)
    }
}

/// Everybody who may come in.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_name: HashMap<Box<str>, usize>,
    hashes: Vec<Stored>,
    /// Chooses whose hash stands in for that of an unknown user.
    decoys: RandomState,
}

impl Users {
    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, LineError> {
        let mut users = Self::default();
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let Some((user, hash)) = entry(number, line)? else {
                continue;
            };
            if let Some(&first) = users.by_name.get(user) {
                return Err(LineError {
                    line: number,
                    why: format!("user `{user}` is in line {} already", lines[first]),
                });
            }
            let stored = Stored::parse(hash).map_err(|why| LineError {
                line: number,
                why: format!("user `{user}`: {why}"),
            })?;
            users.by_name.insert(user.into(), users.hashes.len());
            users.hashes.push(stored);
            lines.push(number);
        }
        Ok(users)
    }

    pub(crate) fn contains(&self, user: &str) -> bool {
        self.by_name.contains_key(user)
    }

    /// Tells whether `user` is there and has this password. One that isn't there costs the time of one that is.
    pub(crate) fn verify(&self, user: &str, password: &[u8]) -> bool {
        let known = self.contains(user);
        self.hash_for(user)
            .is_some_and(|stored| stored.verify(password) & known)
    }

    /// Returns the hash of `user`, or for an unknown one somebody else's: always of the same, so that asking again tells
    /// nothing either, and spread over all, so that the mixture of schemes tells nothing. `None` only without any users.
    fn hash_for(&self, user: &str) -> Option<&Stored> {
        let index = self.by_name.get(user).copied().or_else(|| {
            let decoy = self.decoys.hash_one(user).checked_rem(self.hashes.len() as u64)?;
            usize::try_from(decoy).ok()
        })?;
        self.hashes.get(index)
    }
}

/// Takes a line apart; `None` for a comment and a blank line.
pub(crate) fn entry(number: usize, line: &str) -> Result<Option<(&str, &str)>, LineError> {
    let wrong = |why: &str| LineError {
        line: number,
        why: why.into(),
    };
    if line.starts_with('#') || line.trim().is_empty() {
        return Ok(None);
    }
    let (user, hash) = line
        .split_once(':')
        .ok_or_else(|| wrong("must be `USER:HASH`, a comment that begins with `#`, or blank"))?;
    let user = user.trim();
    if user.is_empty() {
        return Err(wrong("the user name is missing"));
    }
    if user.len() > usize::from(u16::MAX) {
        return Err(wrong("the user name is longer than 65535 bytes"));
    }
    Ok(Some((user, hash.trim())))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const ANN: &str = "$7$101$uEVoSZUZQfoE0aBq$r+MItx3SaykJh871N6Yr0RDqH8pulg2irhRtV4GTzPlMfj7tg0dI53NxyD8TJnMEzliL/noaeIsCh9AVvNhUHw==";

    #[test]
    fn both_kinds_of_lines_stand_in_one_file() {
        let own = Stored::make(b"other").unwrap();
        let text = format!("# people\n\n ann :{ANN}\r\nbob:{own}  \n   \n");
        let users = Users::parse(&text).unwrap();
        assert!(users.contains("ann") && users.contains("bob"));
        assert!(users.verify("ann", b"secret"));
        assert!(!users.verify("ann", b"other"));
        assert!(users.verify("bob", b"other"));
        assert!(!users.verify("carl", b"secret"));
        assert!(!users.verify("", b""));
    }

    #[test]
    fn an_empty_file_lets_nobody_in() {
        let users = Users::parse("").unwrap();
        assert!(!users.verify("ann", b"secret"));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line, why) in [
            ("# x\nann", 2, "USER:HASH"),
            (":$6$a$b", 1, "user name is missing"),
            ("ann:", 1, "user `ann`: the password hash must begin with"),
            ("ann:plain", 1, "must begin with"),
            (
                &format!("ann:{ANN}\n\nann:{ANN}"),
                3,
                "user `ann` is in line 1 already",
            ),
            (&format!("{}:{ANN}", "x".repeat(65_536)), 1, "longer than 65535"),
        ] {
            let error = Users::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.why.contains(why), "{error}");
        }
    }

    #[test]
    fn an_unknown_user_costs_a_hash_and_gets_in_with_nobodys_password() {
        let slow = ANN.replace("$101$", "$102$");
        let users = Users::parse(&format!("ann:{ANN}\nbob:{slow}")).unwrap();
        let mut chosen = [0; 2];
        for n in 0..100 {
            let name = format!("unknown{n}");
            let decoy = users.hash_for(&name).unwrap();
            assert!(std::ptr::eq(decoy, users.hash_for(&name).unwrap()), "{name}");
            assert!(!users.verify(&name, b"secret"), "{name}");
            chosen[usize::from(std::ptr::eq(decoy, users.hash_for("ann").unwrap()))] += 1;
        }
        assert!(chosen.iter().all(|&n| n > 10), "{chosen:?}");
    }

    #[test]
    fn a_hundred_thousand_users_load_quickly() {
        let text: String = (0..100_000).map(|n| format!("user{n}:{ANN}\n")).collect();
        let start = Instant::now();
        let users = Users::parse(&text).unwrap();
        assert!(users.verify("user99999", b"secret"));
        // Some 50 ms when optimised; the bound only catches what grows with the square.
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_the_parser_panic(text in r"([ -~\n\r\t:$#é]{0,40}\n){0,8}") {
            let _ = Users::parse(&text);
        }
    }
}
