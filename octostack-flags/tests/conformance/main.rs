//! flagd's own suite for evaluators, read from `OCTOSTACK_CONFORMANCE_DIR`, else from
//! `../shared/conformance`: every scenario, with every version of the bucketing that it is for.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test as tests do")]
#![allow(clippy::print_stderr, reason = "who runs the tests wants to know what was skipped")]

mod gherkin;

use gherkin::{Case, Step};
use octostack_core::Registry;
use octostack_core::inspect::Value;
use octostack_flags::{
    Bucketing, Context, ErrorCode, Evaluation, Flag, FlagType, Flags, Pinned, Reason, Text,
    VariantValue,
};
use std::path::PathBuf;

/// What is not built: an evaluation of a flag that uses it is an error of that flag.
const MISSING: &[&str] = &["sem_ver"];

fn suite() -> Option<PathBuf> {
    let named = std::env::var_os("OCTOSTACK_CONFORMANCE_DIR").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let suite = named.unwrap_or(beside);
    if suite.is_dir() {
        return Some(suite);
    }
    eprintln!("skipped: there is no conformance suite at {}", suite.display());
    None
}

fn load(text: &[u8], bucketing: Bucketing) -> Flags {
    let flags = Flags::builder().registry(&Registry::new()).bucketing(bucketing).build();
    flags.load(text, "testkit-flags.json").unwrap();
    flags
}

