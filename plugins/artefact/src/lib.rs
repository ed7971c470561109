//! Plugin files: from what the configuration names to bytes that may be loaded. Used by every loader of files; what the
//! bytes are (a shared library, a Wasm component) is the loader's affair.
//!
//! A loader calls [`Artefact::read`] and loads [`Artefact::content`], never the path again: what was hashed and whose signature was
//! checked is what is loaded.
#![forbid(unsafe_code)]

mod file;
mod signature;

pub use file::Artefact;
pub use signature::{SIGNATURE_SUFFIX, SecretKey, SignatureError, check_signature};
