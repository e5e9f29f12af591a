//! Traces: which request a log line, a call and a span belong to, across services.
//!
//! # Why
//!
//! A request passes through several processes, and each logs. What joins their lines is an id that
//! travels with the request: the trace id of the [W3C standard](https://www.w3.org/TR/trace-context/),
//! which proxies, browsers and other languages know too. It is worth having without any tracing
//! backend, so it costs none: this module needs no OpenTelemetry.
//!
//! # How
//!
//! The [`TraceLayer`] gives each `tracing` span a [`TraceContext`]: the trace of its parent, and a
//! span id of its own. A span without a parent begins a trace, and the [`Sampler`] decides whether
//! that is recorded. With feature `otlp` and an endpoint, the spans are OpenTelemetry's, and their
//! ids are the same everywhere: in logs, in headers and at the collector.
//!
//! | | |
//! |---|---|
//! | in | `logs::RequestLogLayer` reads `traceparent` and `tracestate` as [`TrustCaller`] says; for anything that is no HTTP request: [`Remote`] |
//! | here | [`TraceContext::current`]; `trace_id` and `span_id` on every log line inside a span |
//! | out | `ClientTraceLayer` around a Tower client of HTTP or gRPC; `inject` for any other |
//!
//! What a caller sends is not believed unless told otherwise: a stranger that may set `sampled`
//! decides what is recorded and paid for, and one that may choose the trace id decides the same,
//! since samplers take that for chance, and can mix foreign requests into one trace. So a request
//! begins a trace of its own, linked to the caller's. Services that only our own reach set
//! [`TrustCaller::All`].
//!
//! The context is that of the current span. A task that is spawned has none, unless it takes the
//! span with it: `tokio::spawn(work.in_current_span())`, by [`tracing::Instrument`].
//!
//! # Example
//!
//! ```
//! use octostack_telemetry::trace::{TraceContext, TraceLayer};
//! use tracing::{Instrument as _, info_span};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let subscriber = tracing_subscriber::registry().with(TraceLayer::default());
//! let _guard = tracing::subscriber::set_default(subscriber);
//!
//! let export = async {
//!     let here = TraceContext::current().expect("inside of a span");
//!     let inner = async { TraceContext::current().expect("it came along") };
//!     let there = tokio::spawn(inner.in_current_span()).await.expect("no panic");
//!     assert_eq!(here.trace_id(), there.trace_id());
//! };
//! export.instrument(info_span!("export")).await;
//! assert_eq!(TraceContext::current(), None);
//! # }
//! ```
#[cfg(feature = "http")]
pub mod client;
mod config;
mod context;
#[cfg(feature = "http")]
mod headers;
mod id;
mod layer;
#[cfg(feature = "otlp")]
pub mod otlp;
mod remote;
mod sampler;
mod state;

#[cfg(feature = "http")]
pub use client::ClientTraceLayer;
pub use config::{TracesConfig, TrustCaller};
pub use context::{TraceContext, TraceContextError, Traceparent};
#[cfg(feature = "http")]
pub use headers::{TRACEPARENT, TRACESTATE, inject};
pub use id::{SpanId, TraceId};
pub use layer::TraceLayer;
#[cfg(feature = "logs")]
pub(crate) use layer::place;
pub use remote::Remote;
pub use sampler::{Sampler, SamplerKind};
pub use state::TraceState;
