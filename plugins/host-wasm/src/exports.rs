//! Which interfaces of the contract a component has: found once when it is loaded, looked up once in each instance.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

use crate::bindings::exported;
use crate::state::State;

macro_rules! interfaces {
    ($($field:ident, $name:literal, $hook:expr;)*) => {
        /// Where the functions of each interface stand in a component; `None`: it doesn't have the interface.
        #[derive(Clone)]
        pub(crate) struct Indices { $(pub(crate) $field: Option<exported::$field::GuestIndices>,)* }

        /// The functions of one instance.
        #[derive(Clone)]
        pub(crate) struct Exports { $(pub(crate) $field: Option<exported::$field::Guest>,)* }

        impl Indices {
            /// Looks the interfaces up.
            pub(crate) fn find(component: &InstancePre<State>) -> Self {
                Self { $($field: exported::$field::GuestIndices::new(component).ok(),)* }
            }

            /// Looks the functions up.
            ///
            /// # Errors
            /// One of them has another type than the contract says.
            pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> Result<Exports> {
                Ok(Exports {
                    $($field: match &self.$field {
                        Some(indices) => Some(indices.load(&mut *store, instance)?),
                        None => None,
                    },)*
                })
            }

            /// Returns the hooks that it has, as the configuration writes them.
            pub(crate) fn hooks(&self) -> Vec<&'static str> {
                let all: [(bool, Option<&'static str>); _] = [$((self.$field.is_some(), $hook),)*];
                all.into_iter().filter_map(|(there, hook)| hook.filter(|_| there)).collect()
            }
        }

        /// The names of all interfaces that a plugin may export.
        pub(crate) const NAMES: &[&str] = &[$($name,)*];
    };
}

interfaces! {
    describe, "describe", None;
    lifecycle, "lifecycle", None;
    swap, "swap", None;
    accept, "accept", Some("accept");
    connection, "connection", Some("connect");
    authenticate, "authenticate", Some("authenticate");
    enhanced_auth, "enhanced-auth", Some("exchange");
    authorize, "authorize", Some("authorize");
    subscribe, "subscribe", Some("subscribe");
    unsubscribe, "unsubscribe", Some("unsubscribe");
    transform, "transform", Some("publish");
    retained, "retained", Some("retain");
    deliver, "deliver", Some("deliver");
    will, "will", Some("will");
    events, "events", Some("events");
    control, "control", Some("control");
    share_pick, "share-pick", Some("share-pick");
    session_store, "session-store", Some("session-store");
    bridge, "bridge", Some("bridge");
}

/// Returns the functions of an interface that a hook was made for because the component has it.
///
/// # Errors
/// It doesn't have it after all.
pub(crate) fn offered<G>(guest: &Option<G>) -> Result<&G> {
    guest
        .as_ref()
        .ok_or_else(|| wasmtime::format_err!("it doesn't export this interface"))
}

impl std::fmt::Debug for Indices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.hooks()).finish()
    }
}
