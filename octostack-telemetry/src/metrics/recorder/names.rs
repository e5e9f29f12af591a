//! From the names and labels of the facade to those of the page. Pure.
//!
//! The facade takes any text as a name, Prometheus does not. What is translated here is valid, or
//! refused; nothing of it depends on what else is recorded.
use super::refusal::Why;
use crate::metrics::encode::label_text;
use ::metrics::{Label, Unit};

/// The longest name of a metric, and of a label.
const NAME: usize = 200;
/// The longest value of a label, in bytes; the rest is cut off.
const VALUE: usize = 1024;
/// The most labels of a series.
const LABELS: usize = 32;
/// The longest help text, in bytes; the rest is cut off.
const HELP: usize = 1024;
/// What the framework calls its own.
const OWN: &str = "octostack_";
const TOTAL: &str = "_total";

/// What a metric of the facade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// What its `# TYPE` line says.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => crate::metrics::encode::HISTOGRAM,
        }
    }
}

/// The name without unit and `_total`: equal for all names that mean the same metric.
pub(super) fn base(kind: Kind, raw: &str) -> Result<String, Why> {
    if raw.is_empty() || raw.len() > NAME {
        return Err(Why::Name);
    }
    let mut name = start(valid(raw));
    if name.starts_with(OWN) {
        return Err(Why::Reserved);
    }
    if kind == Kind::Counter && name.len() > TOTAL.len() && name.ends_with(TOTAL) {
        name.truncate(name.len() - TOTAL.len());
    }
    Ok(name)
}

/// The name on the page: unit and `_total` are added where they are not there already.
pub(super) fn on_page(kind: Kind, base: &str, unit: Option<Unit>) -> String {
    let mut name = base.to_owned();
    let suffix = unit.and_then(suffix).unwrap_or_default();
    if !suffix.is_empty() && !ends_with_word(base, suffix) {
        name.push('_');
        name.push_str(suffix);
    }
    if kind == Kind::Counter {
        name.push_str(TOTAL);
    }
    name
}

/// How a metric is called that has no name on the page: what the program says, made fit for a
/// label and a log line.
pub(super) fn shown(raw: &str) -> &str {
    cut(raw, NAME)
}

/// What its unit adds to a name.
pub(super) fn suffix(unit: Unit) -> Option<&'static str> {
    match unit {
        Unit::Count => None, // `_count` is what a histogram calls one of its samples
        Unit::CountPerSecond => Some("per_second"),
        unit => Some(unit.as_str()),
    }
}

/// Whether `name` is `word`, or ends in it after a `_`.
pub(super) fn ends_with_word(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|before| before.is_empty() || before.ends_with('_'))
}

/// All that Prometheus does not accept becomes `_`. Colons too: they are for recording rules.
pub(super) fn valid(raw: &str) -> String {
    raw.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A name, or the start of one: no digit comes first.
pub(super) fn start(mut valid: String) -> String {
    if valid.starts_with(|c: char| c.is_ascii_digit()) {
        valid.insert(0, '_');
    }
    valid
}

/// The first bytes of a text, at most `most`, without half a character at the end.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The help text as the page shows it.
pub(super) fn help(text: &str) -> String {
    cut(text.trim(), HELP).to_owned()
}

/// What stands between the braces, and whether all of it is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Labels {
    /// The same for the same labels in any order.
    pub(super) text: String,
    /// Whether a value was cut.
    pub(super) cut: bool,
}

/// The labels of a series.
pub(super) fn labels<'k>(labels: impl Iterator<Item = &'k Label>) -> Result<Labels, Why> {
    let mut known: Vec<(String, &str)> = Vec::new();
    let mut any_cut = false;
    for (before, label) in labels.enumerate() {
        if before == LABELS {
            return Err(Why::ManyLabels);
        }
        // To Prometheus an empty label and none are the same series.
        if label.value().is_empty() {
            continue;
        }
        let value = cut(label.value(), VALUE);
        any_cut |= value.len() < label.value().len();
        known.push((label_name(label.key())?, value));
    }
    known.sort_unstable();
    known.dedup();
    if known.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Why::LabelTwice);
    }
    let pairs: Vec<_> = known.iter().map(|(name, value)| (&**name, *value)).collect();
    Ok(Labels { text: label_text(&pairs), cut: any_cut })
}

