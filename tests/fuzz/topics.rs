//! Topic Names and Topic Filters: the same rules and matches as a naive reading of the standard's chapter 4.7.

use broker_types::{SubscriptionFilter, TopicFilter, TopicRef};

/// A filter, a line end, a topic.
pub(crate) fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (filter, topic) = text.split_once('\n').unwrap_or((&text, &text));
    let parsed = TopicFilter::new(filter);
    assert_eq!(parsed.is_ok(), is_filter(filter), "{filter:?}: {parsed:?}");
    let name = TopicRef::new(topic);
    assert_eq!(name.is_ok(), is_name(topic), "{topic:?}: {name:?}");
    if let (Ok(parsed), Ok(name)) = (&parsed, name) {
        assert_eq!(
            parsed.matches(name),
            matches(filter, topic),
            "{filter:?} {topic:?}"
        );
        assert_eq!(parsed.as_str(), filter);
        assert_eq!(
            parsed.has_wildcard(),
            filter.split('/').any(|level| level == "+" || level == "#")
        );
    }
    if let Ok(subscription) = SubscriptionFilter::parse(filter) {
        assert_eq!(subscription.to_string(), filter);
    }
}

fn is_name(topic: &str) -> bool {
    (1..=65_535).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let last = levels.len() - 1;
    let well = |(i, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => i == last,
        text => !text.contains(['+', '#']),
    };
    (1..=65_535).contains(&filter.len()) && !filter.contains('\0') && levels.iter().enumerate().all(well)
}

fn matches(filter: &str, topic: &str) -> bool {
    let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    !hidden && levels_match(&filter, &topic)
}

fn levels_match(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => levels_match(filter, topic),
        ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && levels_match(filter, topic),
        _ => false,
    }
}
