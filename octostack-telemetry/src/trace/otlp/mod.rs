//! Traces to a collector, by OTLP over gRPC.
//!
//! # Why
//!
//! Trace ids join log lines; a picture of where the time went needs the spans themselves. They are
//! made by `tracing-opentelemetry` and sent by OpenTelemetry's own exporter. What is here is what
//! stands between these and a service: ids that are the same in logs, headers and spans, an end
//! that does not hang, and a count of what was lost.
//!
//! # How
//!
//! Off unless an endpoint is set. [`Exporter::start`] makes a thread that sends, with a runtime of
//! its own, so that neither the runtime of the service nor its end can wait for it; given to
//! `logs::builder`, it turns each span that the filter lets through into one of OpenTelemetry.
//!
//! * At most 2,048 spans wait; of more the count is in
//!   `octostack_telemetry_dropped_total{signal="traces"}`, with those that the collector did not
//!   take. While it is not there, batches are lost, and the service runs on; that is one warning,
//!   and one more event when it is back.
//! * [`Exporter::flush`] at the end has a deadline. A collector that accepts and never answers
//!   holds nobody up.
//! * Spans of the exporter's own calls are not made, and what happens on its thread is not logged.
//! * Spans hold no events: what is logged has the ids, and is found by them.
//! * A `user_id` is written as in logs: as `user.hash`, or as `user.id` where it may be plain.
//!
//! Cost: about 1.5 µs for the span of a request, recorded or not, where its log line takes as much.
//! Without an endpoint it is that of a [`TraceLayer`](crate::trace::TraceLayer): one allocation and
//! about 50 ns.
//!
//! A place in a trace that came from elsewhere is given to a span by
//! [`Remote`](crate::trace::Remote), not by `OpenTelemetrySpanExt::set_parent`: spans start as soon
//! as they are made, so that what is logged of them has their ids.
//!
//! The exporter and the SDK read these variables themselves: `OTEL_EXPORTER_OTLP_HEADERS`,
//! `…_TIMEOUT`, each also with `_TRACES`; `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`;
//! `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, `…_EVENT_…`, `…_LINK_…`. Others are keys of the config.
//!
//! A second version of OpenTelemetry in one program has another set of globals, and what is sent to
//! it is lost without a word; so this version is to be had here, as [`otel`], [`otel_sdk`] and
//! [`tracing_otel`].
//!
//! # Example
//!
//! ```
//! use octostack_core::{Identity, Registry};
//! use octostack_telemetry::logs::{self, TelemetryConfig};
//! use octostack_telemetry::trace::TracesConfig;
//! use octostack_telemetry::trace::otlp::Exporter;
//! use std::time::Duration;
//!
//! let identity = Identity::new("orders", "1.4.2");
//! let traces = TracesConfig::default().with_endpoint("http://127.0.0.1:4317");
//! let config = TelemetryConfig::default().with_traces(traces);
//! let exporter = Exporter::start(&identity, &config, Registry::global())?;
//! let _guard = logs::builder(&identity).config(config).exporter(exporter.as_ref()).init()?;
//!
//! tracing::info_span!("import", otel.kind = "consumer").in_scope(|| tracing::info!("working"));
//!
//! // Nobody listens there. The end does not wait for that.
//! if let Some(exporter) = exporter {
//!     exporter.flush(Duration::from_millis(100));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod bridge;
mod config;
mod ended;
mod exporter;
mod queue;

pub use opentelemetry as otel;
pub use opentelemetry_sdk as otel_sdk;
pub use tracing_opentelemetry as tracing_otel;

pub(crate) use bridge::{Spans, remote_span};
pub(crate) use config::check_endpoint;
pub use config::{NotExported, OtlpConfig, OtlpProtocol, TracesExporter};
pub(crate) use ended::{GrpcStatus, call_ended, request_ended};
pub use exporter::{Exporter, StartError};
