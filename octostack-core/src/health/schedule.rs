use crate::inspect::Problem;
use std::time::Duration;

/// When a check runs, and how many results it takes to change one's mind.
///
/// | setting | default | why |
/// |---|---|---|
/// | `interval` | 5 s | half of the period at which orchestrators usually probe |
/// | `timeout` | 2 s | longer than any healthy answer, shorter than the interval |
/// | `jitter` | 0.1 | instances that started together do not ask together |
/// | `failure_threshold` | 3 | one lost packet does not take an instance out |
/// | `success_threshold` | 1 | a check that passes is believed at once |
/// | `stale_after` | 30 s | a check that is stuck does not stay green |
/// | `initial` | [`Initial::Unknown`] | nothing is ready before it was seen to work |
///
/// ```
/// use octostack_core::health::Schedule;
/// use std::time::Duration;
///
/// let slow = Schedule::new().with_interval(Duration::from_secs(20)).with_failure_threshold(2);
/// assert!(slow.validate().is_ok());
///
/// let hasty = Schedule::new().with_interval(Duration::from_secs(60));
/// assert_eq!(hasty.validate().unwrap_err()[0].key, "stale_after");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// From the end of one run to the start of the next.
    pub interval: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// How much of the interval is left to chance: 0.1 makes 5 s something from 4.5 s to 5.5 s.
    pub jitter: f64,
    /// How many failures in a row make a passing check fail.
    pub failure_threshold: u32,
    /// How many successes in a row make a failing check pass.
    pub success_threshold: u32,
    /// The age at which a result no longer counts and the check fails; [`Duration::MAX`] is never.
    pub stale_after: Duration,
    /// What the check is before its first result.
    pub initial: Initial,
}

/// What a check is before its first result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// Not known: a local check holds readiness back, and the first result decides alone.
    #[default]
    Unknown,
    /// Trusted: it passes until the failure threshold says otherwise.
    Passing,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            jitter: 0.1,
            failure_threshold: 3,
            success_threshold: 1,
            stale_after: Duration::from_secs(30),
            initial: Initial::Unknown,
        }
    }
}

impl Schedule {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schedule of passive checks: a look every second, each result believed at once, since
    /// what is looked at has its own thresholds already.
    pub(super) fn passive() -> Self {
        Self { interval: Duration::from_secs(1), failure_threshold: 1, ..Self::default() }
    }

    /// Sets the time from the end of one run to the start of the next.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how long one run may take.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the part of the interval that is left to chance, from 0 to 1.
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets how many failures in a row make a passing check fail.
    pub fn with_failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// Sets how many successes in a row make a failing check pass.
    pub fn with_success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = successes;
        self
    }

    /// Sets the age at which a result no longer counts.
    pub fn with_stale_after(mut self, age: Duration) -> Self {
        self.stale_after = age;
        self
    }

    /// Sets what the check is before its first result.
    pub fn with_initial(mut self, initial: Initial) -> Self {
        self.initial = initial;
        self
    }

    /// Says everything that is wrong with this schedule.
    ///
    /// # Errors
    /// Every setting that makes no sense, alone or with the others.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut refuse = |bad: bool, key: &str, message: String| {
            if bad {
                problems.push(Problem::new(key, message));
            }
        };
        let more = |what: &str| format!("must be more than {what}");
        refuse(self.interval.is_zero(), "interval", more("0s"));
        refuse(self.timeout.is_zero(), "timeout", more("0s"));
        refuse(
            !(0.0..=1.0).contains(&self.jitter),
            "jitter",
            format!("is {}; it must be from 0 to 1", self.jitter),
        );
        refuse(self.failure_threshold == 0, "failure_threshold", more("0"));
        refuse(self.success_threshold == 0, "success_threshold", more("0"));
        let longest = self.longest_gap();
        refuse(
            self.stale_after <= longest,
            "stale_after",
            format!(
                "is {}; results are up to {} apart (interval, jitter and timeout), so it must be \
                 more than that",
                crate::duration::format(self.stale_after),
                crate::duration::format(longest),
            ),
        );
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The longest time between two results of a check that is not stuck.
    fn longest_gap(&self) -> Duration {
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        let interval = Duration::try_from_secs_f64(self.interval.as_secs_f64() * (1.0 + jitter));
        interval.unwrap_or(Duration::MAX).saturating_add(self.timeout)
    }

    /// The pause before the next run, for a `random` from 0 to 1.
    pub(super) fn pause(&self, random: f64) -> Duration {
        self.interval.mul_f64(1.0 + self.jitter * (2.0 * random - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_problem() {
        let bad = Schedule {
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            jitter: f64::NAN,
            failure_threshold: 0,
            success_threshold: 0,
            stale_after: Duration::ZERO,
            initial: Initial::Unknown,
        };
        let problems = bad.validate().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        let all = "interval timeout jitter failure_threshold success_threshold stale_after";
        assert_eq!(keys.join(" "), all);
        assert_eq!(Schedule::passive().validate(), Ok(()));
        assert_eq!(Schedule::new().validate(), Ok(()));
    }

    #[test]
    fn jitter_goes_both_ways() {
        let schedule = Schedule::new();
        assert_eq!(schedule.pause(0.0), Duration::from_millis(4_500));
        assert_eq!(schedule.pause(0.5), Duration::from_secs(5));
        assert_eq!(schedule.pause(1.0), Duration::from_millis(5_500));
    }
}
