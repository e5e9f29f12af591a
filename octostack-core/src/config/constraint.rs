//! What a schema demands of a value beyond its type and its range.

use super::error::{Error, ErrorKind};
use super::schema::{Kind, Schema};
use super::tree::{Data, Node};
use regex_lite::Regex;
use serde_json::{Map, Number, Value as Json};
use std::collections::HashMap;

/// Demands that a schema makes of one value.
#[derive(Clone, Debug, Default)]
pub(super) struct Constraints(Vec<Constraint>);

#[derive(Clone, Debug)]
enum Constraint {
    /// Text in which this is found, or why it cannot be understood.
    Pattern(String, Result<Regex, String>),
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
            let regex = Regex::new(text).map_err(|error| error.to_string());
            all.push(Constraint::Pattern(text.to_owned(), regex));
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

    /// Whether nothing stands twice in a list of it, as in a set.
    pub(super) fn is_unique(&self) -> bool {
        self.0.iter().any(|constraint| matches!(constraint, Constraint::Unique))
    }

    /// What `node` should be and is not. Never shows its value.
    pub(super) fn broken_by(&self, node: &Node) -> Option<String> {
        self.0.iter().find_map(|constraint| constraint.broken_by(node))
    }

    /// The first of `items` that stands there before too, and where: (again, before). Nothing
    /// where items may be alike.
    pub(super) fn repeated(&self, items: &[Node]) -> Option<(usize, usize)> {
        if !self.is_unique() {
            return None;
        }
        let mut seen = HashMap::new();
        items.iter().enumerate().find_map(|(again, node)| {
            seen.insert(level(node.to_json()), again).map(|before| (again, before))
        })
    }

    /// Added to what is expected: ` that matches …`.
    pub(super) fn describe(&self) -> String {
        let words = self.0.iter().filter_map(|constraint| match constraint {
            Constraint::Pattern(text, _) => Some(format!("that matches `{text}`")),
            Constraint::MultipleOf(step) => Some(format!("that is a multiple of {step}")),
            Constraint::Unique | Constraint::Entries(..) => None,
        });
        words.fold(String::new(), |text, words| text + " " + &words)
    }

    /// What no value can be checked against: a mistake in the struct.
    fn problem(&self) -> Option<String> {
        self.0.iter().find_map(|constraint| match constraint {
            Constraint::Pattern(text, Err(error)) => {
                Some(format!("the pattern `{text}` cannot be understood: {error}; mend the field"))
            }
            Constraint::MultipleOf(step) if step.as_f64().is_none_or(|step| step <= 0.0) => {
                Some(format!("nothing is a multiple of {step}; mend `multipleOf` of the field"))
            }
            _ => None,
        })
    }
}

