//! The command line: what there is to say, and which file does it. Each command is a file of its own.

#[cfg(target_os = "linux")]
mod bench;
mod chain;
mod check;
mod client;
mod completions;
mod config;
mod edit;
mod exit;
mod explain;
mod explained;
mod init;
mod logging;
mod man;
mod output;
mod passwd;
mod plugin;
mod publish;
mod record;
mod request;
mod run;
mod source;
mod subscribe;
mod test;
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
    after_help = "New here? `jackfield init` writes a configuration, `jackfield check` says what is wrong with it, and \
                  `jackfield --config jackfield.toml` runs the broker with it.\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage, 69 address or peer not available, 70 internal error, \
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
    /// Write a first configuration
    Init(init::Init),
    /// Check a configuration and tell everything that is wrong with it
    Check(check::Check),
    /// Run the tests of a configuration
    Test(test::Test),
    /// Say more about something that `check` found
    Explain(explain::Explain),
    /// Publish messages
    #[command(name = "pub")]
    Publish(Box<publish::Publish>),
    /// Subscribe and print what comes
    #[command(name = "sub")]
    Subscribe(Box<subscribe::Subscribe>),
    /// Publish a request and print the response
    #[command(name = "rr")]
    Request(Box<request::Request>),
    /// Load a broker and tell how fast it is
    #[cfg(target_os = "linux")]
    Bench(bench::Bench),
    /// Show and change what is configured
    #[command(subcommand)]
    Config(config::Config),
    /// Show which plugins are asked, and what they would say
    #[command(subcommand)]
    Chain(chain::Chain),
    /// Change and check password files
    #[command(subcommand)]
    Passwd(passwd::Passwd),
    /// Make, build, test, measure and sign plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Print a script that completes command lines, for a shell
    Completions(completions::Completions),
    /// Print the manual page
    Man(man::Man),
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
            Self::Init(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Test(command) => command.run(),
            Self::Explain(command) => command.run(),
            Self::Publish(command) => command.run(),
            Self::Subscribe(command) => command.run(),
            #[cfg(target_os = "linux")]
            Self::Bench(command) => command.run(),
            Self::Request(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Chain(command) => command.run(),
            Self::Passwd(command) => command.run(),
            Self::Plugin(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}
