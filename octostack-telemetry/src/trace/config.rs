use super::{Sampler, SamplerKind};
use octostack_core::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Traces: section `telemetry.traces` of the config.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TracesConfig {
    /// What is believed of the trace context that callers send: `never`, `ids` or `all`.
    pub trust_caller: TrustCaller,
    /// Which traces are recorded, by the names of `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// The share that a ratio sampler records, from 0 to 1. When absent: 1.
    pub sampler_arg: Option<f64>,
}

impl TracesConfig {
    /// Sets what is believed of callers.
    pub fn with_trust_caller(mut self, trust: TrustCaller) -> Self {
        self.trust_caller = trust;
        self
    }

    /// Sets the sampler, and the share if it is one with a ratio.
    pub fn with_sampler(mut self, sampler: SamplerKind, ratio: Option<f64>) -> Self {
        (self.sampler, self.sampler_arg) = (sampler, ratio);
        self
    }

    /// What decides whether a trace is recorded.
    pub fn sampler(&self) -> Sampler {
        Sampler::new(self.sampler, self.sampler_arg.unwrap_or(1.0))
    }

    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong; keys are relative to the section.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(ratio) = self.sampler_arg {
            if !self.sampler.has_ratio() {
                // Without this, who forgets the other variable records all, and pays for it.
                let message = format!(
                    "is {ratio}, but the sampler {} has no ratio; set `sampler` \
                     (OTEL_TRACES_SAMPLER) to parentbased_traceidratio, or leave this out",
                    self.sampler.as_str()
                );
                problems.push(Problem::new("sampler_arg", message));
            } else if !(0.0..=1.0).contains(&ratio) {
                let message = format!("{ratio} is out of range: a share from 0 to 1");
                problems.push(Problem::new("sampler_arg", message));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// What is believed of the trace context that a caller sends.
///
/// | | trace id | decision to record |
/// |---|---|---|
/// | `never` | a new one; the caller's is linked | the sampler's own |
/// | `ids` | the caller's | the sampler's own |
/// | `all` | the caller's | the caller's, if the sampler is `parentbased_…` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TrustCaller {
    /// Nothing: a new trace begins, linked to the caller's. For everything that strangers reach.
    #[default]
    Never,
    /// The ids, but not the decision to record: for callers that may join our traces, but not
    /// decide what they cost.
    Ids,
    /// Everything: for services that only our own reach.
    All,
}

impl TrustCaller {
    /// Its name in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Ids => "ids",
            Self::All => "all",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SamplerKind, TracesConfig};

    #[test]
    fn says_what_is_wrong_with_the_ratio() {
        let problem = |kind, ratio| {
            let config = TracesConfig::default().with_sampler(kind, ratio);
            config.validate().err().map(|problems| problems[0].to_string())
        };
        for ratio in [None, Some(0.0), Some(1.0)] {
            assert_eq!(problem(SamplerKind::TraceIdRatio, ratio), None);
        }
        assert_eq!(
            problem(SamplerKind::ParentBasedTraceIdRatio, Some(1.5)).as_deref(),
            Some("sampler_arg: 1.5 is out of range: a share from 0 to 1")
        );
        assert!(problem(SamplerKind::TraceIdRatio, Some(f64::NAN)).is_some());
        let alone = problem(SamplerKind::default(), Some(0.1)).unwrap();
        assert!(alone.contains("parentbased_always_on has no ratio"), "{alone}");
    }
}
