//! `jackfield completions`: what a shell needs to complete our command lines, made from the same table as the help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Outcome;
use super::{Cli, output};

/// `jackfield completions`.
#[derive(Debug, Args)]
#[command(after_help = "Put it where the shell looks, for example:\n  \
                        jackfield completions bash > ~/.local/share/bash-completion/completions/jackfield\n  \
                        jackfield completions zsh > ~/.zfunc/_jackfield    (with ~/.zfunc in fpath)\n  \
                        jackfield completions fish > ~/.config/fish/completions/jackfield.fish")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Outcome {
        output::text(&script(self.shell))
    }
}

/// Makes the script first and writes it then: the generator itself doesn't forgive a reader that went away.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "jackfield", &mut script);
    script
}
