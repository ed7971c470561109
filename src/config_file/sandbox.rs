//! What the file grants a plugin, and the bounds it sets one that nobody trusts, in the words of the loaders.

use plugin_api::{Folder, Grants, Sandbox};

use super::shape::{Allow, Isolation, Plugin, Run};

impl Allow {
    /// Tells whether it grants something that only Wasm plugins are kept from.
    fn is_for_wasm(&self) -> bool {
        let lists = self.env.is_empty() && self.dirs.is_none() && self.sockets.is_empty();
        self.clock || self.random || self.clients || !lists
    }

    /// Returns what a loader is told.
    pub(super) fn grants(&self) -> Grants {
        let folder = |text: &String| match text.strip_suffix(":rw") {
            Some(path) => Folder {
                path: path.into(),
                writable: true,
            },
            None => Folder {
                path: text.into(),
                writable: false,
            },
        };
        Grants {
            kv: self.kv,
            http: self.http.iter().map(|prefix| prefix.0.clone()).collect(),
            clock: self.clock,
            random: self.random,
            publish: self.publish.as_ref().is_some_and(|filters| !filters.is_empty()),
            clients: self.clients,
            env: self.env.clone(),
            dirs: self.dirs.as_ref().map(|dirs| dirs.iter().map(folder).collect()),
            sockets: self.sockets.iter().map(|socket| socket.0).collect(),
        }
    }
}

impl Plugin {
    /// Returns what nobody but a Wasm plugin is bound by.
    pub(super) fn key_for_wasm(&self) -> Option<&'static str> {
        let keys = [
            ("run", self.run.is_some()),
            ("pool", self.pool.is_some()),
            ("limits", self.limits.is_some()),
            ("isolation", self.isolation.is_some()),
            ("allow", self.allow.as_ref().is_some_and(Allow::is_for_wasm)),
        ];
        keys.into_iter().find_map(|(key, there)| there.then_some(key))
    }

    /// Returns the bounds of a Wasm plugin.
    pub(super) fn sandbox(&self) -> Sandbox {
        let usual = Sandbox::default();
        let limits = self.limits.as_ref();
        Sandbox {
            memory_bytes_max: limits
                .and_then(|limits| limits.memory)
                .map_or(usual.memory_bytes_max, |size| size.0),
            cpu_max: limits
                .and_then(|limits| limits.cpu)
                .map_or(usual.cpu_max, |time| time.0),
            instances: self.pool.unwrap_or(usual.instances),
            run: match self.run {
                None => usual.run,
                Some(Run::Inline) => plugin_api::Run::Inline,
                Some(Run::Pool) => plugin_api::Run::Pool,
            },
            fresh: self.isolation == Some(Isolation::Call),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plugin(text: &str) -> Plugin {
        toml::from_str(&format!("use = 'wasm:x.wasm'\n{text}")).unwrap()
    }

    #[test]
    fn what_is_not_written_is_as_loaders_have_it() {
        let plugin = plugin("");
        assert_eq!(plugin.sandbox(), Sandbox::default());
        assert_eq!(plugin.key_for_wasm(), None);
    }

    #[test]
    fn bounds_and_grants_are_read() {
        let plugin = plugin(
            "limits = { memory = '1MiB', cpu = '5ms' }\npool = 3\nrun = 'pool'\nisolation = 'call'\n\
             allow = { clock = true, publish = [], dirs = ['/a', '/b:rw'], sockets = ['127.0.0.1:1'], env = ['HOME'] }",
        );
        let sandbox = plugin.sandbox();
        assert_eq!(
            (sandbox.memory_bytes_max, sandbox.cpu_max),
            (1 << 20, Duration::from_millis(5))
        );
        assert_eq!(
            (sandbox.instances.get(), sandbox.run, sandbox.fresh),
            (3, plugin_api::Run::Pool, true)
        );
        let grants = plugin.allow.as_ref().unwrap().grants();
        assert!(grants.clock && !grants.random && !grants.publish);
        let dirs = grants.dirs.unwrap();
        assert_eq!((dirs[0].writable, dirs[1].writable), (false, true));
        assert_eq!(dirs[1].path.to_str(), Some("/b"));
        assert_eq!(grants.sockets, ["127.0.0.1:1".parse().unwrap()]);
    }
}
