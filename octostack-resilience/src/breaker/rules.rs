//! When a closed breaker opens: three rules, of which one is enough. Read from atomics, so that
//! settings change while calls are judged.
use super::config::{CircuitBreakerConfig, Window};
use super::probes::reaches;
use super::window::Tally;
use octostack_core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What opened a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    FailureRate,
    SlowCallRate,
    ConsecutiveFailures,
    TrialCalls,
}

impl Rule {
    /// Its name on status pages: that of the setting, where there is one.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::SlowCallRate => "slow_call_rate",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::TrialCalls => "trial_calls",
        }
    }

    /// The numbers, for people.
    pub(super) fn describe(
        self,
        tally: Tally,
        streak: u32,
        settings: &CircuitBreakerConfig,
    ) -> String {
        let CircuitBreakerConfig { window, slow_call_duration, .. } = *settings;
        let Tally { calls, failures, slow } = tally;
        let of = match window {
            Window::Calls(_) => format!("of the last {calls} calls"),
            Window::Time(span) => {
                format!(
                    "of the {calls} calls in the last {}",
                    octostack_core::duration::format(span)
                )
            }
        };
        let percent = |rate: f64| rate * 100.0;
        match self {
            Self::ConsecutiveFailures => {
                let limit = settings.consecutive_failures;
                format!("{streak} calls in a row failed; the limit is {limit}")
            }
            Self::SlowCallRate => {
                let limit = percent(settings.slow_call_rate);
                let from = octostack_core::duration::format(slow_call_duration);
                format!("{slow} {of} took {from} or longer; the limit is {limit} %")
            }
            Self::FailureRate | Self::TrialCalls => {
                let limit = percent(settings.failure_rate);
                format!("{failures} {of} failed; the limit is {limit} %")
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Rules {
    failure_rate: AtomicU64,
    slow_rate: AtomicU64,
    /// Nanoseconds from which on a call is slow; 0 if none is.
    slow_from: AtomicU64,
    minimum_calls: AtomicU32,
    /// 0 if there is no such rule.
    consecutive: AtomicU32,
}

impl Rules {
    pub(super) fn new(settings: &CircuitBreakerConfig) -> Self {
        let rules = Self {
            failure_rate: AtomicU64::new(0),
            slow_rate: AtomicU64::new(0),
            slow_from: AtomicU64::new(0),
            minimum_calls: AtomicU32::new(0),
            consecutive: AtomicU32::new(0),
        };
        rules.set(settings);
        rules
    }

    pub(super) fn set(&self, settings: &CircuitBreakerConfig) {
        self.failure_rate.store(settings.failure_rate.to_bits(), Relaxed);
        self.slow_rate.store(settings.slow_call_rate.to_bits(), Relaxed);
        self.slow_from.store(nanos(settings.slow_call_duration), Relaxed);
        self.minimum_calls.store(settings.minimum_calls, Relaxed);
        self.consecutive.store(settings.consecutive_failures, Relaxed);
    }

    #[inline]
    pub(super) fn minimum_calls(&self) -> u32 {
        self.minimum_calls.load(Relaxed)
    }

    #[inline]
    pub(super) fn slow_from(&self) -> u64 {
        self.slow_from.load(Relaxed)
    }

    /// Whether failures in a row are counted.
    #[inline]
    pub(super) fn has_streak(&self) -> bool {
        self.consecutive.load(Relaxed) > 0
    }

    /// The rule by which it has to open, if there is one.
    #[inline]
    pub(super) fn broken(&self, tally: Tally, streak: u32) -> Option<Rule> {
        let consecutive = self.consecutive.load(Relaxed);
        let rate = |bits: &AtomicU64| f64::from_bits(bits.load(Relaxed));
        let Tally { calls, failures, slow } = tally;
        if consecutive > 0 && streak >= consecutive {
            return Some(Rule::ConsecutiveFailures);
        }
        if calls < self.minimum_calls() {
            return None;
        }
        let too_many = |bad: u32, of: &AtomicU64| bad > 0 && reaches(bad, calls, rate(of));
        if too_many(failures, &self.failure_rate) {
            Some(Rule::FailureRate)
        } else if self.slow_from() > 0 && too_many(slow, &self.slow_rate) {
            Some(Rule::SlowCallRate)
        } else {
            None
        }
    }
}

/// 584 years fit. Without the 128 bits of `Duration::as_nanos`, which take some nanoseconds.
#[inline]
pub(super) const fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos() as u64)
}
