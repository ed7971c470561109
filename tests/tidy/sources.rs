//! What the text of each file must say and must not. Reads lines, not Rust: cheap, and enough for these rules.

use crate::exemptions::NOT_OURS;
use crate::repository::{File, files};

/// Files longer than this have more than one subject.
const LINES_MAX: usize = 900;
/// A first line shorter than this doesn't say what the file is.
const HEADING_MIN: usize = 12;
/// Files with these endings are written by hand.
const MEASURED: [&str; 11] = ["rs", "c", "h", "wit", "py", "js", "mjs", "ts", "sh", "md", "toml"];

// Taken apart, or this file would complain about itself.
const UNFINISHED_MACROS: [&str; 3] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("d", "bg!"),
];
const UNFINISHED_WORDS: [&str; 2] = [concat!("FIX", "ME"), concat!("XX", "X")];
const SKIPPED: [&str; 3] = [
    concat!("#[", "ignore"),
    concat!(", ign", "ore)]"),
    concat!("//", "/ ```ignore"),
];
const FOLDERS_OF_A_MACHINE: [&str; 3] = [concat!("/wo", "rk"), concat!("/ro", "ot"), concat!("/ho", "me")];

/// A rule: what is wrong with a file, with the line if there is one.
type Rule = fn(&File) -> Vec<(usize, String)>;

const RULES: [Rule; 6] = [heading, length, unfinished, skipped, unreasoned, machine];

fn complaints(file: &File) -> Vec<String> {
    let at = |(line, what)| match line {
        0 => format!("{}: {what}", file.path),
        line => format!("{}:{line}: {what}", file.path),
    };
    RULES.iter().flat_map(|rule| rule(file)).map(at).collect()
}

/// A source file begins with what it is, or with a page that says so.
fn heading(file: &File) -> Vec<(usize, String)> {
    let first = file.text.lines().next().unwrap_or_default();
    let page = first.starts_with("#![doc = include_str!(");
    let says = page
        || first
            .strip_prefix("//! ")
            .is_some_and(|said| said.trim().len() >= HEADING_MIN);
    complain_if(
        file.is("rs") && !says,
        "the first line must be `//!` and say what the file is",
    )
}

/// A file has one subject.
fn length(file: &File) -> Vec<(usize, String)> {
    let lines = file.text.lines().count();
    let measured = MEASURED.iter().any(|extension| file.is(extension));
    complain_if(
        measured && lines > LINES_MAX,
        &format!("{lines} lines; at most {LINES_MAX}"),
    )
}

/// What is committed is finished.
fn unfinished(file: &File) -> Vec<(usize, String)> {
    let macros = UNFINISHED_MACROS.iter().filter(|_| file.is("rs"));
    by_line(file, |line| {
        let mut words = macros.clone().chain(&UNFINISHED_WORDS);
        words
            .find(|word| mentions(line, word))
            .map(|word| format!("unfinished: `{word}`"))
    })
}

/// A test that doesn't run, and an example that doesn't compile, tests nothing.
fn skipped(file: &File) -> Vec<(usize, String)> {
    by_line(file, |line| {
        let skips = file.is("rs") && SKIPPED.iter().any(|skip| line.contains(skip));
        skips.then(|| "a test that is skipped".to_owned())
    })
}

/// A lint is silenced with a reason.
fn unreasoned(file: &File) -> Vec<(usize, String)> {
    if !file.is("rs") {
        return Vec::new();
    }
    let silencing = attributes(&file.text).filter(|(_, text)| calls(text, "allow") || calls(text, "expect"));
    let silent = silencing.filter(|(_, text)| !has_reason(text));
    silent
        .map(|(line, text)| (line, format!("no reason: `{text}`")))
        .collect()
}

fn has_reason(attribute: &str) -> bool {
    attribute
        .split_once("reason = \"")
        .is_some_and(|(_, reason)| !reason.starts_with('"'))
}

/// Nothing knows the machine it was written on.
fn machine(file: &File) -> Vec<(usize, String)> {
    by_line(file, |line| {
        let folder = FOLDERS_OF_A_MACHINE
            .iter()
            .find(|folder| names_absolute(line, folder))?;
        Some(format!("names a folder of a machine: `{folder}`"))
    })
}

fn complain_if(wrong: bool, what: &str) -> Vec<(usize, String)> {
    wrong.then(|| (0, what.to_owned())).into_iter().collect()
}

fn by_line(file: &File, look: impl Fn(&str) -> Option<String>) -> Vec<(usize, String)> {
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(at, line)| look(line).map(|what| (at + 1, what)))
        .collect()
}

/// Tells whether `line` has `word`, not as a part of a longer one.
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let ends = word.ends_with('!') || !after.is_some_and(is_word);
        !before.is_some_and(is_word) && ends
    })
}

