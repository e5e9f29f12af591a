//! What can be set: every key, as a reference for people and tools.

use super::env::{Names, Target};
use super::error::Errors;
use super::loader::Loader;
use super::report::value;
use super::schema::Schema;
use super::whole::Whole;
use crate::inspect::Value;
use schemars::JsonSchema;
use serde_json::Value as Json;

/// A setting that sources can give, whatever they say now.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Key {
    /// The key, such as `inventory.url`.
    pub path: String,
    /// The variables that set it: the usual one, then the one with `__` between levels.
    pub variables: Vec<String>,
    /// Variables without prefix that set it too, such as `PORT`.
    pub bare: Vec<String>,
    /// What may be written, in words.
    pub expected: String,
    /// What applies if no source says anything. Never that of a secret.
    pub default: Option<Value>,
    /// Whether some source has to say it.
    pub required: bool,
    /// Whether it is a secret.
    pub secret: bool,
    /// Whether a reload can change it; otherwise a restart does.
    pub reloadable: bool,
    /// Its doc comment.
    pub doc: String,
    /// Whether nobody should set it any more.
    pub deprecated: bool,
    /// Whether it is of a section of the framework.
    pub framework: bool,
    /// The type of backing service that it attaches, such as `postgresql`.
    pub binding: Option<String>,
}

/// Every key that can be set: the service's own, then those of the framework.
///
/// ```
/// use octostack_core::config::Loader;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Settings {
///     /// Connections to the database.
///     #[serde(default)]
///     pool_size: u32,
/// }
///
/// let reference = Loader::new("ORDERS_").reference::<(), Settings>()?;
/// let key = reference.get("pool_size").unwrap();
/// assert_eq!(key.variables, ["ORDERS_POOL_SIZE"]);
/// assert_eq!(key.doc, "Connections to the database.");
/// # Ok::<(), octostack_core::config::Errors>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    keys: Vec<Key>,
}

impl Reference {
    /// The keys.
    pub fn iter(&self) -> std::slice::Iter<'_, Key> {
        self.keys.iter()
    }

    /// The key called `path`.
    pub fn get(&self, path: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.path == path)
    }
}

impl<'a> IntoIterator for &'a Reference {
    type Item = &'a Key;
    type IntoIter = std::slice::Iter<'a, Key>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Loader {
    /// What can be set, by the structs alone: no source is read.
    ///
    /// # Errors
    /// What is wrong with the structs, such as two keys with one variable.
    pub fn reference<F: JsonSchema, S: JsonSchema>(&self) -> Result<Reference, Errors> {
        let (whole, mut errors) = Whole::of::<F, S>();
        let (names, collisions) = Names::new(&self.prefix, &whole.schema, &self.bare);
        errors.extend(collisions);
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let keys = names.targets().filter(|target| target.leaf()).map(|target| {
            let path = Path::to(&whole.schema, &target.keys);
            let framework = target.keys.first().is_some_and(|key| whole.is_section(key));
            path.key(target, framework)
        });
        let mut keys: Vec<_> = keys.collect();
        keys.sort_by_key(|key| key.framework);
        Ok(Reference { keys })
    }
}

/// What the way to a key says of it.
struct Path<'a> {
    default: Option<&'a Json>,
    required: bool,
    restart: bool,
    doc: &'a str,
    deprecated: bool,
}

impl<'a> Path<'a> {
    fn to(root: &'a Schema, keys: &[&str]) -> Self {
        let mut path =
            Self { default: None, required: true, restart: false, doc: "", deprecated: false };
        let mut schemas = vec![root];
        for key in keys {
            path.restart |= schemas.iter().any(|schema| schema.stays_whole());
            // What only some variants of an enum have, nobody has to give.
            path.required &= schemas.len() == 1 && !schemas[0].nullable;
            let fields: Vec<_> = schemas.iter().flat_map(|schema| schema.fields()).collect();
            let field = fields.iter().find(|field| field.name == *key);
            let inner: Vec<_> = schemas.iter().flat_map(|schema| schema.inner(key)).collect();
            let outer = path.default.and_then(|default| default.get(key));
            path.default = outer.or_else(|| inner.first()?.default.as_ref());
            path.required &= field.is_some_and(|field| field.required) || path.default.is_some();
            path.deprecated |= field.is_some_and(|field| field.deprecated);
            path.doc = field.and_then(|field| field.doc.as_deref()).unwrap_or_default();
            schemas = inner;
        }
        path
    }

    fn key(&self, target: &Target<'_>, framework: bool) -> Key {
        let secret = target.secret();
        let default = self.default.filter(|json| !json.is_null() && !secret);
        let words: Vec<_> = target.schemas.iter().map(|schema| schema.expected()).collect();
        let binding = target.schemas.iter().find_map(|schema| schema.binding.as_ref());
        let nullable = target.schemas.iter().any(|schema| schema.nullable);
        Key {
            path: target.keys.join("."),
            variables: target.names.iter().map(ToString::to_string).collect(),
            bare: target.bare.clone(),
            expected: words.join(" or "),
            default: default.map(value),
            required: self.required && default.is_none() && !nullable,
            secret,
            reloadable: !self.restart
                && !target.schemas.iter().any(|schema| schema.needs_restart()),
            doc: self.doc.to_owned(),
            deprecated: self.deprecated,
            framework,
            binding: binding.map(|binding| binding.kind().to_owned()),
        }
    }
}
