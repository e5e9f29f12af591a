use crate::settings::{require, settings};
use octostack_core::inspect::Problem;
use std::time::Duration;

settings! {
    /// Settings of a [`Timeout`](super::Timeout).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `timeout` | 10 s | .NET's standard pipeline, for one attempt; it gives all attempts together 30 s |
    pub struct TimeoutConfig {
        /// How long a call may take. 0 for no limit, else at least 1 ms.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        timeout: Duration = Duration::from_secs(10),
    }
}

impl TimeoutConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        let fine = self.timeout.is_zero() || self.timeout >= Duration::from_millis(1);
        require(&mut all, fine, "timeout", || {
            let timeout = octostack_core::duration::format(self.timeout);
            format!("{timeout} is too short: at least 1ms, or 0s for no limit")
        });
        all
    }
}