#[test]
fn scenarios_of_flagd() {
    let Some(suite) = suite() else { return };
    let suite = suite.join("flagd-evaluator");
    let text = std::fs::read(suite.join("flags/testkit-flags.json")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(suite.join("gherkin"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let (mut passed, mut missing) = (0, 0);
    let mut failed = Vec::new();
    for file in files {
        let feature = std::fs::read_to_string(&file).unwrap();
        for case in gherkin::cases(&feature) {
            for bucketing in versions(&case) {
                let flags = load(&text, bucketing);
                match run(&flags, &case) {
                    Ok(true) => passed += 1,
                    Ok(false) => missing += 1,
                    Err(error) => failed.push(format!("{} ({bucketing}): {error}", case.name)),
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    eprintln!("{passed} evaluations as expected, {missing} with operators that are not built");
    assert!(passed >= 150, "only {passed} scenarios were found; has the suite moved?");
    assert_eq!(missing > 0, !MISSING.is_empty(), "`MISSING` is out of date");
}

/// The versions that a case is for. Where users are split but no version is named it is the one
/// that the suite was written with.
fn versions(case: &Case) -> Vec<Bucketing> {
    let has = |tag: &str| case.tags.iter().any(|known| known == tag);
    match (has("@fractional-v1"), has("@fractional-v2"), has("@fractional-nested")) {
        (true, ..) => vec![Bucketing::V1],
        (_, true, _) | (_, _, true) => vec![Bucketing::V2],
        _ => vec![Bucketing::V1, Bucketing::V2, Bucketing::V3],
    }
}

/// Whether it ran; a flag with an operator that is not built does not.
fn run(flags: &Flags, case: &Case) -> Result<bool, String> {
    let mut context = Context::new();
    let mut asked = None;
    for step in &case.steps {
        match step {
            Step::Nothing => {}
            Step::Flag { kind, key, fallback } => asked = Some((kind, key, fallback)),
            Step::TargetingKey(key) => context.set_targeting_key(key.clone()),
            Step::Attribute { key, kind, value } => {
                context.set(key.clone(), typed(kind, value)?);
            }
            Step::Nested { outer, inner, value } => {
                let inside = Value::map([(inner.clone(), Value::from(value.clone()))]);
                context.set(outer.clone(), inside);
            }
            expectation => {
                let (kind, key, fallback) = asked.ok_or("no flag")?;
                let pinned = flags.pin(context.clone());
                if is_missing(flags, key) {
                    let error = pinned.evaluate(key).error;
                    return if error == Some(ErrorCode::ParseError) {
                        Ok(false)
                    } else {
                        Err(format!("{key}: not built, but {error:?}"))
                    };
                }
                let seen = Seen::of(&pinned, kind, key, fallback)?;
                seen.check(expectation).map_err(|error| format!("{key}: {error}"))?;
            }
        }
    }
    Ok(true)
}

fn is_missing(flags: &Flags, key: &str) -> bool {
    let status = flags.status_of(key);
    let problems = status.as_ref().and_then(|status| status.get("problems"));
    let text = problems.map(Value::to_string).unwrap_or_default();
    MISSING.iter().any(|operator| text.contains(&format!("no operator `{operator}`")))
}

/// What an application sees: the value of the type that it asks for.
struct Seen<'a> {
    value: Value,
    reason: Reason,
    error: Option<ErrorCode>,
    evaluation: Evaluation<'a>,
}

impl<'a> Seen<'a> {
    fn of(pinned: &'a Pinned, kind: &str, key: &str, fallback: &str) -> Result<Self, String> {
        let evaluation = pinned.evaluate(key);
        let fallback = typed(kind, fallback)?;
        let key: &'static str = String::leak(key.to_owned());
        let (value, reason, error) = match (kind, &fallback) {
            ("Boolean", Value::Bool(default)) => ask::<bool>(pinned, key, *default),
            ("Integer", Value::Integer(default)) => ask::<i64>(pinned, key, *default),
            ("Float", Value::Float(default)) => ask::<f64>(pinned, key, *default),
            ("String", Value::Text(default)) => {
                ask::<Text>(pinned, key, String::leak(default.clone().into_owned()))
            }
            _ => {
                let value = evaluation.value.map_or(fallback, VariantValue::to_value);
                (value, evaluation.reason, evaluation.error)
            }
        };
        Ok(Self { value, reason, error, evaluation })
    }

    fn check(&self, expectation: &Step) -> Result<(), String> {
        match expectation {
            Step::ValueIs(text) => {
                let is_same = match &self.value {
                    Value::Text(value) => value == text,
                    Value::Map(_) => same_json(&self.value, text),
                    Value::Float(value) => text.parse() == Ok(*value),
                    other => other.to_string() == *text,
                };
                expect(is_same, || format!("value {}, not {text}", self.value))
            }
            Step::ReasonIs(text) => {
                let reason = self.reason.as_str().to_uppercase();
                expect(reason == *text, || format!("reason {reason}, not {text}"))
            }
            Step::ErrorIs(text) => {
                let error = self.error.map(ErrorCode::as_str);
                expect(error == Some(text), || format!("error {error:?}, not {text}"))
            }
            Step::MetadataHas { key, kind, value } => {
                let found = self.evaluation.metadata.get(key);
                let wanted = typed(kind, value)?;
                expect(found == Some(&wanted), || format!("metadata {key}: {found:?}"))
            }
            Step::MetadataIsEmpty => {
                let metadata = self.evaluation.metadata;
                expect(*metadata == Value::Map(Vec::new()), || format!("metadata {metadata}"))
            }
            other => Err(format!("unknown step {other:?}")),
        }
    }
}

fn expect(fine: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if fine { Ok(()) } else { Err(otherwise()) }
}

fn ask<T: FlagType + IntoValue>(
    pinned: &Pinned,
    key: &'static str,
    default: T::Literal,
) -> (Value, Reason, Option<ErrorCode>) {
    let flag = Flag::<T>::new(key, default);
    let details = pinned.clone().scope(|| flag.details());
    (details.value.into_value(), details.reason, details.error)
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        self.into()
    }
}

impl IntoValue for i64 {
    fn into_value(self) -> Value {
        self.into()
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Value {
        self.into()
    }
}

impl IntoValue for Text {
    fn into_value(self) -> Value {
        self.to_string().into()
    }
}

fn typed(kind: &str, text: &str) -> Result<Value, String> {
    let wrong = || format!("`{text}` is no {kind}");
    Ok(match kind {
        "Boolean" => Value::Bool(text.parse().map_err(|_| wrong())?),
        "Integer" => Value::Integer(text.parse().map_err(|_| wrong())?),
        "Float" => Value::Float(text.parse().map_err(|_| wrong())?),
        "String" | "Object" => Value::from(text.to_owned()),
        _ => return Err(wrong()),
    })
}

/// Whether `value` is the JSON of `text`, with quotes that the table escapes.
fn same_json(value: &Value, text: &str) -> bool {
    let wanted: serde_json::Value = serde_json::from_str(&text.replace('\\', "")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&value.to_string()).unwrap();
    wanted == found
}

#[test]
fn examples_of_the_schema_load_without_a_problem_but_for_what_is_not_built() {
    let Some(suite) = suite() else { return };
    let mut seen = 0;
    for file in std::fs::read_dir(suite.join("flagd-schemas/positive")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut text = std::fs::read_to_string(&path).unwrap();
        if name.starts_with("targeting") {
            // A rule alone.
            text = format!(
                r#"{{"flags": {{"a": {{"state": "ENABLED", "variants": {{"x": 1}}, "targeting": {text}}}}}}}"#
            );
        }
        let flags = Flags::builder().registry(&Registry::new()).build();
        let loaded = flags.load(text.as_bytes(), &name).unwrap_or_else(|error| {
            panic!("{name}: {error}");
        });
        let not_built = |problem: &&octostack_core::inspect::Problem| {
            !problem.message.starts_with("there is no operator")
        };
        let problems: Vec<_> = loaded.problems.iter().filter(not_built).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} examples were found; has the suite moved?");
}
