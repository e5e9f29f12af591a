//! Logs: one JSON object a line, from `tracing` events.
//!
//! # Why
//!
//! Whoever reads logs wants the same few fields in the same place on every line, whatever the
//! service, and wants them to be true. The JSON format of `tracing-subscriber` writes event fields
//! beside its own, so an event with a field `level` or `timestamp` makes a line that holds the key
//! twice, and readers differ in which they believe. Here the standard fields belong to the layer
//! and all others live under `context`: there is nothing to collide with.
//!
//! # How
//!
//! | key | where it comes from |
//! |---|---|
//! | `timestamp` | the moment of the event, RFC 3339, microseconds, UTC |
//! | `level` | `trace`, `debug`, `info`, `warn`, `error`; `fatal` for an event with `fatal = true` |
//! | `service`, `version`, `environment` | the [`Identity`](octostack_core::Identity) |
//! | `message`, `target` | the event |
//! | `trace_id`, `span_id` | the innermost span, by a [`TraceLayer`](crate::trace::TraceLayer) |
//! | `correlation_id`, `user_id` | field of that name, of the outermost span that has it, else of the event |
//! | `error` | the event's fields `error` (a message, or better a `&dyn Error`), `error.kind` (or `error.type`), `error.code`, `error.message`, `error.stack` |
//! | `context` | all other fields of the event, then of its spans from the inside out |
//!
//! Fields of spans that begin with `otel.` are for OpenTelemetry and not logged.
//! Keys without a value are left out. From an error value come its message, its type as far as its
//! `Debug` tells, and its sources, one a line, as `stack`.
//!
//! Values are cut at 8 KiB and say how much is missing; a line holds at most 64 KiB, and fields
//! that do not fit are counted in `context._left_out`. Control characters and those that reorder
//! text are escaped in both formats, so a client cannot forge lines or paint terminals.
//!
//! Lines are written in their order by a thread of its own, each by one call, so that a reader of
//! standard output that stalls never holds up whoever logs. At most 4 MiB or 16,384 lines wait for
//! it, beside what it has in hand. A line that finds no room or cannot be written is lost: it is
//! counted in `octostack_telemetry_dropped_total{signal="logs"}`, and once lines can be written
//! again, one of level `warn` says how many are missing there.
//!
//! [`Guard`] waits for the queue when it is dropped, and so do panics and fatal events, at most a
//! second. What ends a process without any of them, such as `SIGKILL`, loses what is queued then.
//!
//! # Example
//!
//! ```
//! use octostack_core::Identity;
//! use octostack_telemetry::logs::{self, TelemetryConfig};
//!
//! let config = TelemetryConfig::default().with_filter("info,orders=debug".parse()?);
//! let _guard = logs::init(&Identity::new("orders", "1.4.2"), &config)?;
//!
//! let job = tracing::info_span!("job", correlation_id = "import-7");
//! job.in_scope(|| {
//!     let error = std::io::Error::other("no space left");
//!     let error: &dyn std::error::Error = &error;
//!     tracing::error!(error, file = "prices.csv", "import failed");
//! });
//! // {"timestamp":"2026-11-21T07:06:49.123456Z","level":"error","service":"orders",
//! //  "version":"1.4.2","environment":"development","message":"import failed","target":"orders",
//! //  "correlation_id":"import-7","error":{"type":"Custom","message":"no space left"},
//! //  "context":{"file":"prices.csv"}}
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod capture;
mod config;
mod filter;
mod follow;
mod init;
mod json;
mod layer;
mod line;
mod observer;
mod output;
mod queue;
mod quiet;
#[cfg(feature = "http")]
pub mod request;

pub use capture::hash_user_id;
pub use config::{EnvError, LogFormat, TelemetryConfig, UserIds};
pub use filter::{Filter, FilterError};
pub use follow::FilterHandle;
pub use init::{Guard, InitError, LogBuilder, builder, init};
pub use layer::LogLayer;
pub use observer::LogEvents;
#[cfg(feature = "otlp")]
pub(crate) use output::DROPPED;
pub use output::{FLUSH_LIMIT, Output};
#[cfg(feature = "otlp")]
pub(crate) use quiet::{aloud, is_quiet, quiet_thread};
#[cfg(feature = "http")]
pub use request::RequestLogLayer;
