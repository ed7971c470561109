//! Where configuration comes from, and reading it into layers: the file with its includes and overlay, environment
//! variables, flags. Touches the file system; judges nothing but what can't be read.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use super::code::Code;
use super::diagnostic::{Diagnostic, Origin, Place, Report, Severity};
use super::layer::{Layer, VARIABLE_PREFIX};
use super::schema::did_you_mean;
use super::tree::{Kind, Path, Table};

/// The profiles that need no overlay.
const PROFILES: [&str; 2] = ["dev", "production"];

/// What to read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; `None`: no file.
    pub file: Option<PathBuf>,
    /// A text to take for that of the file, which isn't saved yet.
    pub unsaved: Option<String>,
    /// Environment variables; those that don't begin with [`VARIABLE_PREFIX`] are passed over.
    pub variables: Vec<(String, String)>,
    /// The arguments of `--set`, each `key=value`.
    pub set: Vec<String>,
    /// Other flags, the strongest last.
    pub flags: Vec<Flag>,
}

/// A flag that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As it was given: `--listen 1883`.
    pub shown: String,
    /// The key it sets, part by part.
    pub key: Vec<String>,
    /// The value, as in TOML; quotes may be left out.
    pub value: String,
}

/// The listener that is there when nothing names one.
const ZERO_CONFIGURATION: [(&str, &str); 2] = [("bind", "127.0.0.1:1883"), ("anonymous", "true")];

impl Sources {
    /// Reads all layers, weakest first. Without a file and without any listener there is one on loopback.
    pub(super) fn read(&self, report: &mut Report) -> Result<Vec<Layer>, Report> {
        let mut stronger = Vec::new();
        self.read_variables(&mut stronger, report);
        for argument in &self.set {
            match Layer::set(argument) {
                Some(layer) => stronger.push(layer),
                None => report.push(problem(
                    Code::BadValue,
                    "`--set` needs `key=value`".to_owned(),
                    Origin::Flag(format!("--set {argument}")),
                )),
            }
        }
        let flag = |flag: &Flag| Layer::value(Origin::Flag(flag.shown.clone()), &flag.key, &flag.value);
        stronger.extend(self.flags.iter().map(flag));

        let mut layers = vec![Layer::defaults()];
        match &self.file {
            Some(path) => self.read_files(path, &stronger, &mut layers, report),
            None => {
                if !stronger
                    .iter()
                    .any(|layer| layer.tree.get(&Path::of(["listeners"])).is_some())
                {
                    layers.extend(ZERO_CONFIGURATION.iter().map(|(key, value)| {
                        let keys = ["listeners", "main", key].map(str::to_owned);
                        Layer::value(Origin::Default, &keys, value)
                    }));
                }
            }
        }
        if report
            .iter()
            .any(|found| matches!(found.code, Code::Syntax | Code::Unreadable))
        {
            report.sort();
            return Err(std::mem::take(report));
        }
        layers.append(&mut stronger);
        Ok(layers)
    }

    fn read_variables(&self, layers: &mut Vec<Layer>, report: &mut Report) {
        for (name, value) in &self.variables {
            if name == VARIABLE_PREFIX
                || name
                    .strip_prefix(VARIABLE_PREFIX)
                    .is_some_and(|n| n.split("__").any(str::is_empty))
            {
                let message = "this variable names no key".to_owned();
                report.push(problem(Code::UnknownKey, message, Origin::Variable(name.clone())));
            } else {
                layers.extend(Layer::variable(name, value));
            }
        }
    }

    /// Reads the file, then its includes in the order of their names, then the overlay of the profile.
    fn read_files(&self, path: &FilePath, stronger: &[Layer], layers: &mut Vec<Layer>, report: &mut Report) {
        let main = match &self.unsaved {
            Some(text) => read_text(path, text.clone(), report),
            None => read_file(path, report),
        };
        let Some(main) = main else {
            if !path.exists() {
                report.suggest(format!("`jackfield init {}` writes one", path.display()));
            }
            return;
        };
        let folder = path.parent().unwrap_or(FilePath::new(""));
        let profile = stronger
            .iter()
            .rev()
            .find_map(|layer| layer.text_at("profile").map(|p| (p, layer)));
        let profile = profile.or_else(|| main.text_at("profile").map(|p| (p, &main)));
        let overlay = profile.and_then(|(name, layer)| find_overlay(path, name, layer, report));
        let includes = find_includes(&main, folder, report);
        let first = layers.len();
        layers.push(main);
        layers.extend(includes.iter().filter_map(|path| read_file(path, report)));
        warn_twice(&layers[first..], report);
        layers.extend(overlay.and_then(|path| read_file(&path, report)));
    }
}

