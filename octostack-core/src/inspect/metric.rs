use std::fmt;

/// What the numbers of a [`Metric`] mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only goes up. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

/// Name, help text and kind of a metric that is collected from inspected items.
///
/// Make it a `static` beside the item: the address identifies nothing, the name does, and two
/// items may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Prometheus name: `[a-z_]+`, with the unit and, for a counter, `_total` at the end.
    pub name: &'static str,
    /// One sentence for the `# HELP` line.
    pub help: &'static str,
    /// What its numbers mean.
    pub kind: MetricKind,
}

impl Metric {
    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Counter }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricKind::Gauge }
    }
}

/// Where items put their samples when someone asks.
pub trait Sink {
    /// One sample. Samples of equal name and labels are added up.
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64);
}
