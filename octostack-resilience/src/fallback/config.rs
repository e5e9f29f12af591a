use crate::settings::{Field, settings};
use octostack_core::inspect::{Problem, Value};
use std::fmt;

settings! {
    /// Settings of a [`Fallback`](super::Fallback).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `on` | `failure` | a caller has no more use for a refusal than for a failure |
    pub struct FallbackConfig {
        /// Which answers are replaced: `failure`, `rejection` or `error`.
        on: FallbackOn = FallbackOn::Failure,
    }
}

impl FallbackConfig {
    /// A value of each is as good as any other.
    #[allow(clippy::unused_self, reason = "every settings struct has it")]
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

/// Which answers a fallback replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case"),
    schemars(inline)
)]
pub enum FallbackOn {
    /// What the protocol takes for a failure or an overload, and what a policy refused. Other
    /// answers with [`when`](super::FallbackLayer::when).
    #[default]
    Failure,
    /// Only what a policy refused before it started: an open breaker, a full bulkhead.
    Rejection,
    /// Every `Err`, also one that the protocol does not take for a failure; no response.
    Error,
}

impl FallbackOn {
    pub(super) const ALL: [Self; 3] = [Self::Failure, Self::Rejection, Self::Error];

    /// Its name in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Rejection => "rejection",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for FallbackOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Field for FallbackOn {
    fn to_value(&self) -> Value {
        self.as_str().into()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|on| value.as_str() == Some(on.as_str()));
        found.ok_or_else(|| format!("expected failure, rejection or error, found {value}"))
    }
}
