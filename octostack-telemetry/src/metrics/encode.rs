//! The Prometheus text format, version 0.0.4.
//!
//! Everything is gathered first and written afterwards, since the format wants all samples of a
//! metric together and items of the inspection registry hand them over in any order.
use octostack_core::inspect::{Metric, Sink};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the `# TYPE` line of a histogram says.
pub(super) const HISTOGRAM: &str = "histogram";
const BUCKET: &str = "_bucket";
const SUM: &str = "_sum";
const COUNT: &str = "_count";
/// What follows the name of a histogram in the names of its samples.
pub(super) const HISTOGRAM_SAMPLES: [&str; 3] = [BUCKET, SUM, COUNT];

/// The numbers of one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A counter's or a gauge's.
    Number(f64),
    /// A histogram's.
    Buckets {
        /// Upper bounds, rising.
        bounds: Vec<f64>,
        /// How many fell in each bucket, and above the last.
        counts: Vec<u64>,
        /// Sum of all values.
        sum: f64,
    },
}

/// All samples of one metric.
#[derive(Debug)]
struct Group<'a> {
    help: &'a str,
    kind: &'static str,
    /// By the text of their labels.
    series: BTreeMap<String, Reading>,
}

/// All samples of a scrape, in the order in which they will be written.
#[derive(Debug, Default)]
pub(super) struct Groups<'a> {
    groups: BTreeMap<&'a str, Group<'a>>,
    refused: Vec<&'static str>,
}

impl<'a> Groups<'a> {
    /// Makes `name` mean this and nothing else.
    pub(super) fn announce(&mut self, name: &'a str, help: &'a str, kind: &'static str) {
        self.groups.entry(name).or_insert_with(|| Group { help, kind, series: BTreeMap::new() });
    }

    /// Announces a metric unless one that is here already has samples of the same name. Tells
    /// whether it did.
    #[cfg(feature = "metrics")]
    pub(super) fn announce_if_free(
        &mut self,
        name: &'a str,
        help: &'a str,
        kind: &'static str,
    ) -> bool {
        let sample_is_here = || {
            let samples = HISTOGRAM_SAMPLES.map(|suffix| format!("{name}{suffix}"));
            kind == HISTOGRAM && samples.iter().any(|name| self.groups.contains_key(&**name))
        };
        if self.groups.contains_key(name) || self.is_histogram_sample(name) || sample_is_here() {
            return false;
        }
        self.announce(name, help, kind);
        true
    }

    /// Takes one series. The labels are written already.
    pub(super) fn insert(&mut self, name: &str, labels: &str, reading: Reading) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        match (group.series.get_mut(labels), reading) {
            (Some(Reading::Number(sum)), Reading::Number(n)) => *sum += n,
            (_, reading) => {
                group.series.insert(labels.to_owned(), reading);
            }
        }
    }

    /// Whether a histogram writes samples of this name. Inspected items have none, and those that
    /// the program registers are announced before.
    fn is_histogram_sample(&self, name: &str) -> bool {
        let group = histogram_of(name).and_then(|histogram| self.groups.get(histogram));
        group.is_some_and(|group| group.kind == HISTOGRAM)
    }

    /// Names of samples that could not be written, one entry for each sample.
    pub(super) fn take_refused(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn write(&self, out: &mut String) {
        for (name, group) in &self.groups {
            if group.series.is_empty() {
                continue;
            }
            let _ = write!(out, "# HELP {name} ");
            escape(out, group.help, false);
            let _ = writeln!(out, "\n# TYPE {name} {}", group.kind);
            for (labels, reading) in &group.series {
                write_series(out, name, labels, reading);
            }
        }
    }
}

/// The samples of inspected items. One that would make the whole page invalid is refused: a bad
/// name, or a name that means something else already, be it a sample of a histogram.
impl Sink for Groups<'_> {
    fn sample(&mut self, metric: &'static Metric, labels: &[(&'static str, &str)], value: f64) {
        let kind = match metric.kind {
            octostack_core::inspect::MetricKind::Counter => "counter",
            _ => "gauge",
        };
        let mut sorted = labels.to_vec();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let valid = is_metric_name(metric.name)
            && sorted.iter().all(|(name, _)| is_label_name(name))
            && sorted.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let valid = valid && !self.is_histogram_sample(metric.name);
        if valid {
            self.announce(metric.name, metric.help, kind);
        }
        if !valid || self.groups[metric.name].kind != kind {
            self.refused.push(metric.name);
            return;
        }
        self.insert(metric.name, &label_text(&sorted), Reading::Number(value));
    }
}

fn write_series(out: &mut String, name: &str, labels: &str, reading: &Reading) {
    match reading {
        Reading::Number(value) => write_sample(out, name, "", labels, *value),
        Reading::Buckets { bounds, counts, sum } => {
            let comma = if labels.is_empty() { "" } else { "," };
            let mut count = 0;
            for (i, n) in counts.iter().enumerate() {
                count += n;
                let le = bounds.get(i).copied().unwrap_or(f64::INFINITY);
                let mut labels = format!("{labels}{comma}le=\"");
                write_number(&mut labels, le);
                labels.push('"');
                write_sample(out, name, BUCKET, &labels, count as f64);
            }
            write_sample(out, name, SUM, labels, *sum);
            write_sample(out, name, COUNT, labels, count as f64);
        }
    }
}

fn write_sample(out: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() {
        let _ = write!(out, "{{{labels}}}");
    }
    out.push(' ');
    write_number(out, value);
    out.push('\n');
}

fn write_number(out: &mut String, value: f64) {
    match value {
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        value => {
            let _ = write!(out, "{value}");
        }
    }
}

/// What stands between the braces.
pub(super) fn label_text(labels: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (i, (name, value)) in labels.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        out.push_str(name);
        out.push_str("=\"");
        escape(&mut out, value, true);
        out.push('"');
    }
    out
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// The histogram that would write samples of this name.
pub(super) fn histogram_of(name: &str) -> Option<&str> {
    HISTOGRAM_SAMPLES.iter().find_map(|suffix| name.strip_suffix(suffix))
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(super) fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, without what Prometheus keeps for itself.
pub(super) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':') && !name.starts_with("__") && name != "le"
}
