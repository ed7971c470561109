//! Help texts: there for every command, on standard output, and laid out for a narrow terminal.

use crate::program::run;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["init"],
    &["check"],
    &["explain"],
    &["pub"],
    &["sub"],
    &["bench"],
    &["config"],
    &["config", "show"],
    &["config", "schema"],
    &["config", "set"],
    &["config", "diff"],
    &["rr"],
    &["chain"],
    &["chain", "show"],
    &["chain", "explain"],
    &["test"],
    &["completions"],
    &["man"],
    &["passwd"],
    &["passwd", "add"],
    &["passwd", "list"],
    &["plugin"],
    &["plugin", "new"],
    &["plugin", "build"],
    &["plugin", "inspect"],
    &["plugin", "test"],
    &["plugin", "bench"],
    &["plugin", "dev"],
    &["plugin", "replay"],
    &["plugin", "lock"],
    &["plugin", "keygen"],
    &["plugin", "sign"],
    &["plugin", "verify"],
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = run(&args);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{args:?}");
        assert!(help.out.contains("Usage: jackfield"), "{args:?}");
        for line in help.out.lines() {
            let whole = line.starts_with("Usage:");
            assert!(whole || line.chars().count() <= 100, "{args:?}: {line}");
            // a line break of ours that met one of the terminal's
            let stranded = !line.is_empty() && line.len() < 4 && line.trim() != "-E";
            assert!(!stranded, "{args:?}: {line:?} stands alone\n{}", help.out);
        }
    }
}

#[test]
fn exit_codes_are_told() {
    for (command, codes) in [
        (&[][..], &["0", "1", "2", "69", "70", "74", "77", "78"][..]),
        (&["pub"], &["0", "1", "69"]),
        (&["sub"], &["0", "1", "27", "69"]),
        (&["bench"], &["0", "1", "69"]),
    ] {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = run(&args).out;
        let (_, after) = help
            .rsplit_once("\n\n")
            .expect("something stands below the flags");
        for code in codes {
            assert!(
                after.split([' ', '\n', ',', '.', ':']).any(|word| word == *code),
                "{code}: {after}"
            );
        }
    }
}

#[test]
fn the_version_is_a_line() {
    let version = run(&["--version"]);
    assert_eq!(version.out, format!("jackfield {}\n", env!("CARGO_PKG_VERSION")));
}
