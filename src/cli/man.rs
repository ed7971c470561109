//! `jackfield man`: manual pages, made from the same table as the help.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use super::exit::{Failure, Outcome};
use super::{Cli, output};

/// `jackfield man`.
#[derive(Debug, Args)]
#[command(after_help = "To read the first page: jackfield man | man -l -")]
pub(crate) struct Man {
    /// Write the page of every command into this folder, which is made if it isn't there
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Outcome {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        match self.dir {
            None => output::text(&page(command)),
            Some(folder) => write_all(&command, &folder),
        }
    }
}

/// Writes the pages of `command` and all commands in it.
fn write_all(command: &Command, folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    let file = folder.join(format!("{name}.1"));
    fs::write(&file, page(command.clone())).map_err(|error| Failure::io(file.display(), &error))?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_for_each(|inner| write_all(inner, folder))
}

fn page(command: Command) -> Vec<u8> {
    let mut page = Vec::new();
    Page::new(command)
        .render(&mut page)
        .expect("writing to memory doesn't fail");
    page
}
