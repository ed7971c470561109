//! The plugin: from an [`AuthRequest`] to a verdict.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use plugin_api::{
    AuthRequest, AuthVerdict, Authenticate, Capabilities, Cx, Fault, Host, LoadError, NoHost, Plugin,
    PluginInfo, TimerId, run_blocking,
};
use plugin_basis::{FileError, WatchedFile, options, schema};
use zeroize::Zeroizing;

use crate::users::Users;
use crate::{Options, Unknown};

/// Makes the plugin from its options, a JSON object.
///
/// # Errors
/// The options are wrong, or the file is.
pub fn load(_name: &str, options_json: &str) -> Result<Arc<dyn Plugin>, LoadError> {
    let options: Options = options(options_json)?;
    let plugin = AuthFile::new(options).map_err(|error| LoadError::Options {
        key: "file".into(),
        why: error.to_string(),
    })?;
    Ok(Arc::new(plugin))
}

/// Returns what is known of the plugin before it runs.
#[must_use]
pub fn info() -> PluginInfo {
    PluginInfo {
        id: "auth-file".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        config_schema: Some(schema::<Options>()),
        hooks: vec!["authenticate".into()],
    }
}

/// Lets in who stands in a password file.
#[derive(Debug)]
pub struct AuthFile {
    options: Options,
    authenticator: Arc<Authenticator>,
    timer: OnceLock<TimerId>,
}

/// The part that chains hold.
struct Authenticator {
    file: Arc<WatchedFile<Users>>,
    unknown: Unknown,
    host: OnceLock<Arc<dyn Host>>,
}

impl AuthFile {
    /// Reads the file at `path`, with the other options as they are by default.
    ///
    /// # Errors
    /// The file can't be read, or a line of it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        Self::new(Options::new(path))
    }

    /// Makes the plugin as `options` say.
    ///
    /// # Errors
    /// The file can't be read, or a line of it.
    pub fn new(options: Options) -> Result<Self, FileError> {
        let authenticator = Authenticator {
            file: Arc::new(WatchedFile::open(&options.file, Users::parse)?),
            unknown: options.unknown,
            host: OnceLock::new(),
        };
        Ok(Self {
            options,
            authenticator: Arc::new(authenticator),
            timer: OnceLock::new(),
        })
    }

    /// Says what becomes of a User Name that isn't in the file.
    #[must_use]
    pub fn unknown(mut self, unknown: Unknown) -> Self {
        self.options.unknown = unknown;
        self.authenticator = Arc::new(Authenticator {
            file: self.authenticator.file.clone(),
            unknown,
            host: OnceLock::new(),
        });
        self
    }
}

#[async_trait]
impl Plugin for AuthFile {
    fn info(&self) -> PluginInfo {
        info()
    }

    async fn start(&self, host: Arc<dyn Host>) -> Result<(), Fault> {
        let host = self.authenticator.host.get_or_init(|| host);
        if self.options.watch {
            self.timer.get_or_init(|| self.authenticator.file.watch(&**host));
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            authenticate: Some(self.authenticator.clone()),
            ..Capabilities::default()
        }
    }

    /// The same options: reads the file again. Other options need a new instance.
    async fn reconfigure(&self, json: &str) -> Result<bool, Fault> {
        let wanted: Options = options(json).map_err(|error| Fault::backend(error.to_string()))?;
        if wanted != self.options {
            return Ok(false);
        }
        let file = self.authenticator.file.clone();
        run_blocking(self.authenticator.host(), move || file.reread())
            .await?
            .map_err(|error| Fault::backend(error.to_string()))?;
        Ok(true)
    }

    async fn on_timer(&self, _timer: TimerId) {
        self.authenticator.file.poll(self.authenticator.host()).await;
    }

    async fn stop(&self, _drain: Duration) {
        if let Some(timer) = self.timer.get() {
            self.authenticator.host().cancel_timer(*timer);
        }
    }
}

