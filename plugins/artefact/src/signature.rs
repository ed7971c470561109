//! Signatures of plugin files: Ed25519 over the file's bytes as they are. Keys and signatures are written as `ed25519:` and
//! base64, so that a later kind can be told from this one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// What a detached signature's file is called: the plugin's file name and this.
pub const SIGNATURE_SUFFIX: &str = ".sig";

const KIND: &str = "ed25519:";

/// Why a signature or key isn't accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A public or secret key is no key.
    #[error("the key must be `ed25519:` and the base64 of 32 bytes")]
    Key,
    /// A signature is no signature.
    #[error("the signature must be `ed25519:` and the base64 of 64 bytes")]
    Form,
    /// The signature belongs to other bytes or another key.
    #[error("the signature is not that of this file and key")]
    Wrong,
    /// The system has no random numbers to make a key of.
    #[error("the system has no random numbers")]
    NoRandom,
}

/// Checks that `signature` is that of `content` by the owner of `public_key`. Costs one pass over the content, and some 50 µs.
///
/// # Errors
/// It isn't, or one of the texts is malformed.
pub fn check_signature(public_key: &str, signature: &str, content: &[u8]) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(&decode(public_key).ok_or(SignatureError::Key)?)
        .map_err(|_| SignatureError::Key)?;
    let signature = Signature::from_bytes(&decode(signature).ok_or(SignatureError::Form)?);
    // Strict: no weak keys, one form for each signature.
    key.verify_strict(content, &signature)
        .map_err(|_| SignatureError::Wrong)
}

/// A key to sign plugins with. Not printed by `Debug`.
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SecretKey").field(&self.public()).finish()
    }
}

impl SecretKey {
    /// Makes a key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, SignatureError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| SignatureError::NoRandom)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key as [`Self::secret`] wrote it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let seed = decode(text).ok_or(SignatureError::Key)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Returns the key as text, for a file that only its owner may read.
    #[must_use]
    pub fn secret(&self) -> String {
        encode(self.0.as_bytes())
    }

    /// Returns the public key, for `public_key` in the configuration.
    #[must_use]
    pub fn public(&self) -> String {
        encode(self.0.verifying_key().as_bytes())
    }

    /// Signs a plugin's bytes; for `signature` in the configuration or the file beside the plugin.
    #[must_use]
    pub fn sign(&self, content: &[u8]) -> String {
        encode(&self.0.sign(content).to_bytes())
    }
}

fn encode(bytes: &[u8]) -> String {
    format!("{KIND}{}", BASE64.encode(bytes))
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = BASE64.decode(text.trim().strip_prefix(KIND)?).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_these_bytes_and_this_key() {
        let key = SecretKey::generate().unwrap();
        let signature = key.sign(b"content");
        assert_eq!(check_signature(&key.public(), &signature, b"content"), Ok(()));
        assert_eq!(
            check_signature(&key.public(), &signature, b"Content"),
            Err(SignatureError::Wrong)
        );
        let other = SecretKey::generate().unwrap();
        assert_eq!(
            check_signature(&other.public(), &signature, b"content"),
            Err(SignatureError::Wrong)
        );
        let again = SecretKey::parse(&key.secret()).unwrap();
        assert_eq!(again.sign(b"content"), signature);
        assert!(!format!("{key:?}").contains(&key.secret()));
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_standards_vector_is_accepted() {
        let public = [
            0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
            0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c,
        ];
        let signature = [
            0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40,
            0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda,
            0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c,
            0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00,
        ];
        assert_eq!(
            check_signature(&encode(&public), &encode(&signature), b"r"),
            Ok(())
        );
    }

    #[test]
    fn malformed_texts_are_told_apart() {
        let key = SecretKey::generate().unwrap();
        for public in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!!"] {
            assert_eq!(
                check_signature(public, &key.sign(b""), b""),
                Err(SignatureError::Key),
                "{public}"
            );
        }
        for signature in ["", &key.public(), "ed25519:AA"] {
            assert_eq!(
                check_signature(&key.public(), signature, b""),
                Err(SignatureError::Form)
            );
        }
    }
}
