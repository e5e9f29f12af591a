//! What the facade's handles write to.
use crate::metrics::encode::Reading;
use crate::metrics::handle::Spec;
use crate::metrics::handle::private::Sealed;
use crate::metrics::shards::{Shard, Shards};
use crate::metrics::{Counter, Gauge};
use ::metrics::{CounterFn, GaugeFn, HistogramFn};
use std::sync::Arc;

use super::names::Kind;

/// The numbers of one series.
#[derive(Clone, Debug)]
pub(super) enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Values),
}

impl Instrument {
    /// One that starts at zero. Bounds and the counter of refused values are a histogram's.
    pub(super) fn new(kind: Kind, bounds: &Arc<[f64]>, refused: &Counter) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::new(&Spec::default())),
            Kind::Gauge => Self::Gauge(Gauge::new(&Spec::default())),
            Kind::Histogram => Self::Histogram(Values::new(bounds.clone(), refused.clone())),
        }
    }

    pub(super) fn read(&self) -> Reading {
        match self {
            Self::Counter(counter) => counter.read(),
            Self::Gauge(gauge) => gauge.read(),
            Self::Histogram(values) => values.read(),
        }
    }
}

impl CounterFn for Counter {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, value: u64) {
        self.raise_to(value);
    }
}

impl GaugeFn for Gauge {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        Gauge::set(self, value);
    }
}

/// A histogram of any numbers, counted in buckets as they come: nothing is kept of a value.
///
/// A value that is not finite would spoil the sum for ever, so it is refused and counted; so is one
/// that is recorded so many times that it becomes infinite.
#[derive(Clone, Debug)]
pub(super) struct Values(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    /// One word for each bucket, one for everything above them, one for the sum.
    shards: Shards,
    bounds: Arc<[f64]>,
    refused: Counter,
}

impl Values {
    fn new(bounds: Arc<[f64]>, refused: Counter) -> Self {
        let shards = Shards::new(bounds.len() + 2);
        Self(Arc::new(Buckets { shards, bounds, refused }))
    }

    #[inline]
    fn add(&self, value: f64, times: u64) {
        let Buckets { shards, bounds, refused } = &*self.0;
        let sum = value * times as f64;
        if !sum.is_finite() {
            refused.add(times);
            return;
        }
        // Counting all bounds below is faster than a search: no branch depends on the value.
        let bucket = bounds.iter().map(|bound| usize::from(value > *bound)).sum();
        let shard = Shard::current();
        shards.add(shard, bucket, times);
        shards.add_float(shard, bounds.len() + 1, sum);
    }

    fn read(&self) -> Reading {
        let Buckets { shards, bounds, .. } = &*self.0;
        Reading::Buckets {
            bounds: bounds.to_vec(),
            counts: (0..=bounds.len()).map(|bucket| shards.sum(bucket)).collect(),
            // What is too large to be told is told as the largest that can be.
            sum: shards.sum_float(bounds.len() + 1).clamp(f64::MIN, f64::MAX),
        }
    }
}

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.add(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.add(value, count as u64);
    }
}
