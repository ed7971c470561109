//! `jackfield init`: a first configuration, with a comment on every line that a newcomer may want to change. Flags say what
//! goes in; on a terminal, what no flag said is asked. Never writes over a file.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jackfield::config_file::Bind;
use serde_json::Value as Json;

use super::exit::{Exit, Failure, Outcome};
use super::output;

/// `jackfield init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write
    #[arg(default_value = "jackfield.toml")]
    file: PathBuf,
    /// Where clients connect: a port on loopback, ADDRESS:PORT or unix:PATH [default: 127.0.0.1:1883]
    #[arg(short, long, value_name = "ADDRESS", value_parser = bind)]
    listen: Option<String>,
    /// Who may connect: those with a password, or everybody [default: passwords]
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "passwords|everybody"
    )]
    admit: Option<Admit>,
    /// Also write rules that say who may publish and subscribe to what
    #[arg(long)]
    acl: bool,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
}

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Admit {
    Passwords,
    Everybody,
}

/// What goes into the file.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    listen: String,
    admit: Admit,
    acl: bool,
}

const LISTEN: &str = "127.0.0.1:1883";

impl Init {
    pub(crate) fn run(self) -> Outcome {
        let asked = !self.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
        let choice = match asked {
            true => self.ask(&mut io::stdin().lock(), &mut io::stderr())?,
            false => self.choice(),
        };
        for said in self.write(&choice)? {
            output::line(said)?;
        }
        Ok(())
    }

    /// What the flags say.
    fn choice(&self) -> Choice {
        Choice {
            listen: self.listen.clone().unwrap_or_else(|| LISTEN.to_owned()),
            admit: self.admit.unwrap_or(Admit::Passwords),
            acl: self.acl,
        }
    }

    /// Asks for what no flag says. An empty answer takes what stands in brackets.
    fn ask(&self, answers: &mut impl BufRead, out: &mut impl Write) -> Result<Choice, Failure> {
        let mut choice = self.choice();
        if self.listen.is_none() {
            choice.listen = ask(answers, out, "Where do clients connect?", LISTEN, bind)?;
        }
        if self.admit.is_none() {
            let read = |text: &str| {
                Admit::from_str(text, true).map_err(|_| "answer `passwords` or `everybody`".into())
            };
            choice.admit = ask(
                answers,
                out,
                "Who may connect: passwords or everybody?",
                "passwords",
                read,
            )?;
        }
        if !self.acl {
            let read = |text: &str| match text {
                "y" | "yes" => Ok(true),
                "n" | "no" => Ok(false),
                _ => Err("answer `yes` or `no`".to_owned()),
            };
            choice.acl = ask(
                answers,
                out,
                "Rules for who may publish and subscribe to what?",
                "no",
                read,
            )?;
        }
        Ok(choice)
    }

    /// Writes the files and returns what to say about it.
    fn write(&self, choice: &Choice) -> Result<Vec<String>, Failure> {
        let beside = |name: &str| self.file.with_file_name(name);
        let (passwords, rules) = (beside("passwd"), beside("acl.toml"));
        create(
            &self.file,
            &configuration(choice, &self.file, &passwords, &rules),
            0o644,
        )?;
        let mut said = vec![format!("wrote {}", self.file.display())];
        // These may be there already, with users and rules in them that are meant.
        let mut others = Vec::new();
        if choice.admit == Admit::Passwords {
            others.push((&passwords, PASSWORDS, 0o600));
        }
        if choice.acl {
            others.push((&rules, RULES, 0o644));
        }
        for (file, text, mode) in others {
            said.push(match create(file, text, mode) {
                Ok(()) => format!("wrote {}", file.display()),
                Err(_) if file.exists() => format!("{} is there already and stays as it is", file.display()),
                Err(failure) => return Err(failure),
            });
        }
        said.push("Next:".to_owned());
        if choice.admit == Admit::Passwords {
            said.push(format!("  jackfield passwd add {} NAME", passwords.display()));
        }
        said.push(format!("  jackfield check {}", self.file.display()));
        said.push(format!("  jackfield --config {}", self.file.display()));
        Ok(said)
    }
}

/// Makes a file that isn't there yet.
fn create(file: &Path, text: &str, mode: u32) -> Outcome {
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file);
    match created.and_then(|mut open| open.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already; nothing was written", file.display());
            Err(Failure::new(Exit::Failed, message).hint("give another name, or move that file away"))
        }
        Err(error) => Err(Failure::io(file.display(), &error)),
    }
}

