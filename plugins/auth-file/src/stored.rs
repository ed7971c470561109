//! One stored password: reading its text, and verifying a password against it. Says yes or no, and never why not.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

/// The most memory that one argon2 hash may need, in KiB.
const ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1024;
/// The most memory, times passes over it, in KiB: some four seconds.
const ARGON2_TRAFFIC_KIB_MAX: u64 = 4 * 1024 * 1024;
/// The most rounds of PBKDF2: some four seconds.
const PBKDF2_ROUNDS_MAX: u32 = 5_000_000;
/// Bytes of a SHA-512 hash.
const SHA512_LENGTH: usize = 64;
/// Bytes of the salt of a new hash.
const SALT_LENGTH: usize = 16;

type Sha512Hash = Box<[u8; SHA512_LENGTH]>;

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// argon2id, argon2i or argon2d.
    Argon2,
    /// PBKDF2 with SHA-512: `$7$` of mosquitto.
    Pbkdf2,
    /// One round of SHA-512: `$6$` of mosquitto.
    Sha512,
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Argon2 => "argon2",
            Self::Pbkdf2 => "pbkdf2-sha512",
            Self::Sha512 => "sha512",
        })
    }
}

/// A hash from the file, taken apart.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Box<Params>,
        salt: Box<[u8]>,
        hash: Box<[u8]>,
    },
    Pbkdf2 {
        rounds: u32,
        salt: Box<[u8]>,
        hash: Sha512Hash,
    },
    Sha512 {
        salt: Box<[u8]>,
        hash: Sha512Hash,
    },
}

impl Stored {
    /// Reads a PHC string of argon2, or a hash of `mosquitto_passwd`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("$7$") {
            let (rounds, rest) = rest
                .split_once('$')
                .ok_or("`$7$` must be `$7$ROUNDS$SALT$HASH`")?;
            let rounds = rounds
                .parse()
                .ok()
                .filter(|rounds| (1..=PBKDF2_ROUNDS_MAX).contains(rounds))
                .ok_or_else(|| format!("`{rounds}` rounds: must be 1 to {PBKDF2_ROUNDS_MAX}"))?;
            let (salt, hash) = salt_and_hash(rest)?;
            return Ok(Self::Pbkdf2 { rounds, salt, hash });
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            let (salt, hash) = salt_and_hash(rest)?;
            return Ok(Self::Sha512 { salt, hash });
        }
        if text.starts_with("$argon2") {
            return parse_argon2(text);
        }
        Err("the password hash must begin with `$argon2id$`, `$7$` or `$6$`".into())
    }

    /// Hashes a new password with argon2id at its recommended cost, and returns the text for the file.
    ///
    /// # Errors
    /// The system has no random numbers to give.
    pub(crate) fn make(password: &[u8]) -> Result<String, getrandom::Error> {
        let mut salt = [0; SALT_LENGTH];
        getrandom::fill(&mut salt)?;
        let hash = Argon2::default()
            .hash_password_with_salt(password, &salt)
            .expect("the default cost and a salt of 16 bytes are valid, and a password has less than 4 GiB");
        Ok(hash.to_string())
    }

    /// Tells whether `password` is the one that was hashed. Costs what the hash costs: up to seconds, by design.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2 {
                algorithm,
                version,
                params,
                salt,
                hash,
            } => {
                let mut found = vec![0; hash.len()];
                Argon2::new(*algorithm, *version, Params::clone(params))
                    .hash_password_into(password, salt, &mut found)
                    .is_ok_and(|()| found.ct_eq(hash).into())
            }
            Self::Pbkdf2 { rounds, salt, hash } => {
                let found: [u8; SHA512_LENGTH] = pbkdf2_hmac_array::<Sha512, _>(password, salt, *rounds);
                found.ct_eq(&hash[..]).into()
            }
            Self::Sha512 { salt, hash } => {
                let found = Sha512::new().chain_update(password).chain_update(salt).finalize();
                found.ct_eq(&hash[..]).into()
            }
        }
    }

    pub(crate) const fn scheme(&self) -> Scheme {
        match self {
            Self::Argon2 { .. } => Scheme::Argon2,
            Self::Pbkdf2 { .. } => Scheme::Pbkdf2,
            Self::Sha512 { .. } => Scheme::Sha512,
        }
    }
}

