use crate::bulkhead::config::{BulkheadConfig, bulkhead_settings};
use crate::keyed::problems_of_keys;
use octostack_core::inspect::Problem;
use std::time::Duration;

bulkhead_settings! {
    /// Settings of a [`KeyedBulkhead`](super::KeyedBulkhead): those of a
    /// [`Bulkhead`](crate::Bulkhead), for each key alone, with [its defaults](BulkheadConfig), and
    /// how many keys there can be.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `max_keys` | 10,000 | 7 MB when all are in use |
    /// | `idle_for` | 10 min | that of the keyed circuit breaker |
    pub struct KeyedBulkheadConfig {
        /// How many keys have places of their own at once. 1 to 1,000,000.
        max_keys: u32 = 10_000,
        /// A key that nobody has asked for in so long is forgotten, unless calls of it are in
        /// flight. 1 s to 24 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        idle_for: Duration = Duration::from_secs(600),
    }
}

impl KeyedBulkheadConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = self.each().problems();
        problems_of_keys(&mut all, self.max_keys, self.idle_for);
        all
    }

    /// The settings of the bulkhead of each key.
    pub fn each(&self) -> BulkheadConfig {
        BulkheadConfig {
            max_concurrent: self.max_concurrent,
            max_queue: self.max_queue,
            max_wait: self.max_wait,
        }
    }
}
