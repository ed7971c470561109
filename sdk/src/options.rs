//! Reading an instance's options, whatever border they came over.

use alloc::string::{String, ToString as _};

use crate::Plugin;

/// What is wrong with options.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// The key, dotted; empty: all of them.
    pub(crate) key: String,
    pub(crate) why: String,
}

impl Complaint {
    /// About the options as a whole.
    pub(crate) const fn of_all(why: String) -> Self {
        Self {
            key: String::new(),
            why,
        }
    }
}

/// Reads the options from the JSON that the broker made of them.
pub(crate) fn read<P: Plugin>(text: &str) -> Result<P::Config, Complaint> {
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        // The position in a line that the broker wrote tells the operator nothing.
        let why = said
            .rsplit_once(" at line ")
            .map_or(said.as_str(), |(why, _)| why);
        let key = ["unknown field `", "missing field `"]
            .iter()
            .find_map(|prefix| why.strip_prefix(prefix)?.split('`').next());
        Complaint {
            key: key.unwrap_or_default().to_string(),
            why: why.to_string(),
        }
    })
}
