//! Which value won, and where it was written.

use super::error::Origin;
use super::schema::{Kind, Schema};
use super::suggest::nearest;
use super::tree::{Data, Node, push_key};
use crate::inspect::Value;
use crate::secret::REDACTED;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashMap, HashSet};
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
    /// What other sources say and this one beat, the strongest first, the default last.
    pub shadowed: Vec<Shadowed>,
    /// Tells one secret from another without holding it; differs from process to process.
    fingerprint: Option<u64>,
}

/// A value of a source that another one beat.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shadowed {
    /// Where it was written.
    pub origin: Origin,
    /// The value; `[redacted]` for a secret.
    pub value: Value,
}

impl Setting {
    /// How it looks on a status page.
    pub fn status(&self) -> Value {
        let mut entry = vec![
            ("value".into(), self.value.clone()),
            ("source".into(), self.origin.to_string().into()),
        ];
        if !self.shadowed.is_empty() {
            let shadowed = self.shadowed.iter().map(|shadowed| {
                Value::map([
                    ("value", shadowed.value.clone()),
                    ("source", shadowed.origin.to_string().into()),
                ])
            });
            entry.push(("shadowed".into(), Value::List(shadowed.collect())));
        }
        entry.push(("reloadable".into(), self.reloadable.into()));
        Value::Map(entry)
    }

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
    /// The settings, sorted by key; what a struct does not serialise comes after its other keys.
    pub fn iter(&self) -> std::slice::Iter<'_, Setting> {
        self.settings.iter()
    }

    /// The setting `key`.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// The setting or section whose name is most like `written`, if one is alike enough to have
    /// been meant.
    pub fn nearest(&self, written: &str) -> Option<&str> {
        let sections = |key: &'_ str| key.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();
        let names = self.settings.iter().flat_map(|setting| {
            let ends = sections(&setting.key).into_iter().chain([setting.key.len()]);
            ends.map(|end| &setting.key[..end])
        });
        nearest(written, names.collect::<BTreeSet<_>>())
    }

    /// Keys of all secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets = self.settings.iter().filter(|setting| setting.secret);
        secrets.map(|setting| setting.key.as_str())
    }

    /// How it looks on a status page: by key, the value, its source and what that beat.
    pub fn status(&self) -> Value {
        Value::map(self.settings.iter().map(|setting| (setting.key.clone(), setting.status())))
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

    /// That of the settings in `json`, which the structs in effect serialised to. `hash` is the one
    /// by which secrets are told apart.
    pub(super) fn of(json: &Json, tree: &Node, schema: &Schema, hash: &RandomState) -> Self {
        let place = Place {
            node: Some(tree),
            beaten: Vec::new(),
            schemas: vec![schema],
            default: None,
            restart: false,
        };
        let mut report = Self::default();
        report.walk(json, &place, &mut String::new(), hash);
        report
    }

    fn walk(&mut self, json: &Json, place: &Place<'_>, key: &mut String, hash: &RandomState) {
        let secret = place.schemas.iter().any(|schema| schema.secret);
        let ordered = place.ordered(json);
        let json = ordered.as_ref().unwrap_or(json);
        match json {
            Json::Object(entries) if !secret && (!entries.is_empty() || key.is_empty()) => {
                for (name, json) in entries {
                    let length = key.len();
                    push_key(key, name);
                    self.walk(json, &place.inner(name), key, hash);
                    key.truncate(length);
                }
                self.unserialised(entries, place, key, hash);
            }
            _ => self.settings.push(place.setting(key.clone(), json, secret, hash)),
        }
    }

    /// Adds what a source says and the struct leaves out when it is serialised: it is in effect all
    /// the same, and a change of it is one.
    fn unserialised(
        &mut self,
        serialised: &Map<String, Json>,
        place: &Place<'_>,
        key: &mut String,
        hash: &RandomState,
    ) {
        let Some(Node { data: Data::Table(entries), .. }) = place.node else { return };
        for entry in entries.iter().filter(|entry| !serialised.contains_key(&entry.key)) {
            let inner = place.inner(&entry.key);
            let nothing = matches!(entry.node.data, Data::Null);
            if inner.schemas.is_empty() || nothing || entry.node.origin == Origin::Default {
                continue;
            }
            let length = key.len();
            push_key(key, &entry.key);
            self.settings.push(inner.unserialised(key.clone(), &entry.node, hash));
            key.truncate(length);
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
    /// What the sources say, if they do.
    node: Option<&'a Node>,
    /// What they say that was replaced with what is around it.
    beaten: Vec<&'a Node>,
    /// More than one where variants of an enum share the key.
    schemas: Vec<&'a Schema>,
    /// What would be there without any source.
    default: Option<&'a Json>,
    restart: bool,
}

impl Place<'_> {
    fn inner(&self, key: &str) -> Self {
        let mut beaten: Vec<_> = self.beaten.iter().filter_map(|node| node.get(key)).collect();
        beaten.extend(
            self.node.into_iter().flat_map(|node| &node.below).filter_map(|old| old.get(key)),
        );
        let schemas: Vec<_> = self.schemas.iter().flat_map(|schema| schema.inner(key)).collect();
        let outer = self.default.and_then(|default| default.get(key));
        Self {
            node: self.node.and_then(|node| node.get(key)),
            beaten,
            default: outer.or_else(|| schemas.first()?.default.as_ref()),
            restart: self.restart || self.schemas.iter().any(|schema| schema.stays_whole()),
            schemas,
        }
    }

    /// The items of a set as its source has them, otherwise sorted: it may serialise in another
    /// order each time, and that is no change.
    fn ordered(&self, json: &Json) -> Option<Json> {
        let Json::Array(items) = json else { return None };
        let unique = |schema: &&Schema| schema.has_unique_items();
        if items.len() < 2 || !self.schemas.iter().any(unique) {
            return None;
        }
        // A default that is a set has no order either.
        let source = self.node.filter(|node| node.origin != Origin::Default);
        let written = source.map(Node::to_json);
        let written = written.as_ref().and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
        let at = |item: &Json| written.iter().position(|other| other == item);
        let mut items = items.clone();
        items.sort_by_cached_key(|item| (at(item).unwrap_or(usize::MAX), item.to_string()));
        Some(Json::Array(items))
    }

    fn setting(&self, key: String, json: &Json, secret: bool, hash: &RandomState) -> Setting {
        let hidden = secret && !json.is_null();
        let shown = |value: Value| if hidden { REDACTED.into() } else { value };
        let origin = self.node.map_or(Origin::Default, |node| node.origin.clone());
        let below =
            self.node.into_iter().flat_map(|node| &node.below).chain(self.beaten.iter().copied());
        let mut shadowed: Vec<_> = below
            .filter(|node| node.origin != Origin::Default)
            .map(|node| Shadowed {
                origin: node.origin.clone(),
                value: shown(visible(node, &self.schemas)),
            })
            .collect();
        let default = self.default.filter(|_| origin != Origin::Default && !secret);
        shadowed
            .extend(default.map(|json| Shadowed { origin: Origin::Default, value: value(json) }));
        Setting {
            value: shown(value(json)),
            origin,
            secret: secret || *json == REDACTED,
            reloadable: !self.restart && !self.schemas.iter().any(|schema| schema.needs_restart()),
            shadowed,
            // A part of it may be a secret, as in a list of accounts.
            fingerprint: self
                .node
                .filter(|_| hidden || self.schemas.iter().any(|schema| schema.may_hold_secret()))
                .map(|node| hash.hash_one(&node.data)),
            key,
        }
    }

    /// As [`setting`](Self::setting), by what a source says alone.
    fn unserialised(&self, key: String, node: &Node, hash: &RandomState) -> Setting {
        let secret = self.schemas.iter().any(|schema| schema.is_secret());
        let mut setting = self.setting(key, &Json::Null, secret, hash);
        setting.value = visible(node, &self.schemas);
        setting.fingerprint = Some(hash.hash_one(&node.data));
        setting
    }
}

/// What a source says, without the secrets in it. What the schema does not tell may be one: unlike
/// the value in effect, which a struct serialised to, this one never passed through a `Secret`.
fn visible(node: &Node, schemas: &[&Schema]) -> Value {
    let open = |schema: &&Schema| !schema.is_secret() && !matches!(schema.kind, Kind::Any);
    match &node.data {
        Data::Null => Value::Null,
        _ if schemas.is_empty() || !schemas.iter().all(open) => REDACTED.into(),
        Data::Table(entries) => Value::map(entries.iter().map(|entry| {
            let inner = schemas.iter().flat_map(|schema| schema.inner(&entry.key));
            (entry.key.clone(), visible(&entry.node, &inner.collect::<Vec<_>>()))
        })),
        Data::List(items) => {
            let item = |(index, node): (usize, &Node)| {
                let inner = schemas.iter().flat_map(|schema| schema.item(index));
                visible(node, &inner.collect::<Vec<_>>())
            };
            Value::List(items.iter().enumerate().map(item).collect())
        }
        _ => value(&node.to_json()),
    }
}

pub(super) fn value(json: &Json) -> Value {
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
