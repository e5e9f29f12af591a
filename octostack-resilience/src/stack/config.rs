//! The settings of the stacks, and how those of their policies go together.
use crate::settings::require;
use crate::{
    BulkheadConfig, CatchPanicConfig, ChaosConfig, CircuitBreakerConfig, RateLimitConfig,
    RetryConfig, TimeoutConfig, Window,
};
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

/// Settings of an [`Outbound`](super::Outbound) stack. The policies have their own defaults, but
/// `deadline`: 30 s, that of .NET's standard pipeline.
///
/// Refused, since it cannot work:
///
/// | what | because |
/// |---|---|
/// | an attempt that may take longer than the whole call | it would never be timed out |
/// | a wait for a place that is as long as the whole call | no time would be left for the call |
/// | a first wait between attempts that is as long as the whole call | there would be no second attempt |
/// | a window of time shorter than two attempts (.NET's standard pipeline) | results would leave it before there are enough of them |
/// | slow calls that are slower than an attempt may be | none would ever be seen |
/// | slow calls that are faster than the wait for a place may be | a queue would open the breaker of a fast service |
/// | trial calls that lose their places before their attempt can time out | a slow service would get more than its share |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(default, deny_unknown_fields)
)]
pub struct OutboundConfig {
    /// How many calls may begin in a time. No limit by default.
    pub rate_limit: RateLimitConfig,
    /// How long a call may take with all its attempts.
    pub deadline: TimeoutConfig,
    /// Repeats what failed.
    pub retry: RetryConfig,
    /// Stops calling what is down.
    pub breaker: CircuitBreakerConfig,
    /// Bounds the attempts in flight.
    pub bulkhead: BulkheadConfig,
    /// How long one attempt may take.
    pub timeout: TimeoutConfig,
    /// Breaks things on purpose.
    pub chaos: ChaosConfig,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        let deadline = Duration::from_secs(30);
        Self {
            rate_limit: RateLimitConfig::default(),
            deadline: TimeoutConfig { timeout: deadline, ..TimeoutConfig::default() },
            retry: RetryConfig::default(),
            breaker: CircuitBreakerConfig::default(),
            bulkhead: BulkheadConfig::default(),
            timeout: TimeoutConfig::default(),
            chaos: ChaosConfig::default(),
        }
    }
}

/// The most that one call can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorstCase {
    /// Attempts that reach the service.
    pub attempts: u32,
    /// How long the caller waits; `None` without any limit.
    pub latency: Option<Duration>,
    /// How long it would wait without the deadline of the whole call.
    pub without_deadline: Option<Duration>,
}

