//! From checked values to the struct, with all that only its types can refuse.
//!
//! serde stops at the first value that a type refuses. So: note the path, drop the value, and try
//! again, until it passes or nothing is left to drop.

use super::error::{Error, ErrorKind};
use super::schema::Schema;
use super::tree::{Data, Node, Step};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_path_to_error::Segment;
use std::collections::BTreeMap;

/// Reads what `json` makes of `tree` as `T`, without what `known` errors point to.
pub(super) fn deserialize<T: DeserializeOwned>(
    tree: &Node,
    json: impl Fn() -> Json,
    schema: &Schema,
    known: &[Error],
) -> Result<T, Vec<Error>> {
    // Usually nothing is wrong, and nobody asks where.
    if let Some(value) = known.is_empty().then(|| T::deserialize(json()).ok()).flatten() {
        return Ok(value);
    }
    let secrets = secrets(tree, schema);
    let mut pruned = Pruned::new(json());
    let mut dropped: Vec<Vec<Step>> = Vec::new();
    for error in known {
        pruned.drop(droppable(&error.path, schema));
        // Nothing misses a key that it does not know; unless that was all there was, as the name
        // of a variant is.
        if error.kind != ErrorKind::UnknownKey || pruned.is_alone(&error.path) {
            dropped.push(error.path.clone());
        }
    }
    let mut errors = Vec::new();
    // Each round drops a value or ends; the bound is for a type that refuses what is not there.
    for _ in 0..10_000 {
        let refused = match serde_path_to_error::deserialize::<_, T>(&pruned.json) {
            Ok(value) if errors.is_empty() && known.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(refused) => refused,
        };
        let path = pruned.path(refused.path());
        // What follows from an earlier error is not another one.
        let follows = dropped.iter().any(|earlier| earlier.starts_with(&path));
        if !follows {
            let message = refused.inner().to_string();
            let message = explain(&message, &schema.at(&path), &secrets);
            let origin = tree.nearest(&path).origin.clone();
            errors.push(Error::new(ErrorKind::Refused, &path, message).with_origin(origin));
        }
        if path.is_empty() || !pruned.drop(droppable(&path, schema)) {
            break;
        }
        dropped.push(path);
    }
    Err(errors)
}

/// What to drop for an error at `path`: all of the first tuple on the way, or else what comes
/// after the place would be read as it.
fn droppable<'a>(path: &'a [Step], schema: &Schema) -> &'a [Step] {
    let is_tuple = |schema: &&Schema| schema.has_places();
    let ends = path.iter().enumerate().filter(|(_, step)| matches!(step, Step::Index(_)));
    let mut ends = ends.map(|(end, _)| &path[..end]);
    ends.find(|path| schema.at(path).iter().any(is_tuple)).unwrap_or(path)
}

/// What serde says, unless a secret could be in it.
fn explain(message: &str, schemas: &[&Schema], secrets: &[String]) -> String {
    // A binding explains itself, and repeats nothing.
    let binding = !schemas.is_empty() && schemas.iter().all(|schema| schema.binding.is_some());
    let unsure = schemas.is_empty() || schemas.iter().any(|schema| schema.may_hold_secret());
    let risky = unsure && !binding;
    // The name of a field comes from the program, not from the value.
    let harmless = !risky || message.starts_with("missing field");
    if harmless && !secrets.iter().any(|secret| quotes(message, secret)) {
        return message.to_owned();
    }
    let expected = match schemas {
        [schema] => format!("; expected {}", schema.expected()),
        _ => String::new(),
    };
    format!("its type refuses the value (details withheld, they may hold a secret){expected}")
}

/// Whether `message` repeats `secret`, as it is or as Rust escapes it.
pub(super) fn quotes(message: &str, secret: &str) -> bool {
    message.contains(secret) || message.contains(&secret.escape_debug().to_string())
}

/// The text of all secrets in `node`.
pub(super) fn secrets(node: &Node, schema: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    collect(node, &[schema], false, &mut found);
    found
}

