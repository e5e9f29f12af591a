//! What a secret holds: one text, or several with names.

use super::Secret;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// One text, or several with names.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// All of it.
    Text(Secret<String>),
    /// By name.
    Fields(BTreeMap<String, Secret<String>>),
}

impl Payload {
    /// The text of `field`; without one all of it, or the only field.
    ///
    /// # Errors
    /// Which fields there are, if that is not one of them or it takes one to choose.
    pub fn select(&self, field: Option<&str>) -> Result<Secret<String>, String> {
        match (self, field) {
            (Self::Text(text), None) => Ok(text.clone()),
            (Self::Text(text), Some(field)) => {
                let fields = object(text).ok_or_else(|| {
                    format!("it is one text and no JSON object, so that it has no field `{field}`")
                })?;
                Self::Fields(fields).select(Some(field))
            }
            (Self::Fields(fields), Some(field)) => fields
                .get(field)
                .cloned()
                .ok_or_else(|| format!("it has no field `{field}`; it has {}", named(fields))),
            (Self::Fields(fields), None) => match fields.values().next() {
                Some(only) if fields.len() == 1 => Ok(only.clone()),
                Some(_) => Err(format!("say which field after a `#`: {}", named(fields))),
                None => Err("it is empty".to_owned()),
            },
        }
    }
}

fn named(fields: &BTreeMap<String, Secret<String>>) -> String {
    if fields.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = fields.keys().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The texts in a JSON object; what is no text as it is written.
pub(crate) fn object(text: &Secret<String>) -> Option<BTreeMap<String, Secret<String>>> {
    let fields: BTreeMap<String, Field> = serde_json::from_str(text.expose()).ok()?;
    Some(fields.into_iter().map(|(name, Field(text))| (name, text)).collect())
}

/// A text as it is, or another JSON value as it is written.
pub(crate) struct Field(pub(crate) Secret<String>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Not by way of a value: a long number would lose digits.
        let raw = <&RawValue>::deserialize(from)?.get();
        let text = if raw.starts_with('"') {
            serde_json::from_str(raw).map_err(de::Error::custom)?
        } else {
            raw.to_owned()
        };
        Ok(Self(Secret::new(text)))
    }
}

/// The names of the fields.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Fields(fields) => fields.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Payload, Secret};
    use std::collections::BTreeMap;

    fn fields(of: &[(&str, &str)]) -> Payload {
        let field =
            |(name, text): &(&str, &str)| ((*name).to_owned(), Secret::new((*text).to_owned()));
        Payload::Fields(of.iter().map(field).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn a_field_is_chosen_or_asked_for() {
        let text = |payload: &Payload, field| payload.select(field).map(|it| it.expose().clone());
        let both = fields(&[("username", "app"), ("password", "hunter2")]);
        assert_eq!(text(&both, Some("password")).unwrap(), "hunter2");
        assert_eq!(
            text(&both, None).unwrap_err(),
            "say which field after a `#`: `password`, `username`"
        );
        let error = text(&both, Some("token")).unwrap_err();
        assert_eq!(error, "it has no field `token`; it has `password`, `username`");
        assert_eq!(text(&fields(&[("value", "x")]), None).unwrap(), "x");

        let json = Payload::Text(Secret::new(r#"{"port": 5432, "password": "p"}"#.to_owned()));
        assert_eq!(text(&json, Some("port")).unwrap(), "5432");
        assert_eq!(text(&json, Some("password")).unwrap(), "p");
        let plain = Payload::Text(Secret::new("hunter2".to_owned()));
        assert!(!text(&plain, Some("password")).unwrap_err().contains("hunter2"));
    }

    #[test]
    fn what_is_no_text_is_as_it_is_written() {
        let json = r#"{"long": 12345678901234567890123, "price": 1.50, "big": 1e400,
            "of": {"b": 1, "a": 2}, "text": "\u00fc\"", "none": null}"#;
        let json = Payload::Text(Secret::new(json.to_owned()));
        for (field, is) in [
            ("long", "12345678901234567890123"),
            ("price", "1.50"),
            ("big", "1e400"),
            ("of", r#"{"b": 1, "a": 2}"#),
            ("text", "ü\""),
            ("none", "null"),
        ] {
            assert_eq!(json.select(Some(field)).unwrap().expose(), is);
        }
    }

    #[test]
    fn nothing_of_it_prints() {
        let whole = Payload::Text(Secret::new("hunter2".to_owned()));
        assert!(!format!("{whole:?}").contains("hunter2"));
        assert!(!format!("{:?}", fields(&[("a", "hunter2")])).contains("hunter2"));
    }
}
