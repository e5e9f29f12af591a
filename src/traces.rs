//! The way of traces out of the process: start, and an end that cannot hang.
use octostack_core::lifecycle::Lifecycle;
use octostack_core::{Identity, Registry};
use octostack_telemetry::logs::{LogBuilder, TelemetryConfig};
#[cfg(feature = "otlp")]
use octostack_telemetry::trace::otlp::{Exporter, StartError};
use std::process::ExitCode;
#[cfg(feature = "otlp")]
use std::time::Duration;

/// Of the time for the end, what is kept to say that it was not enough.
#[cfg(feature = "otlp")]
const LAST_WORD: Duration = Duration::from_millis(50);

/// Sends traces, if an endpoint is set.
pub(crate) struct Traces {
    #[cfg(feature = "otlp")]
    exporter: Option<Exporter>,
}

#[cfg(feature = "otlp")]
impl Traces {
    pub(crate) fn start(
        identity: &Identity,
        config: &TelemetryConfig,
        registry: &Registry,
    ) -> Result<Self, (StartError, ExitCode)> {
        let exporter = Exporter::start(identity, config, registry).map_err(|error| {
            let config = error.is_config();
            (error, if config { crate::service::EX_CONFIG.into() } else { ExitCode::FAILURE })
        })?;
        Ok(Self { exporter })
    }

    /// Has the spans of the subscriber sent.
    pub(crate) fn install<W>(&self, logs: LogBuilder<W>) -> LogBuilder<W> {
        logs.exporter(self.exporter.as_ref())
    }

    /// Says where traces go.
    pub(crate) fn announce(&self, config: &TelemetryConfig) {
        let (sampler, trust) = (config.traces.sampler(), config.traces.trust_caller.as_str());
        if let Some(exporter) = &self.exporter {
            let endpoint = exporter.endpoint();
            tracing::info!(endpoint, %sampler, trust_caller = trust, "traces are exported");
        } else if let Err(reason) = config.traces_endpoint() {
            tracing::info!(%reason, %sampler, trust_caller = trust, "traces are not exported");
        }
    }

    /// Sends what is left when the service ends, for at most `lifecycle.flush_timeout`.
    pub(crate) fn flush_at_end(self, lifecycle: &Lifecycle) {
        let Some(exporter) = self.exporter else { return };
        let life = lifecycle.clone();
        lifecycle.on_flush("traces", move || async move {
            let limit = life.config().flush_timeout;
            let limit = limit.saturating_sub(LAST_WORD.min(limit / 10));
            // It blocks, on a thread on which nothing else waits.
            let flushed = tokio::task::spawn_blocking(move || {
                if !exporter.flush(limit) {
                    let (lost, endpoint) = (exporter.queued(), exporter.endpoint().to_owned());
                    tracing::warn!(lost, endpoint, "the last spans could not be sent in time");
                }
            });
            let _ = flushed.await;
        });
    }
}

#[cfg(not(feature = "otlp"))]
impl Traces {
    #[allow(clippy::unnecessary_wraps, reason = "as with feature `otlp`")]
    pub(crate) const fn start(
        _: &Identity,
        _: &TelemetryConfig,
        _: &Registry,
    ) -> Result<Self, (std::convert::Infallible, ExitCode)> {
        Ok(Self {})
    }

    #[allow(clippy::unused_self, reason = "as with feature `otlp`")]
    pub(crate) fn install<W>(&self, logs: LogBuilder<W>) -> LogBuilder<W> {
        logs
    }

    /// Says that traces go nowhere, aloud if somebody means them to.
    #[allow(clippy::unused_self, reason = "as with feature `otlp`")]
    pub(crate) fn announce(&self, config: &TelemetryConfig) {
        const REASON: &str = "this program is built without feature `otlp` of octostack";
        let trust = config.traces.trust_caller.as_str();
        let asked = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        if asked.into_iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty())) {
            tracing::warn!(reason = REASON, trust_caller = trust, "traces are not exported");
        } else {
            tracing::info!(reason = REASON, trust_caller = trust, "traces are not exported");
        }
    }

    #[allow(clippy::unused_self, reason = "as with feature `otlp`")]
    pub(crate) const fn flush_at_end(self, _: &Lifecycle) {}
}
