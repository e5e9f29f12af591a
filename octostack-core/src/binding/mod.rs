//! Backing services as attached resources: a database, a broker, a cache, typed.
//!
//! Which database a service uses is not the program's business, nor that of whoever writes its
//! config files: it is attached where the service runs, with an address and credentials, and
//! another one can be attached without a build. A [`Binding`] is the field of the settings into
//! which it is attached.
//!
//! # How it works
//!
//! The field says by its type what fits: `Binding<Postgresql>` takes URLs of `postgres://`, and
//! directories of the type `postgresql`. It can be given
//!
//! 1. as a URL: `ORDERS_DATABASE`, or the file that `ORDERS_DATABASE_FILE` names, or the key
//!    `database` of a config file. User and password are percent-encoded in it;
//! 2. as a table: `host`, `hosts`, `port`, `username`, `password`, `database`, `options`, and `url`,
//!    over which the others win: an address in a file, the password in `ORDERS_DATABASE_PASSWORD`;
//! 3. as a directory below `SERVICE_BINDING_ROOT`, as the [Service Binding specification for
//!    Kubernetes](https://servicebinding.io) lays it out. It beats config files, and a URL in a
//!    variable beats it.
//!
//! A directory belongs to the field that is called as it is (`database`; `-` is `_`), else to the
//! only field whose type fits. Where two fit, it is an error that names both, and the key `binding`
//! chooses: `ORDERS_DATABASE_BINDING=orders-db`. Fields of the settings and of structs in them are
//! looked at, not lists, maps or variants of enums.
//!
//! Nothing of it prints but what is harmless: `Debug` and `Display` show the URL without the
//! password, serde writes `[redacted]`, and no error repeats any part of the URL.
//!
//! # Example
//!
//! ```
//! use octostack_core::binding::{Binding, Postgresql};
//! use octostack_core::config::Loader;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Settings {
//!     /// Where orders are kept.
//!     database: Binding<Postgresql>,
//! }
//!
//! let url = "postgres://app:p%40ss@db/shop?sslmode=require";
//! let loader = Loader::new("ORDERS_").environment([("ORDERS_DATABASE", url)]);
//! let loaded = loader.load::<(), Settings>()?;
//!
//! let database = &loaded.settings.database;
//! assert_eq!(database.endpoints()[0].to_string(), "db:5432");
//! assert_eq!(database.password().unwrap().expose(), "p@ss");
//! assert_eq!(
//!     database.to_string(),
//!     "postgres://app:[redacted]@db:5432/shop?sslmode=require"
//! );
//! assert_eq!(
//!     database.url().expose(),
//!     "postgres://app:p%40ss@db:5432/shop?sslmode=require"
//! );
//! # Ok::<(), octostack_core::config::Errors>(())
//! ```
//!
//! # A kind of your own
//!
//! ```
//! use octostack_core::binding::{Binding, BindingKind, Scheme};
//!
//! enum Nats {}
//!
//! impl BindingKind for Nats {
//!     const TYPES: &'static [&'static str] = &["nats"];
//!     const SCHEMES: &'static [Scheme] = &[Scheme::new("nats", 4222), Scheme::new("tls", 4222)];
//!     const EXAMPLE: &'static str = "nats://user@host:4222";
//! }
//!
//! let events: Binding<Nats> = "nats://one,two:4223".parse()?;
//! assert_eq!(events.redacted(), "nats://one:4222,two:4223");
//! # Ok::<(), octostack_core::binding::InvalidBinding>(())
//! ```
//!
//! A binding has no default: a service that needs one does not start without it. `Option<Binding<K>>`
//! is for what it can do without.

#[cfg(feature = "bindings-check")]
mod check;
mod kind;
mod raw;
#[cfg(test)]
mod tests;
mod url;

#[cfg(feature = "bindings-check")]
pub use check::{ask, reach, register};
pub use kind::{
    Any, BindingKind, Http, Kafka, Mongodb, Mysql, Postgresql, Rabbitmq, Redis, S3, Scheme,
};
pub use url::Endpoint;

use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use url::Url;

/// A backing service of the kind `K`: where it is, and how to log in. See the [module](self).
pub struct Binding<K> {
    parts: Parts,
    kind: PhantomData<fn() -> K>,
}

#[derive(Clone, PartialEq, Eq)]
struct Parts {
    kind: String,
    provider: Option<String>,
    name: Option<String>,
    url: Url,
    database: Option<String>,
    entries: BTreeMap<String, Secret<String>>,
}

