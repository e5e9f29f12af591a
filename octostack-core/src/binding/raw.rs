//! What settings say about a binding, and what it means.

use super::url::{self, Url};
use super::{Binding, BindingKind, Parts};
use crate::secret::{REDACTED, Secret};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The table that a binding is. A text in its place is its `url`.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    /// The whole address. What else is given wins over what it says.
    url: Option<Secret<String>>,
    /// Name or address of the host.
    host: Option<String>,
    /// Several hosts, each with its port or without.
    hosts: Vec<String>,
    /// The port of the host.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    /// The user to log in as.
    username: Option<String>,
    /// The password of the user.
    password: Option<Secret<String>>,
    /// The database; whatever the service has in its place, such as a bucket.
    database: Option<String>,
    /// What stands behind the `?` of a URL.
    options: BTreeMap<String, String>,
    /// Type of the service, as in a binding directory.
    r#type: Option<String>,
    /// Who provides the service, as in a binding directory.
    provider: Option<String>,
    /// The binding directory to use, by name: where several fit.
    #[schemars(length(min = 1))]
    binding: Option<String>,
    /// What else is needed: certificates, keys.
    entries: BTreeMap<String, Secret<String>>,
}

impl Raw {
    /// What it means for a service of the kind `K`, or everything that is wrong with it.
    fn resolve<K: BindingKind>(self) -> Result<Parts, String> {
        let mut problems = Vec::new();
        let fitting = |name: &&String| {
            K::TYPES.is_empty() || K::TYPES.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if self.r#type.as_ref().is_some_and(|given| !fitting(&given)) {
            problems.push(format!("`type` is not `{}`", K::TYPES.join("` or `")));
        }
        let kind = self.r#type.clone().filter(|given| fitting(&given));
        let kind = kind.or_else(|| K::TYPES.first().map(|name| (*name).to_owned()));
        let url = match &self.url {
            Some(url) => url::parse(url.expose()),
            None => Ok(Url { scheme: scheme_of::<K>(kind.as_deref()), ..Url::default() }),
        };
        let mut url = match url {
            Ok(url) => url,
            Err(wrong) => {
                problems.push(format!("{wrong}; a URL is such as `{}`", K::EXAMPLE));
                return Err(problems.join("; "));
            }
        };
        let scheme = K::SCHEMES.iter().find(|known| known.name == url.scheme);
        if scheme.is_none() && !K::SCHEMES.is_empty() {
            let known: Vec<_> = K::SCHEMES.iter().map(|known| known.name).collect();
            problems.push(format!("its scheme is not `{}`", known.join("` or `")));
        } else if url.scheme.is_empty() {
            problems.push("it needs a URL, which says by its scheme what it is".to_owned());
        }
        problems.extend(self.endpoints(&mut url));
        if url.endpoints.is_empty() && K::HOST_REQUIRED {
            problems.push(format!("it has no host; a URL is such as `{}`", K::EXAMPLE));
        }
        for endpoint in &mut url.endpoints {
            endpoint.port = endpoint.port.or(scheme.and_then(|scheme| scheme.port));
        }
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        url.username = self.username.or(url.username);
        url.password = self.password.or(url.password);
        if let Some(database) = self.database {
            url.segments = vec![database];
        }
        for (name, value) in self.options {
            url.options.retain(|(known, _)| *known != name);
            url.options.push((name, value));
        }
        let database = Some(url.segments.join("/")).filter(|text| !text.is_empty());
        let kind = kind.unwrap_or_else(|| url.scheme.clone());
        let (provider, name, entries) = (self.provider, self.binding, self.entries);
        Ok(Parts { kind, provider, name, url, database, entries })
    }

    /// Puts the hosts into `url` that are given beside it.
    fn endpoints(&self, url: &mut Url) -> Vec<String> {
        let mut problems = Vec::new();
        if self.host.is_some() && !self.hosts.is_empty() {
            problems.push("`host` and `hosts` are both given; keep one".to_owned());
        }
        if !self.hosts.is_empty() {
            match self.hosts.iter().map(|text| url::endpoint(text)).collect() {
                Ok(endpoints) => url.endpoints = endpoints,
                Err(wrong) => problems.push(format!("`hosts`: {wrong}")),
            }
        }
        if let Some(text) = &self.host {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            match url::host(bare.unwrap_or(text), bare.is_some()) {
                // The port is that of the service: `port`, or what the URL said.
                Ok(host) => {
                    let port = url.endpoints.first().and_then(|endpoint| endpoint.port);
                    url.endpoints = vec![url::Endpoint { host, port }];
                }
                Err(_) => problems
                    .push("`host` is a name or an address, and the port stands in `port`".into()),
            }
        }
        match (self.port, url.endpoints.as_mut_slice()) {
            (Some(port), [only]) => only.port = Some(port),
            (Some(_), [_, _, ..]) => {
                problems.push("`port` is that of one host; give it with each of `hosts`".into());
            }
            _ => {}
        }
        problems
    }
}

/// The scheme where there is no URL.
fn scheme_of<K: BindingKind>(kind: Option<&str>) -> String {
    let usual = K::SCHEMES.first().map(|scheme| scheme.name);
    usual.or(kind).unwrap_or_default().to_ascii_lowercase()
}

impl<'de, K: BindingKind> Deserialize<'de> for Binding<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL or a table")
            }

            fn visit_str<E>(self, url: &str) -> Result<Raw, E> {
                Ok(Raw { url: Some(Secret::new(url.to_owned())), ..Raw::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Raw, A::Error> {
                // serde's own words repeat the value.
                Raw::deserialize(MapAccessDeserializer::new(map)).map_err(|_| {
                    A::Error::custom("a key that a binding does not have, or of another type")
                })
            }
        }

        let raw = from.deserialize_any(TextOrTable)?;
        let parts = raw.resolve::<K>().map_err(D::Error::custom)?;
        Ok(Self { parts, kind: PhantomData })
    }
}

/// Writes `[redacted]`, as [`Secret`] does.
impl<K> Serialize for Binding<K> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(REDACTED)
    }
}

/// A URL or a table, marked `x-secret` as a whole, with the type as `x-binding`.
impl<K: BindingKind> JsonSchema for Binding<K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Binding_{}", K::TYPES.first().unwrap_or(&"any")).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("octostack_core::Binding<{}>", std::any::type_name::<K>()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut table = Raw::json_schema(generator);
        for inherited in ["title", "description"] {
            table.remove(inherited);
        }
        json_schema!({
            "anyOf": [{"type": "string", "format": "uri"}, table],
            "x-secret": true,
            "writeOnly": true,
            "x-binding": K::TYPES.first().unwrap_or(&"any"),
            "x-binding-types": K::TYPES,
            "x-binding-example": K::EXAMPLE,
        })
    }
}

/// A binding that is only a URL.
pub(super) fn from_url<K: BindingKind>(url: &str) -> Result<Binding<K>, String> {
    let raw = Raw { url: Some(Secret::new(url.to_owned())), ..Raw::default() };
    raw.resolve::<K>().map(|parts| Binding { parts, kind: PhantomData })
}
