//! Telemetry of OctoStack: what a service tells about itself, right also when it matters.
//!
//! Numbers and log lines are read when something is wrong: clients give up, handlers panic, somebody
//! scans the port. That is when telemetry tends to be wrong as well: requests that nobody waited for
//! are missing, gauges leak, a label with a client's text eats the memory, a log line is two. The
//! parts here are built from that end.
//!
//! | module | feature | gives |
//! |---|---|---|
//! | [`metrics`] | | a registry of counters, gauges and histograms, and the page that Prometheus reads |
//! | `metrics::recorder` | `metrics` | what `counter!`, `gauge!` and `histogram!` record, on that page |
//! | `http` | `http` | rate, errors and duration of HTTP requests; request ids |
//! | `http::route` | `axum` | the route of a request from axum's router |
//! | `trace` | `trace` | W3C trace context: in, on log lines, and out |
//! | `trace::otlp` | `otlp` | traces to a collector, by OTLP over gRPC |
//! | `logs` | `logs` | one JSON object a line from `tracing` events; with `http` one event a request |
//!
//! Nothing is global: a [`Metrics`](metrics::Metrics) is a value that is handed on, and two of them
//! know nothing of each other. (The recorder of the crate `metrics` and the subscriber of `tracing`
//! are global by their nature, and installed only when you say so.)
//!
//! ```
//! use octostack_telemetry::metrics::Metrics;
//!
//! let metrics = Metrics::new();
//! let orders = metrics.counter("orders_created_total", "Orders that were created.", [])?.with([]);
//! orders.increment();
//! assert!(metrics.encode().contains("\norders_created_total 1\n"));
//! # Ok::<(), octostack_telemetry::metrics::MetricError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "logs")]
pub mod logs;
pub mod metrics;
#[cfg(feature = "trace")]
pub mod trace;
