//! Which value won, and where it was written.

use super::error::Origin;
use super::schema::Schema;
use super::tree::{Node, Step, display};
use crate::inspect::Value;
use crate::secret::REDACTED;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// One setting in effect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Setting {
    /// Its key, such as `inventory.url`.
    pub key: String,
    /// Its value; `[redacted]` for a secret.
    pub value: Value,
    /// Where the value was written.
    pub origin: Origin,
    /// Whether it is a secret.
    pub secret: bool,
    /// Whether a reload can change it; otherwise a restart does.
    pub reloadable: bool,
    /// Tells one secret from another without holding it; differs from process to process.
    fingerprint: Option<u64>,
}

impl Setting {
    /// Whether its value is another than that of `other`, also where it is a secret.
    pub(super) fn differs(&self, other: &Self) -> bool {
        (&self.value, self.fingerprint) != (&other.value, other.fingerprint)
    }
}

/// Every setting in effect, with the source that won. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    settings: Vec<Setting>,
}

impl Report {
    /// The settings, sorted by key within the framework's and the service's own.
    pub fn iter(&self) -> std::slice::Iter<'_, Setting> {
        self.settings.iter()
    }

    /// The setting `key`.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Keys of all secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets = self.settings.iter().filter(|setting| setting.secret);
        secrets.map(|setting| setting.key.as_str())
    }

    /// How it looks on a status page: by key, the value and its source.
    pub fn status(&self) -> Value {
        Value::map(self.settings.iter().map(|setting| {
            let entry = Value::map([
                ("value", setting.value.clone()),
                ("source", setting.origin.to_string().into()),
                ("reloadable", setting.reloadable.into()),
            ]);
            (setting.key.clone(), entry)
        }))
    }

    /// Keys whose values differ from those of `old`; those that it has alone come last.
    pub fn differing_keys(&self, old: &Self) -> Vec<String> {
        let before: HashMap<_, _> = old.iter().map(|setting| (&setting.key, setting)).collect();
        let now: HashSet<_> = self.iter().map(|setting| &setting.key).collect();
        let differs = |new: &&Setting| before.get(&new.key).is_none_or(|old| new.differs(old));
        let changed = self.iter().filter(differs);
        let gone = old.iter().filter(|old| !now.contains(&old.key));
        changed.chain(gone).map(|setting| setting.key.clone()).collect()
    }

    /// Adds the settings of `json`, which a struct in effect serialised to. `hash` is the one by
    /// which secrets are told apart.
    pub(super) fn add(&mut self, json: &Json, tree: &Node, schema: &Schema, hash: &RandomState) {
        self.walk(json, &Place { tree, schema, hash }, &mut Vec::new());
    }

    fn walk(&mut self, json: &Json, place: &Place<'_>, path: &mut Vec<Step>) {
        let Place { tree, schema, hash } = *place;
        let secret = schema.at(path).iter().any(|schema| schema.secret);
        match json {
            Json::Object(entries) if !secret && (!entries.is_empty() || path.is_empty()) => {
                for (key, json) in entries {
                    path.push(Step::Key(key.clone()));
                    self.walk(json, place, path);
                    path.pop();
                }
            }
            _ => {
                let redacted = secret && !json.is_null();
                self.settings.push(Setting {
                    key: display(path),
                    value: if redacted { REDACTED.into() } else { value(json) },
                    origin: origin(tree, path),
                    secret: secret || *json == REDACTED,
                    reloadable: !schema.restarts_at(path),
                    fingerprint: redacted
                        .then(|| find(tree, path))
                        .flatten()
                        .map(|node| hash.hash_one(&node.data)),
                });
            }
        }
    }
}

impl<'a> IntoIterator for &'a Report {
    type Item = &'a Setting;
    type IntoIter = std::slice::Iter<'a, Setting>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What a setting is described by, beside its value.
struct Place<'a> {
    tree: &'a Node,
    schema: &'a Schema,
    hash: &'a RandomState,
}

fn find<'a>(tree: &'a Node, path: &[Step]) -> Option<&'a Node> {
    path.iter().try_fold(tree, |node, step| match step {
        Step::Key(key) => node.get(key),
        Step::Index(_) => None,
    })
}

fn origin(tree: &Node, path: &[Step]) -> Origin {
    find(tree, path).map_or(Origin::Default, |node| node.origin.clone())
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => (*yes).into(),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => n.into(),
            // Beyond what a status value holds as a number; as text it is at least right.
            (None, Some(n)) => n.to_string().into(),
            (None, None) => n.as_f64().into(),
        },
        Json::String(text) => text.clone().into(),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(entries) => {
            Value::map(entries.iter().map(|(key, json)| (key.clone(), value(json))))
        }
    }
}
