#[cfg(feature = "otlp")]
use super::otlp::{OtlpProtocol, TracesExporter, check_endpoint};
use super::{Sampler, SamplerKind};
use octostack_core::inspect::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "otlp")]
use std::time::Duration;

/// Traces: section `telemetry.traces` of the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TracesConfig {
    /// What is believed of the trace context that callers send: `never`, `ids` or `all`.
    pub trust_caller: TrustCaller,
    /// Which traces are recorded, by the names of `OTEL_TRACES_SAMPLER`.
    pub sampler: SamplerKind,
    /// The share that a ratio sampler records, from 0 to 1. When absent: 1.
    pub sampler_arg: Option<f64>,
    /// Where traces go: `otlp`, if an endpoint is set, or `none`.
    #[cfg(feature = "otlp")]
    pub exporter: TracesExporter,
    /// Address of the collector for traces, such as `http://collector:4317`. When absent: that of
    /// `telemetry.otlp`.
    #[cfg(feature = "otlp")]
    pub endpoint: Option<String>,
    /// The protocol for traces: `grpc`.
    #[cfg(feature = "otlp")]
    pub protocol: Option<OtlpProtocol>,
    /// How many spans may wait to be sent; more are dropped and counted.
    #[cfg(feature = "otlp")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_queue_size: usize,
    /// How many spans are sent at once.
    #[cfg(feature = "otlp")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_batch_size: usize,
    /// How long a span waits for others to be sent with.
    #[cfg(feature = "otlp")]
    #[serde(with = "octostack_core::duration")]
    #[schemars(schema_with = "octostack_core::duration::schema")]
    pub delay: Duration,
}

/// Limits of the queue are those of OpenTelemetry's specification.
impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            trust_caller: TrustCaller::default(),
            sampler: SamplerKind::default(),
            sampler_arg: None,
            #[cfg(feature = "otlp")]
            exporter: TracesExporter::default(),
            #[cfg(feature = "otlp")]
            endpoint: None,
            #[cfg(feature = "otlp")]
            protocol: None,
            #[cfg(feature = "otlp")]
            max_queue_size: 2_048,
            #[cfg(feature = "otlp")]
            max_batch_size: 512,
            #[cfg(feature = "otlp")]
            delay: Duration::from_secs(5),
        }
    }
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

    /// Sets where traces go.
    #[cfg(feature = "otlp")]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets how many spans wait and travel together, and how long.
    #[cfg(feature = "otlp")]
    pub fn with_batches(mut self, max_queue: usize, max_batch: usize, delay: Duration) -> Self {
        (self.max_queue_size, self.max_batch_size, self.delay) = (max_queue, max_batch, delay);
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
        #[cfg(feature = "otlp")]
        self.check_export(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    #[cfg(feature = "otlp")]
    fn check_export(&self, problems: &mut Vec<Problem>) {
        problems.extend(check_endpoint("endpoint", self.endpoint.as_deref()));
        let sizes =
            [("max_queue_size", self.max_queue_size), ("max_batch_size", self.max_batch_size)];
        for (key, size) in sizes {
            if !(1..=1_000_000).contains(&size) {
                let message = format!("{size} is out of range: from 1 to 1000000");
                problems.push(Problem::new(key, message));
            }
        }
        if self.max_batch_size > self.max_queue_size {
            let (batch, queue) = (self.max_batch_size, self.max_queue_size);
            let message = format!("{batch} is more than may wait (max_queue_size, {queue})");
            problems.push(Problem::new("max_batch_size", message));
        }
        // Spans that wait for hours are of no use, and would all be lost with the process.
        if self.delay > Duration::from_secs(60 * 60) {
            let shown = octostack_core::duration::format(self.delay);
            problems.push(Problem::new("delay", format!("{shown} is too long: at most 1h")));
        }
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