/// What must not be seen of `url`, decoded.
pub(crate) fn secrets_in(url: &str) -> Vec<String> {
    let Ok(Url { scheme, username, password, options, .. }) = url::parse(url) else {
        return Vec::new();
    };
    // Over HTTP a user name that comes alone is a token.
    let token = username.filter(|_| password.is_none() && scheme.starts_with("http"));
    let password = password.map(|password| password.expose().clone()).or(token);
    let options = options.into_iter().filter(|(name, _)| url::is_credential(name));
    options.map(|(_, value)| value).chain(password).collect()
}

/// Why a text is no binding. Repeats no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidBinding(String);

impl fmt::Display for InvalidBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidBinding {}

impl<K> Binding<K> {
    /// The type of the service, as the Service Binding specification calls it: `postgresql`. Of
    /// [`Any`] without a type: the scheme of the URL.
    pub fn kind(&self) -> &str {
        &self.parts.kind
    }

    /// Who provides the service, if the binding says so.
    pub fn provider(&self) -> Option<&str> {
        self.parts.provider.as_deref()
    }

    /// The name of the binding directory, if it came from one.
    pub fn name(&self) -> Option<&str> {
        self.parts.name.as_deref()
    }

    /// All hosts with their ports. Empty only for kinds that need no host.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.parts.url.endpoints
    }

    /// The first host; an IPv6 address without brackets.
    pub fn host(&self) -> Option<&str> {
        self.endpoints().first().map(|endpoint| endpoint.host.as_str())
    }

    /// The port of the first host: as given, else that of the scheme.
    pub fn port(&self) -> Option<u16> {
        self.endpoints().first().and_then(|endpoint| endpoint.port)
    }

    /// The scheme of the URL, in small letters.
    pub fn scheme(&self) -> &str {
        &self.parts.url.scheme
    }

    /// The user to log in as, decoded.
    pub fn username(&self) -> Option<&str> {
        self.parts.url.username.as_deref()
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<&Secret<String>> {
        self.parts.url.password.as_ref()
    }

    /// The path without its first slash, decoded: a database, a virtual host, a bucket.
    pub fn database(&self) -> Option<&str> {
        self.parts.database.as_deref()
    }

    /// The path as it stands in the URL, `/a/b%20c`; empty if there is none.
    pub fn path(&self) -> String {
        self.parts.url.path()
    }

    /// What stands behind the `?`, decoded and in order. A `+` is a plus. A value may be a secret.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let options = self.parts.url.options.iter();
        options.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the option `name`, the last one if there are several.
    pub fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.parts.url.options.iter().rev();
        options.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Another entry of the binding directory, or of the table `entries`: `certificates`. Those
    /// that are not text or larger than 1 MiB are not there.
    pub fn entry(&self, name: &str) -> Option<&Secret<String>> {
        self.parts.entries.get(name)
    }

    /// The whole URL, with every port and with the password: for the client of the service.
    pub fn url(&self) -> Secret<String> {
        Secret::new(self.parts.url.exposed())
    }

    /// The URL for people: without the password, without options that are called like credentials,
    /// and over HTTP without a user name that comes alone, which is a token.
    pub fn redacted(&self) -> String {
        self.parts.url.redacted()
    }

    /// The same, as a binding of another kind.
    #[cfg(all(
        feature = "bindings-check",
        any(feature = "checks-postgresql", feature = "checks-redis")
    ))]
    fn as_kind<T>(&self) -> Binding<T> {
        Binding { parts: self.parts.clone(), kind: PhantomData }
    }

    /// What operators may see of it.
    pub fn summary(&self) -> Summary {
        Summary {
            kind: self.parts.kind.clone(),
            provider: self.parts.provider.clone(),
            name: self.parts.name.clone(),
            endpoints: self.parts.url.endpoints.clone(),
            url: self.redacted(),
        }
    }
}

/// What may be seen of a [`Binding`]. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// See [`Binding::kind`].
    pub kind: String,
    /// See [`Binding::provider`].
    pub provider: Option<String>,
    /// See [`Binding::name`].
    pub name: Option<String>,
    /// See [`Binding::endpoints`].
    pub endpoints: Vec<Endpoint>,
    /// See [`Binding::redacted`].
    pub url: String,
}

/// From a URL.
impl<K: BindingKind> FromStr for Binding<K> {
    type Err = InvalidBinding;

    fn from_str(url: &str) -> Result<Self, InvalidBinding> {
        raw::from_url(url).map_err(InvalidBinding)
    }
}

impl<K> Clone for Binding<K> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone(), kind: PhantomData }
    }
}

/// By all that they say; passwords in constant time.
impl<K> PartialEq for Binding<K> {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl<K> Eq for Binding<K> {}

/// [`redacted`](Self::redacted).
impl<K> fmt::Display for Binding<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// [`redacted`](Self::redacted).
impl<K> fmt::Debug for Binding<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({})", self.redacted())
    }
}