impl Authenticator {
    fn host(&self) -> &dyn Host {
        self.host.get().map_or(&NoHost, |host| &**host)
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator")
            .field("file", &self.file)
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticate for Authenticator {
    async fn authenticate(&self, _cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let Some(user) = request.username else {
            return Ok(AuthVerdict::Skip);
        };
        let users = self.file.shared();
        if self.unknown == Unknown::Skip && !users.contains(user) {
            return Ok(AuthVerdict::Skip);
        }
        let Some(password) = request.password else {
            return Ok(AuthVerdict::bad_credentials());
        };
        let user = user.to_owned();
        let password = Zeroizing::new(password.to_vec());
        let good = run_blocking(self.host(), move || users.verify(&user, &password)).await?;
        Ok(if good {
            AuthVerdict::allow()
        } else {
            AuthVerdict::bad_credentials()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use broker_types::{ClientHandle, ClientId, ProtocolVersion};
    use plugin_api::{ClientView, Peer};

    use super::*;

    const ANN: &str = "ann:$7$101$uEVoSZUZQfoE0aBq$r+MItx3SaykJh871N6Yr0RDqH8pulg2irhRtV4GTzPlMfj7tg0dI53NxyD8TJnMEzliL/noaeIsCh9AVvNhUHw==\n";

    /// Without a broker, blocking jobs run at once and every call is done at its first poll.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not done at the first poll"),
        }
    }

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwd");
        std::fs::write(&path, ANN).unwrap();
        (folder, path)
    }

    fn ask(plugin: &AuthFile, username: Option<&str>, password: Option<&[u8]>) -> AuthVerdict {
        let view = Arc::new(ClientView {
            handle: ClientHandle(1),
            id: ClientId::from("c"),
            username: username.map(Into::into),
            authenticated: false,
            listener: "l".into(),
            peer: Peer::Local,
            version: ProtocolVersion::V5,
            clean_start: true,
            mount: "".into(),
            attributes: [].into(),
            certificate: None,
            unrestricted: false,
        });
        let cx = Cx {
            client: &view,
            budget: Duration::from_secs(5),
        };
        let request = AuthRequest {
            client_id: "c",
            username,
            password,
            certificate: None,
            sni: None,
            version: ProtocolVersion::V5,
            clean_start: true,
        };
        let hook = plugin.capabilities().authenticate.unwrap();
        now(hook.authenticate(&cx, &request)).unwrap()
    }

    #[test]
    fn the_table_of_answers_holds() {
        let (_folder, path) = file();
        let deny = AuthFile::open(&path).unwrap();
        let skip = AuthFile::open(&path).unwrap().unknown(Unknown::Skip);
        let bad = AuthVerdict::bad_credentials;
        for (user, password, with_deny, with_skip) in [
            (None, None, AuthVerdict::Skip, AuthVerdict::Skip),
            (None, Some("secret"), AuthVerdict::Skip, AuthVerdict::Skip),
            (
                Some("ann"),
                Some("secret"),
                AuthVerdict::allow(),
                AuthVerdict::allow(),
            ),
            (Some("ann"), Some("Secret"), bad(), bad()),
            (Some("ann"), Some(""), bad(), bad()),
            (Some("ann"), None, bad(), bad()),
            (Some("bob"), Some("secret"), bad(), AuthVerdict::Skip),
            (Some("bob"), None, bad(), AuthVerdict::Skip),
            (Some(""), Some("secret"), bad(), AuthVerdict::Skip),
        ] {
            let bytes = password.map(str::as_bytes);
            assert_eq!(ask(&deny, user, bytes), with_deny, "{user:?} {password:?}");
            assert_eq!(ask(&skip, user, bytes), with_skip, "{user:?} {password:?}");
        }
    }

    #[test]
    fn a_tick_takes_a_changed_file_over() {
        let (_folder, path) = file();
        let plugin = AuthFile::open(&path).unwrap();
        now(plugin.start(Arc::new(NoHost))).unwrap();
        std::fs::write(&path, ANN.replace("ann", "carla")).unwrap();
        now(plugin.on_timer(TimerId(0)));
        assert_eq!(ask(&plugin, Some("carla"), Some(b"secret")), AuthVerdict::allow());
        assert_eq!(
            ask(&plugin, Some("ann"), Some(b"secret")),
            AuthVerdict::bad_credentials()
        );
        std::fs::write(&path, "rubbish").unwrap();
        now(plugin.on_timer(TimerId(0)));
        assert_eq!(ask(&plugin, Some("carla"), Some(b"secret")), AuthVerdict::allow());
    }

    #[test]
    fn the_same_options_read_again_and_others_want_a_new_instance() {
        let (_folder, path) = file();
        let plugin = AuthFile::open(&path).unwrap();
        let json = |rest: &str| format!("{{\"file\":{:?}{rest}}}", path.to_str().unwrap());
        assert_eq!(now(plugin.reconfigure(&json(""))), Ok(true));
        assert_eq!(now(plugin.reconfigure(&json(",\"watch\":false"))), Ok(false));
        std::fs::write(&path, "rubbish").unwrap();
        assert!(now(plugin.reconfigure(&json(""))).is_err());
        assert_eq!(ask(&plugin, Some("ann"), Some(b"secret")), AuthVerdict::allow());
    }

    #[test]
    fn options_are_checked_when_loading() {
        let (_folder, path) = file();
        let json = format!("{{\"file\":{:?},\"unknown\":\"skip\"}}", path.to_str().unwrap());
        assert_eq!(load("passwd", &json).unwrap().info(), info());
        std::fs::write(&path, "ann\n").unwrap();
        let Err(LoadError::Options { key, why }) = load("passwd", &json) else {
            panic!("a broken file was taken");
        };
        assert_eq!(key, "file");
        assert!(why.contains("line 1"), "{why}");
        for json in [
            "{}",
            "[]",
            r#"{"file":"x","fil":1}"#,
            r#"{"file":"x","unknown":"allow"}"#,
        ] {
            assert!(
                matches!(load("passwd", json), Err(LoadError::Options { .. })),
                "{json}"
            );
        }
    }
}