impl Constraint {
    fn broken_by(&self, node: &Node) -> Option<String> {
        match (self, &node.data) {
            (Self::Pattern(text, Ok(regex)), Data::Text(value)) if !regex.is_match(value) => {
                Some(format!("does not match the pattern `{text}`"))
            }
            (Self::MultipleOf(step), Data::Integer(_) | Data::Float(_)) => {
                (!goes_into(step, node)).then(|| format!("is no multiple of {step}"))
            }
            (Self::Entries(least, most), Data::Table(entries)) => {
                let count = entries.len() as u64;
                let keys = if count == 1 { "key" } else { "keys" };
                if count < *least {
                    Some(format!("has {count} {keys}, needs at least {least}"))
                } else if count > *most {
                    Some(format!("has {count} {keys}, may have {most}"))
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
        (Data::Integer(n), Some(step)) => n.checked_rem(step) == Some(0),
        (data, _) => {
            let n = match data {
                Data::Integer(n) => *n as f64,
                Data::Float(n) => *n,
                _ => return true,
            };
            let times = n / step.as_f64().unwrap_or(1.0);
            // What is written in tenths is not exact in binary: both numbers and what comes of
            // them are rounded once each.
            (times - times.round()).abs() <= 2.0 * f64::EPSILON * times.abs()
        }
    }
}

/// Above it the whole numbers that an `f64` holds have gaps.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Numbers of one value written in one way: `1` as `1.0`, where that is exact.
fn level(json: Json) -> Json {
    match json {
        Json::Number(n) if !n.is_f64() => {
            let float = n.as_f64().filter(|float| float.abs() < EXACT);
            float.and_then(Number::from_f64).map_or(Json::Number(n), Json::Number)
        }
        Json::Array(items) => items.into_iter().map(level).collect(),
        Json::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(k, v)| (k, level(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries.into_iter().collect())
        }
        other => other,
    }
}

/// Demands that no value can be checked against, everywhere in `schema`.
pub(super) fn faults(schema: &Schema) -> Vec<Error> {
    let mut errors = Vec::new();
    collect(schema, &mut Vec::new(), &mut errors);
    errors
}

fn collect<'a>(schema: &'a Schema, keys: &mut Vec<&'a str>, errors: &mut Vec<Error>) {
    if let Some(message) = schema.constraints.problem() {
        let keys: Vec<_> = keys.iter().copied().map(str::to_owned).collect();
        errors.push(Error::of_keys(ErrorKind::BadSchema, &keys, message));
    }
    match &schema.kind {
        Kind::Table(table) => {
            for field in &table.fields {
                keys.push(&field.name);
                collect(&field.schema, keys, errors);
                keys.pop();
            }
            table.others.iter().for_each(|others| collect(others, keys, errors));
        }
        Kind::OneOf(forms) => forms.iter().for_each(|form| collect(form, keys, errors)),
        Kind::List { first, item, .. } => {
            first.iter().chain([&**item]).for_each(|item| collect(item, keys, errors));
        }
        _ => {}
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
            (json!({"minProperties": 1}), json!({"a": 1}), json!({}), "needs at least 1"),
            (json!({"maxProperties": 1}), json!({}), json!({"a": 1, "b": 2}), "may have 1"),
        ] {
            assert_eq!(broken(&schema, &good), None, "{schema}");
            let said = broken(&schema, &bad).unwrap_or_else(|| panic!("{schema} lets {bad} pass"));
            assert!(said.contains(why), "{said}");
            assert_eq!(broken(&schema, &json!(null)), None, "of another type, which is told apart");
        }
        let bad = Constraints::of(json!({"pattern": "(["}).as_object().unwrap());
        assert!(bad.problem().unwrap().starts_with("the pattern `([` cannot be understood: "));
        for step in [json!(0), json!(-2), json!(0.0)] {
            let bad = Constraints::of(json!({ "multipleOf": step }).as_object().unwrap());
            assert!(bad.problem().is_some(), "{step}");
        }
    }

    fn repeated(items: &serde_json::Value) -> Option<(usize, usize)> {
        let nodes = items.as_array().unwrap().iter();
        let nodes: Vec<_> = nodes.map(|item| Node::from_json(item, &Origin::Default)).collect();
        let unique = json!({"uniqueItems": true});
        assert_eq!(Constraints::default().repeated(&nodes), None, "nobody asked");
        Constraints::of(unique.as_object().unwrap()).repeated(&nodes)
    }

    #[test]
    fn items_of_one_value_are_found_however_they_are_written() {
        assert_eq!(repeated(&json!([1, 2, 1.0, 1])), Some((2, 0)));
        assert_eq!(repeated(&json!([{"a": 1, "b": 2}, "x", {"b": 2.0, "a": 1}])), Some((2, 0)));
        assert_eq!(repeated(&json!([1, "1", true, null, [1], [[1]], 1.5, "a", "A"])), None);
        assert_eq!(repeated(&json!([u64::MAX, u64::MAX - 1])), None, "floats cannot tell them");
    }

    #[test]
    fn steps_hold_also_where_they_cannot_be_written_exactly() {
        let tenths = json!({"multipleOf": 0.1});
        for n in 0..1000 {
            for value in [f64::from(n) * 0.1, f64::from(n) / 10.0] {
                assert_eq!(broken(&tenths, &json!(value)), None, "{value}");
            }
        }
        assert!(broken(&tenths, &json!(1e-10)).is_some());
        let even = json!({"multipleOf": 2});
        assert!(broken(&even, &json!(u64::MAX)).is_some(), "beyond what a float holds");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(items in prop::collection::vec(0_u8..6, 0..6), step in 1_i64..9, n in -99_i64..99) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sorted.dedup();
            let unique = repeated(&json!(items)).is_none();
            prop_assert_eq!(unique, sorted.len() == items.len());
            let multiple = broken(&json!({"multipleOf": step}), &json!(n)).is_none();
            prop_assert_eq!(multiple, (-99..99).any(|times| times * step == n));
        }
    }
}
