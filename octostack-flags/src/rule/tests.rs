//! Rules against what JSON logic says of them, and what is wrong with rules.
#![allow(clippy::print_stderr, reason = "who runs the tests wants to know what was skipped")]
use super::compile::compile;
use super::evaluate::Run;
use super::operand::Operand;
use super::trace::Explanation;
use crate::bucketing::Bucketing;
use crate::context::Context;
use crate::json;
use octostack_core::inspect::Value;
use std::borrow::Cow;
use std::path::PathBuf;

fn value(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap()
}

/// The context that has the entries of a map.
pub(super) fn context(data: &Value) -> Context {
    let mut context = Context::new();
    if let Value::Map(entries) = data {
        for (name, value) in entries {
            context.set(name.clone(), value.clone());
        }
    }
    context
}

pub(super) fn evaluate_with(
    rule: &Value,
    context: &Context,
    bucketing: Bucketing,
) -> Result<Value, Vec<String>> {
    let compiled = compile(rule, "rule", &[], &|_| true)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let program = &compiled.program;
    let run = Run { program, flag: "flag", context, bucketing, timestamp: 1_800_000_000 };
    Ok(run.result(&mut ()).to_value())
}

fn evaluate(rule: &str, data: &str) -> Value {
    evaluate_with(&value(rule), &context(&value(data)), Bucketing::V2)
        .unwrap_or_else(|problems| panic!("{rule}: {problems:?}"))
}

fn problems(rule: &str) -> Vec<String> {
    evaluate_with(&value(rule), &Context::new(), Bucketing::V2).unwrap_err()
}

/// Of the suite that implementations of JSON logic share: all that our operators can say.
#[test]
fn agrees_with_the_compatibility_suite() {
    let named = std::env::var_os("OCTOSTACK_CONFORMANCE_DIR").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let path = named.unwrap_or(beside).join("jsonlogic/compatible-half.json");
    let Ok(text) = std::fs::read(&path) else {
        return eprintln!("skipped: there is no suite at {}", path.display());
    };
    let Value::List(cases) = json::parse(&text).unwrap() else { panic!("no list of cases") };
    let mut passed = 0;
    for case in cases.iter().filter(|case| matches!(case, Value::Map(_))) {
        let data = case.get("data").unwrap_or(&Value::Null);
        let (rule, expected) = (case.get("rule").unwrap(), case.get("result").unwrap());
        if !matches!(data, Value::Null | Value::Map(_)) {
            continue; // a context is a map
        }
        match evaluate_with(rule, &context(data), Bucketing::V2) {
            Ok(result) => {
                assert_eq!(result.to_string(), expected.to_string(), "{rule} of {data}");
                passed += 1;
            }
            Err(problems) => {
                let unknown = problems.iter().all(|problem| {
                    problem.contains("there is no operator") || problem.contains("whole context")
                });
                assert!(unknown, "{rule}: {problems:?}");
            }
        }
    }
    assert!(passed >= 80, "only {passed} cases ran");
}

