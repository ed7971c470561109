//! `jackfield plugin build`: runs the tools of the project's language and puts the plugin into `build/`. What is missing is
//! said with the command that installs it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use super::super::exit::{Exit, Failure, Outcome};
use super::super::output;
use super::project::{BUILD, Form, How, Project};

/// What Rust is compiled to for Wasm.
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// `jackfield plugin build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The project
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Without optimisation, with all names (Rust)
    #[arg(long)]
    debug: bool,
}

impl Build {
    pub(crate) fn run(self) -> Outcome {
        let project = Project::open(&self.folder)?;
        let file = build(&project, self.debug)?;
        let bytes = fs::metadata(&file)
            .map_err(|error| Failure::io(file.display(), &error))?
            .len();
        let shown = file.strip_prefix(&project.folder).unwrap_or(&file);
        let shown = match self.folder.as_os_str() == "." {
            true => shown.to_owned(),
            false => self.folder.join(shown),
        };
        let kib = bytes.div_ceil(1024);
        output::line(format_args!("built {} ({kib} KiB)", shown.display()))
    }
}

/// Builds a project and returns the plugin's file. What the tools say goes to standard error.
pub(super) fn build(project: &Project, debug: bool) -> Result<PathBuf, Failure> {
    match &project.manifest.build {
        Some(how) => by_command(project, how),
        None => by_cargo(project, debug),
    }
}

fn by_command(project: &Project, how: &How) -> Result<PathBuf, Failure> {
    let missing = how.tools.iter().find(|(tool, _)| !is_there(tool));
    if let Some((tool, place)) = missing {
        return Err(Failure::new(Exit::Failed, format!("`{tool}` is not installed")).hint(place));
    }
    let (program, arguments) = how
        .run
        .split_first()
        .ok_or_else(|| Failure::new(Exit::Failed, "plugin.toml: `build.run` is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&project.folder);
    // What it prints is no result of ours.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()));
    let ended = command.status().map_err(|error| Failure::io(program, &error))?;
    if !ended.success() {
        return Err(Failure::new(
            Exit::Failed,
            format!("`{}` failed ({ended})", how.run.join(" ")),
        ));
    }
    let file = project.folder.join(&how.file);
    match file.is_file() {
        true => Ok(file),
        false => Err(Failure::new(
            Exit::Failed,
            format!(
                "`{}` went well, but there is no {}",
                how.run.join(" "),
                how.file.display()
            ),
        )),
    }
}

fn by_cargo(project: &Project, debug: bool) -> Result<PathBuf, Failure> {
    let mut command = cargo(project)?;
    command
        .arg("build")
        .arg("--message-format=json-render-diagnostics");
    if !debug {
        command.arg("--release");
    }
    if project.manifest.form == Form::Wasm {
        wasm_target()?;
        command.args(["--target", WASM_TARGET]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::io("cargo", &error))?;
    let messages = child.stdout.take().map(BufReader::new);
    let mut built = None;
    for line in messages.into_iter().flat_map(BufRead::lines) {
        let line = line.map_err(|error| Failure::io("cargo", &error))?;
        built = serde_json::from_str(&line)
            .ok()
            .and_then(|message| artefact(&message, &project.folder))
            .or(built);
    }
    let ended = child.wait().map_err(|error| Failure::io("cargo", &error))?;
    if !ended.success() {
        return Err(Failure::new(Exit::Failed, "`cargo build` failed"));
    }
    let built = built.ok_or_else(|| {
        Failure::new(Exit::Failed, "Cargo has built no plugin")
            .hint("Cargo.toml: [lib] crate-type = [\"cdylib\"]")
    })?;
    let name = built.file_name().unwrap_or_default();
    let file = project.folder.join(BUILD).join(name);
    put(&built, &file).map_err(|error| Failure::io(file.display(), &error))?;
    Ok(file)
}

/// Returns the plugin that a message of Cargo tells of, if it is that of the project.
fn artefact(message: &Value, folder: &Path) -> Option<PathBuf> {
    let of_project = Path::new(message.get("manifest_path")?.as_str()?).parent()? == folder;
    let kinds = message.get("target")?.get("crate_types")?.as_array()?;
    if !of_project || !kinds.iter().any(|kind| kind == "cdylib") {
        return None;
    }
    let files = message
        .get("filenames")?
        .as_array()?
        .iter()
        .filter_map(Value::as_str);
    let mut files = files.map(PathBuf::from);
    files.find(|file| {
        file.extension()
            .is_some_and(|extension| extension == "so" || extension == "wasm")
    })
}

/// Puts a file in its place at once: a broker that watches sees the old one or the new one.
fn put(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut partly = to.as_os_str().to_owned();
    partly.push(".new");
    fs::copy(from, &partly)?;
    fs::rename(&partly, to)
}

/// Returns Cargo for a project; which one is Cargo's own affair.
pub(super) fn cargo(project: &Project) -> Result<Command, Failure> {
    if !is_there("cargo") {
        return Err(Failure::new(Exit::Failed, "`cargo` is not installed")
            .hint("Rust 1.95 or newer: https://rustup.rs"));
    }
    let mut command = Command::new("cargo");
    command.current_dir(&project.folder);
    Ok(command)
}

/// Fails if the compiler has nothing for Wasm.
fn wasm_target() -> Outcome {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", WASM_TARGET])
        .output();
    let folder = asked
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    if folder.is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failed,
        format!("the Rust compiler can't build for {WASM_TARGET} yet"),
    )
    .hint(format!("rustup target add {WASM_TARGET}")))
}

/// Tells whether there is a program of this name where the shell would look.
fn is_there(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_projects_own_library_is_taken() {
        let message = |manifest: &str, kinds: Value| {
            json!({
                "manifest_path": manifest,
                "target": { "crate_types": kinds },
                "filenames": ["t/libx.rlib", "t/libx.so"],
            })
        };
        let taken = |message| artefact(&message, Path::new("p"));
        let own = message("p/Cargo.toml", json!(["cdylib", "rlib"]));
        assert_eq!(taken(own), Some(PathBuf::from("t/libx.so")));
        assert_eq!(taken(message("p/Cargo.toml", json!(["rlib"]))), None);
        assert_eq!(taken(message("q/Cargo.toml", json!(["cdylib"]))), None);
        assert_eq!(taken(json!({ "reason": "build-finished" })), None);
    }
}
