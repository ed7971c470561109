//! Exporting a plugin as a Wasm component: the same traits, behind the interfaces of `plugin-api/wit`. Nothing here is for authors
//! but [`Host`] and its services, [`Cx`] and [`Message`], which are what they are natively; the macro uses the rest.
//!
//! A Wasm instance has one thread, and the broker makes as many instances as it likes: what a plugin remembers in memory is a
//! cache, unless its [`crate::Interest`] says `serial`. A [`crate::Fault`] of a hook ends the instance, as a panic does: the text goes to the
//! log, the operator's `on_error` decides, and the next call meets a new instance.

pub mod bindings;
mod client;
mod granted;
mod hooks;
mod host;
mod instance;
mod later;
mod message;
#[cfg(not(feature = "std"))]
mod runtime;
mod single;
mod timers;

pub use client::Cx;
pub use granted::{Http, Kv};
pub use host::Host;
pub use instance::{Export, Exported, Slot};
pub use later::block_on;
pub use message::Message;

/// The module that exports a hook, under the name that the hook has in [`export_plugin!`](crate::export_plugin).
pub mod exports {
    pub use super::bindings::connection as connect;
    pub use super::bindings::enhanced_auth as exchange;
    pub use super::bindings::retained as retain;
    pub use super::bindings::transform as publish;
    pub use super::bindings::{
        accept, authenticate, authorize, bridge, control, deliver, events, session_store, share_pick,
        subscribe, unsubscribe, will,
    };
}

/// Exports a plugin as a component: `export_plugin!(MyPlugin: authenticate, publish);` with the hooks it implements. Its id and
/// version are those of the crate.
#[macro_export]
macro_rules! export_plugin {
    (@each $plugin:ty;) => {};
    (@each $plugin:ty; async $hook:ident $(, $($rest:tt)*)?) => {
        $crate::answer_at_once!($hook $plugin);
        $crate::wasm::exports::$hook::export!(Exported with_types_in $crate::wasm::exports::$hook);
        $($crate::export_plugin!(@each $plugin; $($rest)*);)?
    };
    (@each $plugin:ty; $hook:ident $(, $($rest:tt)*)?) => {
        $crate::wasm::exports::$hook::export!(Exported with_types_in $crate::wasm::exports::$hook);
        $($crate::export_plugin!(@each $plugin; $($rest)*);)?
    };
    ($plugin:ty: $($hooks:tt)+) => {
        #[allow(unsafe_code, reason = "exported symbols")]
        const _: () = {
            type Exported = $crate::wasm::Export<$plugin>;

            impl $crate::wasm::Exported for $plugin {
                const ID: &'static str = env!("CARGO_PKG_NAME");
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");

                fn slot() -> &'static $crate::wasm::Slot<Self> {
                    static SLOT: $crate::wasm::Slot<$plugin> = $crate::wasm::Slot::new();
                    &SLOT
                }
            }

            $crate::wasm::bindings::base::export!(Exported with_types_in $crate::wasm::bindings::base);
            $crate::export_plugin!(@each $plugin; $($hooks)+);
        };
    };
}
