use super::encode::{Groups, HISTOGRAM_SAMPLES, histogram_of, is_label_name, is_metric_name};
use super::family::{AnyFamily, Core, Family, Shape};
use super::handle::{Handle, Spec};
#[cfg(feature = "metrics")]
use super::recorder::{Limits, Recorded};
use super::{Counter, Gauge, Histogram, InFlight, MetricError};
use octostack_core::sync::{Mutex, lock};
use octostack_core::{Identity, Registry};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The metrics of a service; see the [module docs](super).
///
/// Clones are cheap and share the contents.
#[derive(Clone)]
pub struct Metrics {
    pub(super) shared: Arc<Shared>,
}

type Families = BTreeMap<&'static str, Arc<dyn AnyFamily>>;

pub(super) struct Shared {
    families: Mutex<Families>,
    #[cfg(feature = "metrics")]
    pub(super) recorded: Arc<Recorded>,
    inspected: Registry,
    limit: usize,
    dropped: Family<Counter, 1>,
    series_dropped: Family<Counter, 1>,
}

/// Builds [`Metrics`].
#[derive(Clone, Debug)]
#[must_use = "builds nothing before `build`"]
pub struct MetricsBuilder {
    registry: Registry,
    identity: Option<Identity>,
    limit: usize,
    #[cfg(feature = "metrics")]
    names: usize,
}

impl MetricsBuilder {
    /// Whose items are on the page as well. Default: [`Registry::global`].
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Adds `octostack_build_info` with name, version and commit. Default: no such metric.
    pub fn identity(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// How many series a metric may have beside those that the program declares. Default: 2000,
    /// as in the OpenTelemetry SDKs.
    ///
    /// Of what comes through a `Recorder` (feature `metrics`) nothing is declared. All its metrics
    /// together may have ten times as many series.
    pub const fn series_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// How many metrics may come through a [`Recorder`](super::recorder::Recorder). Default: 500.
    #[cfg(feature = "metrics")]
    pub const fn names_limit(mut self, limit: usize) -> Self {
        self.names = limit;
        self
    }

    /// The metrics, with what OctoStack tells about its own telemetry.
    pub fn build(self) -> Metrics {
        let own = |name, help, label| {
            let shape = Shape { name, help, labels: vec![label], spec: Spec::default() };
            let core = Core::<Counter>::new(shape, self.limit, None);
            Family::<_, 1> { core }
        };
        let dropped = own(
            "octostack_telemetry_dropped_total",
            "Telemetry that was lost, such as log lines that could not be written.",
            "signal",
        );
        let series_dropped = own(
            "octostack_telemetry_series_dropped_total",
            "Label sets and samples that were refused: over the limit, or not valid.",
            "metric",
        );
        let families: [Arc<dyn AnyFamily>; 2] = [dropped.core.clone(), series_dropped.core.clone()];
        let families = families.map(|family| (family.shape().name, family));
        #[cfg(feature = "metrics")]
        let recorded = {
            let limits = Limits { names: self.names, series: self.limit };
            Arc::new(Recorded::new(limits, series_dropped.clone(), self.registry.clone()))
        };
        let shared = Shared {
            families: Mutex::new(families.into()),
            #[cfg(feature = "metrics")]
            recorded,
            inspected: self.registry,
            limit: self.limit,
            dropped,
            series_dropped,
        };
        if let Some(identity) = self.identity {
            shared.add_build_info(&identity);
        }
        Metrics { shared: Arc::new(shared) }
    }
}

impl Metrics {
    /// Metrics with all defaults.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Metrics with other settings.
    pub fn builder() -> MetricsBuilder {
        MetricsBuilder {
            registry: Registry::global().clone(),
            identity: None,
            limit: 2000,
            #[cfg(feature = "metrics")]
            names: 500,
        }
    }

    /// Registers a counter. Its name ends in `_total`.
    ///
    /// Registering the same definition again gives the same metric; so do the other kinds.
    ///
    /// # Errors
    /// A name or label that Prometheus does not accept, or a name that is taken by another metric.
    pub fn counter<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Result<Family<Counter, N>, MetricError> {
        if !name.ends_with("_total") {
            let rule = "the name of a counter ends in `_total`";
            return Err(MetricError::Name { name, rule });
        }
        self.register(name, help, labels, Spec::default())
    }

    /// Registers a gauge that is set.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter).
    pub fn gauge<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Result<Family<Gauge, N>, MetricError> {
        self.register(name, help, labels, Spec::default())
    }

    /// Registers a gauge of how many go on now.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter).
    pub fn in_flight<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Result<Family<InFlight, N>, MetricError> {
        self.register(name, help, labels, Spec::default())
    }

    /// Registers a histogram of durations. Its name ends in `_seconds`, which is what the page
    /// shows.
    ///
    /// # Errors
    /// As for [`counter`](Self::counter); also if `bounds` is empty or does not rise.
    pub fn histogram<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        bounds: &[Duration],
    ) -> Result<Family<Histogram, N>, MetricError> {
        if !name.ends_with("_seconds") {
            let rule = "the name of a histogram of durations ends in `_seconds`";
            return Err(MetricError::Name { name, rule });
        }
        let nanos = |bound: &Duration| u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let bounds: Arc<[u64]> = bounds.iter().map(nanos).collect();
        if bounds.is_empty() || !bounds.is_sorted_by(|a, b| a < b) {
            return Err(MetricError::Bounds { name });
        }
        self.register(name, help, labels, Spec { bounds })
    }

