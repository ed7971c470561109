//! A client as a plugin sees it: what stands behind a `const jf_client *`, for as long as the call that lends it.

use std::sync::OnceLock;

use plugin_abi::{self as abi, Str, values::*};
use plugin_api::ClientView;

use crate::border::{lend, lend_bytes};

const MAGIC: u64 = 0x746e_696c_632d_666a;

/// A client, lent for one call.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    magic: u64,
    view: &'a ClientView,
    /// The other end as text, made when somebody asks.
    peer: OnceLock<String>,
}

impl<'a> Lent<'a> {
    pub(crate) const fn new(view: &'a ClientView) -> Self {
        Self {
            magic: MAGIC,
            view,
            peer: OnceLock::new(),
        }
    }

    /// Returns the pointer that the plugin gets.
    pub(crate) fn pointer(&self) -> *const abi::Client {
        std::ptr::from_ref(self).cast()
    }

    /// Returns the client behind a pointer that a plugin gave back.
    ///
    /// # Safety
    /// `there` must be null or what [`Self::pointer`] returned for a client that is still lent.
    pub(crate) unsafe fn at(there: *const abi::Client) -> Option<&'a Self> {
        // SAFETY: the caller's promise.
        let client = unsafe { there.cast::<Self>().as_ref() }?;
        (client.magic == MAGIC).then_some(client)
    }

    /// Returns a field (`JF_C_*`).
    pub(crate) fn get(&self, field: u32) -> Result<Str, i32> {
        let view = self.view;
        Ok(match field {
            JF_C_CLIENT_ID => lend(Some(view.id.as_str())),
            JF_C_USERNAME => lend(view.username.as_deref()),
            JF_C_LISTENER => lend(Some(&view.listener)),
            JF_C_PEER => lend(Some(self.peer.get_or_init(|| view.peer.to_string()))),
            JF_C_PROTOCOL => lend(Some(match view.version.level() {
                3 => "3.1",
                4 => "3.1.1",
                _ => "5.0",
            })),
            JF_C_MOUNT => lend(Some(&view.mount)),
            JF_C_CERT_DER => lend_bytes(view.certificate.as_deref()),
            _ => return Err(JF_EINVAL),
        })
    }

    /// Returns the `nth` attribute, name and value.
    pub(crate) fn attribute_at(&self, nth: usize) -> Option<(Str, Str)> {
        let (name, value) = self.view.attributes.get(nth)?;
        Some((lend(Some(name)), lend(Some(value))))
    }

    /// Returns the last attribute of a name.
    pub(crate) fn attribute(&self, name: &str) -> Result<Str, i32> {
        self.view
            .attribute(name)
            .map(|value| lend(Some(value)))
            .ok_or(JF_ENOENT)
    }
}
