//! Values that arrive as text, from a variable or the command line: the schema says what they mean.

use super::error::Origin;
use super::schema::{Kind, Schema};
use super::tree::{Data, Node};
use serde_json::Value as Json;

/// Reads `text` as the first of `schemas` that it fits.
///
/// `None` if it fits none. Whether the value is in range is for the check that all sources go
/// through.
pub(super) fn read(text: &str, schemas: &[&Schema], origin: &Origin) -> Option<Node> {
    let fitting = |schema: &&Schema| read_one(text, schema, origin);
    schemas.iter().find_map(fitting)
}

/// Whether empty text means that nothing is set: everywhere but where text itself is wanted.
pub(super) fn empty_is_unset(schema: &Schema) -> bool {
    !schema.secret && !matches!(schema.kind, Kind::Text { .. } | Kind::Any)
}

fn read_one(text: &str, schema: &Schema, origin: &Origin) -> Option<Node> {
    let node = |data| Some(Node::new(data, origin.clone()));
    let word = text.trim();
    match &schema.kind {
        Kind::Text { .. } => node(Data::Text(text.to_owned())),
        Kind::Duration => {
            crate::duration::parse(word).ok()?;
            node(Data::Text(word.to_owned()))
        }
        Kind::Bool => match word.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => node(Data::Bool(true)),
            "false" | "0" | "no" | "off" => node(Data::Bool(false)),
            _ => None,
        },
        Kind::Integer(_) => node(Data::Integer(word.parse().ok()?)),
        Kind::Number(_) => match word.parse() {
            Ok(whole) => node(Data::Integer(whole)),
            Err(_) => node(Data::Float(word.parse().ok()?)),
        },
        Kind::Words(words) => {
            let known = words.iter().find(|known| *known == word)?;
            node(Data::Text(known.clone()))
        }
        Kind::List { .. } => read_list(text, schema, origin),
        Kind::Table(_) if schema.binding.is_some() && !word.starts_with('{') => {
            node(Data::Text(word.to_owned()))
        }
        Kind::Table(_) => json(word, origin).filter(|node| matches!(node.data, Data::Table(_))),
        Kind::OneOf(forms) => {
            let forms: Vec<_> = forms.iter().collect();
            read(text, &forms, origin)
        }
        Kind::Any => json(word, origin).or_else(|| node(Data::Text(text.to_owned()))),
        Kind::Nothing => None,
    }
}

/// A JSON list, or items with commas between them.
fn read_list(text: &str, list: &Schema, origin: &Origin) -> Option<Node> {
    let text = text.trim();
    if text.starts_with('[') {
        return json(text, origin).filter(|node| matches!(node.data, Data::List(_)));
    }
    let parts = text.split(',').map(str::trim).filter(|_| !text.is_empty());
    let item = |(index, part): (usize, &str)| read(part, &list.item(index), origin);
    let items: Option<Vec<_>> = parts.enumerate().map(item).collect();
    Some(Node::new(Data::List(items?), origin.clone()))
}

fn json(text: &str, origin: &Origin) -> Option<Node> {
    let json: Json = serde_json::from_str(text).ok()?;
    Some(Node::from_json(&json, origin))
}

/// What to write, for text that fits none of `schemas`.
pub(super) fn expected(schemas: &[&Schema]) -> String {
    let mut words = Vec::new();
    let mut others = Vec::new();
    for schema in schemas {
        match &schema.kind {
            Kind::Words(more) => words.extend(more.iter().cloned()),
            Kind::List { first, .. } if !first.is_empty() => others.push(format!(
                "a list as JSON, or with commas between items: {}",
                schema.in_order()
            )),
            Kind::List { item, .. } => others.push(format!(
                "a list as JSON, or with commas between items, each {}",
                item.expected()
            )),
            Kind::Table(_) if schema.binding.is_none() => {
                others.push("an object as JSON".to_owned());
            }
            _ => others.push(schema.expected()),
        }
    }
    others.dedup();
    if !words.is_empty() {
        others.insert(0, format!("one of `{}`", words.join("`, `")));
    }
    others.join(" or ")
}
