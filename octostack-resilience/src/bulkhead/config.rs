use super::permits::MAX;
use crate::settings::require;
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3_600);

/// Declares settings that have all fields of a bulkhead, and some more.
macro_rules! bulkhead_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($more:tt)* }) => {
        crate::settings::settings! {
            $(#[$meta])*
            pub struct $name {
                /// How many calls may be in flight at once. 1 to 100,000.
                max_concurrent: u32 = 100,
                /// How many calls may wait for a place, first come first served. 0 to 100,000; above 0 it
                /// needs `max_wait`, and the feature `tokio`.
                max_queue: u32 = 0,
                /// How long a call may wait for a place. 0 without a queue, else 1 ms to 1 h.
                #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
                    schemars(schema_with = "octostack_core::duration::schema"))]
                max_wait: Duration = Duration::ZERO,
                $($more)*
            }
        }
    };
}
pub(in crate::bulkhead) use bulkhead_settings;

bulkhead_settings! {
    /// Settings of a [`Bulkhead`](super::Bulkhead).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `max_concurrent` | 100 | RFC 9113: the fewest streams that an HTTP/2 peer should allow. At 50 ms a call it carries 2,000 calls a second. .NET's standard pipeline has 1,000, Resilience4j 25 |
    /// | `max_queue` | 0 | .NET's standard pipeline: a queue adds delay just when there is none to spare |
    /// | `max_wait` | 0 | no queue, no wait |
    pub struct BulkheadConfig {}
}

impl BulkheadConfig {
    pub(in crate::bulkhead) fn problems(&self) -> Vec<Problem> {
        let Self { max_concurrent, max_queue, max_wait } = *self;
        let mut all = Vec::new();
        require(&mut all, (1..=MAX).contains(&max_concurrent), "max_concurrent", || {
            format!("{max_concurrent} is out of range: 1 to {MAX}; mode forced_open rejects all")
        });
        require(&mut all, max_queue <= MAX, "max_queue", || {
            format!("{max_queue} is out of range: 0 to {MAX}")
        });
        let can_wait = cfg!(feature = "tokio") || max_queue == 0;
        require(&mut all, can_wait, "max_queue", || {
            "a queue needs the feature `tokio` of octostack-resilience: only it can end a wait"
                .to_owned()
        });
        if max_queue == 0 {
            require(&mut all, max_wait.is_zero(), "max_wait", || {
                let wait = format(max_wait);
                format!("{wait} has no effect without a queue: set max_queue, or max_wait to 0s")
            });
        } else {
            let fine = (SHORTEST..=LONGEST).contains(&max_wait);
            require(&mut all, fine, "max_wait", || {
                let wait = format(max_wait);
                format!("{wait} is out of range for a queue of {max_queue}: 1ms to 1h")
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::BulkheadConfig;
    use std::time::Duration;

    fn keys(max_concurrent: u32, max_queue: u32, max_wait: Duration) -> Vec<String> {
        let config = BulkheadConfig { max_concurrent, max_queue, max_wait };
        config.problems().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn no_queue_without_wait_and_no_wait_without_queue() {
        let second = Duration::from_secs(1);
        assert_eq!(keys(1, 0, Duration::ZERO), [""; 0]);
        assert_eq!(keys(1, 0, second), ["max_wait"]);
        assert_eq!(keys(0, 100_001, second).first().map(String::as_str), Some("max_concurrent"));
        assert!(keys(1, 100_001, second).contains(&"max_queue".to_owned()));
        assert!(keys(1, 5, Duration::ZERO).contains(&"max_wait".to_owned()));
        assert!(keys(1, 5, Duration::MAX).contains(&"max_wait".to_owned()));
    }

    #[test]
    fn a_queue_needs_a_timer() {
        let expected: &[&str] = if cfg!(feature = "tokio") { &[] } else { &["max_queue"] };
        assert_eq!(keys(1, 5, Duration::from_millis(1)), expected);
    }
}
