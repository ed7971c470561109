//! The command line: what there is to say, and which file does it. Each command is a file of its own.

mod check;
mod client;
mod config;
mod exit;
mod logging;
mod output;
mod passwd;
mod publish;
mod run;
mod source;
mod subscribe;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Outcome;

/// An MQTT broker that plugins can be put into. Without a command it runs.
#[derive(Debug, Parser)]
#[command(
    name = "jackfield",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 69 address or peer not available, 70 internal error, \
                  74 input or output failed, 77 not permitted, 78 wrong configuration."
)]
struct Cli {
    #[command(flatten)]
    run: run::Run,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (the same as no command)
    Run(run::Run),
    /// Check a configuration and tell everything that is wrong with it
    Check(check::Check),
    /// Publish messages
    #[command(name = "pub")]
    Publish(Box<publish::Publish>),
    /// Subscribe and print what comes
    #[command(name = "sub")]
    Subscribe(Box<subscribe::Subscribe>),
    /// Show what is configured
    #[command(subcommand)]
    Config(config::Config),
    /// Change and check password files
    #[command(subcommand)]
    Passwd(passwd::Passwd),
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => cli.run.run(),
        Some(command) => command.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Command {
    fn run(self) -> Outcome {
        match self {
            Self::Run(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Publish(command) => command.run(),
            Self::Subscribe(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Passwd(command) => command.run(),
        }
    }
}
