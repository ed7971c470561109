//! A plugin's options: JSON in, a struct out, and the schema that says what is accepted.

use plugin_api::LoadError;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// Reads the options of a plugin.
///
/// # Errors
/// The text is no JSON object, or doesn't fit `T`.
pub fn options<T: DeserializeOwned>(json: &str) -> Result<T, LoadError> {
    serde_json::from_str(json).map_err(|error| {
        let text = error.to_string();
        // The program hands options over as one line of JSON: the position in it tells the operator nothing.
        let why = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(why, _)| why);
        LoadError::Options {
            key: field_of(why).unwrap_or_default().into(),
            why: why.into(),
        }
    })
}

/// Returns the JSON Schema of `T`, for `PluginInfo::config_schema`.
#[must_use]
pub fn schema<T: JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

/// Returns the field that serde's message about an unknown or missing one names.
fn field_of(why: &str) -> Option<&str> {
    let rest = ["unknown field `", "missing field `"]
        .iter()
        .find_map(|prefix| why.strip_prefix(prefix))?;
    rest.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Door {
        /// How wide.
        width: u8,
    }

    #[test]
    fn options_are_read_and_refused() {
        assert_eq!(options(r#"{"width":3}"#), Ok(Door { width: 3 }));
        let Err(LoadError::Options { key, why }) = options::<Door>(r#"{"widht":3}"#) else {
            panic!("an unknown key was taken");
        };
        assert_eq!(key, "widht");
        assert_eq!(why, "unknown field `widht`, expected `width`");
        let Err(LoadError::Options { key, why }) = options::<Door>(r#"{"width":"wide"}"#) else {
            panic!("a text was taken for a number");
        };
        assert_eq!(key, "");
        assert_eq!(why, r#"invalid type: string "wide", expected u8"#);
    }

    #[test]
    fn the_schema_refuses_what_the_struct_refuses() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Door>()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["width"]["description"], "How wide.");
    }
}
