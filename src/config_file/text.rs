//! Strings of the file that mean something: addresses, Topic Filters, mounts. [`check`] is the schema walker's door to
//! them, by the `format` of the schema, so that a wrong one is reported where it stands.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use broker_types::{TopicFilter, TopicName};
use plugin_services::Allowed;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::quantity::{ByteSize, MemorySize, TimeSpan};
use super::when::Expression;

/// Where a listener listens.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bind {
    /// An address and a TCP port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Bind {
    /// Tells whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Tells whether both can't be open at once. A wildcard address takes the port of all addresses of its family; the
    /// IPv6 one is opened for IPv6 only.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => {
                let same_family = a.is_ipv4() == b.is_ipv4();
                let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() != 0 && a.port() == b.port() && same_family && overlap
            }
            (Self::Unix(a), Self::Unix(b)) => a == b,
            _ => false,
        }
    }
}

/// A text that names no place to listen.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// `unix:` without a path.
    #[error("has no path behind `unix:`")]
    NoPath,
    /// `fd:NAME`, which this version doesn't have.
    #[error("is socket activation, which is not available in this version")]
    Activation,
    /// A name where an address must stand.
    #[error("has a host name; write its IP address")]
    Name,
    /// Not an address at all.
    #[error("is no address")]
    Address,
}

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(BindError::NoPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if text.starts_with("fd:") {
            return Err(BindError::Activation);
        }
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(BindError::Address)?;
        let port: u16 = port.parse().map_err(|_| BindError::Address)?;
        match host {
            "localhost" => Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into())),
            "*" => Ok(Self::Tcp((Ipv4Addr::UNSPECIFIED, port).into())),
            _ => text.parse().map(Self::Tcp).map_err(|_| name_or_nonsense(host)),
        }
    }
}

/// Why `host` is no address: a host name, or nothing that could be one.
fn name_or_nonsense(host: &str) -> BindError {
    let named = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let letter = host.bytes().any(|b| b.is_ascii_alphabetic());
    if letter && host.bytes().all(named) && host.parse::<IpAddr>().is_err() {
        BindError::Name
    } else {
        BindError::Address
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A Topic Filter of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter(pub(super) TopicFilter);

/// The beginning of a URL, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlPrefix(pub(super) String);

/// A Topic Name of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic(pub(super) TopicName);

/// An IP address of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(pub(super) IpAddr);

/// An address and a port of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket(pub(super) SocketAddr);

/// What goes before the topics of a listener's clients: levels of a Topic Name that end with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount(pub(super) String);

impl FromStr for Mount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.ends_with('/') {
            return Err("must end with `/`".to_owned());
        }
        match TopicName::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(format!("begins no topic: {error}")),
        }
    }
}

/// Checks a string that the schema gives `format`; the error completes the sentence "`KEY` …". A format of somebody
/// else's schema that isn't known here is let pass.
pub(super) fn check(format: &str, text: &str) -> Result<(), String> {
    match format {
        "byte-size" => text
            .parse::<ByteSize>()
            .map(drop)
            .map_err(|e| format!("{e}; write a size like `64KiB` or `16MiB`")),
        "memory-size" => text
            .parse::<MemorySize>()
            .map(drop)
            .map_err(|e| format!("{e}; write a size like `512MiB` or a part like `80 %`")),
        "time-span" => text
            .parse::<TimeSpan>()
            .map(drop)
            .map_err(|e| format!("{e}; write a time like `50ms`, `10s` or `2h`")),
        "bind" => text
            .parse::<Bind>()
            .map(drop)
            .map_err(|e| format!("{e}; write `127.0.0.1:1883`, `[::]:1883` or `unix:/path`")),
        "topic-filter" => TopicFilter::new(text)
            .map(drop)
            .map_err(|e| format!("is no topic filter: {e}")),
        "topic" => TopicName::new(text)
            .map(drop)
            .map_err(|e| format!("is no topic: {e}")),
        "ip" => text
            .parse::<IpAddr>()
            .map(drop)
            .map_err(|_| "is no IP address".to_owned()),
        "socket" => text
            .parse::<SocketAddr>()
            .map(drop)
            .map_err(|_| "is no address; write `127.0.0.1:5432` or `[::1]:5432`".to_owned()),
        "url-prefix" => Allowed::parse(text).map(drop).map_err(|e| e.to_string()),
        "mount" => text.parse::<Mount>().map(drop),
        "sha256" if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        "sha256" => Err("is no SHA-256: 64 hexadecimal digits".to_owned()),
        "ed25519-key" if is_ed25519(text, 32) => Ok(()),
        "ed25519-key" => Err("is no public key: `ed25519:` and the base64 of 32 bytes".to_owned()),
        "ed25519-signature" if is_ed25519(text, 64) => Ok(()),
        "ed25519-signature" => Err("is no signature: `ed25519:` and the base64 of 64 bytes".to_owned()),
        _ => Ok(()),
    }
}