fn collect(node: &Node, schemas: &[&Schema], within: bool, found: &mut Vec<String>) {
    // Of a binding the parts are secrets that are marked so, not the names of its hosts.
    let open = |schema: &&Schema| schema.is_secret() && schema.binding.is_none();
    let secret = within || schemas.iter().any(open);
    match &node.data {
        Data::Text(text) if secret && !text.is_empty() => found.push(text.clone()),
        Data::Integer(n) if secret => found.push(n.to_string()),
        Data::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let inner = schemas.iter().flat_map(|schema| schema.item(index));
                collect(node, &inner.collect::<Vec<_>>(), secret, found);
            }
        }
        Data::Table(entries) => {
            #[cfg(feature = "bindings")]
            if let Some(Data::Text(url)) = node.get("url").map(|node| &node.data)
                && schemas.iter().any(|schema| schema.binding.is_some())
            {
                let secrets = crate::binding::secrets_in(url).into_iter();
                found.extend(secrets.filter(|secret| !secret.is_empty()));
            }
            for entry in entries {
                let inner = schemas.iter().flat_map(|schema| schema.inner(&entry.key));
                collect(&entry.node, &inner.collect::<Vec<_>>(), secret, found);
            }
        }
        _ => {}
    }
}

/// JSON from which values were dropped, and what their places were before.
struct Pruned {
    json: Json,
    /// By path of a list: the items that are gone, ascending.
    gone: BTreeMap<Vec<Step>, Vec<usize>>,
}

impl Pruned {
    fn new(json: Json) -> Self {
        let gone = BTreeMap::new();
        Self { json, gone }
    }

    /// Drops the value at `path`. False if there was none.
    fn drop(&mut self, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut json = &mut self.json;
        for (depth, step) in parents.iter().enumerate() {
            let inner = match step {
                Step::Key(key) => json.get_mut(key),
                Step::Index(index) => {
                    let gone = self.gone.get(&path[..depth]);
                    let Some(index) = now(*index, gone) else {
                        return false;
                    };
                    json.get_mut(index)
                }
            };
            let Some(inner) = inner else { return false };
            json = inner;
        }
        match (last, json) {
            (Step::Key(key), Json::Object(entries)) => entries.remove(key).is_some(),
            (Step::Index(index), Json::Array(items)) => {
                let gone = self.gone.entry(parents.to_vec()).or_default();
                match now(*index, Some(gone)).filter(|now| *now < items.len()) {
                    Some(now) => {
                        items.remove(now);
                        gone.push(*index);
                        gone.sort_unstable();
                        true
                    }
                    None => false,
                }
            }
            _ => false,
        }
    }

    /// Whether nothing stands beside the place of `path`.
    fn is_alone(&self, path: &[Step]) -> bool {
        let parents = path.split_last().map_or(path, |(_, parents)| parents);
        let parent = parents.iter().try_fold(&self.json, |json, step| match step {
            Step::Key(key) => json.get(key),
            Step::Index(_) => None, // not worth counting what is gone
        });
        parent.and_then(Json::as_object).is_none_or(serde_json::Map::is_empty)
    }

    /// The path in the whole tree that serde's path in the pruned one stands for.
    fn path(&self, path: &serde_path_to_error::Path) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut json = Some(&self.json);
        for segment in path {
            let (step, inner) = match segment {
                Segment::Seq { index } => {
                    let before = then(*index, self.gone.get(&steps));
                    (Step::Index(before), json.and_then(|json| json.get(index)))
                }
                // The name of a variant is a key where the enum wraps its data, else nothing.
                Segment::Map { key } | Segment::Enum { variant: key } => {
                    let inner = json.and_then(|json| json.get(key));
                    if inner.is_none() && matches!(segment, Segment::Enum { .. }) {
                        continue;
                    }
                    (Step::Key(key.clone()), inner)
                }
                Segment::Unknown => break,
            };
            steps.push(step);
            json = inner;
        }
        steps
    }
}

/// Where item `index` is after those in `gone` went; `None` if it is one of them.
fn now(index: usize, gone: Option<&Vec<usize>>) -> Option<usize> {
    let gone = gone.map(Vec::as_slice).unwrap_or_default();
    let before = gone.iter().filter(|gone| **gone < index).count();
    (!gone.contains(&index)).then_some(index - before)
}

/// Where item `index` was before those in `gone` went.
fn then(index: usize, gone: Option<&Vec<usize>>) -> usize {
    let gone = gone.map(Vec::as_slice).unwrap_or_default();
    gone.iter().fold(index, |index, gone| index + usize::from(*gone <= index))
}
