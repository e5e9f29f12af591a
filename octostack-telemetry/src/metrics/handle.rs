use super::encode::{HISTOGRAM, Reading};
use super::shards::{Float, Shard, Shards};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What is told to each series of a metric when it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Upper bounds of a histogram's buckets in nanoseconds, rising.
    pub(super) bounds: Arc<[u64]>,
}

/// The kinds of handle: [`Counter`], [`Gauge`], [`InFlight`] and [`Histogram`].
///
/// Cheap to clone; clones share the series. Resolve one where the label values are first known and
/// keep it, so that recording needs neither lock nor lookup.
pub trait Handle: Clone + Send + Sync + fmt::Debug + private::Sealed + 'static {}

pub(super) mod private {
    use super::{Reading, Spec};

    /// Keeps the kinds of handle to those that the text format knows.
    pub trait Sealed {
        /// What its `# TYPE` line says.
        const TYPE: &'static str;
        /// A series that starts at zero.
        fn new(spec: &Spec) -> Self;
        /// Its numbers now.
        fn read(&self) -> Reading;
    }
}

/// A number that only goes up. Adding costs about 6 ns.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Shards>);

/// The words of a counter: what was added, in shards, and what it was raised by.
const ADDED: usize = 0;
const RAISED: usize = 1;

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.add(Shard::current(), ADDED, n);
    }

    /// Raises the count to at least `n`: for a count that somebody else keeps, such as a driver.
    ///
    /// A lower `n` changes nothing, so of several threads that read the same source the latest
    /// reading wins. What is added meanwhile counts on top. Costs more than adding: it looks at
    /// what all threads have added.
    ///
    /// ```
    /// # use octostack_telemetry::metrics::Metrics;
    /// # let metrics = Metrics::new();
    /// let reads = metrics.counter("disk_reads_total", "Reads, as the disk counts.", [])?.with([]);
    /// reads.raise_to(40);
    /// reads.raise_to(30);
    /// assert_eq!(reads.value(), 40);
    /// # Ok::<(), octostack_telemetry::metrics::MetricError>(())
    /// ```
    pub fn raise_to(&self, n: u64) {
        self.0.raise(RAISED, n.saturating_sub(self.0.sum(ADDED)));
    }

    /// What has been counted so far.
    pub fn value(&self) -> u64 {
        self.0.sum(ADDED).saturating_add(self.0.sum(RAISED))
    }
}

impl Handle for Counter {}
impl private::Sealed for Counter {
    const TYPE: &'static str = "counter";

    fn new(_: &Spec) -> Self {
        Self(Arc::new(Shards::new(2)))
    }

    fn read(&self) -> Reading {
        Reading::Number(self.value() as f64)
    }
}

/// A number that is set to what was measured, or goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Float>);

impl Gauge {
    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds `n`, which may be negative. For what comes and goes see [`InFlight`], which cannot leak.
    #[inline]
    pub fn add(&self, n: f64) {
        self.0.add(n);
    }

    /// The value now, 0 at first.
    pub fn value(&self) -> f64 {
        self.0.get()
    }
}

impl Handle for Gauge {}
impl private::Sealed for Gauge {
    const TYPE: &'static str = "gauge";

    fn new(_: &Spec) -> Self {
        Self(Arc::new(Float::new()))
    }

    fn read(&self) -> Reading {
        Reading::Number(self.value())
    }
}

/// How many of something go on now: a gauge that counts who entered and has not left.
///
/// ```
/// # use octostack_telemetry::metrics::Metrics;
/// # let metrics = Metrics::new();
/// let jobs = metrics.in_flight("jobs_active", "Jobs that run now.", [])?.with([]);
/// let job = jobs.enter();
/// assert_eq!(jobs.value(), 1);
/// drop(job); // also when a future is dropped or a panic unwinds
/// assert_eq!(jobs.value(), 0);
/// # Ok::<(), octostack_telemetry::metrics::MetricError>(())
/// ```
#[derive(Clone, Debug)]
pub struct InFlight(Arc<Shards>);

impl InFlight {
    /// Counts one more until the returned guard is dropped, on whatever thread.
    #[must_use = "it leaves when this is dropped"]
    pub fn enter(&self) -> Entered {
        let shard = Shard::current();
        self.0.add(shard, 0, 1);
        let shards = self.0.clone();
        Entered { shards, shard }
    }

    /// How many are in now.
    pub fn value(&self) -> u64 {
        self.0.sum(0)
    }

    /// For guards that know the handle anyway: whoever enters must call [`Self::leave_raw`] with
    /// the same shard.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn enter_raw(&self) -> Shard {
        let shard = Shard::current();
        self.0.add(shard, 0, 1);
        shard
    }

    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn leave_raw(&self, shard: Shard) {
        self.0.sub(shard, 0, 1);
    }
}

impl Handle for InFlight {}
impl private::Sealed for InFlight {
    const TYPE: &'static str = "gauge";

    fn new(_: &Spec) -> Self {
        Self(Arc::new(Shards::new(1)))
    }

    fn read(&self) -> Reading {
        Reading::Number(self.value() as f64)
    }
}

/// One that entered an [`InFlight`]; leaves when dropped.
#[derive(Debug)]
pub struct Entered {
    shards: Arc<Shards>,
    shard: Shard,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shards.sub(self.shard, 0, 1);
    }
}

/// How long something took, in buckets. Recording costs about 10 ns.
///
/// The sum is kept in whole nanoseconds, and the count is the sum of the buckets, so that a scrape
/// in the middle of a record shows buckets and count that fit.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Durations>);

#[derive(Debug)]
struct Durations {
    /// One word for each bucket, one for everything above them, one for the sum.
    shards: Shards,
    bounds: Arc<[u64]>,
}

impl Histogram {
    /// Takes note of one duration.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let Durations { shards, bounds } = &*self.0;
        // Counting all bounds below is faster than a search: no branch depends on the value.
        let bucket = bounds.iter().map(|bound| usize::from(nanos > *bound)).sum();
        let shard = Shard::current();
        shards.add(shard, bucket, 1);
        shards.add(shard, bounds.len() + 1, nanos);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        (0..=self.0.bounds.len()).map(|i| self.0.shards.sum(i)).sum()
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.shards.sum(self.0.bounds.len() + 1))
    }
}

impl Handle for Histogram {}
impl private::Sealed for Histogram {
    const TYPE: &'static str = HISTOGRAM;

    fn new(spec: &Spec) -> Self {
        Self(Arc::new(Durations {
            shards: Shards::new(spec.bounds.len() + 2),
            bounds: spec.bounds.clone(),
        }))
    }

    fn read(&self) -> Reading {
        let Durations { shards, bounds } = &*self.0;
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        Reading::Buckets {
            bounds: bounds.iter().copied().map(seconds).collect(),
            counts: (0..=bounds.len()).map(|bucket| shards.sum(bucket)).collect(),
            sum: seconds(shards.sum(bounds.len() + 1)),
        }
    }
}
