//! The contract in Rust: made from `plugin-api/wit` when this is compiled. What is made here decides nothing.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "made by a macro, which copies the contract's own words where it has some"
)]

wasmtime::component::bindgen!({
    path: "../../plugin-api/wit",
    world: "everything",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        "jackfield:plugin/kv": async,
        "jackfield:plugin/http": async,
    },
    with: {
        "jackfield:plugin/types.client": crate::services::Client,
        "jackfield:plugin/types.message-view": crate::services::MessageView,
    },
});

pub(crate) use exports::jackfield::plugin as exported;
pub(crate) use jackfield::plugin as imported;
pub(crate) use jackfield::plugin::types;
