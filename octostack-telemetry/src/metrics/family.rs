use super::Counter;
use super::encode::{Groups, label_text};
use super::handle::{Handle, Spec};
use octostack_core::sync::{Mutex, lock};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The value of every label of the series that stands for those above the limit.
const OVERFLOW: &str = "_OVERFLOW";

/// A metric with `N` labels: makes the handles of its series.
///
/// Cheap to clone; clones share the series.
pub struct Family<H, const N: usize> {
    pub(super) core: Arc<Core<H>>,
}

/// What is shared by all clones of a family.
#[derive(Debug)]
pub(super) struct Core<H> {
    pub(super) shape: Shape,
    limit: usize,
    /// Counts label sets above the limit.
    dropped: Option<Counter>,
    series: Mutex<Series<H>>,
}

/// What two registrations of a name must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: Vec<&'static str>,
    pub(super) spec: Spec,
}

impl Shape {
    /// Nothing else has bounds, and a histogram is not accepted without.
    pub(super) fn is_histogram(&self) -> bool {
        !self.spec.bounds.is_empty()
    }
}

#[derive(Debug)]
struct Series<H> {
    /// By the text of their labels.
    known: BTreeMap<String, H>,
    /// Those of them that count towards the limit.
    counted: usize,
}

impl<H: Handle> Core<H> {
    pub(super) fn new(shape: Shape, limit: usize, dropped: Option<Counter>) -> Arc<Self> {
        let series = Mutex::new(Series { known: BTreeMap::new(), counted: 0 });
        Arc::new(Self { shape, limit, dropped, series })
    }

    fn resolve(&self, values: &[&str], declared: bool) -> H {
        let Series { known, counted } = &mut *lock(&self.series);
        let text = self.label_text(values);
        if let Some(handle) = known.get(&text) {
            return handle.clone();
        }
        if !declared {
            if *counted == self.limit {
                if let Some(dropped) = &self.dropped {
                    dropped.increment();
                }
                let overflow = vec![OVERFLOW; values.len()];
                return known
                    .entry(self.label_text(&overflow))
                    .or_insert_with(|| H::new(&self.shape.spec))
                    .clone();
            }
            *counted += 1;
        }
        let handle = H::new(&self.shape.spec);
        known.insert(text, handle.clone());
        handle
    }

    fn label_text(&self, values: &[&str]) -> String {
        let names = self.shape.labels.iter().copied();
        let mut labels: Vec<_> = names.zip(values.iter().copied()).collect();
        labels.sort_unstable_by_key(|(name, _)| *name); // as samples of inspected items are
        label_text(&labels)
    }
}

impl<H: Handle, const N: usize> Family<H, N> {
    /// The handle of the series with these label values, in the order of the labels.
    ///
    /// Takes a lock and allocates: do it once where the values are known, not for each record.
    /// Beyond the limit of the registry, new label sets share one series whose labels are all
    /// `_OVERFLOW`; `octostack_telemetry_series_dropped_total` counts them.
    ///
    /// ```
    /// # use octostack_telemetry::metrics::Metrics;
    /// # let metrics = Metrics::new();
    /// let orders = metrics.counter("orders_total", "Orders by channel.", ["channel"])?;
    /// let web = orders.with(["web"]);
    /// web.increment();
    /// assert!(metrics.encode().contains("orders_total{channel=\"web\"} 1\n"));
    /// # Ok::<(), octostack_telemetry::metrics::MetricError>(())
    /// ```
    pub fn with(&self, values: [&str; N]) -> H {
        self.core.resolve(&values, false)
    }

    /// The same for label values that the program itself spells out.
    ///
    /// Such a series exists from now on and whatever the limit: label sets that come from outside
    /// cannot take its place.
    pub fn declare(&self, values: [&str; N]) -> H {
        self.core.resolve(&values, true)
    }
}

impl<H, const N: usize> Clone for Family<H, N> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<H, const N: usize> fmt::Debug for Family<H, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &self.core.shape;
        f.debug_struct("Family")
            .field("name", &shape.name)
            .field("labels", &shape.labels)
            .finish_non_exhaustive()
    }
}

/// A family without its type, as the registry keeps it.
pub(super) trait AnyFamily: Send + Sync {
    fn shape(&self) -> &Shape;
    fn announce<'a>(&'a self, groups: &mut Groups<'a>);
    fn collect(&self, groups: &mut Groups<'_>);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<H: Handle> AnyFamily for Core<H> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn announce<'a>(&'a self, groups: &mut Groups<'a>) {
        groups.announce(self.shape.name, self.shape.help, H::TYPE);
    }

    fn collect(&self, groups: &mut Groups<'_>) {
        for (labels, handle) in &lock(&self.series).known {
            groups.insert(self.shape.name, labels, handle.read());
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
