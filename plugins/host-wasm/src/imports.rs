//! What a component imports is what it asks for; the grants of the configuration are the answer. A component that asks for more
//! than it was granted isn't loaded, and the message says what to write so that it is.

use std::fmt;

use plugin_api::Grants;
use wasmtime::component::Component;

/// The package of the contract and the versions of it that this host speaks.
pub(crate) const PACKAGE: &str = "jackfield:plugin/";
const MAJOR: u64 = 1;

/// A service of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// No service: shared types, and the handles of a call.
    Types,
    /// Log lines.
    Log,
    /// Counters and gauges under the plugin's name.
    Metrics,
    /// Dropping remembered decisions of its own.
    Decisions,
    /// The time.
    Clock,
    /// Randomness.
    Random,
    /// Records in the broker.
    Kv,
    /// Publishing messages of its own.
    Publish,
    /// Requests to HTTP servers.
    Http,
    /// Looking at clients and ending their connections.
    Clients,
}

/// The services by name.
const SERVICES: [(&str, Service); 10] = [
    ("types", Service::Types),
    ("log", Service::Log),
    ("metrics", Service::Metrics),
    ("decisions", Service::Decisions),
    ("clock", Service::Clock),
    ("random", Service::Random),
    ("kv", Service::Kv),
    ("publish", Service::Publish),
    ("http", Service::Http),
    ("clients", Service::Clients),
];

/// Something that the configuration must grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Clock,
    Random,
    Kv,
    Publish,
    Http,
    Clients,
    Dirs,
    Sockets,
}

/// What a component asks for.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// The services it calls.
    pub(crate) services: Vec<Service>,
    /// Whether it links WASI.
    pub(crate) wasi: bool,
    /// Whether something it imports may wait.
    pub(crate) waits: bool,
    /// Whether it is made to wait: it keeps records here or asks other machines.
    pub(crate) is_slow: bool,
    wishes: Vec<Wish>,
}

impl Imports {
    /// Reads what `component` imports.
    ///
    /// # Errors
    /// Imports that nobody here could ever provide.
    pub(crate) fn read(component: &Component) -> Result<Self, String> {
        let mut imports = Self::default();
        let names = component.component_type();
        let mut unknown = Vec::new();
        for (name, _) in names.imports(component.engine()) {
            if let Err(why) = imports.add(name) {
                unknown.push(why);
            }
        }
        imports.waits = imports.wasi || imports.is_slow;
        match unknown.is_empty() {
            true => Ok(imports),
            false => Err(unknown.join("; ")),
        }
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        if let Some(interface) = name.strip_prefix(PACKAGE) {
            let (interface, version) = interface.split_once('@').unwrap_or((interface, "1"));
            let known = SERVICES.iter().find(|(known, _)| *known == interface);
            return match known {
                Some((_, service)) if speaks(version) => {
                    self.serve(*service);
                    Ok(())
                }
                _ => Err(format!(
                    "it imports `{name}`, which this broker doesn't have: it speaks {PACKAGE} 1.0"
                )),
            };
        }
        let (interface, _) = name.split_once('@').unwrap_or((name, ""));
        let wish = match interface {
            "wasi:random/random" => Some(Wish::Random),
            _ if interface.starts_with("wasi:filesystem/") => Some(Wish::Dirs),
            _ if interface.starts_with("wasi:sockets/") => {
                self.is_slow = true;
                Some(Wish::Sockets)
            }
            "wasi:random/insecure" | "wasi:random/insecure-seed" => None,
            _ if ["wasi:cli/", "wasi:io/", "wasi:clocks/"]
                .iter()
                .any(|known| interface.starts_with(known)) =>
            {
                None
            }
            _ if interface.starts_with("wasi:http/") => {
                return Err(format!(
                    "it imports `{name}`; HTTP is asked for by {PACKAGE}http here"
                ));
            }
            _ => return Err(format!("it imports `{name}`, which this broker doesn't have")),
        };
        self.wasi = true;
        self.wishes.extend(wish);
        Ok(())
    }

    fn serve(&mut self, service: Service) {
        let wish = match service {
            Service::Types | Service::Log | Service::Metrics | Service::Decisions => None,
            Service::Clock => Some(Wish::Clock),
            Service::Random => Some(Wish::Random),
            Service::Kv => Some(Wish::Kv),
            Service::Publish => Some(Wish::Publish),
            Service::Http => Some(Wish::Http),
            Service::Clients => Some(Wish::Clients),
        };
        self.is_slow |= matches!(service, Service::Kv | Service::Http);
        self.services.push(service);
        self.wishes.extend(wish);
    }

