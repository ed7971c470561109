//! What wit-bindgen makes of `plugin-api/wit`: one set of bindings for what every plugin has, and one for each hook, so that a
//! plugin exports the hooks it names and no others. Their component types are merged when the module becomes a component.
#![allow(
    clippy::all,
    missing_docs,
    unsafe_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "made by a program"
)]

/// Types, services, and what every plugin exports.
pub mod base {
    wit_bindgen::generate!({
        path: "../plugin-api/wit",
        inline: "package jackfield:sdk; world base { include jackfield:plugin/base@1.0.0; import jackfield:plugin/types@1.0.0; export jackfield:plugin/swap@1.0.0; }",
        world: "jackfield:sdk/base",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

/// Makes the bindings of one hook; they share the types of `base`.
macro_rules! hook {
    ($module:ident, $world:literal, $inline:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../plugin-api/wit",
                inline: $inline,
                world: $world,
                with: { "jackfield:plugin/types@1.0.0": crate::wasm::bindings::base::jackfield::plugin::types },
                pub_export_macro: true,
                export_macro_name: "export",
            });
        }
    };
}

hook!(
    accept,
    "jackfield:sdk/accept",
    "package jackfield:sdk; world accept { import jackfield:plugin/types@1.0.0; export jackfield:plugin/accept@1.0.0; }"
);
hook!(
    connection,
    "jackfield:sdk/connection",
    "package jackfield:sdk; world connection { import jackfield:plugin/types@1.0.0; export jackfield:plugin/connection@1.0.0; }"
);
hook!(
    authenticate,
    "jackfield:sdk/authenticate",
    "package jackfield:sdk; world authenticate { import jackfield:plugin/types@1.0.0; export jackfield:plugin/authenticate@1.0.0; }"
);
hook!(
    authorize,
    "jackfield:sdk/authorize",
    "package jackfield:sdk; world authorize { import jackfield:plugin/types@1.0.0; export jackfield:plugin/authorize@1.0.0; }"
);
hook!(
    subscribe,
    "jackfield:sdk/subscribe",
    "package jackfield:sdk; world subscribe { import jackfield:plugin/types@1.0.0; export jackfield:plugin/subscribe@1.0.0; }"
);
hook!(
    unsubscribe,
    "jackfield:sdk/unsubscribe",
    "package jackfield:sdk; world unsubscribe { import jackfield:plugin/types@1.0.0; export jackfield:plugin/unsubscribe@1.0.0; }"
);
hook!(
    transform,
    "jackfield:sdk/transform",
    "package jackfield:sdk; world transform { import jackfield:plugin/types@1.0.0; export jackfield:plugin/transform@1.0.0; }"
);
hook!(
    deliver,
    "jackfield:sdk/deliver",
    "package jackfield:sdk; world deliver { import jackfield:plugin/types@1.0.0; export jackfield:plugin/deliver@1.0.0; }"
);
hook!(
    retained,
    "jackfield:sdk/retained",
    "package jackfield:sdk; world retained { import jackfield:plugin/types@1.0.0; export jackfield:plugin/retained@1.0.0; }"
);
hook!(
    will,
    "jackfield:sdk/will",
    "package jackfield:sdk; world will { import jackfield:plugin/types@1.0.0; export jackfield:plugin/will@1.0.0; }"
);
hook!(
    events,
    "jackfield:sdk/events",
    "package jackfield:sdk; world events { import jackfield:plugin/types@1.0.0; export jackfield:plugin/events@1.0.0; }"
);
hook!(
    control,
    "jackfield:sdk/control",
    "package jackfield:sdk; world control { import jackfield:plugin/types@1.0.0; export jackfield:plugin/control@1.0.0; }"
);
hook!(
    enhanced_auth,
    "jackfield:sdk/enhanced-auth",
    "package jackfield:sdk; world enhanced-auth { import jackfield:plugin/types@1.0.0; export jackfield:plugin/enhanced-auth@1.0.0; }"
);
hook!(
    share_pick,
    "jackfield:sdk/share-pick",
    "package jackfield:sdk; world share-pick { import jackfield:plugin/types@1.0.0; export jackfield:plugin/share-pick@1.0.0; }"
);
hook!(
    session_store,
    "jackfield:sdk/session-store",
    "package jackfield:sdk; world session-store { import jackfield:plugin/types@1.0.0; export jackfield:plugin/session-store@1.0.0; }"
);
hook!(
    bridge,
    "jackfield:sdk/bridge",
    "package jackfield:sdk; world bridge { import jackfield:plugin/types@1.0.0; export jackfield:plugin/bridge@1.0.0; }"
);
