//! Runs the program. Nothing waits without a bound, and nothing a pipe gets may have an escape code in it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take. Hashing a password in an unoptimised build takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long compilers may take.
const TOOLS_DEADLINE: Duration = Duration::from_secs(900);

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder of the test, with files in it.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file can be written");
    }
    folder
}

/// The program, with nothing of the tests' own environment that it would read.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jackfield"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("JACKFIELD") {
            command.env_remove(name);
        }
    }
    command.env_remove("NO_COLOR");
    // a terminal that could show colours, if there were one
    command.env("TERM", "xterm-256color");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(args: &[impl AsRef<OsStr>]) -> Ended {
    Running::spawn(program().args(args)).end()
}

/// Runs a command that has others compile something, which takes its time.
#[track_caller]
pub(crate) fn run_tools(command: &mut Command) -> Ended {
    Running::spawn(command).end_within(TOOLS_DEADLINE)
}

/// Runs a command that reads `input`.
#[track_caller]
pub(crate) fn run_with(input: &str, args: &[impl AsRef<OsStr>]) -> Ended {
    let mut running = Running::spawn(program().stdin(Stdio::piped()).args(args));
    let mut stdin = running.child.stdin.take().expect("stdin is piped");
    // a command that reads nothing may have closed it
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    running.end()
}

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    told: String,
}

impl Running {
    /// Starts a command.
    #[track_caller]
    pub(crate) fn start(args: &[impl AsRef<OsStr>]) -> Self {
        Self::spawn(program().args(args))
    }

    /// Starts a command, reads the first line of its standard output and closes it, as `| head -n 1` does.
    #[track_caller]
    pub(crate) fn head(args: &[impl AsRef<OsStr>]) -> (Self, String) {
        let mut child = program().args(args).spawn().expect("the program runs");
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        out.read_line(&mut line).expect("a line");
        drop(out);
        (Self::of(child, mpsc::channel().1), line)
    }

    #[track_caller]
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the program runs");
        let out = lines(child.stdout.take().expect("stdout is piped"));
        Self::of(child, out)
    }

    fn of(mut child: Child, out: Receiver<String>) -> Self {
        let err = lines(child.stderr.take().expect("stderr is piped"));
        Self {
            child,
            out,
            err,
            told: String::new(),
        }
    }

    /// Returns the next line of standard output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.out.recv_timeout(DEADLINE).expect("a line")
    }

    /// Waits for a line of standard error that contains `wanted`, and returns it.
    #[track_caller]
    pub(crate) fn tells(&mut self, wanted: &str) -> String {
        loop {
            let Ok(line) = self.err.recv_timeout(DEADLINE) else {
                panic!("it didn't say {wanted:?} but {:?}", self.told);
            };
            self.told += &line;
            if line.contains(wanted) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.end_within(DEADLINE)
    }

    #[track_caller]
    fn end_within(mut self, time: Duration) -> Ended {
        let until = Instant::now() + time;
        let mut err = std::mem::take(&mut self.told);
        err += &rest(&self.err, until);
        let out = rest(&self.out, until);
        let status = self.child.wait().expect("it can be waited for");
        let code = status.code().expect("no signal ended it");
        assert!(
            !out.contains('\x1b') && !err.contains('\x1b'),
            "an escape code in a pipe: {out:?} {err:?}"
        );
        Ended { code, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands out the lines of a stream, with their ends. The channel closes with the stream.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(1..) if send.send(String::from_utf8_lossy(&line).into_owned()).is_ok() => {}
                _ => return,
            }
        }
    });
    receive
}

#[track_caller]
fn rest(lines: &Receiver<String>, until: Instant) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => text += &line,
            Err(mpsc::RecvTimeoutError::Disconnected) => return text,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hasn't ended, so far: {text}"),
        }
    }
}

/// A broker as a process.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) running: Running,
    /// Where it listens; of several listeners the first.
    pub(crate) bind: String,
}

impl Broker {
    /// Starts a broker and waits until it listens.
    #[track_caller]
    pub(crate) fn start(args: &[impl AsRef<OsStr>]) -> Self {
        let mut running = Running::start(args);
        let line = running.tells("listening");
        let words = || line.split_whitespace();
        let bind = words()
            .find_map(|word| word.strip_prefix("bind="))
            .or_else(|| words().nth(2));
        let bind = bind.expect("it says where").to_owned();
        Self { running, bind }
    }

    #[track_caller]
    pub(crate) fn addr(&self) -> SocketAddr {
        self.bind.parse().expect("a TCP address")
    }

    pub(crate) fn port(&self) -> String {
        self.addr().port().to_string()
    }

    /// Ends it in good order.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.running.signal(Signal::TERM);
        self.running.end()
    }
}
