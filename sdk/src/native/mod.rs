//! Exporting a plugin as a shared library: the thunks that the function table points to. Nothing here is for authors; the
//! macro uses it.
//!
//! A thunk reads what the broker lends, calls the author's hook, and writes the verdict. A panic ends in it: the broker sees
//! `JF_FAULT`, because a panic that left a library would end the process.

mod asked;
mod cx;
mod entry;
mod executor;
mod granted;
mod hooks;
mod host;
mod instance;
mod later;
mod message;
mod providers;
mod say;

use std::ffi::CStr;

pub use cx::Cx;
pub use entry::{EntryCell, Exported, check_config, create, fill};
pub use executor::block_on;
pub use granted::{Http, Kv};
pub use host::Host;
pub use instance::Offer;
pub use message::Message;

pub use plugin_abi as abi;
use plugin_abi::Str;

/// The extension that stores are.
const SESSION_STORE: &CStr = c"session-store/1";
/// The extension that bridges are.
const BRIDGE: &CStr = c"bridge/1";

/// Lends a text.
pub(crate) const fn lend(text: &str) -> Str {
    Str::of(text.as_bytes())
}

/// Reads bytes that the broker lends; absent: `None`.
pub(crate) fn read_bytes<'a>(text: Str) -> Option<&'a [u8]> {
    // SAFETY: the broker lends as many bytes as it says, for the call that `'a` is bound to by its users.
    (!text.ptr.is_null()).then(|| unsafe { std::slice::from_raw_parts(text.ptr, text.len) })
}

/// Reads a text that the broker lends.
pub(crate) fn read_text<'a>(text: Str) -> Option<&'a str> {
    std::str::from_utf8(read_bytes(text)?).ok()
}

/// Exports a plugin: `export_plugin!(MyPlugin: authenticate, async publish);` with the hooks it implements. Its id and version are
/// those of the crate.
///
/// The names: `accept`, `connect`, `authenticate`, `exchange`, `authorize`, `subscribe`, `unsubscribe`, `publish`, `retain`,
/// `deliver`, `will`, `events`, `control`, `share_pick`, `session_store`, `bridge`. `async` stands before one whose
/// `Async…` trait is meant.
///
/// A hook that is named and not implemented doesn't compile:
///
/// ```compile_fail
/// # use plugin_sdk::prelude::*;
/// # #[derive(Deserialize, JsonSchema)] struct Options {}
/// # struct Nothing;
/// # impl Plugin for Nothing {
/// #     type Config = Options;
/// #     fn create(_: Options, _: Host) -> Result<Self, String> { Ok(Self) }
/// # }
/// plugin_sdk::export_plugin!(Nothing: publish);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    (@offer $offer:ident) => {};
    (@offer $offer:ident async $hook:ident $(, $($rest:tt)*)?) => {
        $crate::export_plugin!(@async $offer $hook);
        $($crate::export_plugin!(@offer $offer $($rest)*);)?
    };
    (@offer $offer:ident $hook:ident $(, $($rest:tt)*)?) => {
        $offer.$hook();
        $($crate::export_plugin!(@offer $offer $($rest)*);)?
    };
    (@async $offer:ident connect) => { $offer.async_connect() };
    (@async $offer:ident authenticate) => { $offer.async_authenticate() };
    (@async $offer:ident exchange) => { $offer.async_exchange() };
    (@async $offer:ident authorize) => { $offer.async_authorize() };
    (@async $offer:ident subscribe) => { $offer.async_subscribe() };
    (@async $offer:ident unsubscribe) => { $offer.async_unsubscribe() };
    (@async $offer:ident publish) => { $offer.async_publish() };
    (@async $offer:ident deliver) => { $offer.async_deliver() };
    (@async $offer:ident will) => { $offer.async_will() };
    (@async $offer:ident control) => { $offer.async_control() };
    (@async $offer:ident $hook:ident) => {
        compile_error!(concat!("`", stringify!($hook), "` has no second form: write it without `async`"))
    };
    ($plugin:ty: $($hooks:tt)+) => {
        #[allow(unsafe_code, reason = "the symbol that the broker looks for, and its constructor")]
        const _: () = {
            #[cfg(panic = "abort")]
            compile_error!("a plugin must unwind: remove `panic = \"abort\"` from the profile");

            fn offer(offer: &mut $crate::native::Offer<$plugin>) {
                $crate::export_plugin!(@offer offer $($hooks)+);
            }

            unsafe extern "C" fn create(
                host: *const $crate::native::abi::Host,
                config: $crate::native::abi::Str,
                err_sink: *mut ::core::ffi::c_void,
                out: *mut *const $crate::native::abi::Plugin,
            ) -> i32 {
                // SAFETY: passed on as the broker gave it.
                unsafe { $crate::native::create::<$plugin>(host, config, err_sink, out, offer) }
            }

            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals, reason = "the header names it")]
            static jackfield_plugin_v1: $crate::native::EntryCell = $crate::native::EntryCell::new(
                concat!(env!("CARGO_PKG_NAME"), "\0"),
                concat!(env!("CARGO_PKG_VERSION"), "\0"),
                $crate::native::check_config::<$plugin>,
                create,
            );

            // SAFETY: a static, made of the thunks of this crate.
            unsafe impl $crate::native::Exported for $plugin {
                fn entry() -> *const $crate::native::abi::Entry {
                    jackfield_plugin_v1.get()
                }
            }

            extern "C" fn fill() {
                $crate::native::fill::<$plugin>(&jackfield_plugin_v1, offer);
            }

            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
            static CONSTRUCTOR: extern "C" fn() = fill;
        };
    };
}
