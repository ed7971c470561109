//! `jackfield plugin`: what an author of plugins needs, from an empty folder to a signed file. Works on files and folders;
//! only `dev` has a broker.

mod bench;
mod build;
mod conformance;
mod dev;
mod file;
mod inspect;
mod keys;
mod lock;
mod new;
mod project;
mod replay;
mod template;
mod test;
mod told;

use clap::Subcommand;

use super::exit::Outcome;

/// `jackfield plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Write a project that builds, passes its tests and runs
    New(new::New),
    /// Build a project's plugin
    Build(build::Build),
    /// Tell what a plugin file is
    Inspect(inspect::Inspect),
    /// Run a project's tests, and ask what a plugin must survive
    Test(test::Test),
    /// Measure what a plugin's hooks cost
    Bench(bench::Bench),
    /// Run a broker with a project's plugin, and swap it when a source changes
    Dev(dev::Dev),
    /// Put recorded calls to a plugin and compare what it says
    Replay(replay::Replay),
    /// Write the digests of plugin files into a configuration
    Lock(lock::Lock),
    /// Make a key to sign plugins with
    Keygen(keys::Keygen),
    /// Sign a plugin file
    Sign(keys::Sign),
    /// Check the signature of a plugin file
    Verify(keys::Verify),
    /// Ask what a plugin must survive, in this process
    #[command(hide = true)]
    Conformance(conformance::Conformance),
}

impl Plugin {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Self::New(command) => command.run(),
            Self::Build(command) => command.run(),
            Self::Inspect(command) => command.run(),
            Self::Test(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Dev(command) => command.run(),
            Self::Replay(command) => command.run(),
            Self::Lock(command) => command.run(),
            Self::Keygen(command) => command.run(),
            Self::Sign(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Conformance(command) => command.run(),
        }
    }
}
