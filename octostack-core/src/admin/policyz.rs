//! `/policyz`: the policies of the process, and the changes to them.
use super::statusz::{entries, in_force};
use super::{json, page};
use crate::inspect::overrides::{Actor, DEFAULT_TTL, MAX_TTL, OverrideError, POLICY};
use crate::inspect::{Inspect, Mode, Patch, Problem, Registry, Value};
use crate::{Clock, SystemClock, duration};
use bytes::Bytes;
use http::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// `GET /policyz`.
pub(super) fn list(registry: &Registry) -> Response<Bytes> {
    let instances = registry.changeable(POLICY).iter().map(instance).collect();
    let mut page = vec![("policies".into(), Value::List(instances))];
    let now = SystemClock.now();
    let overrides = registry.overrides().into_iter().filter(|change| change.kind == POLICY);
    let overrides = overrides.map(|change| (change.name.clone(), in_force(&change, now)));
    page.push(("overrides".into(), Value::map(overrides)));
    page::status(&Value::Map(page))
}

/// `GET /policyz/{name}`.
pub(super) fn show(registry: &Registry, name: &str) -> Response<Bytes> {
    match registry.targets(name) {
        Ok(found) => page::status(&describe(registry, name, &found)),
        Err(unknown) => refuse(unknown),
    }
}

/// `PUT /policyz/{name}`.
pub(super) fn change(
    registry: &Registry,
    name: &str,
    body: &[u8],
    actor: &Actor,
) -> Response<Bytes> {
    let found = match registry.targets(name) {
        Ok(found) => found,
        Err(unknown) => return refuse(unknown),
    };
    let before = registry.override_of(name);
    let mut wish = Wish::read(body);
    if wish.problems.is_empty() && wish.is_empty() && before.is_none() {
        let what = "changes nothing: give mode, settings or both";
        wish.problems.push(Problem::new("", what));
    }
    if wish.problems.is_empty() {
        let now = SystemClock.now();
        return match registry.set_override(name, wish.patch, wish.ttl, actor, now) {
            Ok(_) => page::status(&describe(registry, name, &found)),
            Err(error) => refuse(error),
        };
    }
    // It is refused already; what the policy itself would say belongs on the same list.
    let mut merged = before.map(|o| o.patch).unwrap_or_default();
    merged.merge(wish.patch);
    for problem in found.iter().filter_map(|item| item.control()?.check(&merged).err()) {
        wish.problems.extend(problem);
    }
    refuse(OverrideError::Invalid(wish.problems))
}

/// `DELETE /policyz/{name}`.
pub(super) fn end(registry: &Registry, name: &str, actor: &Actor) -> Response<Bytes> {
    match registry.end_override(name, actor) {
        Ok(ended) => {
            let found = registry.targets(name).unwrap_or_default();
            let mut page = entries(describe(registry, name, &found));
            page.insert(1, ("ended".into(), ended.into()));
            page::status(&Value::Map(page))
        }
        Err(error) => refuse(error),
    }
}

type Item = Arc<dyn Inspect>;

fn describe(registry: &Registry, name: &str, found: &[Item]) -> Value {
    let now = SystemClock.now();
    let change = registry.override_of(name);
    Value::map([
        ("name", Value::from(name.to_owned())),
        ("override", change.map(|change| in_force(&change, now)).into()),
        ("instances", Value::List(found.iter().map(instance).collect())),
    ])
}

/// Name and kind, then whatever the policy says of itself.
fn instance(item: &Item) -> Value {
    let mut entry =
        vec![("name".into(), item.name().to_owned().into()), ("kind".into(), item.kind().into())];
    entry.extend(entries(item.status()));
    if let Some(why) = item.abnormal() {
        entry.push(("abnormal".into(), why.into()));
    }
    Value::Map(entry)
}

fn refuse(error: OverrideError) -> Response<Bytes> {
    match error {
        OverrideError::Unknown { .. } => {
            page::refusal(StatusCode::NOT_FOUND, &error.to_string(), &[])
        }
        OverrideError::Ttl(_) => {
            let problem = Problem::new("ttl", error.to_string());
            refuse(OverrideError::Invalid(vec![problem]))
        }
        OverrideError::Invalid(mut problems) => {
            // Instances of one name see the same things.
            let mut seen = Vec::new();
            problems.retain(|p| {
                !seen.contains(p) && {
                    seen.push(p.clone());
                    true
                }
            });
            let detail = format!("nothing was changed; problems: {}", problems.len());
            page::refusal(StatusCode::BAD_REQUEST, &detail, &problems)
        }
    }
}