/// Asks until `read` takes the answer.
fn ask<T>(
    answers: &mut impl BufRead,
    out: &mut impl Write,
    question: &str,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let failed = |error: io::Error| Failure::io("terminal", &error);
    loop {
        write!(out, "{question} [{default}] ")
            .and_then(|()| out.flush())
            .map_err(failed)?;
        let mut answer = String::new();
        if answers.read_line(&mut answer).map_err(failed)? == 0 {
            return Err(Failure::new(Exit::Failed, "no answer; nothing was written"));
        }
        let answer = match answer.trim() {
            "" => default,
            answer => answer,
        };
        match read(answer) {
            Ok(taken) => return Ok(taken),
            Err(why) => writeln!(out, "  {why}").map_err(failed)?,
        }
    }
}

/// Takes an address as it is.
fn bind(text: &str) -> Result<String, String> {
    match text.parse::<Bind>() {
        Ok(bind) => Ok(bind.to_string()),
        Err(error) => Err(format!(
            "`{text}` {error}; write `127.0.0.1:1883`, `[::]:1883` or `unix:/path`"
        )),
    }
}

/// The text of the configuration.
fn configuration(choice: &Choice, file: &Path, passwords: &Path, rules: &Path) -> String {
    let quoted = |path: &Path| Json::from(path.display().to_string());
    let file = file.display();
    let mut text = START.to_owned();
    for (command, does) in [
        (format!("check {file}"), "tells everything that is wrong with it"),
        (format!("--config {file}"), "runs the broker with it"),
        ("config schema".to_owned(), "lists all keys, for editors"),
    ] {
        text += &format!("#   {:<34} {does}\n", format!("jackfield {command}"));
    }
    text += PLUGINS;
    let mut chain = Vec::new();
    if choice.admit == Admit::Passwords {
        chain.push("\"passwords\"");
        let add = format!(
            "add users with: jackfield passwd add {} NAME",
            passwords.display()
        );
        text += "\n[plugins.passwords]\n";
        text += &line("use = \"builtin:auth-file\"", "who may connect");
        text += &line(&format!("config = {{ file = {} }}", quoted(passwords)), &add);
    }
    if choice.acl {
        chain.push("\"acl\"");
        text += "\n[plugins.acl]\n";
        text += &line(
            "use = \"builtin:acl-file\"",
            "who may publish and subscribe to what",
        );
        text += &format!("config = {{ file = {} }}\n", quoted(rules));
    }
    text += CHAINS;
    text += &format!("default = [{}]\n", chain.join(", "));
    text += LISTENERS;
    let bind = format!("bind = {}", Json::from(choice.listen.as_str()));
    text += &line(&bind, "127.0.0.1: this machine only; 0.0.0.0: from everywhere");
    if choice.admit == Admit::Everybody {
        text += &line("anonymous = true", "everybody who can reach it comes in");
    }
    text + END
}

/// A line with a comment, which stands where those of the constant parts stand.
fn line(code: &str, comment: &str) -> String {
    format!("{code:<38} # {comment}\n")
}

const START: &str = r#"# Jackfield's configuration. What begins with `#` is a comment; keys in comments show the defaults.
"#;

const PLUGINS: &str = r#"
version = 1

# Plugins decide about clients and messages. Each is declared once, under a name of your choice. The files they
# read are looked up from the folder in which jackfield runs.
"#;

const CHAINS: &str = r#"
# Chains put plugins in order. The first that has a verdict about a client decides.
[chains]
"#;

const LISTENERS: &str = r#"
# Listeners are where clients connect. One without `chain` uses the chain `default`.
[listeners.main]
"#;

const END: &str = r#"
# What clients may do at most.
[limits]
# packet_size_max = "1MiB"
# queued_messages_max = 10_000         # that wait for a client which is away
# queued_bytes_max = "64MiB"
# sessions_max = 1_000_000
# memory_max = "80 %"                  # of this machine's memory; near it clients are refused, step by step

# What the program says about itself, on standard error.
[log]
# level = "info"                       # off, error, warn, info, debug, trace
# format = "auto"                      # auto, text, json

# The broker's figures under $SYS/broker/
[sys]
# enabled = true
# interval = "10s"
"#;

const PASSWORDS: &str = "# One user a line, NAME:HASH. Written by: jackfield passwd add\n";

const RULES: &str = r#"# The first rule that says something decides. What no rule allows is denied.

