//! `jackfield plugin new`: a folder that builds, passes its tests and runs. Never writes over anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::super::source::loaders;
use super::template::{ALL, Form, Kind, Lang, Names, Template, kind_name, lang_name};

/// `jackfield plugin new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Its name: small letters, digits and hyphens; also the name of the folder, which may have a path before it
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// What it is for
    #[arg(short, long, value_enum, default_value_t = Kind::Auth)]
    kind: Kind,
    /// What it is written in
    #[arg(short, long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// As a shared library, loaded into the broker's process (the default)
    #[arg(long)]
    native: bool,
    /// As a Wasm component, which can't hurt the broker
    #[arg(long, conflicts_with = "native")]
    wasm: bool,
    /// Where the Rust SDK is: the folder `sdk` of a checkout, or the URL of a Git repository
    #[arg(long, value_name = "PATH|URL")]
    sdk: Option<String>,
}

/// Names that a crate can't have, or that would hide one that every crate uses.
const TAKEN: [&str; 12] = [
    "alloc",
    "core",
    "crate",
    "plugin-sdk",
    "plugin-testkit",
    "proc-macro",
    "self",
    "serde",
    "schemars",
    "std",
    "super",
    "test",
];
/// The words of the language that a name could be.
const KEYWORDS: [&str; 20] = [
    "as", "async", "await", "box", "const", "do", "dyn", "else", "enum", "extern", "fn", "for", "if", "impl",
    "in", "loop", "match", "mod", "use", "while",
];
const NAME_MAX: usize = 64;

impl New {
    pub(crate) fn run(self) -> Outcome {
        let name = self
            .folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        check_name(name)?;
        let form = match self.wasm {
            true => Form::Wasm,
            false => Form::Native,
        };
        let template = Template::find(self.lang, form, self.kind).ok_or_else(|| self.none(form))?;
        let sdk = match self.lang {
            Lang::Rust => Sdk::find(self.sdk.as_deref())?,
            Lang::C => Sdk::none(),
        };
        let files = template.files(&Names {
            name,
            sdk: &sdk.dependency,
            testkit: &sdk.testkit,
            sdk_words: &sdk.words,
        });
        make_folder(&self.folder)?;
        for (path, text) in &files {
            write(&self.folder.join(path), text)?;
        }
        let folder = self.folder.display();
        output::line(format_args!(
            "wrote {folder}: a plugin of kind {} in {}, {}",
            kind_name(self.kind),
            lang_name(self.lang),
            form.name()
        ))?;
        for (path, _) in &files {
            output::line(format_args!("  {path}"))?;
        }
        if !loaders().iter().any(|loader| loader.kind() == form.name()) {
            output::line(format_args!(
                "This jackfield can't load {} plugins; one built with `--features {0}` can.",
                form.name()
            ))?;
        }
        output::line(format_args!(
            "Next:\n  cd {folder}\n  jackfield plugin build\n  jackfield plugin test\n  jackfield --config jackfield.toml"
        ))
    }

    /// There is no such template; tells which there are.
    fn none(&self, form: Form) -> Failure {
        let wanted = format!(
            "{} in {}, {}",
            kind_name(self.kind),
            lang_name(self.lang),
            form.name()
        );
        let there: Vec<_> = ALL
            .iter()
            .map(|row| {
                format!(
                    "--kind {} --lang {} --{}",
                    kind_name(row.kind),
                    lang_name(row.lang),
                    row.form.name()
                )
            })
            .collect();
        Failure::new(Exit::Usage, format!("there is no template for {wanted}"))
            .hint(format!("there are: {}", there.join("\n             ")))
    }
}

/// The Rust SDK, for `Cargo.toml`.
#[derive(Debug)]
struct Sdk {
    dependency: String,
    testkit: String,
    words: String,
}

impl Sdk {
    fn none() -> Self {
        Self {
            dependency: String::new(),
            testkit: String::new(),
            words: String::new(),
        }
    }

