//! `jackfield chain`: what there is to ask about chains.

mod explain;
mod show;

use clap::Subcommand;

use super::exit::Outcome;
pub(crate) use explain::failure;

/// `jackfield chain`.
#[derive(Debug, Subcommand)]
pub(crate) enum Chain {
    /// Print for each hook which plugins are asked, in order
    Show(show::Show),
    /// Tell what each plugin says to one client, without opening a port
    Explain(Box<explain::Explain>),
}

impl Chain {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::Show(command) => command.run(),
            Self::Explain(command) => command.run(),
        }
    }
}
