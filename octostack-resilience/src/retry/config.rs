use super::budget::Rules;
use super::schedule::{Jitter, Schedule};
use crate::settings::{require, settings};
use octostack_core::inspect::Problem;
use std::time::Duration;

settings! {
    /// Settings of a [`Retry`](super::Retry) policy.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `max_attempts` | 3 | AWS SDKs, standard mode |
    /// | `base_delay` | 100 ms | gRPC's retry design (A6) |
    /// | `max_delay` | 2 s | whoever waits longer has given up |
    /// | `jitter` | `full` | AWS's simulations: the least work, and nearly the shortest time |
    /// | `max_retry_after` | 5 s | AWS SDKs, which bound the hint alike |
    /// | `budget_ratio` | 0.1 | Google's SRE book |
    /// | `budget_floor` | 3 a second | Envoy's smallest budget |
    pub struct RetryConfig {
        /// How often a call is attempted in all, the first time included. 1 to 10.
        max_attempts: u32 = 3,
        /// What waits grow from: with `jitter` `full` or `equal` the longest one before the second
        /// attempt, which doubles with each further one; with `decorrelated` the shortest. 1 ms to
        /// `max_delay`.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        base_delay: Duration = Duration::from_millis(100),
        /// The longest wait before any attempt. At most 1 hour.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        max_delay: Duration = Duration::from_secs(2),
        /// How chance spreads the waits: `full`, `equal` or `decorrelated`.
        jitter: Jitter = Jitter::Full,
        /// A service that asks for a longer wait than this is not asked again. At most 1 hour; 0
        /// gives up on any such wish.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        max_retry_after: Duration = Duration::from_secs(5),
        /// Repeats allowed for each call, in thousandths: 0.1 is one repeat for ten calls. 0 to 1.
        budget_ratio: f64 = 0.1,
        /// Repeats allowed in each second whatever the traffic. 0 to 1,000.
        budget_floor: u32 = 3,
    }
}

const MOST_ATTEMPTS: u32 = 10;

/// A longer wait is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl RetryConfig {
    /// The most that the waits between all attempts of one call can come to, whatever chance says;
    /// without what a service asks for on top, which is up to `max_retry_after` each time.
    ///
    /// ```
    /// use octostack_resilience::RetryConfig;
    /// use std::time::Duration;
    ///
    /// assert_eq!(RetryConfig::default().longest_waits(), Duration::from_millis(100 + 200));
    /// ```
    pub fn longest_waits(&self) -> Duration {
        let Self { base_delay: base, max_delay: cap, jitter, .. } = *self;
        let schedule = Schedule { base, cap, jitter };
        // More attempts than are allowed are refused elsewhere.
        (1..self.max_attempts.min(MOST_ATTEMPTS))
            .map(|failed| schedule.longest(failed))
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    fn problems(&self) -> Vec<Problem> {
        let format = octostack_core::duration::format;
        let mut all = Vec::new();
        let attempts = self.max_attempts;
        require(&mut all, (1..=MOST_ATTEMPTS).contains(&attempts), "max_attempts", || {
            format!("{attempts} is out of range: 1 to {MOST_ATTEMPTS}")
        });
        let (base, max) = (self.base_delay, self.max_delay);
        let fine = base >= Duration::from_millis(1) && base <= max;
        require(&mut all, fine, "base_delay", || {
            format!("{} is out of range: 1ms to max_delay, {}", format(base), format(max))
        });
        for (key, duration) in [("max_delay", max), ("max_retry_after", self.max_retry_after)] {
            require(&mut all, duration <= LONGEST, key, || {
                format!("{} is too long: at most 1h", format(duration))
            });
        }
        Rules::check(&mut all, self.budget_ratio, self.budget_floor);
        all
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{Jitter, RetryConfig};
    use crate::settings::Settings;
    use octostack_core::inspect::Value;
    use std::time::Duration;

    #[test]
    fn the_longest_waits_are_those_of_the_jitter() {
        let waits = |jitter, max_attempts| {
            RetryConfig { max_attempts, jitter, ..RetryConfig::default() }.longest_waits()
        };
        for jitter in [Jitter::Full, Jitter::Equal] {
            assert_eq!(waits(jitter, 3), Duration::from_millis(100 + 200));
            assert_eq!(
                waits(jitter, 7),
                Duration::from_millis(100 + 200 + 400 + 800 + 1_600 + 2_000)
            );
        }
        assert_eq!(waits(Jitter::Decorrelated, 3), Duration::from_millis(300 + 900));
        assert_eq!(waits(Jitter::Decorrelated, 4), Duration::from_millis(300 + 900 + 2_000));
        assert_eq!([waits(Jitter::Full, 1), waits(Jitter::Full, 0)], [Duration::ZERO; 2]);
    }

    #[test]
    fn an_operator_can_change_the_jitter() {
        let mut settings = RetryConfig::default();
        settings.set("jitter", &Value::from("equal")).unwrap();
        assert_eq!(settings.jitter, Jitter::Equal);
        assert!(settings.set("jitter", &Value::from(0.5)).is_err());
        assert_eq!(settings.to_value().get("jitter").and_then(Value::as_str), Some("equal"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn config_names_the_jitter() {
        let settings: RetryConfig = serde_json::from_str(r#"{"jitter": "decorrelated"}"#).unwrap();
        assert_eq!(settings.jitter, Jitter::Decorrelated);
        let error = serde_json::from_str::<RetryConfig>(r#"{"jitter": "none"}"#).unwrap_err();
        assert!(error.to_string().contains("`full`, `equal`, `decorrelated`"), "{error}");
    }
}
