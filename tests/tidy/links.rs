//! Links in our Markdown lead somewhere: to a file of the repository, and to a heading in it. Addresses in the network
//! are not followed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::repository::{File, files, root};

/// A repository, as far as links go.
trait Pages {
    /// Tells whether there is a file or a folder at this path from the root.
    fn has(&self, path: &str) -> bool;
    /// Returns the text of a page.
    fn text(&self, path: &str) -> Option<&str>;
}

struct Repository;

impl Pages for Repository {
    fn has(&self, path: &str) -> bool {
        root().join(path).exists()
    }

    fn text(&self, path: &str) -> Option<&str> {
        files()
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }
}

/// Which links of the page at `path` lead nowhere.
fn complaints(pages: &impl Pages, path: &str, text: &str) -> Vec<String> {
    let dead = links(text)
        .into_iter()
        .filter(|link| !leads_somewhere(pages, path, text, link));
    dead.map(|link| format!("{path}: the link `{link}` leads nowhere"))
        .collect()
}

fn leads_somewhere(pages: &impl Pages, path: &str, text: &str, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (to, heading) = link
        .split_once('#')
        .map_or((link, None), |(to, heading)| (to, Some(heading)));
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let Some(target) = resolve(&folder.join(to)) else {
        return false;
    };
    let page = if to.is_empty() {
        Some(text)
    } else {
        pages.text(&target)
    };
    let there = to.is_empty() || pages.has(&target);
    there && heading.is_none_or(|heading| page.is_some_and(|page| anchors(page).contains(heading)))
}

/// Returns a path without `.` and `..`; `None` if it leads out of the repository.
fn resolve(path: &Path) -> Option<String> {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::ParentDir => resolved.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved.to_str()?.replace('\\', "/"))
}

/// Returns the targets of all links outside of code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let line = without_code(line);
        let inline = line
            .match_indices("](")
            .filter_map(|(at, _)| line[at + 2..].split_once(')'));
        let named = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let targets = inline
            .map(|(target, _)| target)
            .chain(named.map(|(_, target)| target));
        // A target may be followed by a title.
        found.extend(
            targets
                .filter_map(|target| target.split_whitespace().next())
                .map(str::to_owned),
        );
    }
    found
}

/// Returns the anchors of a page's headings, made as the forges make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter(|line| line.starts_with('#'));
    let mut anchors = BTreeSet::new();
    for title in titles {
        let anchor = title
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .replace(' ', "-");
        let anchor: String = anchor
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect();
        anchors.insert(anchor);
    }
    anchors
}

/// Returns the lines that are not in a fenced block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Returns a line without what is between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[test]
fn links_lead_somewhere() {
    let pages = files().iter().filter(|file: &&File| file.is("md"));
    let complaints: Vec<_> = pages
        .flat_map(|page| complaints(&Repository, &page.path, &page.text))
        .collect();
    crate::expect_tidy(&complaints);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Pages for Two {
        fn has(&self, path: &str) -> bool {
            ["README.md", "docs/b.md", "docs"].contains(&path)
        }

        fn text(&self, path: &str) -> Option<&str> {
            (path == "docs/b.md").then_some("# B, and `more` of it\n")
        }
    }

    #[track_caller]
    fn check(text: &str, dead: &[&str]) {
        let expected: Vec<_> = dead
            .iter()
            .map(|link| format!("docs/a.md: the link `{link}` leads nowhere"))
            .collect();
        assert_eq!(complaints(&Two, "docs/a.md", text), expected);
    }

    #[test]
    fn a_link_to_no_file_is_found() {
        check("[b](b.md) and [r](../README.md), [d](../docs)", &[]);
        check(
            "[b](b.md) and [c](c.md), [c](../c.md \"title\")",
            &["c.md", "../c.md"],
        );
        check("[up](../../b.md) [root](/b.md)", &["../../b.md", "/b.md"]);
        check("[b]: b.md\n[c]: c.md\n", &["c.md"]);
        check("[x](https://example.org/x.md) <mailto:a@example.org>", &[]);
    }

    #[test]
    fn a_link_to_no_heading_is_found() {
        check("# Own title\n[o](#own-title) [b](b.md#b-and-more-of-it)", &[]);
        check("[o](#own-title) [b](b.md#c)", &["#own-title", "b.md#c"]);
    }

    #[test]
    fn code_has_no_links() {
        check("```\n[c](c.md)\n```\n`[c](c.md)` [d](d.md)", &["d.md"]);
    }
}