    /// Counts what is lost of a signal: `logs` is lines that could not be written.
    pub fn dropped(&self, signal: &'static str) -> Counter {
        self.shared.dropped.declare([signal])
    }

    /// Counts what is refused of the metric `name`.
    #[cfg(feature = "http")]
    pub(crate) fn series_dropped(&self, name: &'static str) -> Counter {
        self.shared.series_dropped.declare([name])
    }

    /// The page, in the order of names and labels. Its media type is
    /// [`CONTENT_TYPE`](super::CONTENT_TYPE).
    pub fn encode(&self) -> String {
        let shared = &*self.shared;
        let families: Vec<_> = lock(&shared.families).values().cloned().collect();
        #[cfg(feature = "metrics")]
        let recorded = shared.recorded.metrics();
        let mut groups = Groups::default();
        for family in &families {
            family.announce(&mut groups);
        }
        // First, so that what is refused here is on this page already.
        shared.inspected.collect(&mut groups);
        for name in groups.take_refused() {
            shared.series_dropped.declare([name]).increment();
        }
        // After all that it gives way to.
        #[cfg(feature = "metrics")]
        shared.recorded.collect(&recorded, &mut groups);
        for family in &families {
            family.collect(&mut groups);
        }
        let mut page = String::with_capacity(4096);
        groups.write(&mut page);
        page
    }

    fn register<H: Handle, const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
        spec: Spec,
    ) -> Result<Family<H, N>, MetricError> {
        if !is_metric_name(name) {
            let rule = "must be letters, digits, `_` and `:`, and not start with a digit";
            return Err(MetricError::Name { name, rule });
        }
        check_labels(name, &labels)?;
        let shape = Shape { name, help, labels: labels.to_vec(), spec };
        let mut families = lock(&self.shared.families);
        check_overlap(&families, &shape)?;
        let core = match families.entry(name) {
            std::collections::btree_map::Entry::Occupied(taken) => {
                same(&shape, taken.get().clone())?
            }
            std::collections::btree_map::Entry::Vacant(free) => {
                let dropped = self.shared.series_dropped.declare([name]);
                let core = Core::new(shape, self.shared.limit, Some(dropped));
                free.insert(core.clone());
                core
            }
        };
        Ok(Family { core })
    }
}

impl Shared {
    fn add_build_info(&self, identity: &Identity) {
        let shape = Shape {
            name: "octostack_build_info",
            help: "Always 1; the labels tell what runs here.",
            labels: vec!["service", "version", "commit"],
            spec: Spec::default(),
        };
        let core = Core::<Gauge>::new(shape, self.limit, None);
        lock(&self.families).insert("octostack_build_info", core.clone());
        let commit = identity.commit.as_deref().unwrap_or_default();
        let info = Family::<_, 3> { core };
        info.declare([&identity.name, &identity.version, commit]).set(1.0);
    }
}

fn check_labels(name: &'static str, labels: &[&'static str]) -> Result<(), MetricError> {
    for (i, label) in labels.iter().copied().enumerate() {
        let rule = if !is_label_name(label) {
            "must be letters, digits and `_`, not start with a digit or `__`, and not be `le`"
        } else if labels[..i].contains(&label) {
            "is there twice"
        } else {
            continue;
        };
        return Err(MetricError::Label { name, label, rule });
    }
    Ok(())
}

/// The page must not have two metrics with samples of one name, whichever of them came first.
fn check_overlap(families: &Families, wanted: &Shape) -> Result<(), MetricError> {
    let name = wanted.name;
    let histogram = histogram_of(name).and_then(|histogram| families.get(histogram));
    if let Some(taken) = histogram.map(|family| family.shape())
        && taken.is_histogram()
    {
        return Err(MetricError::Overlap { histogram: taken.name, other: name });
    }
    if wanted.is_histogram() {
        for suffix in HISTOGRAM_SAMPLES {
            if let Some((other, _)) = families.get_key_value(&*format!("{name}{suffix}")) {
                return Err(MetricError::Overlap { histogram: name, other });
            }
        }
    }
    Ok(())
}

/// The family that is there already, if it is the one that `wanted` describes.
fn same<H: Handle>(wanted: &Shape, taken: Arc<dyn AnyFamily>) -> Result<Arc<Core<H>>, MetricError> {
    let name = wanted.name;
    let differs = |differs| MetricError::Conflict { name, differs };
    let core: Arc<Core<H>> = taken.into_any().downcast().map_err(|_| differs("kind"))?;
    let found = &core.shape;
    if found.labels != wanted.labels {
        return Err(differs("labels"));
    }
    if found.spec != wanted.spec {
        return Err(differs("bounds"));
    }
    if found.help != wanted.help {
        return Err(differs("help"));
    }
    Ok(core)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = lock(&self.shared.families);
        f.debug_struct("Metrics")
            .field("names", &families.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
