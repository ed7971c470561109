//! What a name looks like: levels of text with captures in them. Both sides of a rule are shapes; one takes a name
//! apart, the other puts it together.

use broker_types::{TopicFilter, TopicName, levels};

/// The most wildcards in a rule; a topic that needs more wants a plugin of its own.
pub(crate) const CAPTURES_MAX: usize = 16;

/// What the wildcards of a name stood for, by number.
pub(crate) type Captures<'t> = [Option<&'t str>; CAPTURES_MAX];

/// The levels of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape(Box<[Level]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// One level, put together of these; only texts, or texts and captures.
    Parts(Box<[Part]>),
    /// All levels from here on, perhaps none.
    Rest(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Capture(usize),
}

impl Shape {
    /// Reads a Topic Filter: each `+` is a capture, `#` the rest. Returns the number of wildcards too.
    pub(crate) fn of_filter(filter: &str) -> Result<(Self, usize), String> {
        let filter = TopicFilter::new(filter).map_err(|error| error.to_string())?;
        let mut count = 0;
        let mut next = || {
            count += 1;
            count - 1
        };
        let shape = filter
            .levels()
            .map(|level| match level {
                "+" => Level::Parts([Part::Capture(next())].into()),
                "#" => Level::Rest(next()),
                text => Level::Parts([Part::Text(text.into())].into()),
            })
            .collect();
        if count > CAPTURES_MAX {
            return Err(format!(
                "has {count} wildcards, at most {CAPTURES_MAX} are possible"
            ));
        }
        Ok((Self(shape), count))
    }

    /// Reads a template for what `source` takes apart, with its `wildcards`.
    pub(crate) fn of_template(template: &str, source: &Self, wildcards: usize) -> Result<Self, String> {
        let rest = source.rest();
        let shape: Box<[Level]> = levels(template)
            .map(|level| parse_level(level, rest, wildcards))
            .collect::<Result<_, _>>()?;
        let is_rest = |level: &Level| matches!(level, Level::Rest(_));
        if let Some(at) = shape.iter().position(is_rest)
            && at + 1 < shape.len()
        {
            return Err("what `#` stands for must be the last level".into());
        }
        let shape = Self(shape);
        let example: Captures<'_> = [Some("x"); CAPTURES_MAX];
        let text = shape.put_together(&example);
        TopicName::new(text).map_err(|error| error.to_string())?;
        Ok(shape)
    }

    /// Returns why names of this shape can't be taken apart again into `wildcards` captures, if so.
    pub(crate) fn check_reversible(&self, wildcards: usize) -> Result<(), String> {
        let mut seen = [0; CAPTURES_MAX];
        for level in &self.0 {
            let captures = level.captures();
            if captures.len() > 1 {
                return Err("`both_ways` needs at most one wildcard in a level of `to`".into());
            }
            for capture in captures {
                seen[capture] += 1;
            }
        }
        match seen[..wildcards].iter().position(|&times| times != 1) {
            Some(missing) => Err(format!(
                "`both_ways` needs `{{{}}}` in `to` exactly once",
                missing + 1
            )),
            None => Ok(()),
        }
    }

