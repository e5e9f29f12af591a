//! Durations as people write them: `250ms`, `30s`, `1h 30m`.
//!
//! With feature `serde` the functions here are a serde module for fields of config structs:
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Poll {
//!     #[serde(with = "octostack_core::duration")]
//!     #[schemars(schema_with = "octostack_core::duration::schema")]
//!     every: Duration,
//! }
//! # }
//! ```
use std::time::Duration;

/// Reads a duration such as `250ms`, `30s` or `1h 30m`.
///
/// # Errors
/// What is wrong with the text, and an example of a right one.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("`{text}` is no duration; write it as `250ms`, `30s` or `1h 30m`"))
}

/// Writes a duration so that [`parse`] reads it back.
pub fn format(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Serialises a duration as text.
///
/// # Errors
/// Those of the serialiser.
#[cfg(feature = "serde")]
pub fn serialize<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

/// Deserialises a duration from text.
///
/// # Errors
/// Those of the deserialiser and of [`parse`].
#[cfg(feature = "serde")]
pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// The JSON schema of a duration: a string of format `duration` (ours, not that of ISO 8601).
#[cfg(feature = "serde")]
pub fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "duration" })
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use std::time::Duration;

    #[test]
    fn reads_what_it_writes() {
        for millis in [0, 1, 999, 1_000, 90_500, 3_600_000, 86_400_000 * 400] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(parse("0ms"), Ok(Duration::ZERO));
        assert_eq!(parse(" 1h 30m "), Ok(Duration::from_secs(5_400)));
    }

    #[test]
    fn says_how_to_write_it() {
        let error = parse("soon").unwrap_err();
        assert_eq!(error, "`soon` is no duration; write it as `250ms`, `30s` or `1h 30m`");
        assert!(parse("10").is_err(), "a bare number has no unit");
    }
}
