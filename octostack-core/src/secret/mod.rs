//! Values that must not be seen: passwords, tokens, keys.
//!
//! Secrets leak by accident: a settings struct is logged, an error repeats the value that it could
//! not read, a status page prints everything. So a [`Secret`] does not print: `Debug` and
//! `Serialize` write `[redacted]`, there is no `Display`, and the memory is overwritten on drop.
//! The one way to the value is [`Secret::expose`], which is easy to search for in a review.
//!
//! A secret has no default either, since a default that reaches production is a password that
//! everybody knows. A settings struct that needs one says so by its type, and config refuses to
//! start without it:
//!
//! ```
//! use octostack_core::secret::Secret;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     /// Key that signs receipts.
//!     signing_key: Secret<String>,
//! }
//!
//! let settings: Settings = serde_json::from_str(r#"{"signing_key": "s3cr3t"}"#)?;
//! assert_eq!(settings.signing_key.expose(), "s3cr3t");
//! assert_eq!(format!("{settings:?}"), "Settings { signing_key: [redacted] }");
//! assert_eq!(serde_json::to_string(&settings)?, r#"{"signing_key":"[redacted]"}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! It has no `Default`. This compiles:
//!
//! ```
//! let token: Option<octostack_core::secret::Secret<String>> = Option::default();
//! # assert!(token.is_none());
//! ```
//!
//! and this does not:
//!
//! ```compile_fail,E0277
//! let token: octostack_core::secret::Secret<String> = Default::default();
//! ```
//!
//! It has no `Display`. This compiles:
//!
//! ```
//! let token = octostack_core::secret::Secret::new("s3cr3t".to_owned());
//! println!("{token:?}");
//! ```
//!
//! and this does not:
//!
//! ```compile_fail,E0277
//! let token = octostack_core::secret::Secret::new("s3cr3t".to_owned());
//! println!("{token}");
//! ```
//!
//! What it does not do: it cannot reach copies made before the value came in (a read buffer, the
//! environment of the process) or after it went out (a header, a connection string).
#[cfg(feature = "secrets-live")]
pub mod audit;
#[cfg(feature = "secrets-live")]
mod life;
#[cfg(any(feature = "config", feature = "secrets-live"))]
pub(crate) mod local;
#[cfg(any(feature = "config", feature = "secrets-live"))]
mod payload;
#[cfg(feature = "secrets-live")]
pub mod provider;
pub mod reference;
#[cfg(all(feature = "config", feature = "secrets-live"))]
pub mod settings;
#[cfg(feature = "secrets-live")]
pub mod store;
#[cfg(feature = "vault")]
pub mod vault;

#[cfg(feature = "secrets-live")]
pub use life::OnError;
#[cfg(feature = "secrets-live")]
pub use local::{CredentialsProvider, EnvProvider, FileProvider};
#[cfg(any(feature = "config", feature = "secrets-live"))]
pub use payload::Payload;
pub use reference::{InvalidReference, SecretRef};
#[cfg(all(feature = "config", feature = "secrets-live"))]
pub use settings::{SecretsConfig, SettingsSecrets};
#[cfg(feature = "secrets-live")]
pub use store::{Handle, SecretError, SecretErrorKind, Secrets, Version};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use subtle::ConstantTimeEq;
/// Overwrites a value in memory. A type of your own needs it to be kept in a [`Secret`].
pub use zeroize::Zeroize;

/// What stands in the place of a secret wherever one would be printed.
pub const REDACTED: &str = "[redacted]";

/// A value that does not print, compares in constant time and is overwritten on drop.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes `value` in.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Do not print it, and copy it no further than needed.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether `candidate` is this secret.
    ///
    /// Takes as long for a candidate that is nearly right as for one that is all wrong. Only the
    /// length can be learnt from the time it takes.
    #[must_use]
    pub fn matches(&self, candidate: impl AsRef<[u8]>) -> bool {
        self.0.as_ref().ct_eq(candidate.as_ref()).into()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// In constant time; see [`Secret::matches`].
impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(REDACTED)
    }
}

/// Errors do not say what was found in its place, which is the secret, of a wrong type.
impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let withheld = |_| D::Error::custom("no secret of the type that is expected here");
        T::deserialize(from).map(Self).map_err(withheld)
    }
}

/// The schema of `T`, marked `x-secret` and `writeOnly`, without a default.
impl<T: Zeroize + JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Secret_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("octostack_core::Secret<{}>", T::schema_id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.remove("default");
        schema.insert("x-secret".into(), true.into());
        schema.insert("writeOnly".into(), true.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;
    use schemars::JsonSchema;
    use std::cell::RefCell;
    use std::rc::Rc;
    use zeroize::Zeroize;

    #[test]
    fn compares_by_content() {
        let token = Secret::new("s3cr3t".to_owned());
        assert!(token.matches("s3cr3t"));
        assert!(!token.matches("s3cr3T"));
        assert!(!token.matches("s3cr3"));
        assert_eq!(token, token.clone());
        assert_ne!(Secret::new(vec![1_u8]), Secret::new(vec![2]));
    }

    #[test]
    fn overwrites_itself_when_dropped() {
        struct Probe(Rc<RefCell<String>>);
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                self.0.borrow_mut().zeroize();
            }
        }
        let memory = Rc::new(RefCell::new("s3cr3t".to_owned()));
        drop(Secret::new(Probe(Rc::clone(&memory))));
        assert_eq!(*memory.borrow(), "");
    }

    #[test]
    fn an_error_does_not_repeat_what_stands_in_its_place() {
        #[derive(Debug, serde::Deserialize)]
        struct Login {
            password: Secret<String>,
            pin: Secret<u32>,
        }
        for text in [r#"{"password": 77312, "pin": 1}"#, r#"{"password": "p", "pin": "77312"}"#] {
            let error = serde_json::from_str::<Login>(text).unwrap_err().to_string();
            assert!(!error.contains("77312"), "{error}");
            assert!(error.contains("line 1 column"), "{error}");
        }
        let login: Login = serde_json::from_str(r#"{"password": "p", "pin": 1}"#).unwrap();
        assert!(login.password.matches("p") && *login.pin.expose() == 1);
    }

    #[test]
    fn is_marked_in_the_schema() {
        let mut generator = schemars::SchemaGenerator::default();
        let schema = <Secret<String>>::json_schema(&mut generator);
        assert_eq!(schema.get("type"), Some(&"string".into()));
        assert_eq!(schema.get("x-secret"), Some(&true.into()));
        assert_eq!(schema.get("writeOnly"), Some(&true.into()));
        assert_eq!(schema.get("default"), None);
    }
}
