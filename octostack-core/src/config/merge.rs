//! Laying one source over another.
//!
//! Tables merge key by key, everything else is replaced whole: a list in production is not the one
//! of development with some items more. An enum with data is replaced when its variant changes,
//! since the fields of one variant mean nothing to the other.

use super::bindings::replaces;
use super::error::Origin;
use super::schema::{Kind, Schema, Table};
use super::tree::{Data, Entry, Node};
use serde_json::Value as Json;

/// Lays `over` over `base`. `schema` is that of both.
pub(super) fn merge(base: &mut Node, over: Node, schema: Option<&Schema>) {
    let changed = schema.is_some_and(|schema| {
        let variants = (variant(base, schema), variant(&over, schema));
        matches!(variants, (Some(old), Some(new)) if old != new)
    });
    let changed = changed || schema.is_some_and(|schema| replaces(&over, schema));
    let Node { data, origin, below } = over;
    match (&mut base.data, data) {
        (Data::Table(old), Data::Table(new)) if !changed => {
            for entry in new {
                match old.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => {
                        let inner = schema.and_then(|schema| schema.inner(&entry.key).next());
                        merge(&mut known.node, entry.node, inner);
                        known.origin = entry.origin;
                    }
                    None => old.push(entry),
                }
            }
        }
        (_, data) => {
            let mut old = std::mem::replace(base, Node { data, origin, below });
            let older = std::mem::take(&mut old.below);
            base.below.push(old);
            base.below.extend(older);
        }
    }
}

/// Which variant of an enum `node` names: by a tag such as `kind = "file"`, or by the only key,
/// as in `{ file = … }`, or as a word.
pub(super) fn variant(node: &Node, schema: &Schema) -> Option<usize> {
    let Kind::OneOf(forms) = &schema.kind else {
        return None;
    };
    forms.iter().position(|form| match (&form.kind, &node.data) {
        (Kind::Table(table), Data::Table(entries)) => {
            tagged(table, node) || matches!(entries.as_slice(), [one] if wraps(table, &one.key))
        }
        (Kind::Words(words), Data::Text(text)) => words.contains(text),
        _ => false,
    })
}

/// The fields that tell this variant from others: those that accept one word only.
pub(super) fn tags(table: &Table) -> impl Iterator<Item = (&str, &str)> {
    table.fields.iter().filter_map(|field| match &field.schema.kind {
        Kind::Words(words) if words.len() == 1 && field.required => {
            Some((field.name.as_str(), words[0].as_str()))
        }
        _ => None,
    })
}

fn tagged(table: &Table, node: &Node) -> bool {
    let mut tags = tags(table).peekable();
    tags.peek().is_some()
        && tags.all(|(key, word)| {
            matches!(node.get(key), Some(Node { data: Data::Text(text), .. }) if text == word)
        })
}

fn wraps(table: &Table, key: &str) -> bool {
    matches!(table.fields.as_slice(), [only] if only.required && only.name == key)
        && tags(table).next().is_none()
}

/// Adds what a default says beside what sources say.
///
/// With `inventory` half set, serde would take the other half from the defaults of its own type,
/// though the struct around it may have others. A struct that no source touches is left to serde.
pub(super) fn fill_defaults(node: &mut Node, schema: &Schema, outer: Option<&Json>) {
    let (Data::Table(entries), Kind::Table(table)) = (&mut node.data, &schema.kind) else {
        return;
    };
    for field in &table.fields {
        let schema = &field.schema;
        let default = outer.and_then(|outer| outer.get(&field.name));
        let default = default.or(schema.default.as_ref());
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == field.name) {
            fill_defaults(&mut entry.node, schema, default);
        } else if let Some(json) = default.filter(|_| !schema.secret) {
            let mut node = Node::from_json(json, &Origin::Default);
            // A secret in a default is missing all the same, and the check has to see that.
            let hid_secret = drop_secrets(&mut node, schema);
            if outer.is_none() && !hid_secret {
                continue;
            }
            let (key, origin) = (field.name.clone(), Origin::Default);
            entries.push(Entry { key, origin, node });
        }
    }
}

/// Takes out of a default what serialised as `[redacted]`. Says whether there was any.
fn drop_secrets(node: &mut Node, schema: &Schema) -> bool {
    let Data::Table(entries) = &mut node.data else {
        return false;
    };
    let mut dropped = false;
    entries.retain_mut(|entry| {
        let schemas: Vec<_> = schema.inner(&entry.key).collect();
        let null = matches!(entry.node.data, Data::Null);
        let hidden = !null && schemas.iter().any(|schema| schema.is_secret());
        dropped |= hidden;
        for schema in schemas {
            dropped |= drop_secrets(&mut entry.node, schema);
        }
        !hidden
    });
    dropped
}

/// Brings `#[serde(alias)]`es, which the schema names in `x-aliases`, to the name of the field.
/// Returns the keys that are given under two names.
pub(super) fn rename_aliases(node: &mut Node, schema: &Schema) -> Vec<(String, Origin)> {
    let mut twice = Vec::new();
    match (&mut node.data, &schema.kind) {
        (Data::Table(entries), _) => {
            for field in schema.fields() {
                for alias in &field.aliases {
                    let given = entries.iter().any(|entry| entry.key == field.name);
                    let Some(entry) = entries.iter_mut().find(|entry| entry.key == *alias) else {
                        continue;
                    };
                    if given {
                        twice.push((alias.clone(), entry.origin.clone()));
                    }
                    entry.key.clone_from(&field.name);
                }
            }
            for entry in entries {
                for inner in schema.inner(&entry.key) {
                    twice.extend(rename_aliases(&mut entry.node, inner));
                }
            }
        }
        (Data::List(items), Kind::List { .. }) => {
            for (index, node) in items.iter_mut().enumerate() {
                for item in schema.item(index) {
                    twice.extend(rename_aliases(node, item));
                }
            }
        }
        _ => {}
    }
    twice
}
