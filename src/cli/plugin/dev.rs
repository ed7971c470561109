//! `jackfield plugin dev`: a broker with the project's plugin in it, which is built anew and swapped in when a source
//! changes, and whose calls are printed as they happen. Clients stay connected over a swap.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use jackfield::assemble::assemble;
use jackfield::config_file::{self, Sources};
use jackfield::{Broker, BrokerBuilder};
use plugin_api::PluginLoader;
use plugin_testkit::record::{Limits, Recorder};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::record::Recordings;
use super::super::source::{Overrides, listen, loaders, runtime};
use super::super::{logging, output};
use super::build::build;
use super::project::{BUILD, Project};
use super::told::told;

/// How often sources are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Files that are looked at.
const FILES_MAX: usize = 10_000;
/// How long clients have to take what waits for them when the broker ends.
const GOODBYE: Duration = Duration::from_secs(2);

/// `jackfield plugin dev`.
#[derive(Debug, Args)]
#[command(
    after_help = "The broker is that of the project's jackfield.toml. A build that fails leaves the plugin as it is. Each swap \
                        keeps the library before it in memory; after 64 a restart makes room. Ctrl-C ends it."
)]
pub(crate) struct Dev {
    /// The project
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Listen here too: a port on loopback, HOST:PORT or unix:PATH
    #[arg(short, long, value_name = "ADDRESS")]
    listen: Vec<String>,
    /// Build with optimisation
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Dev {
    pub(crate) fn run(self) -> Outcome {
        let project = Project::open(&self.folder)?;
        build(&project, !self.release)?;
        // Paths in the configuration are those of the project.
        std::env::set_current_dir(&project.folder)
            .map_err(|error| Failure::io(project.folder.display(), &error))?;
        let mut sources = self.overrides.sources(Some("jackfield.toml".into()));
        sources.flags.extend(listen(&self.listen, true));
        let limits = Limits {
            bytes_max: u64::MAX,
            ..Limits::default()
        };
        let recorder =
            Recorder::new(Calls, limits).map_err(|error| Failure::io("standard output", &error))?;
        let instance = project.manifest.name.replace('-', "_");
        let loaders = Recordings::of_one(&instance, recorder).before(loaders());
        runtime()?.block_on(serve(&project, &sources, &loaders, !self.release))
    }
}

async fn serve(
    project: &Project,
    sources: &Sources,
    loaders: &[Arc<dyn PluginLoader>],
    debug: bool,
) -> Outcome {
    let builder = builder(sources, loaders, true).await?;
    let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
    let started = builder.start().await;
    let broker = started.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    for (name, bind) in broker.listeners() {
        eprintln!("{name} is listening on {bind}. Change a source, and the plugin is swapped.");
    }
    let mut seen = state_of(&project.folder);
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = state_of(&project.folder);
        if now != seen {
            seen = now;
            match renewed(project, sources, loaders, debug, &broker).await {
                Ok(changes) => eprintln!("{changes}"),
                Err(failure) => {
                    failure.report();
                    eprintln!("the plugin goes on as it was");
                }
            }
        }
    }
    broker.shutdown(GOODBYE).await;
    Ok(())
}

/// Builds and swaps. Says what has changed.
async fn renewed(
    project: &Project,
    sources: &Sources,
    loaders: &[Arc<dyn PluginLoader>],
    debug: bool,
    broker: &Broker,
) -> Result<String, Failure> {
    build(project, debug)?;
    let builder = builder(sources, loaders, false).await?;
    let reloaded = broker.handle().reload(builder).await;
    let reloaded = reloaded.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    Ok(reloaded.to_string())
}

/// Reads the configuration and loads the plugins.
async fn builder(
    sources: &Sources,
    loaders: &[Arc<dyn PluginLoader>],
    first: bool,
) -> Result<BrokerBuilder, Failure> {
    let loaded = config_file::load(sources, loaders).await.map_err(|report| {
        output::report(&report);
        Failure::silent(Exit::Configuration as u8)
    })?;
    if first {
        logging::start(&loaded.settings.log);
    }
    assemble(&loaded.settings, loaders).await.map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Configuration, texts.join("\njackfield: "))
    })
}

/// What a person sees of the sources' state: how many there are, and when the last was written.
fn state_of(folder: &Path) -> (usize, Option<SystemTime>) {
    let mut folders = vec![folder.to_owned()];
    let (mut files, mut last) = (0, None);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let passed = [BUILD, "target", "Cargo.lock"]
                .iter()
                .any(|passed| name == *passed);
            if passed || name.to_string_lossy().starts_with('.') || files >= FILES_MAX {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => {
                    files += 1;
                    last = last.max(metadata.modified().ok());
                }
                // It has gone just now.
                Err(_) => {}
            }
        }
    }
    (files, last)
}

/// Standard output, on which each call of a recording becomes a line for a person.
struct Calls;

impl Write for Calls {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let entry = serde_json::from_slice(line).unwrap_or(serde_json::Value::Null);
        writeln!(io::stdout().lock(), "{}", told(&entry))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}