    /// Takes what was given; else the checkout that this program was built from or is in, if it is still there.
    fn find(given: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = given.filter(|given| given.contains("://")) {
            return Ok(Self::git(url));
        }
        if let Some(given) = given {
            let found = sdk_in(Path::new(given)).ok_or_else(|| {
                Failure::new(Exit::Failed, format!("there is no SDK in {given}"))
                    .hint("name the folder `sdk` of a checkout of Jackfield, or the URL of its repository")
            });
            return Ok(Self::at(&found?));
        }
        let built_from = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let here = std::env::current_dir().unwrap_or_default();
        let program = std::env::current_exe().unwrap_or_default();
        let around = here.ancestors().chain(program.ancestors()).map(Path::to_owned);
        let found = std::iter::once(built_from)
            .chain(around)
            .find_map(|folder| sdk_in(&folder));
        let found = found.ok_or_else(|| {
            Failure::new(Exit::Usage, "where is the SDK? It is not on crates.io yet")
                .hint("say --sdk PATH with the folder `sdk` of a checkout of Jackfield, or --sdk URL with its repository")
        })?;
        Ok(Self::at(&found))
    }

    fn at(folder: &Path) -> Self {
        let quoted = |folder: &Path| toml::Value::String(folder.display().to_string());
        Self {
            dependency: format!("{{ path = {} }}", quoted(folder)),
            testkit: format!("{{ path = {} }}", quoted(&folder.join("testkit"))),
            words: format!("`{}`", folder.display()),
        }
    }

    fn git(url: &str) -> Self {
        let dependency = format!("{{ git = {} }}", toml::Value::String(url.to_owned()));
        Self {
            testkit: dependency.clone(),
            dependency,
            words: format!("`{url}`"),
        }
    }
}

/// Returns the SDK if it is this folder or in it.
fn sdk_in(folder: &Path) -> Option<PathBuf> {
    let candidates = [folder.to_owned(), folder.join("sdk")];
    let is_sdk = |folder: &PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.contains("name = \"plugin-sdk\"")
    };
    candidates.into_iter().find(is_sdk)?.canonicalize().ok()
}

fn check_name(name: &str) -> Outcome {
    let right = name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !right {
        return Err(
            Failure::new(Exit::Usage, format!("`{name}` can't be the name of a plugin"))
                .hint("small letters, digits and single hyphens, beginning with a letter: my-auth"),
        );
    }
    if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        return Err(
            Failure::new(Exit::Usage, format!("`{name}` can't be the name of a plugin"))
                .hint("the name means something else in Rust"),
        );
    }
    Ok(())
}

/// Makes the folder, or takes an empty one.
fn make_folder(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let mut inside = fs::read_dir(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    if inside.next().is_some() {
        let message = format!("{} is there already, and not empty", folder.display());
        return Err(Failure::new(Exit::Failed, message).hint("nothing was written; take another name"));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Outcome {
    let written = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    };
    written().map_err(|error| Failure::io(path.display(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_and_the_configuration_take() {
        for right in ["a", "my-auth", "csv2json", "x-2"] {
            assert!(check_name(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "My",
            "my_auth",
            "2x",
            "a-",
            "a--b",
            "ä",
            "test",
            "fn",
            &"a".repeat(65),
        ] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_sdk_of_this_checkout_is_found() {
        let sdk = Sdk::find(None).unwrap();
        assert!(
            sdk.dependency.contains("path = ") && sdk.testkit.contains("testkit"),
            "{sdk:?}"
        );
        assert!(Sdk::find(Some(env!("CARGO_MANIFEST_DIR"))).is_ok());
        assert!(Sdk::find(Some("nowhere")).is_err());
        let git = Sdk::find(Some("https://example.org/jackfield.git")).unwrap();
        assert_eq!(git.dependency, "{ git = \"https://example.org/jackfield.git\" }");
    }
}
