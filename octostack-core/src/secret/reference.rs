//! Where a secret is, written in the place of the secret itself.
//!
//! A config file that many can read names a secret and does not hold it:
//!
//! ```toml
//! signing_key = "vault://kv/orders#signing_key"
//! ```
//!
//! A reference is `scheme://path`, then `?name=value` with what a provider can be told, then `#field`
//! where a secret has several:
//!
//! | reference | is |
//! |---|---|
//! | `env://NAME` | an environment variable |
//! | `file:///run/secrets/db` | a file; of a directory `#field` names the file in it, of a JSON object the key |
//! | `cred://name` | a credential of the unit (systemd): `name` in `$CREDENTIALS_DIRECTORY` |
//! | `vault://kv/orders#password` | a secret of Vault or OpenBao |
//!
//! ```
//! use octostack_core::secret::SecretRef;
//!
//! let reference: SecretRef = "vault://kv/orders?version=3#password".parse()?;
//! assert_eq!((reference.scheme(), reference.path()), ("vault", "kv/orders"));
//! assert_eq!((reference.field(), reference.option("version")), (Some("password"), Some("3")));
//! assert_eq!(reference.source().to_string(), "vault://kv/orders?version=3");
//! # Ok::<(), octostack_core::secret::InvalidReference>(())
//! ```

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Schemes that always mean a reference, whether or not somebody is there who can follow it: a
/// secret that begins so would else be taken for the secret itself, and sent to whoever asks for
/// it.
pub const SCHEMES: [&str; 10] =
    ["env", "file", "cred", "vault", "bao", "aws-sm", "aws-ssm", "gcp-sm", "azure-kv", "k8s"];

/// A reference to a secret; see the [module docs](self). It holds no secret itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    text: Arc<str>,
    /// Where the path begins and ends, and the options end.
    path: (usize, usize),
    options_end: usize,
}

impl SecretRef {
    /// Whether `text` is meant as a reference: it begins with one of [`SCHEMES`] or of `more`, and
    /// `://`. A URL of a database is none.
    pub fn is_meant(text: &str, more: &[&str]) -> bool {
        let Some((scheme, _)) = text.split_once("://") else { return false };
        SCHEMES.contains(&scheme) || more.contains(&scheme)
    }

    /// Who has it: `vault`.
    pub fn scheme(&self) -> &str {
        &self.text[..self.path.0 - "://".len()]
    }

    /// Where it is there: `kv/orders`.
    pub fn path(&self) -> &str {
        &self.text[self.path.0..self.path.1]
    }

    /// Which of several fields it is.
    pub fn field(&self) -> Option<&str> {
        self.text.get(self.options_end + 1..)
    }

    /// What the provider is told, in order.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let options = self.text.get(self.path.1 + 1..self.options_end).unwrap_or_default();
        let pairs = options.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The option `name`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The same without the field: what is fetched at once.
    pub fn source(&self) -> Self {
        match self.field() {
            None => self.clone(),
            Some(_) => Self {
                text: self.text[..self.options_end].into(),
                path: self.path,
                options_end: self.options_end,
            },
        }
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why a text is no reference. Does not repeat it: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidReference(&'static str);

impl fmt::Display for InvalidReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; a reference is such as `vault://kv/orders#password`", self.0)
    }
}

impl std::error::Error for InvalidReference {}

impl FromStr for SecretRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let wrong = |what| Err(InvalidReference(what));
        let Some(colon) = text.find("://") else {
            return wrong("it has no scheme such as `vault://`");
        };
        let scheme = &text.as_bytes()[..colon];
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if !scheme.first().is_some_and(u8::is_ascii_lowercase) || !scheme.iter().all(plain) {
            return wrong("its scheme is not made of a to z, 0 to 9 and `-`");
        }
        if text.chars().any(char::is_control) {
            return wrong("it has a control character");
        }
        let start = colon + "://".len();
        let options_end = text.find('#').unwrap_or(text.len());
        if options_end < start {
            return wrong("it has no scheme such as `vault://`");
        }
        let end = text[start..options_end].find('?').map_or(options_end, |at| start + at);
        if text[start..end].is_empty() {
            return wrong("it has no path");
        }
        if text.get(options_end + 1..).is_some_and(str::is_empty) {
            return wrong("it has no field after the `#`");
        }
        Ok(Self { text: text.into(), path: (start, end), options_end })
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text of the format `secret-reference`.
impl JsonSchema for SecretRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn schema_id() -> Cow<'static, str> {
        "octostack_core::SecretRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "secret-reference"})
    }
}

#[cfg(test)]
mod tests {
    use super::SecretRef;

    #[test]
    fn parts_are_found_whatever_is_there() {
        for (text, scheme, path, field) in [
            ("env://DB_PASSWORD", "env", "DB_PASSWORD", None),
            ("file:///run/secrets/db", "file", "/run/secrets/db", None),
            ("cred://db#a?b", "cred", "db", Some("a?b")),
            ("vault://team/kv/a#b#c", "vault", "team/kv/a", Some("b#c")),
            ("aws-sm://a/b?region=x#c", "aws-sm", "a/b", Some("c")),
        ] {
            let reference: SecretRef = text.parse().unwrap();
            assert_eq!((reference.scheme(), reference.path()), (scheme, path), "{text}");
            assert_eq!((reference.field(), reference.as_str()), (field, text));
            assert!(SecretRef::is_meant(text, &[]), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_without_repeating_it() {
        for text in ["hunter2", "://hunter2", "Vault://hunter2", "vault://", "vault://a#", "a#b://"]
        {
            let error = text.parse::<SecretRef>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for url in ["postgres://app:hunter2@db/shop", "https://x", "hunter2", "Vault://x"] {
            assert!(!SecretRef::is_meant(url, &[]), "{url}");
        }
        assert!(SecretRef::is_meant("mine://x", &["mine"]));
    }
}