    /// Checks that everything it asks for is granted.
    ///
    /// # Errors
    /// What is missing and what to write.
    pub(crate) fn check(&self, grants: &Grants) -> Result<(), String> {
        let mut missing: Vec<Wish> = Vec::new();
        for wish in &self.wishes {
            if !wish.is_granted(grants) && !missing.contains(wish) {
                missing.push(*wish);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let what: Vec<_> = missing.iter().map(Wish::what).collect();
        let write: Vec<_> = missing.iter().map(Wish::to_string).collect();
        Err(format!(
            "it wants {}, which isn't granted; if it may, write `allow = {{ {} }}`",
            what.join(", "),
            write.join(", ")
        ))
    }

    /// Returns the grants that it asks for, as the configuration calls them.
    pub(crate) fn wanted(&self) -> Vec<String> {
        let mut names: Vec<_> = self.wishes.iter().map(|wish| wish.key().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Tells whether a guest of this version finds what it was built for.
pub(crate) fn speaks(version: &str) -> bool {
    version.split('.').next().and_then(|major| major.parse().ok()) == Some(MAJOR)
}

impl Wish {
    fn is_granted(self, grants: &Grants) -> bool {
        match self {
            Self::Clock => grants.clock,
            Self::Random => grants.random,
            Self::Kv => grants.kv,
            Self::Publish => grants.publish,
            Self::Http => !grants.http.is_empty(),
            Self::Clients => grants.clients,
            Self::Dirs => grants.dirs.is_some(),
            Self::Sockets => !grants.sockets.is_empty(),
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Kv => "kv",
            Self::Publish => "publish",
            Self::Http => "http",
            Self::Clients => "clients",
            Self::Dirs => "dirs",
            Self::Sockets => "sockets",
        }
    }

    /// Says what it is that a plugin gets.
    const fn what(&self) -> &'static str {
        match self {
            Self::Clock => "the time",
            Self::Random => "randomness",
            Self::Kv => "records in the broker",
            Self::Publish => "to publish messages",
            Self::Http => "to ask HTTP servers",
            Self::Clients => "to look at clients and end their connections",
            Self::Dirs => "files",
            Self::Sockets => "network connections",
        }
    }
}

/// What to write in `allow`.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self {
            Self::Clock | Self::Random | Self::Kv | Self::Clients => "true",
            Self::Publish => "[\"TOPIC/FILTER\"]",
            Self::Http => "[\"https://HOST/\"]",
            // Many a language's library links files without ever opening one.
            Self::Dirs => "[]",
            Self::Sockets => "[\"ADDRESS:PORT\"]",
        };
        write!(f, "{} = {value}", self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(names: &[&str]) -> Imports {
        let mut imports = Imports::default();
        for name in names {
            imports.add(name).unwrap();
        }
        imports
    }

    #[test]
    fn what_is_not_granted_is_named_with_what_to_write() {
        let imports = imports(&[
            "jackfield:plugin/log@1.0.0",
            "jackfield:plugin/kv@1.0.0",
            "jackfield:plugin/http@1.3.0",
            "wasi:filesystem/types@0.2.6",
            "wasi:filesystem/preopens@0.2.6",
        ]);
        let why = imports.check(&Grants::default()).unwrap_err();
        assert_eq!(
            why,
            "it wants records in the broker, to ask HTTP servers, files, which isn't granted; \
             if it may, write `allow = { kv = true, http = [\"https://HOST/\"], dirs = [] }`"
        );
        let grants = Grants {
            kv: true,
            http: vec!["https://a/".to_owned()],
            dirs: Some(Vec::new()),
            ..Grants::default()
        };
        assert_eq!(imports.check(&grants), Ok(()));
        assert_eq!(imports.wanted(), ["dirs", "http", "kv"]);
    }

    #[test]
    fn what_nobody_has_is_refused() {
        for name in [
            "jackfield:plugin/kv@2.0.0",
            "jackfield:plugin/teleport@1.0.0",
            "wasi:http/types@0.2.0",
            "env",
            "wasi:nn/graph@0.2.0",
        ] {
            assert!(Imports::default().add(name).is_err(), "{name}");
        }
        let harmless = imports(&[
            "wasi:cli/stdout@0.2.6",
            "wasi:io/streams@0.2.6",
            "wasi:random/insecure-seed@0.2.6",
        ]);
        assert_eq!(harmless.check(&Grants::default()), Ok(()));
        assert!(harmless.wasi && !harmless.is_slow);
    }
}