    /// Takes a Topic Name, or a Topic Filter that lies within this shape, apart; false if it doesn't fit.
    pub(crate) fn take_apart<'t>(&self, name: &'t str, captures: &mut Captures<'t>) -> bool {
        if name.starts_with('$') && !self.begins_with_text() {
            return false; // [MQTT-4.7.2-1]
        }
        let mut rest = Some(name);
        for level in &self.0 {
            let parts = match level {
                Level::Parts(parts) => parts,
                Level::Rest(number) => {
                    captures[*number] = rest;
                    return true;
                }
            };
            let Some(text) = rest else {
                return false;
            };
            let (first, behind) = match text.split_once('/') {
                Some((first, behind)) => (first, Some(behind)),
                None => (text, None),
            };
            if !take_level_apart(parts, first, captures) {
                return false;
            }
            rest = behind;
        }
        rest.is_none()
    }

    /// Puts a name together. Without captures it is no better than them: check it.
    pub(crate) fn put_together(&self, captures: &Captures<'_>) -> String {
        let mut name = String::new();
        for (i, level) in self.0.iter().enumerate() {
            let separator = if i > 0 { "/" } else { "" };
            match level {
                Level::Parts(parts) => {
                    name.push_str(separator);
                    for part in parts {
                        name.push_str(match part {
                            Part::Text(text) => text,
                            Part::Capture(number) => captures[*number].unwrap_or_default(),
                        });
                    }
                }
                Level::Rest(number) => {
                    if let Some(rest) = captures[*number] {
                        name.push_str(separator);
                        name.push_str(rest);
                    }
                }
            }
        }
        name
    }

    /// Tells whether names of this shape begin with a text that the rule fixes.
    pub(crate) fn begins_with_text(&self) -> bool {
        matches!(self.0.first(), Some(Level::Parts(parts)) if matches!(parts.first(), Some(Part::Text(_))))
    }

    /// Returns a filter that matches all names of this shape, and perhaps more.
    pub(crate) fn filter(&self) -> TopicFilter {
        let levels: Vec<&str> = self.0.iter().map(Level::filter).collect();
        TopicFilter::new(levels.join("/")).expect("texts of a checked filter or topic, `+`, and `#` last")
    }

    fn rest(&self) -> Option<usize> {
        match self.0.last() {
            Some(Level::Rest(number)) => Some(*number),
            _ => None,
        }
    }
}

impl Level {
    fn captures(&self) -> Vec<usize> {
        match self {
            Self::Rest(number) => vec![*number],
            Self::Parts(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Capture(number) => Some(*number),
                    Part::Text(_) => None,
                })
                .collect(),
        }
    }

    fn filter(&self) -> &str {
        match self {
            Self::Rest(_) => "#",
            Self::Parts(parts) => match &parts[..] {
                [] => "",
                [Part::Text(text)] => text,
                _ => "+",
            },
        }
    }
}

fn parse_level(level: &str, rest: Option<usize>, wildcards: usize) -> Result<Level, String> {
    if level.contains(['+', '#']) {
        return Err("`+` and `#` have no place in `to`: write `{1}` for the first wildcard of `from`".into());
    }
    let mut parts = Vec::new();
    let mut text = level;
    while let Some((before, behind)) = text.split_once('{') {
        let number = behind.split_once('}').and_then(|(number, behind)| {
            let number: usize = number.parse().ok()?;
            Some((number, behind))
        });
        let Some((number, behind)) = number else {
            return Err(format!(
                "`{level}`: between `{{` and `}}` stands the number of a wildcard"
            ));
        };
        if !(1..=wildcards).contains(&number) {
            return Err(format!("`{{{number}}}`: `from` has {wildcards} wildcards"));
        }
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        parts.push(Part::Capture(number - 1));
        text = behind;
    }
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    match (&parts[..], rest) {
        ([Part::Capture(number)], Some(rest)) if *number == rest => Ok(Level::Rest(rest)),
        (parts, Some(rest)) if parts.contains(&Part::Capture(rest)) => Err(format!(
            "`{level}`: what `#` stands for must be a level of its own"
        )),
        _ => Ok(Level::Parts(parts.into())),
    }
}

/// Takes one level apart; it has at most one capture. A wildcard in the level, which only a filter has, fits a capture of
/// the whole level, and `#` fits none.
fn take_level_apart<'t>(parts: &[Part], level: &'t str, captures: &mut Captures<'t>) -> bool {
    let (before, number, behind) = match parts {
        [Part::Text(text)] => return **text == *level,
        [Part::Capture(number)] => {
            captures[*number] = Some(level);
            return level != "#";
        }
        [Part::Text(before), Part::Capture(number)] => (&**before, number, ""),
        [Part::Capture(number), Part::Text(behind)] => ("", number, &**behind),
        [Part::Text(before), Part::Capture(number), Part::Text(behind)] => (&**before, number, &**behind),
        _ => return false,
    };
    let inner = level
        .strip_prefix(before)
        .and_then(|inner| inner.strip_suffix(behind));
    captures[*number] = inner;
    inner.is_some()
}
