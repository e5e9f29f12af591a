//! What a schema demands of a value beyond its type and its range.

use super::tree::{Data, Node};
use regex_lite::Regex;
use serde_json::{Map, Number, Value as Json};
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Demands that a schema makes of one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints(Vec<Constraint>);

#[derive(Clone, Debug)]
enum Constraint {
    /// Text in which this is found; `None` for a pattern that cannot be understood.
    Pattern(String, Option<Regex>),
    /// A number that this goes into.
    MultipleOf(Number),
    /// A list in which nothing stands twice.
    Unique,
    /// A table with so many keys at least, or at most.
    Entries(u64, u64),
}

impl Constraints {
    /// Those that `object`, a schema, makes.
    pub(super) fn of(object: &Map<String, Json>) -> Self {
        let mut all = Vec::new();
        if let Some(text) = object.get("pattern").and_then(Json::as_str) {
            all.push(Constraint::Pattern(text.to_owned(), Regex::new(text).ok()));
        }
        if let Some(number) = object.get("multipleOf").and_then(Json::as_number) {
            all.push(Constraint::MultipleOf(number.clone()));
        }
        if object.get("uniqueItems") == Some(&Json::Bool(true)) {
            all.push(Constraint::Unique);
        }
        let size = |key: &str| object.get(key).and_then(Json::as_u64);
        if let (Some(_), _) | (_, Some(_)) = (size("minProperties"), size("maxProperties")) {
            let least = size("minProperties").unwrap_or_default();
            let most = size("maxProperties").unwrap_or(u64::MAX);
            all.push(Constraint::Entries(least, most));
        }
        Self(all)
    }

    /// What `node` should be and is not. Never shows its value.
    pub(super) fn broken_by(&self, node: &Node) -> Option<String> {
        self.0.iter().find_map(|constraint| constraint.broken_by(node))
    }

    /// A pattern that cannot be understood.
    pub(super) fn bad_pattern(&self) -> Option<&str> {
        self.0.iter().find_map(|constraint| match constraint {
            Constraint::Pattern(text, None) => Some(text.as_str()),
            _ => None,
        })
    }
}

impl Constraint {
    fn broken_by(&self, node: &Node) -> Option<String> {
        match (self, &node.data) {
            (Self::Pattern(text, Some(regex)), Data::Text(value)) if !regex.is_match(value) => {
                Some(format!("does not match the pattern `{text}`"))
            }
            (Self::MultipleOf(step), Data::Integer(_) | Data::Float(_)) => {
                (!goes_into(step, node)).then(|| format!("is no multiple of {step}"))
            }
            (Self::Unique, Data::List(items)) => {
                let hash = RandomState::new();
                let mut seen = HashSet::new();
                let twice = items.iter().position(|node| !seen.insert(hash.hash_one(&node.data)));
                twice.map(|at| format!("item {at} stands there already; each may once"))
            }
            (Self::Entries(least, most), Data::Table(entries)) => {
                let count = entries.len() as u64;
                if count < *least {
                    Some(format!("has {count} keys, needs at least {least}"))
                } else if count > *most {
                    Some(format!("has {count} keys, may have {most}"))
                } else {
                    None
                }
            }
            _ => None,
        }
    }
}

fn goes_into(step: &Number, node: &Node) -> bool {
    match (&node.data, step.as_i128()) {
        (_, Some(0)) => true, // no such schema is valid
        (Data::Integer(n), Some(step)) => n % step == 0,
        (data, _) => {
            let n = match data {
                Data::Integer(n) => *n as f64,
                Data::Float(n) => *n,
                _ => return true,
            };
            let times = n / step.as_f64().unwrap_or(1.0);
            // What is written in tenths is not exact in binary.
            (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Constraints;
    use crate::config::error::Origin;
    use crate::config::tree::Node;
    use proptest::prelude::*;
    use serde_json::json;

    fn broken(schema: &serde_json::Value, value: &serde_json::Value) -> Option<String> {
        let constraints = Constraints::of(schema.as_object().unwrap());
        constraints.broken_by(&Node::from_json(value, &Origin::Default))
    }

    #[test]
    fn says_what_is_demanded() {
        for (schema, good, bad, why) in [
            (
                json!({"pattern": "^[a-z]+$"}),
                json!("ab"),
                json!("a1"),
                "does not match the pattern",
            ),
            (json!({"multipleOf": 4}), json!(8), json!(6), "is no multiple of 4"),
            (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35), "is no multiple of 0.1"),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 2, 1]), "item 2 stands there"),
            (json!({"minProperties": 1}), json!({"a": 1}), json!({}), "needs at least 1"),
            (json!({"maxProperties": 1}), json!({}), json!({"a": 1, "b": 2}), "may have 1"),
        ] {
            assert_eq!(broken(&schema, &good), None, "{schema}");
            let said = broken(&schema, &bad).unwrap_or_else(|| panic!("{schema} lets {bad} pass"));
            assert!(said.contains(why), "{said}");
            assert_eq!(broken(&schema, &json!(null)), None, "of another type, which is told apart");
        }
        let bad = Constraints::of(json!({"pattern": "(["}).as_object().unwrap());
        assert_eq!(bad.bad_pattern(), Some("(["));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(items in prop::collection::vec(0_u8..6, 0..6), step in 1_i64..9, n in -99_i64..99) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let unique = broken(&json!({"uniqueItems": true}), &json!(items)).is_none();
            prop_assert_eq!(unique, sorted.len() == items.len());
            let multiple = broken(&json!({"multipleOf": step}), &json!(n)).is_none();
            prop_assert_eq!(multiple, (-99..99).any(|times| times * step == n));
        }
    }
}
