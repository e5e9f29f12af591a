use crate::settings::{require, require_ratio, settings};
use octostack_core::inspect::Problem;
use std::time::Duration;

settings! {
    /// Settings of a [`Chaos`](super::Chaos) policy. With the defaults it does nothing.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `error_rate` | 0 | nothing breaks unless asked for |
    /// | `latency` | 0 ms | nothing is delayed unless asked for |
    /// | `latency_rate` | 1 | one setting is then enough to slow a dependency down |
    pub struct ChaosConfig {
        /// The share of calls that fail without reaching the service. 0 to 1.
        error_rate: f64 = 0.0,
        /// How long calls are held back. At most 1 hour.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        latency: Duration = Duration::ZERO,
        /// The share of calls that are held back. 0 to 1.
        latency_rate: f64 = 1.0,
    }
}

/// A longer latency is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl ChaosConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        require_ratio(&mut all, self.error_rate, true, "error_rate");
        require_ratio(&mut all, self.latency_rate, true, "latency_rate");
        require(&mut all, self.latency <= LONGEST, "latency", || {
            format!("{} is too long: at most 1h", octostack_core::duration::format(self.latency))
        });
        all
    }

    pub(super) fn injects_errors(&self) -> bool {
        self.error_rate > 0.0
    }

    pub(super) fn injects_latency(&self) -> bool {
        self.latency_rate > 0.0 && !self.latency.is_zero()
    }

    pub(super) fn injects(&self) -> bool {
        self.injects_errors() || self.injects_latency()
    }
}
