//! The templates of `plugin new`: a table of files that the program carries. One more language is one more folder in
//! `sdk/templates` and one more row here.

use clap::ValueEnum;

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Who may connect
    Auth,
    /// Who may publish and subscribe to what
    Acl,
    /// Messages that come in
    Transform,
    /// Where Sessions and messages are kept
    Store,
    /// Messages to another system, and from it
    Bridge,
}

/// What it is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// Rust, with the SDK
    Rust,
    /// C11, with one header
    C,
}

/// What it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A shared library.
    Native,
    /// A Wasm component.
    Wasm,
}

/// A file of a template.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Where it goes, in the project.
    pub(super) path: &'static str,
    /// Its text, with placeholders.
    pub(super) text: &'static str,
}

/// A template.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) lang: Lang,
    pub(super) form: Form,
    pub(super) kind: Kind,
    /// What differs from other templates; [`Template::files`] has all.
    own: &'static [File],
    /// What the built file is called; `{{crate}}` stands for the name.
    artefact: &'static str,
}

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("../../../sdk/templates/", $name))
    };
}

/// A row of the table: language, form, kind, built file, and which file of `sdk/templates` goes where.
macro_rules! template {
    ($lang:ident $form:ident $kind:ident $artefact:literal: $($path:literal = $from:literal,)*) => {
        Template {
            lang: Lang::$lang,
            form: Form::$form,
            kind: Kind::$kind,
            artefact: $artefact,
            own: &[$(File { path: $path, text: text!($from) },)*],
        }
    };
}

macro_rules! rust {
    ($form:ident $kind:ident $artefact:literal $source:literal) => {
        template! {
            Rust $form $kind $artefact:
            "Cargo.toml" = "rust/Cargo.toml.in",
            "README.md" = "rust/README.md",
            "plugin.toml" = "rust/plugin.toml",
            "src/lib.rs" = $source,
        }
    };
}

macro_rules! c {
    ($kind:ident $source:literal) => {
        template! {
            C Native $kind "{{crate}}.so":
            "Makefile" = "c/Makefile",
            "README.md" = "c/README.md",
            "plugin.toml" = "c/plugin.toml",
            "json.h" = "c/json.h",
            "plugin.c" = $source,
        }
    };
}

/// Every template.
pub(super) const ALL: &[Template] = &[
    rust!(Native Auth "lib{{crate}}.so" "rust/auth.rs"),
    rust!(Native Acl "lib{{crate}}.so" "rust/acl.rs"),
    rust!(Native Transform "lib{{crate}}.so" "rust/transform.rs"),
    rust!(Native Store "lib{{crate}}.so" "rust/store.rs"),
    rust!(Native Bridge "lib{{crate}}.so" "rust/bridge.rs"),
    c!(Auth "c/auth.c"),
    c!(Acl "c/acl.c"),
    c!(Transform "c/transform.c"),
    c!(Store "c/store.c"),
    c!(Bridge "c/bridge.c"),
    rust!(Wasm Auth "{{crate}}.wasm" "rust/auth.rs"),
    rust!(Wasm Acl "{{crate}}.wasm" "rust/acl.rs"),
    rust!(Wasm Transform "{{crate}}.wasm" "rust/transform.rs"),
];

/// The header that a project in C has a copy of.
const HEADER: File = File {
    path: "jackfield_plugin.h",
    text: include_str!("../../../plugin-api/abi/include/jackfield_plugin.h"),
};

/// What every project of a kind has, whatever its language.
const fn shared(kind: Kind) -> &'static [File] {
    match kind {
        Kind::Auth => &[
            File {
                path: "jackfield.toml",
                text: text!("common/auth.toml"),
            },
            File {
                path: "tests/calls.jsonl",
                text: text!("calls/auth.jsonl"),
            },
        ],
        Kind::Acl => &[
            File {
                path: "jackfield.toml",
                text: text!("common/acl.toml"),
            },
            File {
                path: "users",
                text: text!("common/users"),
            },
            File {
                path: "tests/calls.jsonl",
                text: text!("calls/acl.jsonl"),
            },
        ],
        Kind::Transform => &[
            File {
                path: "jackfield.toml",
                text: text!("common/transform.toml"),
            },
            File {
                path: "tests/calls.jsonl",
                text: text!("calls/transform.jsonl"),
            },
        ],
        Kind::Store => &[File {
            path: "jackfield.toml",
            text: text!("common/store.toml"),
        }],
        Kind::Bridge => &[File {
            path: "jackfield.toml",
            text: text!("common/bridge.toml"),
        }],
    }
}