impl OutboundConfig {
    /// The most that one call can come to: see the [module docs](super).
    ///
    /// ```
    /// use octostack_resilience::stack::OutboundConfig;
    /// use std::time::Duration;
    ///
    /// let worst = OutboundConfig::default().worst_case();
    /// assert_eq!(worst.attempts, 3);
    /// // Three attempts of 10 s, waits of at most 100 and 200 ms between them, and twice the 5 s
    /// // that a service may ask for.
    /// assert_eq!(worst.without_deadline, Some(Duration::from_millis(40_300)));
    /// assert_eq!(worst.latency, Some(Duration::from_secs(30)));
    /// ```
    pub fn worst_case(&self) -> WorstCase {
        let limit =
            |timeout: &TimeoutConfig| (!timeout.timeout.is_zero()).then_some(timeout.timeout);
        let attempts = self.retry.max_attempts.min(10); // more are refused
        // A service may ask for a longer wait before each of the repeats.
        let asked = self.retry.max_retry_after.saturating_mul(attempts.saturating_sub(1));
        let waits = self.retry.longest_waits().saturating_add(asked);
        let without_deadline = limit(&self.timeout)
            .map(|attempt| attempt.saturating_add(self.bulkhead.max_wait))
            .map(|attempt| attempt.saturating_mul(attempts).saturating_add(waits));
        let latency = match (limit(&self.deadline), without_deadline) {
            (Some(deadline), Some(sum)) => Some(deadline.min(sum)),
            (deadline, sum) => deadline.or(sum),
        };
        WorstCase { attempts, latency, without_deadline }
    }

    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong, by policy and field.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = of_parts([
            ("rate_limit", self.rate_limit.validate()),
            ("deadline", self.deadline.validate()),
            ("retry", self.retry.validate()),
            ("breaker", self.breaker.validate()),
            ("bulkhead", self.bulkhead.validate()),
            ("timeout", self.timeout.validate()),
            ("chaos", self.chaos.validate()),
        ]);
        self.check_deadline(&mut problems);
        self.check_breaker(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What does not fit into the whole call.
    fn check_deadline(&self, problems: &mut Vec<Problem>) {
        let (deadline, attempt) = (self.deadline.timeout, self.timeout.timeout);
        if deadline.is_zero() {
            return;
        }
        let whole = format(deadline);
        // A single attempt without a limit of its own is ended by that of the call.
        let unlimited = attempt.is_zero() && self.retry.max_attempts > 1;
        let fits = attempt <= deadline && !unlimited;
        require(problems, fits, "timeout.timeout", || {
            let WorstCase { attempts, without_deadline, .. } = self.worst_case();
            let attempt = if attempt.is_zero() { "for ever".into() } else { format(attempt) };
            let sum = without_deadline.map_or("no limit".into(), format);
            format!(
                "one attempt may take longer ({attempt}) than the whole call ({whole}); at worst \
                  {attempts} attempts and their waits would take {sum}"
            )
        });
        let wait = self.bulkhead.max_wait;
        require(problems, wait < deadline, "bulkhead.max_wait", || {
            format!(
                "a call may wait {} for a place, which leaves nothing of the whole call ({whole})",
                format(wait)
            )
        });
        let (attempts, first) = (self.retry.max_attempts, self.retry.base_delay);
        require(problems, attempts < 2 || first < deadline, "retry.base_delay", || {
            format!(
                "the first wait between attempts may take {}, which leaves nothing of the whole \
                 call ({whole})",
                format(first)
            )
        });
    }

    /// What the breaker could not see.
    fn check_breaker(&self, problems: &mut Vec<Problem>) {
        let (attempt, queued) = (self.timeout.timeout, self.bulkhead.max_wait);
        let slow = self.breaker.slow_call_duration;
        require(problems, slow.is_zero() || slow > queued, "breaker.slow_call_duration", || {
            format!(
                "a call that waits for its place counts as slow: it may wait {}, and from {} on it is",
                format(queued),
                format(slow)
            )
        });
        if attempt.is_zero() {
            return;
        }
        // As the breaker sees it: the wait for a place is inside it.
        let attempt = attempt.saturating_add(queued);
        let (longest, twice) = (format(attempt), attempt.saturating_mul(2));
        if let Window::Time(window) = self.breaker.window {
            require(problems, window >= twice, "breaker.window", || {
                format!(
                    "{} is shorter than two attempts of {longest}: at least {}",
                    format(window),
                    format(twice)
                )
            });
        }
        require(problems, slow < attempt, "breaker.slow_call_duration", || {
            format!("no attempt lasts {}: it is ended after {longest}", format(slow))
        });
        let trial = self.breaker.half_open_timeout;
        require(problems, trial >= attempt, "breaker.half_open_timeout", || {
            format!(
                "trial calls lose their places after {}, before their attempt can time out ({longest})",
                format(trial)
            )
        });
    }
}

/// Settings of an [`Inbound`](super::Inbound) stack.
///
/// | field | default | from |
/// |---|---|---|
/// | `timeout.timeout` | 30 s | .NET's standard pipeline, for a whole call |
/// | `bulkhead.max_concurrent` | 1,000, no queue | .NET's standard pipeline |
/// | `rate_limit.limit` | 0, no limit | only the owner of a service knows what it bears |
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(default, deny_unknown_fields)
)]
pub struct InboundConfig {
    /// What is told of handlers that panic.
    pub panic_catch: CatchPanicConfig,
    /// How long a handler may take until its answer begins.
    pub timeout: TimeoutConfig,
    /// How many requests may be in flight.
    pub bulkhead: BulkheadConfig,
    /// How many requests may come in a time.
    pub rate_limit: RateLimitConfig,
}

impl Default for InboundConfig {
    fn default() -> Self {
        let limit = Duration::from_secs(30);
        Self {
            panic_catch: CatchPanicConfig::default(),
            timeout: TimeoutConfig { timeout: limit, ..TimeoutConfig::default() },
            bulkhead: BulkheadConfig { max_concurrent: 1_000, ..BulkheadConfig::default() },
            rate_limit: RateLimitConfig::default(),
        }
    }
}

impl InboundConfig {
    /// Checks the values, and how they go together.
    ///
    /// # Errors
    /// Everything that is wrong, by policy and field.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = of_parts([
            ("panic_catch", self.panic_catch.validate()),
            ("timeout", self.timeout.validate()),
            ("bulkhead", self.bulkhead.validate()),
            ("rate_limit", self.rate_limit.validate()),
        ]);
        let (limit, wait) = (self.timeout.timeout, self.bulkhead.max_wait);
        require(&mut problems, limit.is_zero() || wait < limit, "bulkhead.max_wait", || {
            format!(
                "a request may wait {} for a place, which leaves nothing of its time ({})",
                format(wait),
                format(limit)
            )
        });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// What is wrong with policies, each below the name of its own.
fn of_parts<const N: usize>(parts: [(&'static str, Result<(), Vec<Problem>>); N]) -> Vec<Problem> {
    let found = parts.into_iter().flat_map(|(part, result)| {
        let within = move |p: Problem| Problem::new(format!("{part}.{}", p.key), p.message);
        result.err().into_iter().flatten().map(within)
    });
    found.collect()
}
