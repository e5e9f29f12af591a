use crate::breaker::config::{CircuitBreakerConfig, Window, breaker_settings};
use crate::keyed::problems_of_keys;
use octostack_core::inspect::Problem;
use std::time::Duration;

breaker_settings! {
    /// Settings of a [`KeyedCircuitBreaker`](super::KeyedCircuitBreaker): those of a
    /// [`CircuitBreaker`](crate::CircuitBreaker), for each key alone, with
    /// [its defaults](CircuitBreakerConfig), and how many keys there can be.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `max_keys` | 10,000 | 15 MB when all are in use |
    /// | `idle_for` | 10 min | ten times the longest that a breaker stays open by default |
    pub struct KeyedCircuitBreakerConfig {
        /// How many keys have a breaker of their own at once. 1 to 1,000,000.
        max_keys: u32 = 10_000,
        /// The breaker of a key that nobody has asked for in so long is forgotten, unless it is
        /// waiting to try again. 1 s to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        idle_for: Duration = Duration::from_secs(600),
    }
}

impl KeyedCircuitBreakerConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = self.each().problems();
        problems_of_keys(&mut all, self.max_keys, self.idle_for);
        all
    }

    /// The settings of the breaker of each key.
    pub fn each(&self) -> CircuitBreakerConfig {
        CircuitBreakerConfig {
            failure_rate: self.failure_rate,
            window: self.window,
            minimum_calls: self.minimum_calls,
            consecutive_failures: self.consecutive_failures,
            slow_call_duration: self.slow_call_duration,
            slow_call_rate: self.slow_call_rate,
            open_for: self.open_for,
            max_open_for: self.max_open_for,
            open_jitter: self.open_jitter,
            half_open_calls: self.half_open_calls,
            half_open_timeout: self.half_open_timeout,
        }
    }

    /// Sets the settings of the breaker of each key.
    #[must_use]
    pub fn with_each(self, each: &CircuitBreakerConfig) -> Self {
        Self {
            failure_rate: each.failure_rate,
            window: each.window,
            minimum_calls: each.minimum_calls,
            consecutive_failures: each.consecutive_failures,
            slow_call_duration: each.slow_call_duration,
            slow_call_rate: each.slow_call_rate,
            open_for: each.open_for,
            max_open_for: each.max_open_for,
            open_jitter: each.open_jitter,
            half_open_calls: each.half_open_calls,
            half_open_timeout: each.half_open_timeout,
            max_keys: self.max_keys,
            idle_for: self.idle_for,
        }
    }
}
