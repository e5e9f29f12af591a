use crate::settings::{require, settings};
use octostack_core::inspect::Problem;
use std::time::Duration;

/// A longer margin is a slip of the unit.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);

settings! {
    /// Settings of a [`Timeout`](super::Timeout).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `timeout` | 10 s | .NET's standard pipeline, for one attempt; it gives all attempts together 30 s |
    /// | `margin` | 10 ms | several round trips within a data centre; gRPC itself takes none |
    pub struct TimeoutConfig {
        /// How long a call may take. 0 for no limit, else at least 1 ms.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        timeout: Duration = Duration::from_secs(10),
        /// By how much earlier the next service has to give up, so that its answer still comes in
        /// time: for layers that forward the deadline. Never more than half of what is left. At
        /// most 1 minute.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        margin: Duration = Duration::from_millis(10),
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
        require(&mut all, self.margin <= LONGEST_MARGIN, "margin", || {
            let margin = octostack_core::duration::format(self.margin);
            format!("{margin} is too long: at most 1m")
        });
        all
    }
}