fn parse_argon2(text: &str) -> Result<Stored, String> {
    let phc = PasswordHash::new(text).map_err(|error| format!("not a PHC string: {error}"))?;
    let algorithm = Algorithm::try_from(phc.algorithm.as_str())
        .map_err(|_| format!("`{}` is no variant of argon2", phc.algorithm.as_str()))?;
    let version = match phc.version {
        Some(version) => {
            Version::try_from(version).map_err(|_| format!("argon2 has no version {version}"))?
        }
        None => Version::V0x10,
    };
    let params = Params::try_from(&phc).map_err(|error| format!("wrong argon2 parameters: {error}"))?;
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return Err("argon2 hashes with a key or associated data can't be verified".into());
    }
    let memory = params.m_cost();
    let traffic = u64::from(memory) * u64::from(params.t_cost());
    if memory > ARGON2_MEMORY_KIB_MAX || traffic > ARGON2_TRAFFIC_KIB_MAX {
        return Err(format!(
            "argon2 with m={memory},t={} costs too much: m may be {ARGON2_MEMORY_KIB_MAX}, m times t {ARGON2_TRAFFIC_KIB_MAX}",
            params.t_cost()
        ));
    }
    let (Some(salt), Some(hash)) = (phc.salt, phc.hash) else {
        return Err("an argon2 string needs a salt and a hash".into());
    };
    Ok(Stored::Argon2 {
        algorithm,
        version,
        params: Box::new(params),
        salt: salt.as_ref().into(),
        hash: hash.as_bytes().into(),
    })
}

/// Takes `SALT$HASH` apart, both in base64 with padding.
fn salt_and_hash(text: &str) -> Result<(Box<[u8]>, Sha512Hash), String> {
    let (salt, hash) = text.split_once('$').ok_or("the salt or the hash is missing")?;
    let salt = STANDARD
        .decode(salt)
        .ok()
        .filter(|salt| !salt.is_empty())
        .ok_or("the salt is no base64")?;
    let hash = STANDARD.decode(hash).map_err(|_| "the hash is no base64")?;
    let length = hash.len();
    let hash = Box::try_from(hash.into_boxed_slice())
        .map_err(|_| format!("the hash has {length} bytes, must have {SHA512_LENGTH}"))?;
    Ok((salt.into(), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by mosquitto_passwd 2.0.11.
    const PBKDF2: &str = "$7$101$uEVoSZUZQfoE0aBq$r+MItx3SaykJh871N6Yr0RDqH8pulg2irhRtV4GTzPlMfj7tg0dI53NxyD8TJnMEzliL/noaeIsCh9AVvNhUHw==";
    const SHA512: &str = "$6$v4Sy6MeyGvsnvXhH$6hPfwIpPRr9qMNt0E6N3Gviy1Npr7LrVy4CdBkCg1zQUML2oOJC+LKogXNv2GZdA7yKTpo4u56cAj9u8bgUqiw==";
    // The example of the argon2 command line tool: password `password`, salt `somesalt`.
    const ARGON2: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    fn verifies(hash: &str, password: &str) -> bool {
        Stored::parse(hash).unwrap().verify(password.as_bytes())
    }

    #[test]
    fn hashes_of_other_tools_verify() {
        for (hash, password) in [(PBKDF2, "secret"), (SHA512, "pass word"), (ARGON2, "password")] {
            assert!(verifies(hash, password), "{hash}");
            assert!(!verifies(hash, "Secret"), "{hash}");
            assert!(!verifies(hash, ""), "{hash}");
        }
    }

    #[test]
    fn a_new_hash_verifies_and_is_salted() {
        let one = Stored::make(b"secret").unwrap();
        let two = Stored::make(b"secret").unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(verifies(&one, "secret"));
        assert!(!verifies(&one, "secreT"));
    }

    #[test]
    fn what_is_no_hash_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "must begin with"),
            ("secret", "must begin with"),
            ("$5$a$b", "must begin with"),
            ("$7$101", "ROUNDS"),
            ("$7$0$YQ==$YQ==", "must be 1 to"),
            ("$7$5000001$YQ==$YQ==", "must be 1 to"),
            ("$7$-1$YQ==$YQ==", "must be 1 to"),
            ("$7$101$YQ==", "missing"),
            ("$7$101$$YQ==", "salt"),
            ("$6$YQ==$%%", "the hash is no base64"),
            ("$6$YQ==$YQ==", "has 1 bytes"),
            ("$argon2id$", "PHC"),
            (
                "$argon2x$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "variant",
            ),
            (
                "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ",
                "needs a salt and a hash",
            ),
            (
                "$argon2id$v=19$m=4000000,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "too much",
            ),
            (
                "$argon2id$v=19$m=65536,t=4000000,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
                "too much",
            ),
        ] {
            let error = Stored::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in r"(\$(7|6|argon2id|v=19)?\$?[ -~]{0,12}){0,8}") {
            let _ = Stored::parse(&text);
        }
    }
}
