//! When to ask again. Chance is an argument.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// After many.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// How long to wait after so many failures in a row: doubled each time, from half of it up by
/// `chance`, and not before the source wants it. Whatever it wants, an hour is enough.
pub(super) fn pause(failures: u32, wanted: Option<Duration>, chance: f64) -> Duration {
    const MOST_WANTED: Duration = Duration::from_secs(60 * 60);
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let spread = doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
    spread.max(wanted.unwrap_or_default().min(MOST_WANTED))
}

/// `interval`, give or take a tenth by `chance`.
pub(super) fn spread(interval: Duration, chance: f64) -> Duration {
    // More than a day is never, and never a moment too short to breathe.
    let interval = interval.clamp(Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));
    interval.mul_f64(0.9 + chance.clamp(0.0, 1.0) / 5.0)
}

#[cfg(test)]
mod tests {
    use super::{pause, spread};
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_a_limit_and_keep_to_what_is_wanted() {
        let seconds = |failures, chance| pause(failures, None, chance).as_secs_f64();
        assert!((seconds(1, 0.0) - 0.5).abs() < 1e-9 && (seconds(1, 1.0) - 1.0).abs() < 1e-9);
        assert!((seconds(4, 1.0) - 8.0).abs() < 1e-9);
        assert!((seconds(u32::MAX, 1.0) - 300.0).abs() < 1e-9);
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, Some(minute), 0.3), minute);
        assert_eq!(pause(1, Some(Duration::MAX), 0.3), 60 * minute);
        assert_eq!(pause(20, Some(Duration::ZERO), 1.0), 5 * minute);
    }

    #[test]
    fn a_fleet_does_not_ask_at_once() {
        let (from, to) =
            (spread(Duration::from_secs(30), 0.0), spread(Duration::from_secs(30), 1.0));
        assert!((from.as_secs_f64() - 27.0).abs() < 1e-6 && (to.as_secs_f64() - 33.0).abs() < 1e-6);
    }
}
