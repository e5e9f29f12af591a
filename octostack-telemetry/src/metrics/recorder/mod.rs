//! What `counter!`, `gauge!` and `histogram!` record, on the same page.
//!
//! Libraries tell their numbers through the crate [`metrics`](super::facade), as they log through
//! `tracing`: the macro names a metric, and whoever runs the program decides what becomes of it. A
//! [`Recorder`] puts it on the page of a [`Metrics`]. Three things go wrong with
//! such numbers in other places, and decide how it is made:
//!
//! * A metric or a label that is made of data eats the memory. Here both are bounded
//!   ([`names_limit`](super::MetricsBuilder::names_limit),
//!   [`series_limit`](super::MetricsBuilder::series_limit)), and what is over a limit records nothing.
//! * A histogram that keeps its samples until somebody reads them grows with the traffic. Here a
//!   value is counted in its bucket at once, so a histogram never takes more room than at first.
//! * Two libraries use one name for two things, and Prometheus refuses the page. Here the later one
//!   is refused instead, and what the service registers itself comes before all of them.
//!
//! Whatever is refused is counted in `octostack_telemetry_series_dropped_total{metric="…"}`, and the
//! first time it is an event `metric_refused` of the inspection registry, which the facade logs.
//! Nothing here panics.
//!
//! # Names
//!
//! | the program says | the page says |
//! |---|---|
//! | `counter!("orders.created")` | `orders_created_total`; `_total` is added unless it is there |
//! | `gauge!("pool::idle-connections")` | `pool__idle_connections`; what is no ASCII letter or digit is `_` |
//! | `describe_histogram!("wait", Unit::Seconds, "…")` | `wait_seconds`; so with all units but `Count`. Values are not converted |
//! | label `le`, `quantile` or `__…` | `exported_le`, …, as Prometheus does itself |
//! | label with an empty value | no label, which is the same to Prometheus |
//!
//! The label sets of a metric may have different names. A metric may be described before or after
//! it is recorded; the first description stays. Without one, the help text tells which module
//! recorded it first. Names that start with `octostack_` are the framework's.
//!
//! # Cost
//!
//! A handle that is kept (`let created = counter!("…");`) costs what our own do: one atomic write,
//! about 6 ns; a histogram two, about 13 ns. The macro looks its handle up each time: about 25 ns
//! more and no allocation with labels that are literals; labels that are made at run time allocate
//! in the macro itself.
//!
//! ```
//! use octostack_telemetry::metrics::{Metrics, facade, recorder::Matcher};
//! use facade::{Unit, counter, describe_histogram, histogram, with_local_recorder};
//!
//! let metrics = Metrics::new();
//! let recorder = metrics.recorder(); // a program: `metrics.recorder().install()?`
//! recorder.buckets(Matcher::name("export.wait"), &[0.1, 1.0, 10.0])?;
//!
//! with_local_recorder(&recorder, || {
//!     describe_histogram!("export.wait", Unit::Seconds, "How long exports waited.");
//!     histogram!("export.wait").record(0.25);
//!     counter!("orders.created", "channel" => "web").increment(1);
//! });
//! let page = metrics.encode();
//! assert!(page.contains("\norders_created_total{channel=\"web\"} 1\n"));
//! assert!(page.contains("\nexport_wait_seconds_bucket{le=\"1\"} 1\n"));
//! # Ok::<(), octostack_telemetry::metrics::recorder::BucketsError>(())
//! ```
//!
//! The reasons are in `docs/decisions/0013-metrics-facade.md`.
mod buckets;
mod cache;
mod family;
mod instruments;
mod names;
mod refusal;
mod store;
#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests;

pub use buckets::{BucketsError, Matcher};
pub(super) use store::{Limits, Recorded};

use super::Metrics;
use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};
use cache::Handle;
use names::Kind;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Records into a [`Metrics`] what comes through the `metrics` facade; see the [module docs](self).
///
/// Clones, and all recorders of one [`Metrics`], record into the same series.
#[derive(Clone)]
pub struct Recorder {
    recorded: Arc<Recorded>,
}

impl Metrics {
    /// A recorder whose metrics are on the page of this one.
    pub fn recorder(&self) -> Recorder {
        Recorder { recorded: self.shared.recorded.clone() }
    }
}

impl Recorder {
    /// Makes it the recorder of the process, from which on the macros record into it.
    ///
    /// The facade `octostack` does so at start. Do it before libraries make handles that they keep:
    /// a handle that was made before records nothing for ever.
    ///
    /// # Errors
    /// If there is a recorder already, which cannot be replaced.
    pub fn install(self) -> Result<(), InstallError> {
        ::metrics::set_global_recorder(self).map_err(|_| InstallError)
    }

    /// Sets the upper bounds of the buckets of histograms, such as
    /// `recorder.buckets(Unit::Bytes, &[1e3, 1e6])`.
    ///
    /// If several fit a histogram, its name comes first, then the longest prefix or suffix, then
    /// the unit; of the same matcher the last call counts. What nothing fits has
    /// [`HTTP_BOUNDS`](super::HTTP_BOUNDS) in the time unit of the histogram, seconds if it has
    /// none; sizes, percentages and counts have bounds of their own.
    ///
    /// Bounds are fixed when the first series of a histogram is made. So are they by unit: describe
    /// the histogram before it is recorded.
    ///
    /// # Errors
    /// Bounds that are empty, not finite or do not rise; or that would change a histogram which is
    /// recorded already.
    pub fn buckets(
        &self,
        matcher: impl Into<Matcher>,
        bounds: &[f64],
    ) -> Result<&Self, BucketsError> {
        self.recorded.set_buckets(matcher.into(), bounds)?;
        Ok(self)
    }

    #[inline]
    fn register<H: Handle>(&self, key: &Key, metadata: &Metadata<'_>) -> H {
        match self.recorded.caches.get(key) {
            Some(handle) => handle,
            None => self.resolve(key, metadata),
        }
    }

    /// The first time in a shard of threads, or a key that is none to remember.
    #[cold]
    fn resolve<H: Handle>(&self, key: &Key, metadata: &Metadata<'_>) -> H {
        match self.recorded.register(H::KIND, key, metadata.target()) {
            Ok(found) => {
                let handle = H::of(found.instrument).unwrap_or_else(H::noop);
                if let Some(key) = found.key {
                    self.recorded.caches.insert(key, handle.clone());
                }
                handle
            }
            Err(refused) => {
                self.recorded.refuse(refused);
                H::noop()
            }
        }
    }

    /// The macros repeat a description each time they record, hence the quick way out.
    fn describe(&self, kind: Kind, name: &KeyName, unit: Option<Unit>, text: &str) {
        if self.recorded.caches.is_described(kind, name) {
            return;
        }
        match self.recorded.describe(kind, name.as_str(), unit, text) {
            Ok(()) => self.recorded.caches.set_described(kind, name),
            Err(refused) => self.recorded.refuse(refused),
        }
    }
}

impl ::metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Counter, &name, unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Gauge, &name, unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Histogram, &name, unit, &text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.register(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.register(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.register(key, metadata)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// Another recorder of the `metrics` facade is installed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstallError;

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another recorder of the crate `metrics` is installed: what `counter!`, `gauge!` and \
             `histogram!` record goes there and is missing on this page; do not install the other",
        )
    }
}

impl Error for InstallError {}
