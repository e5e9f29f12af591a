//! What a source says, with the place of every value: the form that all sources are brought into.

use super::error::Origin;
use serde_json::{Map, Number, Value as Json};
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

/// A value and where it was written.
///
/// No `Debug`: it may hold secrets.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) origin: Origin,
    /// What other sources say and this one beat, the strongest first.
    pub(super) below: Vec<Node>,
}

/// The value itself. Integers are wide enough for every type that serde reads from JSON.
#[derive(Clone)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table. Its place is not that of its value: `a.b = 1` has three.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) node: Node,
}

/// One step from a table or list to what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// `path` as people write it: `inventory.hosts[2]`.
pub(super) fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => _ = write!(text, "[{index}]"),
            Step::Key(key) => push_key(&mut text, key),
        }
    }
    text
}

/// Adds a key to a path as people write it.
pub(super) fn push_key(text: &mut String, key: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    // A key with a dot in it must not look like two.
    if key.is_empty() || key.contains(['.', '[', '"', '\n']) {
        let _ = write!(text, "{key:?}"); // to a String, which cannot fail
    } else {
        text.push_str(key);
    }
}

impl Node {
    pub(super) fn new(data: Data, origin: Origin) -> Self {
        Self { data, origin, below: Vec::new() }
    }

    pub(super) fn empty() -> Self {
        Self::new(Data::Table(Vec::new()), Origin::Default)
    }

    /// The value of `key`, if this is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Data::Table(entries) = &self.data else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.node)
    }

    /// The node at `path`, or the last one on the way to it.
    pub(super) fn nearest(&self, path: &[Step]) -> &Self {
        let Some((step, rest)) = path.split_first() else {
            return self;
        };
        let child = match (step, &self.data) {
            (Step::Key(key), _) => self.get(key),
            (Step::Index(index), Data::List(items)) => items.get(*index),
            (Step::Index(_), _) => None,
        };
        child.map_or(self, |child| child.nearest(rest))
    }

    /// The node at `path`.
    pub(super) fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self);
        };
        let child = match (step, &mut self.data) {
            (Step::Key(key), Data::Table(entries)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.node)
            }
            (Step::Index(index), Data::List(items)) => items.get_mut(*index),
            _ => None,
        };
        child?.at_mut(rest)
    }

    /// Takes out what stands at the end of `keys`, if anything does.
    pub(super) fn remove(&mut self, keys: &[String]) {
        let (Some((key, rest)), Data::Table(entries)) = (keys.split_first(), &mut self.data) else {
            return;
        };
        if rest.is_empty() {
            entries.retain(|entry| entry.key != *key);
        } else if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
            entry.node.remove(rest);
        }
    }

    /// A table that holds `self` at the end of `keys`.
    pub(super) fn nested<K: AsRef<str>>(self, keys: &[K]) -> Self {
        keys.iter().rev().fold(self, |node, key| {
            let origin = node.origin.clone();
            let entry = Entry { key: key.as_ref().to_owned(), origin: origin.clone(), node };
            Self::new(Data::Table(vec![entry]), origin)
        })
    }

    /// What to call its type in an error message.
    pub(super) fn type_name(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Integer(_) => "a whole number",
            Data::Float(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    /// The value as serde reads it.
    pub(super) fn to_json(&self) -> Json {
        match &self.data {
            Data::Null => Json::Null,
            Data::Bool(yes) => Json::Bool(*yes),
            Data::Integer(n) => Number::from_i128(*n).map_or(Json::Null, Json::Number),
            Data::Float(n) => Number::from_f64(*n).map_or(Json::Null, Json::Number),
            Data::Text(text) => Json::String(text.clone()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Table(entries) => {
                let entry = |entry: &Entry| (entry.key.clone(), entry.node.to_json());
                Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
            }
        }
    }

    /// `json` as a node, every part of it from `origin`.
    pub(super) fn from_json(json: &Json, origin: &Origin) -> Self {
        let data = match json {
            Json::Null => Data::Null,
            Json::Bool(yes) => Data::Bool(*yes),
            Json::Number(n) => n
                .as_i128()
                .map_or_else(|| Data::Float(n.as_f64().unwrap_or(f64::NAN)), Data::Integer),
            Json::String(text) => Data::Text(text.clone()),
            Json::Array(items) => {
                Data::List(items.iter().map(|item| Self::from_json(item, origin)).collect())
            }
            Json::Object(entries) => Data::Table(
                entries
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        origin: origin.clone(),
                        node: Self::from_json(value, origin),
                    })
                    .collect(),
            ),
        };
        Self::new(data, origin.clone())
    }
}

/// By value alone, wherever it was written.
impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(yes) => yes.hash(state),
            Self::Integer(n) => n.hash(state),
            Self::Float(n) => n.to_bits().hash(state),
            Self::Text(text) => text.hash(state),
            Self::List(items) => {
                items.len().hash(state);
                for node in items {
                    node.data.hash(state);
                }
            }
            Self::Table(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|entry| &entry.key);
                entries.len().hash(state);
                for entry in entries {
                    entry.key.hash(state);
                    entry.node.data.hash(state);
                }
            }
        }
    }
}
