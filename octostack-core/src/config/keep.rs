//! What only a restart can change: the values that stay, and what the sources want instead.

use super::report::{Report, Setting};
use super::schema::{Kind, Schema, Table};
use super::tree::{Data, Entry, Node};
use crate::inspect::Value;
use std::fmt;

/// The settings in effect that only a restart can change, as the tree has them.
#[derive(Clone, Default)]
pub(super) struct Kept {
    /// `None` where no source and no outer default says anything.
    parts: Vec<(Vec<String>, Option<Node>)>,
    settings: Vec<Setting>,
}

/// A setting that the sources want otherwise, and that only a restart can change.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Waiting {
    /// Its key.
    pub key: String,
    /// What it is to become; `[redacted]` for a secret.
    pub value: Value,
    /// Where that is written.
    pub source: String,
}

impl Kept {
    /// Those of settings that have come into effect.
    pub(super) fn of(tree: &Node, schema: &Schema, report: &Report) -> Self {
        let mut paths = Vec::new();
        collect(schema, &mut Vec::new(), &mut paths);
        let find =
            |keys: &Vec<String>| keys.iter().try_fold(tree, |node, key| node.get(key)).cloned();
        let settings = report.iter().filter(|setting| !setting.reloadable).cloned().collect();
        Self {
            parts: paths.into_iter().map(|keys| (keys.clone(), find(&keys))).collect(),
            settings,
        }
    }

    /// Those that `new` has otherwise.
    pub(super) fn waiting(&self, new: &Report) -> Vec<Waiting> {
        let of = |key: &str| self.settings.iter().find(|setting| setting.key == key);
        let wanted = new.iter().filter(|setting| !setting.reloadable);
        let wanted =
            wanted.filter(|setting| of(&setting.key).is_none_or(|old| setting.differs(old)));
        let mut waiting: Vec<_> = wanted
            .map(|setting| Waiting {
                key: setting.key.clone(),
                value: setting.value.clone(),
                source: setting.origin.to_string(),
            })
            .collect();
        let gone = self.settings.iter().filter(|old| new.get(&old.key).is_none());
        waiting.extend(gone.map(|old| Waiting {
            key: old.key.clone(),
            value: Value::Null,
            source: "no source".to_owned(),
        }));
        waiting
    }

    /// Puts them in the place of what `tree` has.
    pub(super) fn restore(&self, tree: &mut Node) {
        for (keys, node) in &self.parts {
            put(tree, keys, node.as_ref());
        }
    }
}

/// It may hold secrets.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.parts.iter().map(|(keys, _)| keys.join("."));
        f.debug_list().entries(paths).finish()
    }
}

/// The outermost fields that are wholly or partly for a restart only, and cannot be taken apart
/// further: what stands in a list, a map or a variant stays or changes as a whole.
fn collect<'a>(schema: &'a Schema, keys: &mut Vec<&'a str>, found: &mut Vec<Vec<String>>) {
    match &schema.kind {
        Kind::Table(table) if !schema.restart && !of_others(table) => {
            for field in &table.fields {
                keys.push(&field.name);
                collect(&field.schema, keys, found);
                keys.pop();
            }
        }
        _ if schema.needs_restart() => {
            found.push(keys.iter().map(|key| (*key).to_owned()).collect());
        }
        _ => {}
    }
}

/// Whether some of the keys that no field names are for a restart only.
fn of_others(table: &Table) -> bool {
    table.others.as_ref().is_some_and(|others| others.needs_restart())
}

fn put(tree: &mut Node, keys: &[String], node: Option<&Node>) {
    let Some((key, rest)) = keys.split_first() else { return };
    let Data::Table(entries) = &mut tree.data else { return };
    let at = entries.iter().position(|entry| entry.key == *key);
    match (at, node) {
        (Some(at), None) if rest.is_empty() => drop(entries.remove(at)),
        (Some(at), Some(node)) if rest.is_empty() => {
            entries[at] =
                Entry { key: key.clone(), origin: node.origin.clone(), node: node.clone() };
        }
        (Some(at), _) => put(&mut entries[at].node, rest, node),
        (None, Some(node)) => {
            let (origin, key) = (node.origin.clone(), key.clone());
            entries.push(Entry { key, origin, node: node.clone().nested(rest) });
        }
        (None, None) => {}
    }
}
