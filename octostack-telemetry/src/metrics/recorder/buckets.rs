use super::names::{ends_with_word, start, suffix, valid};
use crate::metrics::HTTP_BOUNDS;
use ::metrics::Unit;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Which histograms some bounds are for; see [`Recorder::buckets`](super::Recorder::buckets).
///
/// Names are those of the macros, without what the page adds. `.`, `-` and `_` in them are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matcher {
    /// The one of this name.
    Name(String),
    /// All whose name starts so.
    Prefix(String),
    /// All whose name ends so.
    Suffix(String),
    /// All that were described with this unit, or whose name ends in it.
    Unit(Unit),
}

impl Matcher {
    /// The one of this name.
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// All whose name starts with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// All whose name ends with `suffix`.
    pub fn suffix(suffix: impl Into<String>) -> Self {
        Self::Suffix(suffix.into())
    }

    /// How well it fits: the higher, the more was said about just this metric.
    fn fit(&self, base: &str, unit: Option<Unit>) -> Option<usize> {
        let (fits, rank) = match self {
            Self::Name(name) => (base == start(valid(name)), usize::MAX),
            Self::Prefix(prefix) => (base.starts_with(&start(valid(prefix))), 1 + prefix.len()),
            Self::Suffix(suffix) => (base.ends_with(&valid(suffix)), 1 + suffix.len()),
            Self::Unit(wanted) => (unit == Some(*wanted), 0),
        };
        fits.then_some(rank)
    }
}

impl From<Unit> for Matcher {
    fn from(unit: Unit) -> Self {
        Self::Unit(unit)
    }
}

/// Why bounds were not accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BucketsError {
    /// They do not rise, one is not finite, or there are none.
    Bounds(Vec<f64>),
    /// A histogram that they are for is recorded already, with other bounds.
    Late {
        /// Its name on the page.
        metric: String,
    },
}

impl fmt::Display for BucketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds(bounds) => {
                write!(f, "bounds {bounds:?}: they must be finite and rise, and there must be one")
            }
            Self::Late { metric } => write!(
                f,
                "the histogram `{metric}` is recorded already, and its bounds are fixed then: \
                 set bounds before the first use"
            ),
        }
    }
}

impl Error for BucketsError {}

/// Bounds by matcher.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<(Matcher, Arc<[f64]>)>);

impl Rules {
    /// These rules and one more.
    pub(super) fn with(&self, matcher: Matcher, bounds: &[f64]) -> Result<Self, BucketsError> {
        let rises = bounds.is_sorted_by(|a, b| a < b);
        if bounds.is_empty() || !rises || !bounds.iter().all(|bound| bound.is_finite()) {
            return Err(BucketsError::Bounds(bounds.to_vec()));
        }
        let mut rules = self.clone();
        rules.0.retain(|(known, _)| *known != matcher);
        rules.0.push((matcher, bounds.into()));
        Ok(rules)
    }

    /// The bounds of a histogram: of the rule that fits best, of equals the last one.
    pub(super) fn of(&self, base: &str, described: Option<Unit>) -> Arc<[f64]> {
        let unit = described.or_else(|| unit_of(base));
        let fitting = self.0.iter().filter_map(|(m, bounds)| Some((m.fit(base, unit)?, bounds)));
        match fitting.max_by_key(|(fit, _)| *fit) {
            Some((_, bounds)) => bounds.clone(),
            None => defaults(unit),
        }
    }
}

/// The unit that a name ends in.
fn unit_of(base: &str) -> Option<Unit> {
    use Unit::{
        Bytes, Kibibytes, Mebibytes, Microseconds, Milliseconds, Nanoseconds, Percent, Seconds,
    };
    [Seconds, Milliseconds, Microseconds, Nanoseconds, Bytes, Kibibytes, Mebibytes, Percent]
        .into_iter()
        .find(|unit| suffix(*unit).is_some_and(|suffix| ends_with_word(base, suffix)))
}

/// Bounds for what is measured in a unit. Without one, durations in seconds: that is what
/// histograms are mostly made of, and what the facade makes of a `Duration`.
fn defaults(unit: Option<Unit>) -> Arc<[f64]> {
    let durations = |per_second: f64| {
        HTTP_BOUNDS.iter().map(|bound| bound.as_nanos() as f64 * per_second / 1e9).collect()
    };
    // 256 bytes to a gibibyte, in steps of 4.
    let sizes = |unit: f64| (4..16).map(|step| 4_f64.powi(step) / unit).collect();
    match unit {
        None | Some(Unit::Seconds) => durations(1.0),
        Some(Unit::Milliseconds) => durations(1e3),
        Some(Unit::Microseconds) => durations(1e6),
        Some(Unit::Nanoseconds) => durations(1e9),
        Some(Unit::Bytes) => sizes(1.0),
        Some(Unit::Kibibytes) => sizes(1024.0),
        Some(Unit::Mebibytes) => sizes(1_048_576.0),
        Some(Unit::Percent) => {
            [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100].map(f64::from).into()
        }
        // Counts, rates, and sizes that are large whatever they are.
        Some(_) => {
            [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000].map(f64::from).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_says_most_about_a_metric_wins() {
        let rules = [
            (Matcher::from(Unit::Bytes), 1.0),
            (Matcher::suffix("_size"), 2.0),
            (Matcher::prefix("http."), 3.0),
            (Matcher::prefix("http.body"), 4.0),
            (Matcher::name("http.body_size"), 5.0),
            (Matcher::prefix("2xx"), 6.0),
        ];
        let all = rules.into_iter().fold(Rules::default(), |rules, (matcher, bound)| {
            rules.with(matcher, &[bound]).unwrap()
        });
        for (base, unit, expected) in [
            ("http_body_size", Some(Unit::Bytes), 5.0),
            ("http_body_sizes", Some(Unit::Bytes), 4.0),
            ("http_size", Some(Unit::Bytes), 3.0),
            ("mail_size", Some(Unit::Bytes), 2.0),
            ("mail", Some(Unit::Bytes), 1.0),
            ("mail_bytes", None, 1.0),
            ("_2xx_seconds", None, 6.0),
        ] {
            assert_eq!(*all.of(base, unit), [expected], "{base}");
        }
        let changed = all.with(Matcher::name("http.body_size"), &[7.0]).unwrap();
        assert_eq!(*changed.of("http_body_size", None), [7.0]);
    }

    #[test]
    fn default_bounds_fit_the_unit() {
        let rules = Rules::default();
        assert_eq!(rules.of("wait", None)[..2], [0.005, 0.01]);
        assert_eq!(rules.of("wait_milliseconds", None)[..2], [5.0, 10.0]);
        assert_eq!(rules.of("wait", Some(Unit::Nanoseconds))[..2], [5e6, 1e7]);
        assert_eq!(rules.of("body_bytes", None)[..2], [256.0, 1024.0]);
        assert_eq!(rules.of("body", Some(Unit::Kibibytes))[..2], [0.25, 1.0]);
        assert_eq!(rules.of("full", Some(Unit::Percent)).last(), Some(&100.0));
        assert_eq!(rules.of("batch", Some(Unit::Count))[..2], [1.0, 2.0]);
    }

    #[test]
    fn bounds_that_are_none_are_refused() {
        for bad in [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY]] {
            let error = Rules::default().with(Matcher::name("a"), bad).unwrap_err();
            assert!(error.to_string().contains("must be finite and rise"), "{error}");
        }
    }
}
