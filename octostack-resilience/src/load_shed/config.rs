use crate::settings::{require, settings};
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(1);
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);

settings! {
    /// Settings of a [`LoadShed`](super::LoadShed).
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `retry_after` | 0, none | nothing here knows when the service will be ready |
    pub struct LoadShedConfig {
        /// When callers that are turned away should come back. 0 to say nothing, else 1 ms to 1 h.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        retry_after: Duration = Duration::ZERO,
    }
}

impl LoadShedConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        let wait = self.retry_after;
        let fine = wait.is_zero() || (SHORTEST..=LONGEST).contains(&wait);
        require(&mut all, fine, "retry_after", || {
            format!("{} is out of range: 1ms to 1h, or 0s to say nothing", format(wait))
        });
        all
    }
}
