//! Whether a trace is recorded: decided once, where the trace begins.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The samplers of OpenTelemetry, by the names of `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SamplerKind {
    /// Records all, whatever a trusted caller has decided.
    AlwaysOn,
    /// Records nothing.
    AlwaysOff,
    /// Records a share of the traces, whatever a trusted caller has decided.
    #[serde(rename = "traceidratio")]
    TraceIdRatio,
    /// Does what a trusted caller has decided; without one, records all.
    #[default]
    #[serde(rename = "parentbased_always_on")]
    ParentBasedAlwaysOn,
    /// Does what a trusted caller has decided; without one, records nothing.
    #[serde(rename = "parentbased_always_off")]
    ParentBasedAlwaysOff,
    /// Does what a trusted caller has decided; without one, records a share of the traces.
    #[serde(rename = "parentbased_traceidratio")]
    ParentBasedTraceIdRatio,
}

impl SamplerKind {
    /// Whether it records a share, and so has an argument.
    pub const fn has_ratio(self) -> bool {
        matches!(self, Self::TraceIdRatio | Self::ParentBasedTraceIdRatio)
    }

    const fn is_parent_based(self) -> bool {
        matches!(
            self,
            Self::ParentBasedAlwaysOn | Self::ParentBasedAlwaysOff | Self::ParentBasedTraceIdRatio
        )
    }

    /// Its name in `OTEL_TRACES_SAMPLER` and in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlwaysOn => "always_on",
            Self::AlwaysOff => "always_off",
            Self::TraceIdRatio => "traceidratio",
            Self::ParentBasedAlwaysOn => "parentbased_always_on",
            Self::ParentBasedAlwaysOff => "parentbased_always_off",
            Self::ParentBasedTraceIdRatio => "parentbased_traceidratio",
        }
    }
}

/// Decides whether a trace is recorded.
///
/// ```
/// use octostack_telemetry::trace::{Sampler, SamplerKind};
///
/// let tenth = Sampler::new(SamplerKind::ParentBasedTraceIdRatio, 0.1);
/// assert!(tenth.decide(0, None) && !tenth.decide(u64::MAX, None));
/// assert!(tenth.decide(u64::MAX, Some(true)), "a trusted caller has decided");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    kind: SamplerKind,
    ratio: f64,
}

impl Sampler {
    /// A sampler of this kind; `ratio`, from 0 to 1, is for those that record a share.
    pub const fn new(kind: SamplerKind, ratio: f64) -> Self {
        Self { kind, ratio }
    }

    /// Whether to record the trace. `chance` is 64 random bits: the lower half of the trace id if
    /// that comes from somebody who is trusted, so that all services that record a share decide
    /// alike. `caller` is what a trusted caller has decided.
    #[inline]
    pub fn decide(&self, chance: u64, caller: Option<bool>) -> bool {
        use SamplerKind as Kind;
        if let Some(decided) = caller.filter(|_| self.kind.is_parent_based()) {
            return decided;
        }
        match self.kind {
            Kind::AlwaysOn | Kind::ParentBasedAlwaysOn => true,
            Kind::AlwaysOff | Kind::ParentBasedAlwaysOff => false,
            Kind::TraceIdRatio | Kind::ParentBasedTraceIdRatio => self.is_within(chance),
        }
    }

    /// As the SDKs of OpenTelemetry do it, so that they agree: 63 bits against the ratio.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^63")]
    fn is_within(&self, chance: u64) -> bool {
        let bound = (self.ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        chance >> 1 < bound
    }
}

/// Records all that a trusted caller does not forbid, as OpenTelemetry does.
impl Default for Sampler {
    fn default() -> Self {
        Self::new(SamplerKind::default(), 1.0)
    }
}

/// Its name, with the ratio if it has one: `parentbased_traceidratio(0.1)`.
impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.kind.has_ratio() { write!(f, "({})", self.ratio) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sampler, SamplerKind as Kind};
    use proptest::prelude::*;

    #[test]
    fn decides_as_its_name_says() {
        let low = 0; // within any share
        for (kind, alone, after_yes, after_no) in [
            (Kind::AlwaysOn, true, true, true),
            (Kind::AlwaysOff, false, false, false),
            (Kind::TraceIdRatio, true, true, true),
            (Kind::ParentBasedAlwaysOn, true, true, false),
            (Kind::ParentBasedAlwaysOff, false, true, false),
            (Kind::ParentBasedTraceIdRatio, true, true, false),
        ] {
            let sampler = Sampler::new(kind, 0.5);
            assert_eq!(sampler.decide(low, None), alone, "{sampler}");
            assert_eq!(sampler.decide(low, Some(true)), after_yes, "{sampler}");
            assert_eq!(sampler.decide(low, Some(false)), after_no, "{sampler}");
            let name = serde_json::to_string(&kind).unwrap();
            assert_eq!(name, format!("\"{}\"", kind.as_str()));
            assert_eq!(serde_json::from_str::<Kind>(&name).unwrap(), kind);
        }
    }

    #[test]
    fn records_about_the_share() {
        let sampler = Sampler::new(Kind::TraceIdRatio, 0.25);
        // Evenly spread, so the number is exact.
        let recorded = (0..1_000_u64).map(|i| (2 * i + 1) * (u64::MAX / 2_000));
        let recorded = recorded.filter(|chance| sampler.decide(*chance, None));
        assert_eq!(recorded.count(), 250);
        assert_eq!(sampler.to_string(), "traceidratio(0.25)");
    }

    proptest! {
        #[test]
        fn the_ends_are_exact_and_more_records_more(chance: u64, a in 0.0..=1.0, b in 0.0..=1.0) {
            let within = |ratio| Sampler::new(Kind::TraceIdRatio, ratio).decide(chance, None);
            prop_assert!(within(1.0) && !within(0.0));
            prop_assert!(a > b || !within(a) || within(b));
        }
    }
}
