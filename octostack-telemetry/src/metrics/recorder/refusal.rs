use super::names;
use std::fmt;

/// Why something that the program recorded is not on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// The name of the metric is empty or too long.
    Name,
    /// The name is the framework's.
    Reserved,
    /// Another metric is called so, or writes samples of that name.
    Taken,
    /// The same, with the unit that came later.
    Unit,
    /// There are too many metrics.
    Names,
    /// The metric has too many series.
    Series,
    /// All metrics together have too many series.
    Total,
    /// A label has no name, or a very long one.
    LabelName,
    /// A label is there twice, with two values.
    LabelTwice,
    /// There are too many labels.
    ManyLabels,
}

impl Why {
    /// The same for machines.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Reserved => "reserved",
            Self::Taken => "taken",
            Self::Unit => "unit",
            Self::Names => "names_limit",
            Self::Series | Self::Total => "series_limit",
            Self::LabelName | Self::LabelTwice | Self::ManyLabels => "labels",
        }
    }
}

/// One sentence: what happened, and what to do.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "is not recorded: its name is empty or longer than 200 bytes",
            Self::Reserved => {
                "is not recorded: names that start with `octostack_` are the framework's; use another"
            }
            Self::Taken => {
                "is not on the page: another metric has its name or a sample's (`_bucket`, `_sum`, \
                 `_count`); rename one of them"
            }
            Self::Unit => {
                "is shown without its unit: another metric is called so; rename one of them"
            }
            Self::Names => {
                "is not recorded: there are too many metrics; a name must not be made of data, \
                 which belongs into a label"
            }
            Self::Series => {
                "has too many label sets, the new ones are not recorded: a label must have few \
                 values, and none that clients choose"
            }
            Self::Total => {
                "is not recorded with new labels: all metrics together have too many series"
            }
            Self::LabelName => {
                "is not recorded: the name of a label is empty or longer than 200 bytes"
            }
            Self::LabelTwice => {
                "is not recorded: a label is there twice, with two values; names that differ only \
                 in characters that become `_` are one"
            }
            Self::ManyLabels => "is not recorded: it has more than 32 labels",
        })
    }
}

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    /// The name of the metric: on the page if it is that far.
    pub(super) metric: String,
    pub(super) why: Why,
}

impl Refused {
    /// Of a metric that has no name on the page.
    pub(super) fn unnamed(raw: &str, why: Why) -> Self {
        Self { metric: names::shown(raw).to_owned(), why }
    }
}
