//! Compiled rules against an interpreter that walks the JSON, allocates as it likes, and was
//! written from the description of JSON logic.
#![allow(clippy::float_cmp, reason = "equality of numbers is what rules ask for")]
use super::tests::{context, evaluate_with};
use crate::bucketing::Bucketing;
use octostack_core::inspect::Value;
use proptest::prelude::*;

/// What JavaScript does, naively.
fn oracle(rule: &Value, data: &Value) -> Value {
    let Value::Map(entries) = rule else {
        if let Value::List(items) = rule {
            return Value::List(items.iter().map(|item| oracle(item, data)).collect());
        }
        return rule.clone();
    };
    let (operator, operands) = &entries[0];
    let list = match operands {
        Value::List(list) => list.clone(),
        single => vec![single.clone()],
    };
    let at = |i: usize| list.get(i).map_or(Value::Null, |operand| oracle(operand, data));
    match &**operator {
        "var" => {
            let name = list[0].as_str().unwrap();
            match data.get(name) {
                None | Some(Value::Null) => at(1),
                Some(value) => value.clone(),
            }
        }
        "if" => {
            let mut i = 0;
            while i + 1 < list.len() {
                if truth(&at(i)) {
                    return at(i + 1);
                }
                i += 2;
            }
            at(i)
        }
        "and" | "or" => {
            let wanted = &**operator == "or";
            let mut result = Value::Null;
            for i in 0..list.len() {
                result = at(i);
                if truth(&result) == wanted {
                    break;
                }
            }
            result
        }
        "!" => Value::Bool(!truth(&at(0))),
        "==" => Value::Bool(loose(&at(0), &at(1))),
        "!=" => Value::Bool(!loose(&at(0), &at(1))),
        "===" => Value::Bool(strict(&at(0), &at(1))),
        "<" => Value::Bool(less(&at(0), &at(1), false)),
        "<=" => Value::Bool(less(&at(0), &at(1), true)),
        "in" => Value::Bool(match (at(0), at(1)) {
            (Value::Text(needle), Value::Text(text)) => text.contains(&*needle),
            (needle, Value::List(items)) => items.iter().any(|item| strict(&needle, item)),
            _ => false,
        }),
        "cat" => {
            let pieces: Vec<_> = (0..list.len()).map(|i| text(&at(i))).collect();
            Value::from(pieces.concat())
        }
        other => panic!("the oracle has no `{other}`"),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Integer(n) => *n != 0,
        Value::Float(n) => *n != 0.0,
        Value::Text(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Null => false,
        _ => true,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Integer(n) => *n as f64,
        Value::Float(n) => *n,
        Value::Text(text) if text.trim().is_empty() => 0.0,
        Value::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

fn strict(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Integer(_) | Value::Float(_), Value::Integer(_) | Value::Float(_)) => {
            number(a) == number(b)
        }
        _ => a == b,
    }
}

fn loose(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => *a == *b,
        (Value::Text(_), Value::Text(_)) | (Value::List(_), _) | (_, Value::List(_)) => a == b,
        _ => number(a) == number(b),
    }
}

fn less(a: &Value, b: &Value, or_equal: bool) -> bool {
    if let (Value::Text(a), Value::Text(b)) = (a, b) {
        return a < b || or_equal && a == b;
    }
    let (a, b) = (number(a), number(b));
    a < b || or_equal && a == b
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => text.to_string(),
        Value::Float(n) if n.fract() == 0.0 => format!("{n:.0}").replace("-0", "0"),
        Value::List(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2_i64..3).prop_map(Value::Integer),
        prop_oneof![Just(0.0), Just(1.0), Just(0.5), Just(-1.5)].prop_map(Value::Float),
        prop_oneof![Just(""), Just("a"), Just("ab"), Just("1"), Just(" 1"), Just("0.5"), Just("b")]
            .prop_map(Value::from),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let variable = prop_oneof![Just("p"), Just("q"), Just("r")]
        .prop_map(|name| Value::map([("var", Value::List(vec![name.into()]))]));
    let constant_list = prop::collection::vec(scalar(), 0..4).prop_map(Value::List);
    let leaf = prop_oneof![3 => scalar(), 3 => variable, 1 => constant_list];
    leaf.prop_recursive(5, 60, 4, |inner| {
        let operation = |names: &'static [&'static str], sizes: std::ops::Range<usize>| {
            let name = prop::sample::select(names);
            let operands = prop::collection::vec(inner.clone(), sizes);
            (name, operands).prop_map(|(name, list)| Value::map([(name, Value::List(list))]))
        };
        prop_oneof![
            operation(&["==", "!=", "===", "<", "<=", "in"], 2..3),
            operation(&["and", "or", "cat"], 1..4),
            operation(&["if"], 1..6),
            operation(&["!"], 1..2),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Value::List),
        ]
    })
}

/// Lists that were computed are no constants, and are the same as nothing; the oracle would
/// compare them. JavaScript compares neither.
fn compares_lists(rule: &Value) -> bool {
    match rule {
        Value::List(items) => items.iter().any(compares_lists),
        Value::Map(entries) => {
            let (operator, operands) = &entries[0];
            let gives_list = |operand: &Value| {
                !matches!(operand, Value::Map(entries)
                if matches!(&*entries[0].0, "var" | "==" | "!=" | "===" | "<" | "<=" | "in" | "!" | "cat"))
                    && matches!(operand, Value::List(_) | Value::Map(_))
            };
            let Value::List(list) = operands else { return false };
            let compares = matches!(&**operator, "==" | "!=" | "===" | "in");
            compares && list.iter().any(gives_list) || list.iter().any(compares_lists)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_compiled_rule_says_what_an_interpreter_says(
        rule in rule().prop_filter("compares lists", |rule| !compares_lists(rule)),
        data in (scalar(), scalar(), scalar()),
    ) {
        let data = Value::map([("p", data.0), ("q", data.1), ("r", data.2)]);
        let compiled = evaluate_with(&rule, &context(&data), Bucketing::V2);
        let compiled = compiled.map_err(|problems| TestCaseError::fail(problems.join(", ")))?;
        prop_assert_eq!(compiled.to_string(), oracle(&rule, &data).to_string(), "{} of {}", rule, data);
    }
}
