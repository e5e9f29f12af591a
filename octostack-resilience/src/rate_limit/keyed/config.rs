use super::super::config::problems_of_rate;
use crate::settings::{require, settings};
use octostack_core::inspect::Problem;
use std::time::Duration;

const MOST_KEYS: u32 = 10_000_000;

settings! {
    /// Settings of a [`KeyedRateLimit`](super::KeyedRateLimit).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `limit` | 0, no limit | only the owner of a service knows what it bears |
    /// | `period` | 1 s | the unit that most limits are given in |
    /// | `burst` | 0, as many as `limit` | governor: who rested for a whole period may use it at once |
    /// | `max_keys` | 100,000 | 6 MB when all are in use |
    pub struct KeyedRateLimitConfig {
        /// How many calls of each key may pass in each `period`. 0 is no limit; mode `forced_open`
        /// rejects all. At most one a microsecond.
        limit: u32 = 0,
        /// The time that `limit` is for. 1 ms to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        period: Duration = Duration::from_secs(1),
        /// How many calls of a key may come at once after a rest. 0 is as many as `limit`. A burst
        /// may take at most 30 days to come back.
        burst: u32 = 0,
        /// How many keys are remembered at once, those that have their whole burst apart. 1 to
        /// 10,000,000.
        max_keys: u32 = 100_000,
    }
}

impl KeyedRateLimitConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = problems_of_rate(self.limit, self.period, self.burst);
        let keys = self.max_keys;
        require(&mut all, (1..=MOST_KEYS).contains(&keys), "max_keys", || {
            format!("{keys} is out of range: 1 to {MOST_KEYS}")
        });
        all
    }
}
