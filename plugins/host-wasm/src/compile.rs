//! From the bytes of a file to machine code: what isn't a component yet becomes one, and compiling has a bound in size and in time.

use std::borrow::Cow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The largest file. JavaScript and Python bring 12 to 18 MB.
const FILE_BYTES_MAX: usize = 32 << 20;
/// How long compiling may take. JavaScript and Python take 10 to 13 s of CPU time.
const TIME_MAX: Duration = Duration::from_secs(120);
/// How each Wasm file begins.
const MAGIC: &[u8] = b"\0asm";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Module,
    Component,
}

impl Kind {
    fn of(content: &[u8]) -> Result<Self, String> {
        if content.len() > FILE_BYTES_MAX {
            return Err(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20));
        }
        match content.strip_prefix(MAGIC) {
            Some([1, 0, 0, 0, ..]) => Ok(Self::Module),
            Some([_, 0, 1, 0, ..]) => Ok(Self::Component),
            Some(_) => Err("it is Wasm of a version that this broker doesn't know".to_owned()),
            None => Err("it is no Wasm file".to_owned()),
        }
    }
}

/// Returns the component in `content`; a core module is made into one if it says what it imports and exports.
///
/// # Errors
/// It is neither, or the module doesn't fit what it says.
pub(crate) fn component(content: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    match Kind::of(content)? {
        Kind::Component => Ok(Cow::Borrowed(content)),
        Kind::Module => {
            let encoder = wit_component::ComponentEncoder::default()
                .validate(true)
                .module(content);
            let encoded = encoder.and_then(|mut encoder| encoder.encode());
            encoded.map(Cow::Owned).map_err(|error| {
                let why = format!("{error:#}");
                if why.contains("wasi_snapshot_preview1") {
                    "it is a module for WASI preview 1; build it for wasm32-unknown-unknown or wasm32-wasip2"
                        .to_owned()
                } else {
                    format!("it is a module that can't be made a component: {why}")
                }
            })
        }
    }
}

/// Compiles on a thread of its own. One that takes too long can't be stopped, but nobody waits for it.
///
/// # Errors
/// It is no valid component, or takes too long.
pub(crate) async fn compile(engine: Engine, component: Vec<u8>) -> Result<Component, String> {
    let (tell, told) = oneshot::channel();
    let (done, result) = mpsc::channel();
    let compiling = move || {
        let compiled = Component::from_binary(&engine, &component);
        // Whoever waited may have given up.
        let _ = done.send(compiled.map_err(|error| format!("{error:#}")));
    };
    let watching = move || {
        let compiled = std::thread::Builder::new()
            .name("wasm-compile".to_owned())
            .spawn(compiling)
            .map_err(|error| error.to_string())
            .and_then(|_| match result.recv_timeout(TIME_MAX) {
                Ok(compiled) => compiled,
                Err(RecvTimeoutError::Timeout) => {
                    Err(format!("compiling it takes more than {} s", TIME_MAX.as_secs()))
                }
                Err(RecvTimeoutError::Disconnected) => Err("compiling it failed".to_owned()),
            });
        let _ = tell.send(compiled);
    };
    std::thread::Builder::new()
        .name("wasm-compile-watch".to_owned())
        .spawn(watching)
        .map_err(|error| error.to_string())?;
    told.await
        .unwrap_or_else(|_| Err("compiling it failed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_first_bytes() {
        assert_eq!(Kind::of(b"\0asm\x01\0\0\0"), Ok(Kind::Module));
        assert_eq!(Kind::of(b"\0asm\x0d\0\x01\0"), Ok(Kind::Component));
        assert!(Kind::of(b"\0asm\x02\0\0\0").is_err());
        assert!(Kind::of(b"(module)").is_err());
        assert!(Kind::of(b"").is_err());
        assert!(Kind::of(&vec![0; FILE_BYTES_MAX + 1]).is_err());
    }
}
