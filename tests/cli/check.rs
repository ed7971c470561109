//! `jackfield check`: everything at once, each mistake with its place.

use crate::program::{Ended, folder, run};

/// Ten mistakes, each on a line of its own.
const WRONG: &str = r#"version = 2
nonsense = 1
listeners.a = { bind = "tcp" }
listeners.b = { bind = "1883", chain = "devcies" }
[plugins.x]
use = "builtin:auth-fle"
[limits]
packet_size_max = "9 XB"
receive_maximum = 0
[log]
level = "loud"
[store]
engine = "punch cards"
[chains]
devices = ["x", { plugin = "x", topic = ["a"] }]
"#;

/// Line and column of each, in order, with a word that says what is wrong.
const PLACES: [(usize, usize, &str); 10] = [
    (1, 11, "version"),
    (2, 1, "nonsense"),
    (3, 24, "no address"),
    (4, 40, "devcies"),
    (6, 7, "auth-fle"),
    (8, 19, "64KiB"),
    (9, 19, "65535"),
    (11, 9, "`warn`"),
    (13, 10, "punch cards"),
    (15, 33, "topic"),
];

fn checked(text: &str, more: &[&str]) -> (Ended, String) {
    let folder = folder(&[("jackfield.toml", text)]);
    let file = folder.path().join("jackfield.toml").display().to_string();
    let args: Vec<&str> = ["check", &file].into_iter().chain(more.iter().copied()).collect();
    (run(&args), file)
}

#[test]
fn ten_mistakes_are_ten_messages_with_their_places() {
    let (ended, file) = checked(WRONG, &[]);
    assert_eq!(ended.code, 78);
    assert_eq!(ended.out, "");
    let told: Vec<&str> = ended.err.split("\n\n").collect();
    assert_eq!(told.len(), 11, "{}", ended.err);
    let end: Vec<&str> = told[10].lines().collect();
    assert_eq!(end[0], "10 errors");
    let explain: Vec<&str> = end[1]
        .rsplit("jackfield ")
        .next()
        .expect("a command")
        .split(' ')
        .collect();
    assert!(run(&explain).out.starts_with("# "), "{end:?}");
    for (message, (line, column, word)) in told.iter().zip(PLACES) {
        let place = format!("--> {file}:{line}:{column}\n");
        assert!(message.starts_with("error["), "{message}");
        assert!(message.contains(&place), "{place}{message}");
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_typing_mistake_is_met_with_a_suggestion() {
    let (ended, _) = checked(WRONG, &[]);
    for suggestion in [
        "did you mean `devices`?",
        "did you mean `builtin:auth-file`?",
        "did you mean `topics`?",
    ] {
        assert!(ended.err.contains(suggestion), "{suggestion}\n{}", ended.err);
    }
}

#[test]
fn scripts_get_an_object_a_line() {
    let (ended, file) = checked(WRONG, &["--format", "json"]);
    assert_eq!((ended.code, ended.err.as_str()), (78, ""));
    let found: Vec<serde_json::Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(found.len(), 10);
    for (found, (line, column, _)) in found.iter().zip(PLACES) {
        assert_eq!(
            (&found["file"], &found["line"], &found["column"]),
            (&file.as_str().into(), &line.into(), &column.into()),
            "{found}"
        );
    }
}

#[test]
fn what_is_right_is_said_on_standard_output() {
    let text = "version = 1\n[listeners.a]\nbind = '127.0.0.1:0'\nanonymous = true\n";
    let (ended, file) = checked(text, &[]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.starts_with(&file), "{}", ended.out);
}

#[test]
fn a_warning_fails_only_where_it_should() {
    let folder = folder(&[("acl.toml", "rules = []\n")]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    let file = at("jackfield.toml");
    let text = format!(
        "version = 1\n[plugins.acl]\nuse = 'builtin:acl-file'\non_error = 'allow'\nconfig = {{ file = '{}' }}\n\
         [listeners.a]\nbind = '127.0.0.1:0'\nanonymous = true\nchain = ['acl']\n",
        at("acl.toml")
    );
    std::fs::write(&file, text).expect("a file can be written");
    let lenient = run(&["check", &file]);
    assert_eq!(lenient.code, 0, "{}", lenient.err);
    assert!(lenient.err.contains("warning["), "{}", lenient.err);
    assert_eq!(run(&["check", &file, "--strict"]).code, 78);
}

#[test]
fn a_mistake_on_the_command_line_is_shown_as_it_was_typed() {
    let (ended, _) = checked("version = 1\n", &["--set", "limits.inflight_max=many"]);
    assert_eq!(ended.code, 78);
    assert!(
        ended.err.contains("--> --set limits.inflight_max=many"),
        "{}",
        ended.err
    );
}