[[rules]]                              # each user has a part of the tree: home/NAME/...
who = { user = "*" }
allow = ["publish", "subscribe"]
topics = ["home/%u/#"]

[[rules]]                              # everybody may use this part
allow = ["publish", "subscribe"]
topics = ["public/#"]
"#;

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;
    use jackfield::config_file::{Loaded, Report, Sources};

    use super::super::source::{load, runtime};
    use super::super::{Cli, Command};
    use super::*;

    fn init(arguments: &str, folder: &Path) -> Init {
        let file = folder.join("j.toml").display().to_string();
        let words = ["jackfield", "init", &file];
        match Cli::try_parse_from(words.into_iter().chain(arguments.split_whitespace()))
            .unwrap()
            .command
        {
            Some(Command::Init(init)) => init,
            other => panic!("{other:?}"),
        }
    }

    fn loaded(folder: &Path, text: &str) -> Result<Loaded, Report> {
        let file = folder.join("read.toml");
        fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        runtime().unwrap().block_on(load(&sources))
    }

    /// Makes keys of the comments that show one.
    fn with_defaults(text: &str) -> String {
        let key = |line: &str| {
            line.strip_prefix("# ")
                .filter(|line| line.contains(" = "))
                .map(str::to_owned)
        };
        let lines = text
            .lines()
            .map(|line| key(line).unwrap_or_else(|| line.to_owned()));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn whatever_is_chosen_the_file_is_right_and_shows_the_defaults() {
        for (arguments, users, rules) in [
            ("", true, false),
            ("--acl -l 0.0.0.0:1884", true, true),
            ("-a everybody", false, false),
            ("-a everybody --acl -l unix:/run/x.sock", false, true),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let init = init(arguments, folder.path());
            let said = init.write(&init.choice()).unwrap();
            let there = |name: &str| folder.path().join(name).exists();
            assert_eq!(
                (there("passwd"), there("acl.toml")),
                (users, rules),
                "{arguments}"
            );
            assert_eq!(
                said.iter().any(|line| line.contains("passwd add")),
                users,
                "{said:?}"
            );
            let text = fs::read_to_string(&init.file).unwrap();
            let written = loaded(folder.path(), &text).unwrap_or_else(|report| panic!("{report}\n{text}"));
            assert_eq!(written.report, Report::default(), "{text}");
            let full = with_defaults(&text);
            assert!(
                full.lines().filter(|line| line.contains('=')).count() > 10,
                "{full}"
            );
            let full = loaded(folder.path(), &full).unwrap_or_else(|report| panic!("{report}\n{full}"));
            assert_eq!(format!("{:?}", full.settings), format!("{:?}", written.settings));
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("passwd"), "anna:x\n").unwrap();
        let init = init("--yes", folder.path());
        let said = init.write(&init.choice()).unwrap();
        assert!(
            said[1].ends_with("passwd is there already and stays as it is"),
            "{said:?}"
        );
        assert_eq!(fs::read_to_string(at("passwd")).unwrap(), "anna:x\n");
        fs::write(at("j.toml"), "mine").unwrap();
        assert_eq!(init.write(&init.choice()).unwrap_err().code(), 1);
        assert_eq!(fs::read_to_string(at("j.toml")).unwrap(), "mine");
    }

    #[test]
    fn what_no_flag_says_is_asked() {
        let answered = |arguments: &str, answers: &str| {
            let mut asked = Vec::new();
            let choice = init(arguments, Path::new("")).ask(&mut answers.as_bytes(), &mut asked);
            (
                choice.map_err(|failure| failure.code()),
                String::from_utf8(asked).unwrap(),
            )
        };
        let (choice, _) = answered("", "\n\n\n");
        let default = Choice {
            listen: LISTEN.to_owned(),
            admit: Admit::Passwords,
            acl: false,
        };
        assert_eq!(choice, Ok(default));
        let (choice, asked) = answered("", "here\n1884\nEverybody\nyes\n");
        let other = Choice {
            listen: "127.0.0.1:1884".to_owned(),
            admit: Admit::Everybody,
            acl: true,
        };
        assert_eq!(choice, Ok(other));
        assert!(
            asked.contains("`here` is no address; write `127.0.0.1:1883`"),
            "{asked}"
        );
        let (choice, asked) = answered("-l 1 -a passwords --acl", "");
        assert_eq!((choice.is_ok(), asked.as_str()), (true, ""));
        assert_eq!(answered("", "1884\n").0, Err(1));
    }
}
