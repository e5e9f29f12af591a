//! Settings of policies: a plain struct each, checked as a whole, changeable while they run.
//!
//! A policy has settings of its own, from its builder or from config, and over them at most one
//! override of an operator. `Live` keeps both and says what is in force; the policy copies that
//! into the atomics that its hot path reads.
use octostack_core::inspect::{Mode, Patch, Problem, Value};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Why a policy could not be built or reconfigured: everything that is wrong at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingsError {
    /// Name of the policy.
    pub policy: String,
    /// What is wrong, setting by setting.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy `{}` cannot work like this: ", self.policy)?;
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// The settings of one sort of policy. Implemented by [`settings!`].
pub(crate) trait Settings: Clone + PartialEq + Send {
    /// Names and values, in the order of declaration.
    fn to_value(&self) -> Value;

    /// Sets one field. The error says what would be right.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String>;

    /// Everything that is wrong, field by field and between fields.
    fn problems(&self) -> Vec<Problem>;
}

/// A type that settings can have.
pub(crate) trait Field: Sized {
    fn to_value(&self) -> Value;
    fn from_value(value: &Value) -> Result<Self, String>;
}

fn expected(what: &str, value: &Value) -> String {
    format!("expected {what}, found {}", value.type_name())
}

impl Field for f64 {
    fn to_value(&self) -> Value {
        (*self).into()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_f64().ok_or_else(|| expected("a number", value))
    }
}

impl Field for u32 {
    fn to_value(&self) -> Value {
        (*self).into()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Integer(n) => Self::try_from(*n)
                .map_err(|_| format!("expected a whole number from 0 to {}", Self::MAX)),
            _ => Err(expected("a whole number", value)),
        }
    }
}

impl Field for bool {
    fn to_value(&self) -> Value {
        (*self).into()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(yes) => Ok(*yes),
            _ => Err(expected("true or false", value)),
        }
    }
}

impl Field for String {
    fn to_value(&self) -> Value {
        self.clone().into()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| expected("a string", value))
    }
}

impl Field for Duration {
    fn to_value(&self) -> Value {
        (*self).into()
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| expected("a duration such as \"250ms\"", value))?;
        octostack_core::duration::parse(text)
    }
}

/// Declares a struct of settings: each field with its documentation, type and default.
///
/// The struct can be built in code, read by serde (feature `serde`, where absent fields take their
/// defaults and unknown ones are errors), shown and patched by an operator.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
            serde(default, deny_unknown_fields)
        )]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Checks the values, and how they go together.
            ///
            /// # Errors
            /// Everything that is wrong, by name of the field.
            pub fn validate(&self) -> Result<(), Vec<octostack_core::inspect::Problem>> {
                let problems = self.problems();
                if problems.is_empty() { Ok(()) } else { Err(problems) }
            }
        }

        impl crate::settings::Settings for $name {
            fn to_value(&self) -> octostack_core::inspect::Value {
                octostack_core::inspect::Value::map([
                    $((stringify!($field), crate::settings::Field::to_value(&self.$field)),)*
                ])
            }

            fn set(
                &mut self,
                key: &str,
                value: &octostack_core::inspect::Value,
            ) -> Result<(), String> {
                match key {
                    $(stringify!($field) => {
                        self.$field = crate::settings::Field::from_value(value)?;
                    })*
                    _ => {
                        const KNOWN: &[&str] = &[$(stringify!($field)),*];
                        return Err(format!("there is no such setting; there are {}", KNOWN.join(", ")));
                    }
                }
                Ok(())
            }

            fn problems(&self) -> Vec<octostack_core::inspect::Problem> {
                $name::problems(self)
            }
        }
    };
}
pub(crate) use settings;

/// A problem unless `fine`.
pub(crate) fn require(
    problems: &mut Vec<Problem>,
    fine: bool,
    key: &str,
    message: impl FnOnce() -> String,
) {
    if !fine {
        problems.push(Problem::new(key, message()));
    }
}

