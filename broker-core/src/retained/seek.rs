//! Walking sorted topics for a filter with wildcards: what to do at a topic, and where the next that can match may be.
//!
//! The order is that of the bytes. All topics that begin with one text stand together, which is all that is used: topics
//! below `a/b` begin with `a/b/` and end before `a/b0`, `0` being the byte after `/`.

/// What a topic means to the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It matches.
    Matches,
    /// It doesn't; the one after it may.
    Next,
    /// It doesn't, nor does any before the target.
    To,
    /// It doesn't, nor does any after it.
    End,
}

/// Returns the least text that a topic that matches `filter` can be.
pub(super) fn start(filter: &str) -> &str {
    let literal = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
    // `a/#` matches `a` too.
    literal.strip_suffix('/').unwrap_or(literal)
}

/// Looks at `topic`. Writes the target of [`Step::To`], always after `topic`, into the empty `target`.
pub(super) fn step(filter: &str, topic: &str, target: &mut String) -> Step {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        // [MQTT-4.7.2-1]
        target.push('%');
        return Step::To;
    }
    // Where the current level of the topic begins; one past the end when there is none left.
    let mut at = 0;
    for wanted in filter.split('/') {
        if wanted == "#" {
            return Step::Matches;
        }
        let Some(rest) = topic.get(at..) else {
            return Step::Next;
        };
        let level = &rest[..rest.find('/').unwrap_or(rest.len())];
        if wanted != "+" && wanted != level {
            return towards(&topic[..at], wanted, topic, target);
        }
        at += level.len() + 1;
    }
    if at > topic.len() {
        return Step::Matches;
    }
    // It goes on where the filter ends, as do all below this level.
    target.push_str(&topic[..at - 1]);
    target.push('0');
    Step::To
}

/// `topic` has another level than `wanted` after `above`, which is empty or ends with `/`: aims at the first topic that
/// has it, `above` + `wanted` or what begins with `above` + `wanted` + `/`.
fn towards(above: &str, wanted: &str, topic: &str, target: &mut String) -> Step {
    target.push_str(above);
    target.push_str(wanted);
    if target.as_str() > topic {
        return Step::To;
    }
    target.push('/');
    if target.as_str() > topic {
        return Step::To;
    }
    // Both are behind: go on after everything below `above`.
    target.clear();
    match above.strip_suffix('/') {
        Some(above) => {
            target.push_str(above);
            target.push('0');
            Step::To
        }
        None => Step::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: &str, topic: &str, expected: Step, aim: &str) {
        let mut target = String::new();
        assert_eq!(step(filter, topic, &mut target), expected, "{filter} at {topic}");
        assert_eq!(target, aim, "{filter} at {topic}");
    }

    #[test]
    fn a_walk_begins_where_the_first_match_can_be() {
        let starts = ["a/b/+/c", "a/#", "+/a", "#", "a/+", "/+"].map(start);
        assert_eq!(starts, ["a/b", "a", "", "", "a", ""]);
    }

    #[test]
    fn a_topic_that_cannot_match_says_where_to_go() {
        check("a/+/c", "a/x/c", Step::Matches, "");
        check("a/+/c", "a/x/b", Step::To, "a/x/c");
        check("a/+/c", "a/x/b/z", Step::To, "a/x/c");
        check("a/+/c", "a/x/d", Step::To, "a/x0");
        // `a/x/c/…` isn't behind us yet, though it can't match; one step more.
        check("a/+/c", "a/x/c!", Step::To, "a/x/c/");
        check("a/+/c", "a/x/c/d", Step::To, "a/x/c0");
        check("a/+/c", "a/x", Step::Next, "");
        check("a/+", "b", Step::End, "");
        check("b/#", "a", Step::To, "b");
        check("#", "$SYS/x", Step::To, "%");
        check("$SYS/#", "$SYS/x", Step::Matches, "");
    }
}
