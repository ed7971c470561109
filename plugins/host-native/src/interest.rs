//! What an instance wants, copied from its table and checked: after this, no list or number of the plugin is trusted
//! again, because none is looked at again.

use std::collections::HashSet;

use broker_types::{TopicFilter, TopicName};
use plugin_abi::{self as abi, values::*};
use plugin_api::{EventMask, Needs};

use crate::border;

/// The hooks by bit: name in the configuration, and whether they answer at once.
pub(crate) const HOOKS: [(&str, u32); 14] = [
    ("accept", JF_HOOK_ACCEPT),
    ("connect", JF_HOOK_CONNECT),
    ("authenticate", JF_HOOK_AUTHENTICATE),
    ("exchange", JF_HOOK_AUTH_EXCHANGE),
    ("authorize", JF_HOOK_AUTHORIZE),
    ("subscribe", JF_HOOK_SUBSCRIBE),
    ("unsubscribe", JF_HOOK_UNSUBSCRIBE),
    ("publish", JF_HOOK_PUBLISH),
    ("retain", JF_HOOK_RETAIN),
    ("deliver", JF_HOOK_DELIVER),
    ("will", JF_HOOK_WILL),
    ("events", JF_HOOK_EVENT),
    ("control", JF_HOOK_CONTROL),
    ("share-pick", JF_HOOK_SHARE_PICK),
];

/// Hooks that have no time to wait for another thread.
const AT_ONCE: u64 = abi::values::bit(JF_HOOK_ACCEPT)
    | abi::values::bit(JF_HOOK_RETAIN)
    | abi::values::bit(JF_HOOK_SHARE_PICK);

/// What an instance wants.
#[derive(Clone, Debug)]
pub(crate) struct Interest {
    hooks: u64,
    pub(crate) serial: bool,
    pub(crate) blocking: bool,
    pub(crate) reload: bool,
    pub(crate) receive: bool,
    pub(crate) events: EventMask,
    pub(crate) needs: Needs,
    pub(crate) publish_filters: Vec<TopicFilter>,
    pub(crate) deliver_filters: Vec<TopicFilter>,
    pub(crate) methods: Vec<String>,
    pub(crate) prefixes: Vec<String>,
}

impl Interest {
    /// Reads the interest of `table`, an instance whose library may offer `offered`.
    ///
    /// # Safety
    /// The table and what it points to must be what the header says.
    pub(crate) unsafe fn read(table: &abi::Plugin, offered: u64) -> Result<Self, String> {
        // SAFETY: the caller's promise; what is missing at its end is zero.
        let raw = unsafe { border::copy(table.interest, 16) }.ok_or("it has no interest")?;
        let unknown = raw.hooks & !offered;
        if let Some((name, _)) = HOOKS.iter().find(|(_, hook)| unknown & bit(*hook) != 0) {
            return Err(format!("it wants hook `{name}`, which its library doesn't offer"));
        }
        if unknown != 0 {
            return Err(format!("it wants hooks that nobody knows ({unknown:#x})"));
        }
        for (name, hook) in HOOKS {
            if raw.hooks & bit(hook) != 0 && !has_function(table, hook) {
                return Err(format!("it wants hook `{name}` and has no function for it"));
            }
        }
        let (serial, blocking) = (raw.flags & JF_F_SERIAL != 0, raw.flags & JF_F_BLOCKING != 0);
        if (serial || blocking) && raw.hooks & AT_ONCE != 0 {
            return Err(
                "accept, retain and share-pick answer at once: they can't be serial or blocking".to_owned(),
            );
        }
        // SAFETY: the caller's promise: lists are as long as they say.
        let (publish, deliver, methods, prefixes) = unsafe {
            (
                border::list(raw.publish_filters, raw.n_publish_filters)?,
                border::list(raw.deliver_filters, raw.n_deliver_filters)?,
                border::list(raw.auth_methods, raw.n_auth_methods)?,
                border::list(raw.control_prefixes, raw.n_control_prefixes)?,
            )
        };
        owners(
            raw.hooks & bit(JF_HOOK_AUTH_EXCHANGE) != 0,
            &methods,
            "authentication method",
        )?;
        owners(raw.hooks & bit(JF_HOOK_CONTROL) != 0, &prefixes, "control prefix")?;
        if let Some(wrong) = prefixes
            .iter()
            .find(|prefix| TopicName::new(prefix.as_str()).is_err())
        {
            return Err(format!("control prefix `{wrong}` is no part of a topic"));
        }
        Ok(Self {
            hooks: raw.hooks,
            serial,
            blocking,
            reload: raw.flags & JF_F_RELOAD != 0,
            receive: raw.flags & JF_F_RECEIVE != 0,
            events: EventMask::from_bits(raw.events),
            needs: Needs {
                payload: raw.needs & JF_NEED_PAYLOAD != 0,
                properties: raw.needs & JF_NEED_PROPS != 0,
                payload_bytes_max: match raw.max_payload {
                    0 => usize::MAX,
                    max => max as usize,
                },
            },
            publish_filters: filters(publish)?,
            deliver_filters: filters(deliver)?,
            methods,
            prefixes,
        })
    }

    /// Tells whether it wants a hook.
    pub(crate) const fn wants(&self, hook: u32) -> bool {
        self.hooks & bit(hook) != 0
    }

    /// Tells whether its calls are made on the pool.
    pub(crate) const fn pooled(&self) -> bool {
        self.serial || self.blocking
    }
}

fn filters(texts: Vec<String>) -> Result<Vec<TopicFilter>, String> {
    let parse = |text: String| TopicFilter::new(text).map_err(|error| error.to_string());
    texts.into_iter().map(parse).collect()
}

/// Who answers for something says for what, and once.
fn owners(wanted: bool, names: &[String], what: &str) -> Result<(), String> {
    if wanted && names.is_empty() {
        return Err(format!("it has no {what}"));
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| name.is_empty() || !seen.insert(*name)) {
        Some(name) => Err(format!("{what} `{name}` is empty or there twice")),
        None => Ok(()),
    }
}

fn has_function(table: &abi::Plugin, hook: u32) -> bool {
    match hook {
        JF_HOOK_ACCEPT => table.accept.is_some(),
        JF_HOOK_CONNECT => table.connect.is_some(),
        JF_HOOK_AUTHENTICATE => table.authenticate.is_some(),
        JF_HOOK_AUTH_EXCHANGE => table.auth_exchange.is_some(),
        JF_HOOK_AUTHORIZE => table.authorize.is_some(),
        JF_HOOK_SUBSCRIBE => table.subscribe.is_some(),
        JF_HOOK_UNSUBSCRIBE => table.unsubscribe.is_some(),
        JF_HOOK_PUBLISH => table.publish.is_some(),
        JF_HOOK_RETAIN => table.retain.is_some(),
        JF_HOOK_DELIVER => table.deliver.is_some(),
        JF_HOOK_WILL => table.will.is_some(),
        JF_HOOK_EVENT => table.events.is_some(),
        JF_HOOK_CONTROL => table.control.is_some(),
        JF_HOOK_SHARE_PICK => table.share_pick.is_some(),
        _ => false,
    }
}