/// Returns the files that these layers come from, and the folders in which they look for more.
pub(super) fn files(layers: &[Layer]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for layer in layers {
        let Origin::File(path) = &layer.origin else {
            continue;
        };
        files.push(path.clone());
        let folder = path.parent().unwrap_or(FilePath::new(""));
        if let Some(Kind::Array(patterns)) = layer.tree.get(&Path::of(["include"])).map(|node| &node.kind) {
            for pattern in patterns {
                let Kind::Text(pattern) = &pattern.kind else {
                    continue;
                };
                let looked_in = folder.join(pattern);
                files.extend(
                    looked_in
                        .parent()
                        .filter(|_| pattern.contains('*'))
                        .map(Into::into),
                );
            }
        }
    }
    files
}

fn read_file(path: &FilePath, report: &mut Report) -> Option<Layer> {
    match fs::read_to_string(path) {
        Ok(text) => read_text(path, text, report),
        Err(error) => {
            let message = format!("can't be read: {error}");
            report.push(problem(Code::Unreadable, message, Origin::File(path.to_owned())));
            None
        }
    }
}

fn read_text(path: &FilePath, text: String, report: &mut Report) -> Option<Layer> {
    let layer = Layer::file(path.to_owned(), text);
    layer.map_err(|errors| report.append(errors)).ok()
}

/// Finds `jackfield.NAME.toml` beside `jackfield.toml`.
fn find_overlay(file: &FilePath, profile: &str, layer: &Layer, report: &mut Report) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_string_lossy();
    let overlay = file.with_file_name(format!("{stem}.{profile}.toml"));
    if overlay.is_file() {
        return Some(overlay);
    }
    if !PROFILES.contains(&profile) {
        let (_, _, span) = layer.tree.follow(&Path::of(["profile"]));
        report.push(Diagnostic {
            severity: Severity::Error,
            code: Code::UnknownProfile,
            message: format!("there is no profile `{profile}`"),
            place: Some(layer.place(&span)),
            label: format!("there is no file {}", overlay.display()),
            help: did_you_mean(profile, PROFILES),
        });
    }
    None
}

/// Finds the files that `include` names, sorted; a pattern without `*` must be there.
fn find_includes(main: &Layer, folder: &FilePath, report: &mut Report) -> Vec<PathBuf> {
    let Some(Kind::Array(items)) = main.tree.get(&Path::of(["include"])).map(|node| &node.kind) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items {
        let Kind::Text(pattern) = &item.kind else { continue };
        let full = folder.join(pattern);
        let name = full
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !name.contains('*') {
            found.push(full);
            continue;
        }
        let folder = full.parent().unwrap_or(FilePath::new(""));
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                report.push(Diagnostic {
                    label: format!("{}: {error}", folder.display()),
                    place: Some(main.place(&item.span)),
                    ..problem(
                        Code::Unreadable,
                        "the folder can't be read".to_owned(),
                        main.origin.clone(),
                    )
                });
                continue;
            }
        };
        let matching = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name()
                    .is_some_and(|n| fits(&name, &n.to_string_lossy()))
            });
        let before = found.len();
        found.extend(matching);
        found[before..].sort();
    }
    found
}

/// Tells whether `name` fits `pattern`, in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices()
                .map(|(i, _)| i)
                .chain([tail.len()])
                .any(|i| fits(rest, &tail[i..]))
        }),
    }
}

/// Warns of values that two files of the same strength set.
fn warn_twice(files: &[Layer], report: &mut Report) {
    fn visit(table: &Table, path: &Path, earlier: &[Layer], layer: &Layer, report: &mut Report) {
        for (key, entry) in table {
            let path = path.key(key);
            if let Kind::Table(inner) = &entry.node.kind {
                visit(inner, &path, earlier, layer, report);
            } else if let Some(other) = earlier.iter().rev().find(|other| other.tree.get(&path).is_some()) {
                let (_, first, _) = other.tree.follow(&path);
                report.push(Diagnostic {
                    severity: Severity::Warning,
                    code: Code::SetTwice,
                    message: format!("`{path}` is set twice; this one counts"),
                    place: Some(layer.place(&entry.key)),
                    label: String::new(),
                    help: Some(format!("the other is at {}", other.place(&first))),
                });
            }
        }
    }
    for (i, layer) in files.iter().enumerate().skip(1) {
        if let Kind::Table(table) = &layer.tree.kind {
            visit(table, &Path::default(), &files[..i], layer, report);
        }
    }
}

fn problem(code: Code, message: String, origin: Origin) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code,
        message,
        place: Some(Place {
            origin,
            snippet: None,
        }),
        label: String::new(),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns_fit() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*", "", true),
            ("*ä*", "xäy", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