/// Tells whether a key or signature has the form and length it must have.
fn is_ed25519(text: &str, bytes: usize) -> bool {
    let length = bytes.div_ceil(3) * 4;
    text.strip_prefix("ed25519:").is_some_and(|coded| {
        let padding = coded.len() - coded.trim_end_matches('=').len();
        coded.len() == length && length / 4 * 3 - padding == bytes
    })
}

/// A string type of the file: read with `$parse`, described to the schema by `$format`.
macro_rules! file_string {
    ($type:ident, $format:literal, $parse:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

file_string!(Bind, "bind", Bind::from_str);
file_string!(Mount, "mount", Mount::from_str);
file_string!(Topic, "topic", |text: &str| TopicName::new(text).map(Topic));
file_string!(Address, "ip", |text: &str| text.parse().map(Address));
file_string!(Expression, "cel", Expression::from_str);
file_string!(UrlPrefix, "url-prefix", |text: &str| Allowed::parse(text)
    .map(|_| UrlPrefix(text.to_owned())));
file_string!(Socket, "socket", |text: &str| text.parse().map(Socket));
file_string!(Filter, "topic-filter", |text: &str| TopicFilter::new(text)
    .map(Filter));

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Bind {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("1883", "127.0.0.1:1883"),
            ("localhost:1884", "127.0.0.1:1884"),
            ("*:1883", "0.0.0.0:1883"),
            ("10.0.0.5:1883", "10.0.0.5:1883"),
            ("[::]:0", "[::]:0"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(bind(text).to_string(), shown);
        }
        for (text, error) in [
            ("", BindError::Address),
            ("70000", BindError::Address),
            ("127.0.0.1", BindError::Address),
            ("127.0.0.1:x", BindError::Address),
            ("1.2.3.4.5:1", BindError::Address),
            ("broker.example:1883", BindError::Name),
            ("unix:", BindError::NoPath),
            ("fd:mqtt", BindError::Activation),
        ] {
            assert_eq!(text.parse::<Bind>(), Err(error), "{text}");
        }
    }

    #[test]
    fn local_is_what_only_this_machine_reaches() {
        for (text, local) in [
            ("127.0.0.1:1", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("unix:/x", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.168.1.1:1", false),
        ] {
            assert_eq!(bind(text).is_local(), local, "{text}");
        }
    }

    #[test]
    fn clashes_are_seen() {
        for (a, b, clash) in [
            ("127.0.0.1:1883", "127.0.0.1:1883", true),
            ("0.0.0.0:1883", "127.0.0.1:1883", true),
            ("127.0.0.1:1883", "127.0.0.2:1883", false),
            ("127.0.0.1:1883", "127.0.0.1:1884", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::]:1883", "0.0.0.0:1883", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
        ] {
            assert_eq!(bind(a).clashes(&bind(b)), clash, "{a} {b}");
            assert_eq!(bind(b).clashes(&bind(a)), clash, "{b} {a}");
        }
    }

    #[test]
    fn mounts_are_levels() {
        assert_eq!("tenant-a/".parse(), Ok(Mount("tenant-a/".to_owned())));
        assert!("tenant-a".parse::<Mount>().is_err());
        assert!("a/+/".parse::<Mount>().is_err());
        assert!("".parse::<Mount>().is_err());
    }
}