/// A name that Prometheus keeps for itself is put off as it does it with names of targets.
fn label_name(raw: &str) -> Result<String, Why> {
    if raw.is_empty() || raw.len() > NAME {
        return Err(Why::LabelName);
    }
    let mut name = start(valid(raw));
    if name.starts_with("__") || name == "le" || name == "quantile" {
        name.insert_str(0, "exported_");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_prometheus_expects() {
        use Kind::{Counter, Gauge, Histogram};
        for (kind, raw, unit, expected) in [
            (Counter, "orders.created", None, "orders_created_total"),
            (Counter, "orders_created_total", None, "orders_created_total"),
            (Counter, "_total", None, "_total_total"),
            (Counter, "sent", Some(Unit::Bytes), "sent_bytes_total"),
            (Counter, "sent-bytes", Some(Unit::Bytes), "sent_bytes_total"),
            (Counter, "bytes_total", Some(Unit::Bytes), "bytes_total"),
            (Gauge, "pool.idle", Some(Unit::Count), "pool_idle"),
            (Gauge, "cpu", Some(Unit::Percent), "cpu_percent"),
            (Gauge, "in_kilobytes", Some(Unit::Bytes), "in_kilobytes_bytes"),
            (Histogram, "db::query", Some(Unit::Seconds), "db__query_seconds"),
            (Histogram, "2xx", None, "_2xx"),
            (Histogram, "größe", None, "gr__e"),
            (Histogram, "calls", Some(Unit::CountPerSecond), "calls_per_second"),
        ] {
            let base = base(kind, raw).unwrap();
            assert_eq!(on_page(kind, &base, unit), expected, "{raw}");
        }
        assert_eq!(base(Counter, ""), Err(Why::Name));
        assert_eq!(base(Counter, &"a".repeat(201)), Err(Why::Name));
        assert_eq!(base(Gauge, "octostack.build"), Err(Why::Reserved));
    }

    fn text(pairs: &[(&'static str, &'static str)]) -> Result<String, Why> {
        let all: Vec<_> = pairs.iter().map(|(k, v)| Label::from_static_parts(k, v)).collect();
        labels(all.iter()).map(|labels| labels.text)
    }

    #[test]
    fn labels_are_sorted_renamed_and_unique() {
        let sorted = text(&[("b.c", "2"), ("a", "x\"\n")]).unwrap();
        assert_eq!(sorted, r#"a="x\"\n",b_c="2""#);
        let reserved = text(&[("le", "1"), ("__name__", "n"), ("quantile", "q"), ("1", "o")]);
        let expected = r#"_1="o",exported___name__="n",exported_le="1",exported_quantile="q""#;
        assert_eq!(reserved.unwrap(), expected);
        assert_eq!(text(&[("a", ""), ("b", "1"), ("b", "1")]).unwrap(), r#"b="1""#);
        assert_eq!(text(&[("a.b", "1"), ("a-b", "2")]), Err(Why::LabelTwice));
        assert_eq!(text(&[("", "1")]), Err(Why::LabelName));
        let many: Vec<_> = (0..=LABELS).map(|i| Label::new(format!("l{i}"), "x")).collect();
        assert!(labels(many[1..].iter()).is_ok());
        assert_eq!(labels(many.iter()), Err(Why::ManyLabels));
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = [Label::new("a", format!("{}é", "x".repeat(VALUE - 1)))];
        let found = labels(long.iter()).unwrap();
        assert!(found.cut);
        assert_eq!(found.text, format!("a=\"{}\"", "x".repeat(VALUE - 1)));
    }
}
