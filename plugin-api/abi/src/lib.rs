//! The native plugin ABI in Rust: the shapes of `include/jackfield_plugin.h`, field by field, and nothing else.
//!
//! The header is the contract and says what everything means, who owns it and which thread may do what; here are only
//! names and layouts, and the tests hold both to each other and to `abi.golden`. No function, no dependency. A field is
//! only ever appended, together with a new minor version; whatever else changes is a new major with a new symbol.
#![no_std]
#![allow(
    missing_docs,
    reason = "the header documents each name; a second text would say something else one day"
)]

mod entry;
mod hook;
mod host;
mod plugin;
mod provider;
mod service;
mod shape;
pub mod values;

pub use entry::{Entry, SYMBOL};
pub use hook::{AcceptIn, AclIn, AuthIn, ControlIn, Ctx, DeliverIn, EventIn, ExchangeIn, Out, PubIn, SubIn};
pub use host::{Host, Msg};
pub use plugin::{Interest, Plugin};
pub use provider::{Bridge, SessionStore, StoreOp};
pub use service::{
    Http, HttpDone, HttpRequest, HttpResponse, HttpSend, Kv, KvCas, KvDone, KvKey, KvRows, KvScan, KvSet,
};
pub use shape::{Client, Field, Handle, Shape, Str, Token};

/// `JF_MAGIC`: "JFP1".
pub const MAGIC: u32 = 0x3150_464a;
/// The major version of the shapes in this crate.
pub const MAJOR: u16 = 1;
/// The minor version of the shapes in this crate.
pub const MINOR: u16 = 1;

/// Every shape, for tests that compare layouts.
pub const SHAPES: &[(&str, usize, &[Field])] = &[
    layout::<Str>(),
    layout::<Interest>(),
    layout::<Ctx>(),
    layout::<Out>(),
    layout::<AcceptIn>(),
    layout::<AuthIn>(),
    layout::<ExchangeIn>(),
    layout::<AclIn>(),
    layout::<SubIn>(),
    layout::<PubIn>(),
    layout::<DeliverIn>(),
    layout::<EventIn>(),
    layout::<ControlIn>(),
    layout::<StoreOp>(),
    layout::<SessionStore>(),
    layout::<Bridge>(),
    layout::<Kv>(),
    layout::<HttpRequest>(),
    layout::<HttpResponse>(),
    layout::<Http>(),
    layout::<Plugin>(),
    layout::<Host>(),
    layout::<Entry>(),
];

const fn layout<S: Shape>() -> (&'static str, usize, &'static [Field]) {
    (S::NAME, size_of::<S>(), S::FIELDS)
}