/// Tells whether `name(` is in `text`, not as the end of a longer name.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        text[at + name.len()..].starts_with('(') && !text[..at].chars().next_back().is_some_and(is_word)
    })
}

/// Tells whether `line` has the absolute path `folder` or one below it.
fn names_absolute(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + folder.len()..].chars().next();
        let relative = before.is_some_and(|c| is_word(c) || "./~+#})*-".contains(c));
        !relative && !after.is_some_and(|c| is_word(c) || c == '-')
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the attributes of a Rust source with their lines. What looks like one inside of a string counts too.
fn attributes(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = text.match_indices('#').map(|(at, _)| at);
    starts.filter_map(move |at| {
        let rest = &text[at + 1..];
        let inside = rest.strip_prefix('!').unwrap_or(rest);
        let end = inside.starts_with('[').then(|| closing(inside))??;
        Some((1 + text[..at].matches('\n').count(), &inside[..=end]))
    })
}

/// Returns where the bracket closes that `text` begins with.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[test]
fn sources_are_tidy() {
    let ours = files()
        .iter()
        .filter(|file| !NOT_OURS.contains(&file.path.as_str()));
    let complaints: Vec<_> = ours.flat_map(complaints).collect();
    crate::expect_tidy(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        complaints(&File {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    /// A source whose only line after the heading is `line`.
    fn line(line: &str) -> Vec<String> {
        check("src/x.rs", &format!("//! What an x is and does.\n{line}\n"))
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_is_found() {
        assert_eq!(line("fn x() {}"), [""; 0]);
        assert_eq!(check("x.rs", "//! x\n").len(), 1);
        assert_eq!(check("x.rs", "// What an x is and does.\n").len(), 1);
        assert_eq!(check("x.rs", "").len(), 1);
        assert_eq!(
            check("x.rs", "#![doc = include_str!(\"../README.md\")]\n"),
            [""; 0]
        );
        assert_eq!(check("x.py", ""), [""; 0]);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        let text = |lines| format!("//! What an x is and does.\n{}", "\n".repeat(lines - 1));
        assert_eq!(check("x.rs", &text(LINES_MAX)), [""; 0]);
        assert_eq!(check("x.rs", &text(LINES_MAX + 1)).len(), 1);
        assert_eq!(check("x.csv", &text(LINES_MAX + 1)), [""; 0]);
    }

    #[test]
    fn what_is_unfinished_is_found_with_its_line() {
        for word in UNFINISHED_MACROS {
            assert_eq!(
                line(&format!("    {word}()")),
                [format!("src/x.rs:2: unfinished: `{word}`")]
            );
            assert_eq!(line(&format!("    my_{word}()")), [""; 0]);
        }
        for word in UNFINISHED_WORDS {
            assert_eq!(check("x.md", &format!("a\n{word}: b\n")).len(), 1);
            assert_eq!(check("x.md", &format!("mktemp {word}{word}\n")), [""; 0]);
        }
    }

    #[test]
    fn a_test_that_is_skipped_is_found() {
        assert_eq!(line(&format!("    {}]", SKIPPED[0])).len(), 1);
        assert_eq!(line(&format!("    {} = \"slow\"]", SKIPPED[0])).len(), 1);
        assert_eq!(line(&format!("#[cfg_attr(miri{}", SKIPPED[1])).len(), 1);
        assert_eq!(line("/// ```compile_fail"), [""; 0]);
    }

    #[test]
    fn a_lint_silenced_without_a_reason_is_found() {
        let silence = |rest: &str| ["#[al", "low(", rest].concat();
        assert_eq!(line(&silence("dead_code)]")).len(), 1);
        assert_eq!(line(&silence("dead_code, reason = \"\")]")).len(), 1);
        assert_eq!(line(&silence("dead_code, reason = \"[x] is in C\")]")), [""; 0]);
        assert_eq!(
            line(&silence("\n    dead_code,\n    reason = \"x\"\n)]")),
            [""; 0]
        );
        assert_eq!(
            line(&["#![cfg_attr(test, al", "low(dead_code))]"].concat()).len(),
            1
        );
        assert_eq!(
            line(&["#[ex", "pect(dead_code)]"].concat()),
            ["src/x.rs:2: no reason: `[".to_owned() + "expect(dead_code)]`"]
        );
        assert_eq!(line("let x = y.expect(\"[1]\");"), [""; 0]);
    }

    #[test]
    fn a_folder_of_a_machine_is_found() {
        for folder in FOLDERS_OF_A_MACHINE {
            assert_eq!(line(&format!("// see {folder}/x")).len(), 1);
            assert_eq!(line(&format!("const X: &str = \"{folder}\";")).len(), 1);
            assert_eq!(check("x.toml", &format!("x=\"{folder}/a\"\n")).len(), 1);
            assert_eq!(
                line(&format!("// plant{folder}, $X{folder}, ..{folder}, {folder}s")),
                [""; 0]
            );
        }
    }
}