#[test]
fn values_are_compared_as_in_javascript() {
    for (rule, expected) in [
        (r#"{"==": [1, 1.0]}"#, true),
        (r#"{"==": ["1", 1]}"#, true),
        (r#"{"==": [" 1 ", 1]}"#, true),
        (r#"{"==": ["", 0]}"#, true),
        (r#"{"==": ["x", 0]}"#, false),
        (r#"{"==": ["inf", "Infinity"]}"#, false),
        (r#"{"==": [true, 1]}"#, true),
        (r#"{"==": [true, "1"]}"#, true),
        (r#"{"==": [null, 0]}"#, false),
        (r#"{"==": [null, false]}"#, false),
        (r#"{"==": [null, null]}"#, true),
        (r#"{"==": ["01", "1"]}"#, false),
        (r#"{"==": [9007199254740993, 9007199254740992]}"#, false),
        (r#"{"===": [1, 1.0]}"#, true),
        (r#"{"===": [1, "1"]}"#, false),
        (r#"{"!==": [1, "1"]}"#, true),
        (r#"{"==": [[1, "a"], [1, "a"]]}"#, true),
        (r#"{"==": [[1], [2]]}"#, false),
        (r#"{"<": ["10", "9"]}"#, true),
        (r#"{"<": ["10", 9]}"#, false),
        (r#"{"<": [null, 1]}"#, true),
        (r#"{"<": ["x", 1]}"#, false),
        (r#"{">=": ["x", 1]}"#, false),
        (r#"{"<": [1, 2, 3]}"#, true),
        (r#"{"<=": [1, 3, 2]}"#, false),
        (r#"{"in": [1, [1.0, 2]]}"#, true),
        (r#"{"in": ["1", [1, 2]]}"#, false),
        (r#"{"in": ["a", ["b", "a", "a"]]}"#, true),
        (r#"{"in": [{"cat": ["a", 1]}, ["a1"]]}"#, true),
        (r#"{"in": ["b", {"cat": ["a", "b", "c"]}]}"#, true),
        (r#"{"in": ["a", null]}"#, false),
        (r#"{"==": [{"cat": ["a", 1, true, null]}, "a1true"]}"#, true),
        (r#"{"==": [{"cat": ["1", 0]}, 10]}"#, true),
        (r#"{"==": [{"cat": ["a"]}, {"cat": ["", "a"]}]}"#, true),
        (r#"{"starts_with": ["abc", "ab"]}"#, true),
        (r#"{"ends_with": [{"cat": ["ab", "c"]}, "bc"]}"#, true),
        (r#"{"!!": [[]]}"#, false),
        (r#"{"!!": ["0"]}"#, true),
        (r#"{"!!": [{"cat": ["", ""]}]}"#, false),
        (r#"{"!": [[{"var": "x"}]]}"#, false),
    ] {
        assert_eq!(evaluate(rule, "{}"), Value::Bool(expected), "{rule}");
    }
}

#[test]
fn numbers_are_written_as_in_javascript() {
    for (number, text) in [
        ("1.0", "1"),
        ("-0.0", "0"),
        ("0.1", "0.1"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("-1.5e300", "-1.5e+300"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("[1, [2, null], \"a\"]", "1,2,,a"),
    ] {
        let rule = format!(r#"{{"cat": [{number}]}}"#);
        assert_eq!(evaluate(&rule, "{}"), Value::from(text.to_owned()), "{number}");
    }
}

#[test]
fn attributes_have_defaults_and_the_framework_has_names_of_its_own() {
    assert_eq!(evaluate(r#"{"var": ["a.b", 7]}"#, r#"{"a": {"b": null}}"#), Value::Integer(7));
    assert_eq!(evaluate(r#"{"var": ["targetingKey", "none"]}"#, "{}"), Value::from("none"));
    assert_eq!(evaluate(r#"{"var": "$flagd.flagKey"}"#, "{}"), Value::from("flag"));
    let time = evaluate(r#"{"var": "$flagd.timestamp"}"#, "{}");
    assert_eq!(time, Value::Integer(1_800_000_000));
}

#[test]
fn what_is_wrong_is_told_with_its_place_all_at_once() {
    assert_eq!(
        problems(r#"{"if": [{"==": [1]}, {"maap": []}, {"or": [{"!": [1, 2]}]}]}"#),
        [
            "rule.if[0].==: expected 2 operands, here are 1".to_owned(),
            "rule.if[1].maap: there is no operator `maap` here; there are var, if, ?:, ==, ===, \
             !=, !==, !, !!, and, or, <, <=, >, >=, in, cat, starts_with, ends_with, fractional, \
             $ref"
                .to_owned(),
            "rule.if[2].or[0].!: expected 1 operand, here are 2".to_owned(),
        ]
    );
    for (rule, problem) in [
        (r#"{"var": ""}"#, "rule.var: a rule cannot ask for the whole context"),
        (r#"{"var": [{"var": "a"}]}"#, "rule.var: expected the name of an attribute"),
        (r#"{"==": [1, 2], "!=": [1, 2]}"#, "rule: an operation has one operator, this has 2"),
        (r#"{"<": [1]}"#, "rule.<: expected 2 or 3 operands, here are 1"),
        (r#"{">": [1, 2, 3]}"#, "rule.>: expected 2 operands, here are 3"),
        (r#"{"$ref": "nobody"}"#, "rule: $evaluators has no entry `nobody`"),
        (r#"{"$ref": 1}"#, "rule: expected the name of an entry of $evaluators"),
        (r#"{"fractional": []}"#, "rule.fractional: expected at least one part"),
        (r#"{"fractional": [["on", 1, 2]]}"#, "rule.fractional[0]: expected a variant and its"),
        (
            r#"{"fractional": ["k", ["on", 1], ["off", {"maap": 1}]]}"#,
            "rule.fractional[2][1].maap: there is no operator `maap`",
        ),
        (
            r#"{"fractional": [{"var": "a"}, "on"]}"#,
            "rule.fractional[1]: expected a variant and its weight",
        ),
    ] {
        let found = problems(rule);
        assert!(found[0].starts_with(problem), "{rule}: {found:?}");
    }
}

#[test]
fn rules_are_bounded_in_depth_and_size() {
    let deep = format!("{}1{}", r#"{"!": ["#.repeat(60), "]}".repeat(60));
    assert!(evaluate_with(&value(&deep), &Context::new(), Bucketing::V2).is_ok());
    let mut rule = Value::Integer(1);
    for _ in 0..200 {
        rule = Value::map([("!", Value::List(vec![rule]))]);
    }
    let found = evaluate_with(&rule, &Context::new(), Bucketing::V2).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("nested deeper than 64"), "{found:?}");

    // Each entry refers ten times to the one before: 10^12 nodes if nobody counted.
    let name = |level: usize| format!("e{level}");
    let mut evaluators: Vec<(Cow<'static, str>, Value)> =
        vec![(name(0).into(), Value::map([("var", Value::from("a"))]))];
    for level in 1..12 {
        let reference = Value::map([("$ref", Value::from(name(level - 1)))]);
        let ten = Value::map([("or", Value::List(vec![reference; 10]))]);
        evaluators.push((name(level).into(), ten));
    }
    let rule = Value::map([("$ref", Value::from(name(11)))]);
    let found = compile(&rule, "rule", &evaluators, &|_| true).unwrap_err();
    assert!(found[0].message.contains("over 10000 parts"), "{found:?}");
    assert!(found.len() < 50, "{} problems", found.len());
}

/// What is computed at each look doubles with each level. None of these may be evaluated.
#[test]
fn rules_that_would_take_for_ever_are_refused() {
    let nested = |depth: usize, inner: &str, outer: &dyn Fn(&str) -> String| {
        (0..depth).fold(inner.to_owned(), |rule, _| outer(&rule))
    };
    let weights = |rule: &str| format!(r#"{{"fractional": ["k", [1, {rule}]]}}"#);
    let joined = |rule: &str| format!(r#"{{"cat": [{{"or": [{rule}, ""]}}]}}"#);
    let looked_for = |rule: &str| {
        format!(r#"{{"cat": [{{"in": [{rule}, [1, 2, 3, {{"var": "a"}}]]}}, {rule}]}}"#)
    };
    for rule in [
        nested(30, r#"{"var": "w"}"#, &weights),
        nested(25, r#"{"var": "a"}"#, &joined),
        nested(6, r#"{"cat": ["a"]}"#, &looked_for),
    ] {
        let found = problems(&rule);
        assert!(found[0].contains("more than 100000 steps"), "{found:?}");
    }
    // As deep as anybody writes them.
    for rule in [nested(5, "1", &weights), nested(3, r#"{"var": "a"}"#, &joined)] {
        assert!(evaluate_with(&value(&rule), &Context::new(), Bucketing::V2).is_ok());
    }
    let long = format!(r#"{{"==": [{{"cat": [{}"z"]}}, "z"]}}"#, r#"{"var": "a"}, "#.repeat(5_000));
    assert_eq!(evaluate(&long, "{}"), Value::Bool(true));
}

#[test]
fn evaluators_may_use_each_other_but_not_themselves() {
    let evaluators = [
        ("inner".into(), value(r#"{"==": [{"var": "a"}, 1]}"#)),
        ("outer".into(), value(r#"{"!": [{"$ref": "inner"}]}"#)),
        ("ring".into(), value(r#"{"!": [{"$ref": "gnir"}]}"#)),
        ("gnir".into(), value(r#"{"!": [{"$ref": "ring"}]}"#)),
    ];
    let rule = value(r#"{"$ref": "outer"}"#);
    let compiled = compile(&rule, "rule", &evaluators, &|_| true).unwrap();
    let context = Context::new().with("a", 1_i64);
    let run = Run {
        program: &compiled.program,
        flag: "flag",
        context: &context,
        bucketing: Bucketing::V2,
        timestamp: 0,
    };
    assert!(matches!(run.result(&mut ()), Operand::Bool(false)));
    let found = compile(&value(r#"{"$ref": "ring"}"#), "rule", &evaluators, &|_| true).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "$evaluators.gnir.![0]: `ring` refers to itself, over other entries or alone"
    );
}

#[test]
fn splits_have_computed_weights_and_keys() {
    let rule = |weights: [&str; 2]| {
        format!(
            r#"{{"fractional": [{{"var": "u"}}, ["a", {}], ["b", {}]]}}"#,
            weights[0], weights[1]
        )
    };
    let tier = r#"{"if": [{"var": "paid"}, 100, 0]}"#;
    let paid = r#"{"u": "user", "paid": true}"#;
    let free = r#"{"u": "user", "paid": false}"#;
    assert_eq!(evaluate(&rule([tier, "0"]), paid), Value::from("a"));
    assert_eq!(evaluate(&rule([tier, "0"]), free), Value::Null);
    assert_eq!(evaluate(&rule([tier, "1"]), free), Value::from("b"));
    // Null for weights that are none, negative ones count as 0.
    for bad in [r#"{"var": "u"}"#, "0.5", "\"1\"", "3000000000"] {
        assert_eq!(evaluate(&rule([bad, "1"]), paid), Value::Null, "{bad}");
    }
    assert_eq!(evaluate(&rule(["-5", "1"]), paid), Value::from("b"));
    assert_eq!(evaluate(&rule(["1.0", "0"]), paid), Value::from("a"));
    // Without a key of its own, and without a targeting key, there is nothing to go by.
    assert_eq!(evaluate(r#"{"fractional": [["a"], ["b"]]}"#, "{}"), Value::Null);
}

/// Computed weights place a user where constant ones do, and joined keys where whole ones do.
#[test]
fn what_is_computed_splits_as_what_is_constant() {
    for bucketing in [Bucketing::V1, Bucketing::V2, Bucketing::V3] {
        for user in 0..200 {
            let context = Context::new().with("u", format!("user-{user}")).with("w", 30_i64);
            let result = |rule: &str| evaluate_with(&value(rule), &context, bucketing).unwrap();
            let constant =
                result(r#"{"fractional": [{"var": "u"}, ["a", 30], ["b", 20], ["c", 50]]}"#);
            let computed = result(
                r#"{"fractional": [{"var": "u"}, ["a", {"var": "w"}], ["b", 20], ["c", 50]]}"#,
            );
            assert_eq!(constant, computed, "{bucketing}, user {user}");

            let joined =
                result(r#"{"fractional": [{"cat": ["x", {"var": "u"}]}, ["a", 1], ["b", 1]]}"#);
            let whole = format!(r#"{{"fractional": ["xuser-{user}", ["a", 1], ["b", 1]]}}"#);
            assert_eq!(joined, result(&whole), "{bucketing}, user {user}");
        }
    }
}

#[test]
fn what_is_odd_is_a_warning() {
    let warnings = |rule: &str| -> Vec<String> {
        let compiled = compile(&value(rule), "rule", &[], &|name| name == "on").unwrap();
        compiled.warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(warnings(r#"{"if": [true, "on", null]}"#), Vec::<String>::new());
    assert_eq!(
        warnings(r#"{"if": [true, "onn", {"fractional": [["off"], ["on"]]}]}"#),
        [
            "rule: its result `onn` is no variant of the flag",
            "rule: its result `off` is no variant of the flag"
        ]
    );
    assert_eq!(
        warnings(r#"{"starts_with": ["a"]}"#),
        ["rule.starts_with: is always null: it has 2 operands, here are 1"]
    );
    let zero = &warnings(r#"{"fractional": [["on", 0]]}"#)[0];
    assert!(zero.starts_with("rule.fractional: is always null: no part of the split"), "{zero}");
}

#[test]
fn explains_what_it_did_and_not_what_it_did_not_do() {
    let rule = value(
        r#"{"if": [{"==": [{"var": "plan"}, "pro"]}, {"fractional": [{"var": "u"}, ["a", 1], ["b", 1]]}, "c"]}"#,
    );
    let compiled = compile(&rule, "rule", &[], &|_| true).unwrap();
    let explain = |context: &Context| {
        let run = Run {
            program: &compiled.program,
            flag: "flag",
            context,
            bucketing: Bucketing::V2,
            timestamp: 0,
        };
        let mut explanation = Explanation::default();
        run.result(&mut explanation);
        explanation.into_value().to_string()
    };
    assert_eq!(
        explain(&Context::new()),
        r#"{"if": [{"==": [{"var": "plan", "is": null}, "pro"], "is": false}, "c"], "is": "c"}"#
    );
    let text = explain(&Context::new().with("plan", "pro").with("u", "user-1"));
    let rule = value(r#"{"in": [{"var": "u"}, ["b", "a"]]}"#);
    let listed = compile(&rule, "rule", &[], &|_| true).unwrap();
    let run = Run {
        program: &listed.program,
        flag: "flag",
        context: &Context::new().with("u", "a"),
        bucketing: Bucketing::V2,
        timestamp: 0,
    };
    let mut explanation = Explanation::default();
    run.result(&mut explanation);
    assert_eq!(
        explanation.into_value().to_string(),
        r#"{"in": [{"var": "u", "is": "a"}, ["a", "b"]], "is": true}"#
    );
    assert!(text.contains(r#""split": {"hash": "#), "{text}");
    assert!(text.contains(r#""total_weight": 2}"#), "{text}");
}

proptest::proptest! {
    /// Whatever a file says: it loads or says why not, and every flag of it can be evaluated.
    #[test]
    fn no_file_is_too_strange(text in strange_file()) {
        let flags = crate::Flags::builder().registry(&octostack_core::Registry::new()).build();
        if flags.load(text.as_bytes(), "flags.json").is_ok() {
            let pinned = flags.pin(Context::new().with_targeting_key("a").with("a", 1_i64));
            for slot in pinned.snapshot().slots() {
                let evaluation = pinned.evaluate(slot.flag.entry.name());
                proptest::prop_assert_eq!(
                    evaluation.value.is_some(),
                    evaluation.variant.is_some()
                );
            }
        }
    }
}

/// Files put together out of what files are made of, in any order.
fn strange_file() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let words = prop::sample::select(vec![
        "flags",
        "$evaluators",
        "metadata",
        "state",
        "variants",
        "defaultVariant",
        "targeting",
        "ENABLED",
        "DISABLED",
        "on",
        "off",
        "if",
        "==",
        "in",
        "cat",
        "fractional",
        "var",
        "$ref",
        "a",
        "targetingKey",
        "<",
        "and",
        "!",
        "starts_with",
        "key",
        "",
    ]);
    let leaf = prop_oneof![
        words.clone().prop_map(|word| format!("{word:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e300".to_owned()),
    ];
    let value = leaf.prop_recursive(6, 60, 5, move |inner| {
        let entry =
            (words.clone(), inner.clone()).prop_map(|(key, value)| format!("{key:?}: {value}"));
        prop_oneof![
            prop::collection::vec(entry, 0..5)
                .prop_map(|entries| format!("{{{}}}", entries.join(", "))),
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(", "))),
        ]
    });
    (value.clone(), value.clone(), value).prop_map(|(variants, rule, other)| {
        format!(
            r#"{{"flags": {{"a": {{"state": "ENABLED", "variants": {{"on": true, "off": false}},
            "defaultVariant": "off", "targeting": {rule}}},
            "b": {{"state": "ENABLED", "variants": {variants}}}, "c": {other}}},
            "$evaluators": {{"a": {rule}, "on": {other}}}}}"#
        )
    })
}
