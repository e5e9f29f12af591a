//! The numbers of a service, and the page that Prometheus reads.
//!
//! Two sources meet in one page. What is on a hot path resolves a *handle* once and writes to
//! its own cache lines from then on: no lock, no lookup, no allocation. What has numbers anyway
//! (policies, checks, config) is an item of the [inspection registry](octostack_core::inspect) and
//! is asked when someone reads the page. With the feature `metrics` there is a third: a `Recorder`
//! shows what libraries tell through the macros of the crate `metrics`.
//!
//! * [`Metrics`] registers metrics by name; names, labels and bounds are fixed then, and a mistake
//!   is an error at start, not a page that Prometheus refuses at night.
//! * A [`Family`] is a metric; [`Family::with`] gives the handle of one series of it: a
//!   [`Counter`], [`Gauge`], [`InFlight`] or [`Histogram`].
//! * Each metric has a limit of series (2000 unless told otherwise), so that a label with more
//!   values than you thought costs a bounded amount of memory. What the program declares itself
//!   is exempt.
//!
//! ```
//! use std::time::Duration;
//! use octostack_core::{Identity, Registry};
//! use octostack_telemetry::metrics::{HTTP_BOUNDS, Metrics};
//!
//! let metrics = Metrics::builder()
//!     .registry(&Registry::new())
//!     .identity(&Identity::new("orders", "1.4.2"))
//!     .build();
//!
//! let exports = metrics.histogram(
//!     "export_duration_seconds",
//!     "How long exports took.",
//!     ["format"],
//!     &HTTP_BOUNDS,
//! )?;
//! let csv = exports.with(["csv"]);
//! csv.record(Duration::from_millis(30));
//!
//! let page = metrics.encode();
//! assert!(page.contains("export_duration_seconds_bucket{format=\"csv\",le=\"0.05\"} 1\n"));
//! assert!(page.contains("export_duration_seconds_sum{format=\"csv\"} 0.03\n"));
//! assert!(page.contains("octostack_build_info{commit=\"\",service=\"orders\",version=\"1.4.2\"} 1\n"));
//! # Ok::<(), octostack_telemetry::metrics::MetricError>(())
//! ```
mod encode;
mod error;
mod family;
mod handle;
#[cfg(feature = "metrics")]
pub mod recorder;
mod registry;
pub(crate) mod shards;
#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests;

/// The crate `metrics` that a [`Recorder`] listens to.
///
/// A second version of it in a program has macros and a recorder of its own, of which nobody here
/// hears. Take it from here, or check that `cargo tree --duplicates` does not list it.
#[cfg(feature = "metrics")]
pub use ::metrics as facade;
pub use error::MetricError;
pub use family::Family;
pub use handle::{Counter, Entered, Gauge, Handle, Histogram, InFlight};
#[cfg(feature = "metrics")]
pub use recorder::Recorder;
pub use registry::{Metrics, MetricsBuilder};

use std::time::Duration;

/// Media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of the buckets for durations of HTTP requests, as OpenTelemetry advises.
pub const HTTP_BOUNDS: [Duration; 14] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_millis(7500),
    Duration::from_secs(10),
];
