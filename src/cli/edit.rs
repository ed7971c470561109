//! Changing TOML that somebody has written: comments, order and layout stay.

use toml_edit::{TableLike, Value};

/// Puts a value behind the others of a table, or in place of the one that is there.
pub(crate) fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(old) = table.get_mut(key).and_then(toml_edit::Item::as_value_mut) {
        let decor = old.decor().clone();
        *old = value;
        *old.decor_mut() = decor;
        return;
    }
    // The space before the brace of `{ a = 1 }` belongs to the last value.
    if let Some((_, last)) = table.iter_mut().last()
        && let Some(last) = last.as_value_mut()
    {
        let suffix = last.decor().suffix().and_then(toml_edit::RawString::as_str);
        let suffix = suffix.unwrap_or_default().to_owned();
        if !suffix.is_empty() && suffix.trim().is_empty() {
            last.decor_mut().set_suffix("");
            *value.decor_mut() = toml_edit::Decor::new(" ", suffix);
        }
    }
    table.insert(key, toml_edit::Item::Value(value));
}
