//! CONNECT: what may be changed of it, and who may come in.

use std::time::Duration;

use broker_types::ClientId;
use plugin_api::{
    AuthRequest, AuthVerdict, Authenticate, Connect, ConnectEdit, ConnectFlow, Cx, Fault, async_trait,
};

use super::{Hooks, Who, who};
use crate::bindings::exported::{authenticate, connection};
use crate::exports::offered;
use crate::guest::Ask;
use crate::instance::Instance;
use crate::message::{self, denial};
use crate::state::More;

struct OnConnect {
    who: Who,
    edit: ConnectEdit,
}

impl Ask for OnConnect {
    type Answer = connection::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<connection::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let edit = &self.edit;
        let seconds = |cap: Duration| u32::try_from(cap.as_secs()).unwrap_or(u32::MAX);
        let request = connection::Request {
            client_id: edit.client_id.as_str(),
            username: edit.username.as_deref(),
            clean_start: edit.clean_start,
            keep_alive_cap: edit.keep_alive_cap,
            session_expiry_cap: edit.session_expiry_cap.map(seconds),
            mount: &edit.mount,
        };
        let function = offered(&exports.connection)?.func_on_connect();
        let (verdict,) = caller.call(function, (who(), request)).await?;
        Ok(verdict)
    }
}

#[async_trait]
impl Connect for Hooks {
    async fn connect(&self, cx: &Cx<'_>, edit: &mut ConnectEdit) -> Result<ConnectFlow, Fault> {
        let ask = OnConnect {
            who: cx.client.clone(),
            edit: edit.clone(),
        };
        match self.guest.ask_owned(ask).await? {
            connection::Verdict::Keep => Ok(ConnectFlow::Continue),
            connection::Verdict::Change(change) => {
                apply(change, edit)?;
                Ok(ConnectFlow::Continue)
            }
            connection::Verdict::Stop(change) => {
                apply(change, edit)?;
                Ok(ConnectFlow::Stop)
            }
            connection::Verdict::Deny(given) => Ok(ConnectFlow::Reject(denial(given)?)),
            connection::Verdict::Redirect((given, reference)) => {
                edit.server_reference = Some(message::text(reference)?);
                Ok(ConnectFlow::Reject(denial(given)?))
            }
        }
    }
}

/// Lays what a guest changed over `edit`; all of it is checked before any of it is.
fn apply(change: connection::Edit, edit: &mut ConnectEdit) -> Result<(), Fault> {
    let client_id = change.client_id.map(message::client_id).transpose()?;
    let username = change.username.map(message::text).transpose()?;
    let mount = change.mount.map(message::mount).transpose()?;
    let reference = change.server_reference.map(message::text).transpose()?;
    let user = change.user.into_iter();
    let user: Vec<_> = user
        .map(|user| Ok((message::text(user.key)?, message::text(user.value)?)))
        .collect::<Result<_, Fault>>()?;
    if let Some(id) = client_id {
        edit.client_id = ClientId::new(id);
    }
    if let Some(name) = username {
        edit.username = Some(name.into());
    }
    if let Some(mount) = mount {
        edit.mount = mount.into();
    }
    edit.keep_alive_cap = change.keep_alive_cap.or(edit.keep_alive_cap);
    if let Some(cap) = change.session_expiry_cap {
        edit.session_expiry_cap = Some(Duration::from_secs(cap.into()));
    }
    edit.user_properties.extend(user);
    edit.server_reference = reference.or(edit.server_reference.take());
    Ok(())
}

struct OnAuthenticate {
    who: Who,
    username: Option<String>,
    password: Option<Vec<u8>>,
    sni: Option<String>,
}

impl Drop for OnAuthenticate {
    /// A password isn't left lying about longer than it is needed.
    fn drop(&mut self) {
        if let Some(password) = &mut self.password {
            password.fill(0);
        }
    }
}

impl Ask for OnAuthenticate {
    type Answer = authenticate::Verdict;

    async fn put(&self, instance: &mut Instance) -> wasmtime::Result<authenticate::Verdict> {
        let Instance { caller, exports, .. } = instance;
        caller.lend(Some(&self.who), More::NONE);
        let credentials = authenticate::Credentials {
            username: self.username.as_deref(),
            password: self.password.as_deref(),
            sni: self.sni.as_deref(),
        };
        let function = offered(&exports.authenticate)?.func_on_authenticate();
        let (verdict,) = caller.call(function, (who(), credentials)).await?;
        Ok(verdict)
    }
}

#[async_trait]
impl Authenticate for Hooks {
    async fn authenticate(&self, cx: &Cx<'_>, request: &AuthRequest<'_>) -> Result<AuthVerdict, Fault> {
        let ask = OnAuthenticate {
            who: cx.client.clone(),
            username: request.username.map(str::to_owned),
            password: request.password.map(<[u8]>::to_vec),
            sni: request.sni.map(str::to_owned),
        };
        Ok(match self.guest.ask_owned(ask).await? {
            authenticate::Verdict::Skip => AuthVerdict::Skip,
            authenticate::Verdict::Allow(given) => AuthVerdict::Allow(Box::new(message::grant(given)?)),
            authenticate::Verdict::Deny(given) => AuthVerdict::Deny(denial(given)?),
        })
    }
}