/// What to type to see it work, for the README.
const fn try_it(kind: Kind) -> &'static str {
    match kind {
        Kind::Auth => text!("common/try-auth.md"),
        Kind::Acl => text!("common/try-acl.md"),
        Kind::Transform => text!("common/try-transform.md"),
        Kind::Store => text!("common/try-store.md"),
        Kind::Bridge => text!("common/try-bridge.md"),
    }
}

/// What stands for the placeholders.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// Like `my-auth`.
    pub(super) name: &'a str,
    /// The SDK as a Cargo dependency, and in words.
    pub(super) sdk: &'a str,
    pub(super) testkit: &'a str,
    pub(super) sdk_words: &'a str,
}

impl Template {
    /// Finds one.
    pub(super) fn find(lang: Lang, form: Form, kind: Kind) -> Option<&'static Self> {
        ALL.iter()
            .find(|row| (row.lang, row.form, row.kind) == (lang, form, kind))
    }

    /// Returns its files with the names put in, in the order in which a person wants to see them.
    pub(super) fn files(&self, names: &Names<'_>) -> Vec<(&'static str, String)> {
        let header = (self.lang == Lang::C).then_some(HEADER);
        let ignore = File {
            path: ".gitignore",
            text: text!("common/gitignore"),
        };
        let all = self.own.iter().copied().chain(header);
        let all = all.chain(shared(self.kind).iter().copied()).chain([ignore]);
        all.map(|file| (file.path, self.fill(file.text, names))).collect()
    }

    fn fill(&self, text: &str, names: &Names<'_>) -> String {
        let snake = names.name.replace('-', "_");
        let file = self.artefact.replace("{{crate}}", &snake);
        text.replace("{{try}}\n", try_it(self.kind))
            .replace("{{name}}", names.name)
            .replace("{{crate}}", &snake)
            .replace("{{type}}", &type_name(names.name))
            .replace("{{kind}}", kind_name(self.kind))
            .replace("{{form}}", self.form.name())
            .replace("{{file}}", &file)
            .replace("{{sdk}}", names.sdk)
            .replace("{{testkit}}", names.testkit)
            .replace("{{sdk_words}}", names.sdk_words)
            .replace("{{profile}}", self.form.profile())
    }
}

impl Form {
    /// Returns its name, which is also that of its loader.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
        }
    }

    /// Returns how Cargo is to build it.
    const fn profile(self) -> &'static str {
        match self {
            Self::Native => {
                "strip = \"debuginfo\"\n# A panic must unwind: a native plugin that aborts takes the broker along."
            }
            Self::Wasm => "opt-level = \"s\"\nlto = true\ncodegen-units = 1\nstrip = \"debuginfo\"",
        }
    }
}

pub(super) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Auth => "auth",
        Kind::Acl => "acl",
        Kind::Transform => "transform",
        Kind::Store => "store",
        Kind::Bridge => "bridge",
    }
}

pub(super) const fn lang_name(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "rust",
        Lang::C => "c",
    }
}

/// `my-auth` as a type: `MyAuth`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-')
        .filter(|word| !word.is_empty())
        .map(capital)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_placeholder_is_left() {
        let names = Names {
            name: "my-2nd-auth",
            sdk: "{ path = \"sdk\" }",
            testkit: "{ path = \"sdk/testkit\" }",
            sdk_words: "a checkout",
        };
        for template in ALL {
            let files = template.files(&names);
            assert!(files.iter().any(|(path, _)| *path == "README.md"), "{template:?}");
            for (path, text) in files {
                assert!(!text.contains("{{"), "{template:?}: {path}");
            }
        }
    }

    #[test]
    fn types_are_called_as_types_are() {
        assert_eq!(type_name("my-2nd-auth"), "My2ndAuth");
        assert_eq!(type_name("a"), "A");
    }
}
