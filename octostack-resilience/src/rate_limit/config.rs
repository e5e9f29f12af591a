use crate::settings::{require, settings};
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest time that one call may stand for. Below it, rounding to whole nanoseconds would
/// show in the rate.
const SHORTEST_INTERVAL: Duration = Duration::from_micros(1);

/// The longest that a burst may take to come back. Who waits for longer has been restarted.
pub(super) const MAX_RECOVERY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

settings! {
    /// Settings of a [`RateLimit`](super::RateLimit).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `limit` | 0, no limit | only the owner of a service knows what it bears |
    /// | `period` | 1 s | the unit that most limits are given in |
    /// | `burst` | 0, as many as `limit` | governor: who rested for a whole period may use it at once |
    pub struct RateLimitConfig {
        /// How many calls may pass in each `period`. 0 is no limit; mode `forced_open` rejects all.
        /// At most one a microsecond.
        limit: u32 = 0,
        /// The time that `limit` is for. 1 ms to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        period: Duration = Duration::from_secs(1),
        /// How many calls may come at once after a rest. 0 is as many as `limit`. A burst may take
        /// at most 30 days to come back.
        burst: u32 = 0,
    }
}

impl RateLimitConfig {
    fn problems(&self) -> Vec<Problem> {
        problems_of_rate(self.limit, self.period, self.burst)
    }
}

/// Everything that is wrong with a rate.
pub(super) fn problems_of_rate(limit: u32, period: Duration, burst: u32) -> Vec<Problem> {
    let mut all = Vec::new();
    let fine = (SHORTEST..=LONGEST).contains(&period);
    require(&mut all, fine, "period", || {
        format!("{} is out of range: 1ms to 1day", format(period))
    });
    if limit == 0 {
        require(&mut all, burst == 0, "burst", || {
            format!(
                "{burst} has no effect without a limit: set limit, or burst to 0; mode disabled \
                 lets everything pass"
            )
        });
    } else if fine {
        let most = period.as_nanos() / SHORTEST_INTERVAL.as_nanos();
        require(&mut all, u128::from(limit) <= most, "limit", || {
            format!("{limit} is out of range for a period of {}: 0 to {most}", format(period))
        });
        let interval = period.as_nanos().div_ceil(u128::from(limit));
        let most = MAX_RECOVERY.as_nanos() / interval;
        require(&mut all, u128::from(burst) <= most, "burst", || {
            format!(
                "{burst} is out of range: at {limit} per {} it would take more than 30 days to \
                 come back; at most {most}",
                format(period)
            )
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, RateLimitConfig};
    use std::time::Duration;

    fn problems(limit: u32, period: Duration, burst: u32) -> Vec<String> {
        let config = RateLimitConfig { limit, period, burst };
        config.problems().into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn what_a_rate_can_be() {
        let second = Duration::from_secs(1);
        for (limit, period, burst) in [
            (0, second, 0),
            (1, LONGEST, 30),
            (1_000_000, second, 0),
            (1_000, Duration::from_millis(1), 2_592_000),
            (1_000_000, second, u32::MAX),
        ] {
            assert_eq!(problems(limit, period, burst), [""; 0], "{limit} per {period:?}");
        }
    }

    #[test]
    fn says_what_would_be_right() {
        let second = Duration::from_secs(1);
        assert_eq!(
            problems(0, second, 5),
            ["burst: 5 has no effect without a limit: set limit, or burst to 0; mode disabled \
              lets everything pass"]
        );
        assert_eq!(
            problems(1_000_001, second, 1),
            ["limit: 1000001 is out of range for a period of 1s: 0 to 1000000"]
        );
        assert_eq!(
            problems(1, LONGEST, 31),
            ["burst: 31 is out of range: at 1 per 1day it would take more than 30 days to come \
              back; at most 30"]
        );
        for period in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
            let found = problems(1, period, 0);
            assert!(found[0].starts_with("period: "), "{found:?}");
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}
