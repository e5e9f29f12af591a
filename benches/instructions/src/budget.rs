//! What a call may cost.
use crate::BoxError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Of a budget that says nothing else, in percent.
pub(crate) const TOLERANCE: f64 = 5.0;

/// The committed file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    /// The version of Rust whose instructions were counted.
    rust: String,
    /// How much more than the budget passes.
    pub(crate) tolerance_percent: f64,
    /// Instructions of one call, by scenario.
    instructions: BTreeMap<String, f64>,
}

/// How what was measured compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Within,
    Over,
    /// By more than the tolerance: what was won can be lost again unnoticed.
    FarUnder,
}

impl Budget {
    pub(crate) fn read(path: &str) -> Result<Self, BoxError> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{path}: {error}").into())
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub(crate) fn of(&self, scenario: &str) -> Result<f64, BoxError> {
        let found = self.instructions.get(scenario).copied();
        found.ok_or_else(|| {
            format!("{scenario} has no budget; measure it: {}", crate::args::UPDATE).into()
        })
    }

    pub(crate) fn judge(&self, budget: f64, measured: f64) -> Verdict {
        let tolerance = budget * self.tolerance_percent / 100.0;
        match measured - budget {
            more if more > tolerance => Verdict::Over,
            more if more < -tolerance => Verdict::FarUnder,
            _ => Verdict::Within,
        }
    }

    /// Why the counts of this machine cannot be compared, if they cannot.
    pub(crate) fn other_than_here(&self, compiler: &str) -> Option<String> {
        let platform = cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"));
        if !platform {
            return Some("the budget is for x86-64 Linux with glibc".to_owned());
        }
        let rust = &self.rust;
        (rust != compiler)
            .then(|| format!("the budget is for Rust {rust}, this is {compiler}; renew it"))
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.instructions.keys().map(String::as_str)
    }
}

/// A new file.
pub(crate) fn text(rust: &str, tolerance_percent: f64, measured: &[(&str, f64)]) -> String {
    let mut text = format!(
        "\
# What one call may cost in instructions, and how much more passes. Written by
# `{}`;
# compared by `scripts/test`. docs/benchmarks.md tells what the numbers depend on.
rust = {rust:?}
tolerance_percent = {tolerance_percent:?}

[instructions]
",
        crate::args::UPDATE
    );
    for (name, instructions) in measured {
        let rounded = (instructions * 10.0).round() / 10.0;
        // Into a string there is no error.
        let _ = writeln!(text, "{name:?} = {rounded:?}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Budget, Verdict, text};

    fn budget() -> Budget {
        let measured = [("red/http-server", 512.0), ("breaker/closed", 80.04)];
        Budget::parse(&text("1.95", 5.0, &measured)).unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        let budget = budget();
        assert!(budget.names().eq(["breaker/closed", "red/http-server"]));
        assert_eq!(budget.of("breaker/closed").unwrap().to_bits(), 80.0_f64.to_bits());
        assert!(budget.of("none").unwrap_err().to_string().contains("none has no budget"));
    }

    #[test]
    fn the_tolerance_goes_both_ways() {
        let budget = budget();
        for (measured, verdict) in [
            (80.0, Verdict::Within),
            (83.9, Verdict::Within),
            (84.1, Verdict::Over),
            (76.1, Verdict::Within),
            (75.9, Verdict::FarUnder),
        ] {
            assert_eq!(budget.judge(80.0, measured), verdict, "{measured}");
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    fn another_compiler_is_not_judged() {
        assert_eq!(budget().other_than_here("1.95"), None);
        assert!(budget().other_than_here("1.96").is_some_and(|why| why.contains("this is 1.96")));
    }
}