/// A problem unless `value` lies within `0..=1`, where `zero` says whether 0 itself is allowed.
pub(crate) fn require_ratio(problems: &mut Vec<Problem>, value: f64, zero: bool, key: &str) {
    let fine = value <= 1.0 && (value > 0.0 || zero && value == 0.0); // false for NaN
    let from = if zero { "from 0" } else { "above 0" };
    require(problems, fine, key, || format!("{value} is out of range: {from}, at most 1"));
}

/// What is wrong with the name of a policy.
///
/// Names become label values, parts of a path and text in answers, so they are kept to characters
/// that none of those has to escape.
pub(crate) fn check_name(name: &str) -> Vec<Problem> {
    let fine = (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let mut problems = Vec::new();
    require(&mut problems, fine, "name", || {
        format!("`{}` is no policy name: 1 to 128 of A-Z a-z 0-9 . _ -", name.escape_debug())
    });
    problems
}

/// What is abnormal about a policy in this mode.
pub(crate) fn unusual(mode: Mode) -> Option<String> {
    match mode {
        Mode::Enforce | Mode::Shadow => None,
        mode => Some(format!("mode is {mode}")),
    }
}

/// The settings of one policy and what lies over them.
pub(crate) struct Live<C> {
    layers: Mutex<Layers<C>>,
    modes: &'static [Mode],
}

struct Layers<C> {
    /// The policy's own, always valid by themselves.
    mode: Mode,
    settings: C,
    over: Option<Patch>,
    /// What is in force.
    in_force: (Mode, C),
}

impl<C: Settings> Live<C> {
    /// Checks name and settings of a new policy that can take the given modes.
    pub(crate) fn new(
        name: &str,
        mode: Mode,
        settings: C,
        modes: &'static [Mode],
    ) -> Result<Self, SettingsError> {
        let live = Self::checked(mode, settings, modes);
        let mut problems = check_name(name);
        let layers = live.lock();
        problems
            .extend(live.merged(layers.mode, &layers.settings, None).err().into_iter().flatten());
        drop(layers);
        if problems.is_empty() { Ok(live) } else { Err(error(name, problems)) }
    }

    /// As [`new`](Self::new), of what was checked before.
    pub(crate) fn checked(mode: Mode, settings: C, modes: &'static [Mode]) -> Self {
        let in_force = (mode, settings.clone());
        let layers = Layers { mode, settings, over: None, in_force };
        Self { layers: Mutex::new(layers), modes }
    }

    /// What is in force.
    pub(crate) fn now(&self) -> (Mode, C) {
        self.lock().in_force.clone()
    }

    /// The policy's own, whatever lies over it.
    #[cfg(feature = "tokio")]
    pub(crate) fn own(&self) -> (Mode, C) {
        let layers = self.lock();
        (layers.mode, layers.settings.clone())
    }

    /// Replaces the policy's own settings, or its own mode, and applies what is then in force, if
    /// that is something else than before.
    ///
    /// An override stays as it is. If it does not go together with the new settings, what is in
    /// force stays until it ends, and the new settings hold from then on.
    ///
    /// `apply` runs under the lock, so that two changes cannot be applied in the wrong order.
    pub(crate) fn change(
        &self,
        name: &str,
        mode: Option<Mode>,
        settings: Option<C>,
        apply: impl FnOnce(Mode, &C),
    ) -> Result<(), SettingsError> {
        let mut layers = self.lock();
        let mode = mode.unwrap_or(layers.mode);
        let settings = settings.unwrap_or_else(|| layers.settings.clone());
        self.merged(mode, &settings, None).map_err(|problems| error(name, problems))?;
        let merged = self.merged(mode, &settings, layers.over.as_ref()).ok();
        if let Some((mode, settings)) = merged.filter(|merged| *merged != layers.in_force) {
            apply(mode, &settings);
            layers.in_force = (mode, settings);
        }
        (layers.mode, layers.settings) = (mode, settings);
        Ok(())
    }

    /// See [`Control::check`](octostack_core::inspect::Control::check); `further` adds what only
    /// the policy can know.
    pub(crate) fn check_with(
        &self,
        patch: Option<&Patch>,
        further: impl FnOnce(&C) -> Vec<Problem>,
    ) -> Result<(), Vec<Problem>> {
        let layers = self.lock();
        let (_, settings) = self.merged(layers.mode, &layers.settings, patch)?;
        drop(layers);
        let problems = further(&settings);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// See [`Control::set_override`](octostack_core::inspect::Control::set_override).
    pub(crate) fn set_override(
        &self,
        patch: Option<&Patch>,
        apply: impl FnOnce(Mode, &C),
    ) -> Result<(), Vec<Problem>> {
        let mut layers = self.lock();
        let (mode, settings) = self.merged(layers.mode, &layers.settings, patch)?;
        apply(mode, &settings);
        layers.over = patch.cloned();
        layers.in_force = (mode, settings);
        Ok(())
    }

    /// The entries `mode`, `settings` and `overridden` of a status.
    pub(crate) fn status(&self) -> [(&'static str, Value); 3] {
        let layers = self.lock();
        let (mode, settings) = &layers.in_force;
        [
            ("mode", mode.as_str().into()),
            ("settings", settings.to_value()),
            ("overridden", layers.over.is_some().into()),
        ]
    }

    /// Mode and settings with `over` on top, if that is valid.
    fn merged(
        &self,
        mode: Mode,
        settings: &C,
        over: Option<&Patch>,
    ) -> Result<(Mode, C), Vec<Problem>> {
        let mode = over.and_then(|patch| patch.mode).unwrap_or(mode);
        let mut settings = settings.clone();
        let mut problems = Vec::new();
        require(&mut problems, self.modes.contains(&mode), "mode", || {
            let known: Vec<_> = self.modes.iter().map(|mode| mode.as_str()).collect();
            format!("this policy has no mode `{mode}`; it has {}", known.join(", "))
        });
        for (key, value) in over.into_iter().flat_map(|patch| &patch.settings) {
            if let Err(message) = settings.set(key, value) {
                problems.push(Problem::new(format!("settings.{key}"), message));
            }
        }
        problems.extend(
            settings
                .problems()
                .into_iter()
                .map(|problem| Problem { key: format!("settings.{}", problem.key), ..problem }),
        );
        if problems.is_empty() { Ok((mode, settings)) } else { Err(problems) }
    }

    fn lock(&self) -> MutexGuard<'_, Layers<C>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error(name: &str, problems: Vec<Problem>) -> SettingsError {
    SettingsError { policy: name.to_owned(), problems }
}

impl<C: Settings> fmt::Debug for Live<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, settings) = self.now();
        write!(f, "{mode} {}", settings.to_value())
    }
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub, dead_code, reason = "the macro declares public structs")]
    use super::{Live, check_name, require, require_ratio};
    use octostack_core::inspect::{Mode, Patch, Problem, Value};
    use std::time::Duration;

    settings! {
        /// For the tests below.
        pub struct Sample {
            /// How often.
            rate: f64 = 0.5,
            /// How many.
            calls: u32 = 10,
            /// At most `calls`.
            least: u32 = 1,
            /// How long.
            #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                schemars(schema_with = "octostack_core::duration::schema"))]
            wait: Duration = Duration::from_secs(5),
        }
    }

    impl Sample {
        fn problems(&self) -> Vec<Problem> {
            let mut problems = Vec::new();
            require_ratio(&mut problems, self.rate, false, "rate");
            require(&mut problems, self.least <= self.calls, "least", || "too many".into());
            problems
        }
    }

    fn live() -> Live<Sample> {
        Live::new("p", Mode::Enforce, Sample::default(), &[Mode::Enforce, Mode::Shadow]).unwrap()
    }

    fn patch(settings: &[(&str, Value)]) -> Patch {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Patch { mode: None, settings }
    }

    #[test]
    fn an_override_lies_over_the_settings_until_it_ends() {
        let live = live();
        let wish = patch(&[("calls", 20_u32.into()), ("wait", "1m".into())]);
        live.set_override(Some(&wish), |_, now| assert_eq!(now.calls, 20)).unwrap();
        assert_eq!(live.now().1.wait, Duration::from_secs(60));

        let reloaded = Sample { calls: 5, rate: 0.1, ..Sample::default() };
        live.change("p", None, Some(reloaded), |_, now| assert_eq!(now.calls, 20)).unwrap();
        assert!((live.now().1.rate - 0.1).abs() < f64::EPSILON, "what is not overridden follows");

        live.set_override(None, |_, now| assert_eq!(now.calls, 5)).unwrap();
        assert_eq!(live.now().1.wait, Duration::from_secs(5));
    }

    #[test]
    fn all_problems_are_reported_and_nothing_changes() {
        let live = live();
        let wish = Patch {
            mode: Some(Mode::ForcedOpen),
            ..patch(&[
                ("rate", 1.5.into()),
                ("calls", "many".into()),
                ("wait", 5_u32.into()),
                ("colour", "red".into()),
            ])
        };
        let problems = live.set_override(Some(&wish), |_, _| panic!("applied")).unwrap_err();
        let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            lines,
            [
                "mode: this policy has no mode `forced_open`; it has enforce, shadow",
                "settings.calls: expected a whole number, found a string",
                "settings.wait: expected a duration such as \"250ms\", found a whole number",
                "settings.colour: there is no such setting; there are rate, calls, least, wait",
                "settings.rate: 1.5 is out of range: above 0, at most 1",
            ]
        );
        assert_eq!(live.now(), (Mode::Enforce, Sample::default()));
        assert_eq!(live.now().1.validate(), Ok(()));
    }

    #[test]
    fn settings_that_do_not_fit_an_override_wait_for_its_end() {
        let live = live();
        live.set_override(Some(&patch(&[("calls", 3_u32.into())])), |_, _| {}).unwrap();
        let reloaded = Sample { least: 5, ..Sample::default() };
        live.change("p", None, Some(reloaded.clone()), |_, _| panic!("applied")).unwrap();
        assert_eq!(live.now().1, Sample { calls: 3, ..Sample::default() });
        live.set_override(None, |_, now| assert_eq!(now, &reloaded)).unwrap();
        assert_eq!(live.now().1, reloaded);
    }

    #[test]
    fn the_same_once_more_is_no_change() {
        let live = live();
        live.change("p", None, Some(Sample::default()), |_, _| panic!("applied")).unwrap();
        live.set_override(Some(&patch(&[("calls", 20_u32.into())])), |_, _| {}).unwrap();
        let under = Sample { calls: 30, ..Sample::default() };
        live.change("p", None, Some(under), |_, _| panic!("the override decides")).unwrap();
        live.change("p", Some(Mode::Shadow), None, |mode, _| assert_eq!(mode, Mode::Shadow))
            .unwrap();
        live.set_override(None, |_, now| assert_eq!(now.calls, 30)).unwrap();
    }

    #[test]
    fn settings_under_an_override_must_be_valid_too() {
        let live = live();
        live.set_override(Some(&patch(&[("rate", 0.2.into())])), |_, _| {}).unwrap();
        let bad = Sample { rate: 7.0, ..Sample::default() };
        live.change("p", None, Some(bad), |_, _| panic!("applied")).unwrap_err();
    }

    #[test]
    fn names_need_no_escaping() {
        assert!(check_name("inventory.breaker-2_a").is_empty());
        for bad in ["", "a b", "a\"b", "a/b", "ü", &"x".repeat(129)] {
            assert_eq!(check_name(bad).len(), 1, "{bad}");
        }
    }
}