/// What the body of a `PUT` asks for, and everything that is wrong with it.
#[derive(Debug)]
struct Wish {
    patch: Patch,
    ttl: Duration,
    problems: Vec<Problem>,
}

impl Wish {
    fn is_empty(&self) -> bool {
        self.patch == Patch::default()
    }

    fn read(body: &[u8]) -> Self {
        let mut wish = Self { patch: Patch::default(), ttl: DEFAULT_TTL, problems: Vec::new() };
        let fields = match serde_json::from_slice(body) {
            Ok(serde_json::Value::Object(fields)) => fields,
            Ok(other) => {
                let other = json::value(other);
                wish.refuse("", format!("the body is {}, not an object", other.type_name()));
                return wish;
            }
            Err(error) => {
                wish.refuse("", format!("the body is not JSON: {error}"));
                return wish;
            }
        };
        for (key, value) in fields {
            let value = json::value(value);
            match key.as_str() {
                "mode" => wish.mode(&value),
                "settings" => wish.settings(value),
                "ttl" => wish.ttl(&value),
                _ => wish.refuse(&key, "no such field; there are mode, settings, ttl"),
            }
        }
        wish
    }

    fn mode(&mut self, value: &Value) {
        match value.as_str().map(str::parse::<Mode>) {
            Some(Ok(mode)) => self.patch.mode = Some(mode),
            Some(Err(why)) => self.refuse("mode", why),
            None => {
                let known = Mode::ALL.map(Mode::as_str).join(", ");
                self.refuse("mode", format!("is {}, not one of {known}", value.type_name()));
            }
        }
    }

    fn settings(&mut self, value: Value) {
        match value {
            Value::Map(settings) => {
                let settings = settings.into_iter();
                self.patch.settings = settings.map(|(k, v)| (k.into_owned(), v)).collect();
            }
            other => self.refuse("settings", format!("is {}, not an object", other.type_name())),
        }
    }

    fn ttl(&mut self, value: &Value) {
        let Some(text) = value.as_str() else {
            let what = format!("is {}; write it as `30s` or `1h`", value.type_name());
            return self.refuse("ttl", what);
        };
        match duration::parse(text) {
            Ok(ttl) if ttl.is_zero() || ttl > MAX_TTL => {
                self.refuse("ttl", OverrideError::Ttl(ttl).to_string());
            }
            Ok(ttl) => self.ttl = ttl,
            Err(why) => self.refuse("ttl", why),
        }
    }

    fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(key, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &str) -> Vec<String> {
        Wish::read(body.as_bytes()).problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn reads_what_the_contract_says() {
        let body = br#"{"mode": "shadow", "settings": {"rate": 0.5, "wait": "1s"}, "ttl": "2h"}"#;
        let wish = Wish::read(body);
        assert_eq!(wish.problems, []);
        assert_eq!(wish.patch.mode, Some(Mode::Shadow));
        let settings = [("rate".into(), 0.5.into()), ("wait".into(), "1s".into())];
        assert_eq!(wish.patch.settings, settings);
        assert_eq!(wish.ttl, Duration::from_secs(7_200));
        assert_eq!(Wish::read(b"{}").ttl, DEFAULT_TTL);
    }

    #[test]
    fn says_everything_that_is_wrong() {
        let all = problems(r#"{"mode": "off", "settings": [], "ttl": "25h", "tll": 1}"#);
        assert_eq!(all.len(), 4, "{all:?}");
        let has = |text: &str| all.iter().any(|p| p.contains(text));
        assert!(has("unknown mode `off`; the modes are enforce, shadow"));
        assert!(has("settings: is a list, not an object"));
        assert!(has("ttl: ttl 1day 1h is out of range"));
        assert!(has("tll: no such field; there are mode, settings, ttl"));
        assert!(problems(r#"{"ttl": 5}"#)[0].contains("is a whole number; write it as"));
        assert!(problems(r#"{"ttl": "0s"}"#)[0].contains("out of range"));
        assert!(problems(r#"{"mode": null}"#)[0].contains("is null, not one of"));
        assert!(problems("[]")[0].contains("is a list, not an object"));
        assert!(problems("{")[0].contains("not JSON: EOF"));
        assert!(problems("")[0].contains("not JSON"));
    }
}
