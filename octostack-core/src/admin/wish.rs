//! What the body of a `PUT` asks for.
use super::json;
use crate::duration;
use crate::inspect::overrides::{DEFAULT_TTL, MAX_TTL, OverrideError};
use crate::inspect::{Mode, Patch, Problem, Value};
use std::time::Duration;

/// How a body says it; `ttl` is everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `mode` and `settings`, as policies have them.
    Policy,
    /// Every other field is a setting.
    Fields,
}

impl Form {
    const fn changes_nothing(self) -> &'static str {
        match self {
            Self::Policy => "changes nothing: give mode, settings or both",
            Self::Fields => "changes nothing: say what is to be different, not only for how long",
        }
    }
}

/// What a body asks for, and everything that is wrong with it.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) patch: Patch,
    pub(super) ttl: Duration,
    pub(super) problems: Vec<Problem>,
}

impl Wish {
    /// Reads `body`. Only what is `in_force` already may be asked for with nothing but a new time.
    pub(super) fn read(form: Form, body: &[u8], in_force: bool) -> Self {
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
            match (key.as_str(), form) {
                ("ttl", _) => wish.ttl(&value),
                ("mode", Form::Policy) => wish.mode(&value),
                ("settings", Form::Policy) => wish.settings(value),
                (_, Form::Policy) => {
                    wish.refuse(&key, "no such field; there are mode, settings, ttl");
                }
                (_, Form::Fields) => wish.patch.settings.push((key, value)),
            }
        }
        if wish.problems.is_empty() && wish.patch == Patch::default() && !in_force {
            wish.refuse("", form.changes_nothing());
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

    fn problems(form: Form, body: &str) -> Vec<String> {
        let wish = Wish::read(form, body.as_bytes(), false);
        wish.problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn reads_what_the_contract_says() {
        let body = br#"{"mode": "shadow", "settings": {"rate": 0.5, "wait": "1s"}, "ttl": "2h"}"#;
        let wish = Wish::read(Form::Policy, body, false);
        assert_eq!(wish.problems, []);
        assert_eq!(wish.patch.mode, Some(Mode::Shadow));
        let settings = [("rate".into(), 0.5.into()), ("wait".into(), "1s".into())];
        assert_eq!(wish.patch.settings, settings);
        assert_eq!(wish.ttl, Duration::from_secs(7_200));
    }

    #[test]
    fn takes_every_field_but_the_time_as_a_setting() {
        let body = br#"{"variant": "on", "mode": {"a": 1}, "ttl": "10m"}"#;
        let wish = Wish::read(Form::Fields, body, false);
        assert_eq!(wish.problems, []);
        let mode = Value::map([("a", 1_u64.into())]);
        let settings = [("mode".into(), mode), ("variant".into(), "on".into())];
        assert_eq!(wish.patch, Patch { mode: None, settings: settings.into() });
        assert_eq!(wish.ttl, Duration::from_secs(600));
    }

    #[test]
    fn only_what_is_in_force_can_be_prolonged() {
        for form in [Form::Policy, Form::Fields] {
            for body in ["{}", r#"{"ttl": "1h"}"#] {
                assert!(problems(form, body)[0].starts_with("changes nothing: "), "{body}");
                let wish = Wish::read(form, body.as_bytes(), true);
                assert_eq!((wish.problems, wish.ttl), (vec![], DEFAULT_TTL));
            }
        }
    }

    #[test]
    fn says_everything_that_is_wrong() {
        let body = r#"{"mode": "off", "settings": [], "ttl": "25h", "tll": 1}"#;
        let all = problems(Form::Policy, body);
        assert_eq!(all.len(), 4, "{all:?}");
        let has = |text: &str| all.iter().any(|p| p.contains(text));
        assert!(has("unknown mode `off`; the modes are enforce, shadow"));
        assert!(has("settings: is a list, not an object"));
        assert!(has("ttl: ttl 1day 1h is out of range"));
        assert!(has("tll: no such field; there are mode, settings, ttl"));
        assert!(problems(Form::Policy, r#"{"mode": null}"#)[0].contains("is null, not one of"));
        for form in [Form::Policy, Form::Fields] {
            assert!(problems(form, r#"{"ttl": 5}"#)[0].contains("is a whole number; write it as"));
            assert!(problems(form, r#"{"ttl": "0s"}"#)[0].contains("out of range"));
            assert!(problems(form, "[]")[0].contains("is a list, not an object"));
            assert!(problems(form, "{")[0].contains("not JSON: EOF"));
            assert!(problems(form, "")[0].contains("not JSON"));
        }
    }
}
