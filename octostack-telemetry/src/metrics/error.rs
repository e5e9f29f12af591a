use std::error::Error;
use std::fmt;

/// Why a metric could not be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricError {
    /// The name of the metric breaks a rule.
    Name {
        /// The name.
        name: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// The name of a label breaks a rule.
    Label {
        /// The name of the metric.
        name: &'static str,
        /// The name of the label.
        label: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// The bounds of a histogram do not rise, or there are none.
    Bounds {
        /// The name of the metric.
        name: &'static str,
    },
    /// The name is taken by a metric of another shape.
    Conflict {
        /// The name of the metric.
        name: &'static str,
        /// What differs: `kind`, `labels`, `bounds` or `help`.
        differs: &'static str,
    },
    /// A histogram writes samples under the name of another metric.
    Overlap {
        /// The name of the histogram.
        histogram: &'static str,
        /// The name of the other metric.
        other: &'static str,
    },
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, rule } => write!(f, "metric name `{name}`: {rule}"),
            Self::Label { name, label, rule } => {
                write!(f, "metric `{name}`, label `{label}`: {rule}")
            }
            Self::Bounds { name } => write!(
                f,
                "metric `{name}`: the bounds of a histogram must rise, and there must be one"
            ),
            Self::Conflict { name, differs } => write!(
                f,
                "metric `{name}` is registered already, and its {differs} differs: \
                 use another name, or the same definition in both places"
            ),
            Self::Overlap { histogram, other } => write!(
                f,
                "metric `{other}`: the histogram `{histogram}` writes samples of this name: \
                 use another name for one of them"
            ),
        }
    }
}

impl Error for MetricError {}
