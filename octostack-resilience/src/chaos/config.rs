use super::only::Only;
use crate::settings::{require, require_ratio, settings};
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::time::Duration;

settings! {
    /// Settings of a [`Chaos`](super::Chaos) policy. With the defaults it does nothing.
    ///
    /// | field | default | from |
    /// |---|---|---|
    /// | `error_rate` | 0 | nothing breaks unless asked for |
    /// | `latency`, `latency_jitter` | 0 ms | nothing is delayed unless asked for |
    /// | `latency_rate` | 1 | one setting is then enough to slow a dependency down |
    /// | `route`, `header`, `tenant` | empty, any | what a dependency that is down does to its callers: all of them |
    /// | `expires_after` | 0, never | an operator's change ends by itself anyway |
    /// | `seed` | 0, another each time | two runs that differ find more than one that is repeated |
    pub struct ChaosConfig {
        /// The share of calls that fail without reaching the service. 0 to 1.
        error_rate: f64 = 0.0,
        /// How long calls are held back. At most 1 hour.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        latency: Duration = Duration::ZERO,
        /// How much longer than `latency` at most: a call is held back for a time between
        /// `latency` and `latency + latency_jitter`, all equally likely. At most 1 hour.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        latency_jitter: Duration = Duration::ZERO,
        /// The share of calls that are held back. 0 to 1.
        latency_rate: f64 = 1.0,
        /// Only calls of this route: all of it, or how it begins if it ends in `*`. For HTTP the
        /// path of the request, such as `/inventory.Inventory/*`. Empty is any.
        route: String = String::new(),
        /// Only calls with this header: `name`, or `name: value`. Names are equal in any case,
        /// values only as they are. Shown to whoever may read the settings. Empty is any.
        header: String = String::new(),
        /// Only calls of this tenant. Empty is any.
        tenant: String = String::new(),
        /// How long these settings inject, from when they were built, changed or overridden.
        /// At most 24 hours; 0 is until they are changed.
        #[cfg_attr(feature = "serde", serde(with = "octostack_core::duration"),
            schemars(schema_with = "octostack_core::duration::schema"))]
        expires_after: Duration = Duration::ZERO,
        /// Which faults come in which order. 0 is another seed each time that settings are
        /// applied.
        seed: u32 = 0,
    }
}

/// A longer latency is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// As long as an operator's change may last.
const LONGEST_RUN: Duration = Duration::from_secs(24 * 60 * 60);

impl ChaosConfig {
    fn problems(&self) -> Vec<Problem> {
        let mut all = Vec::new();
        require_ratio(&mut all, self.error_rate, true, "error_rate");
        require_ratio(&mut all, self.latency_rate, true, "latency_rate");
        for (key, time, most) in [
            ("latency", self.latency, LONGEST),
            ("latency_jitter", self.latency_jitter, LONGEST),
            ("expires_after", self.expires_after, LONGEST_RUN),
        ] {
            require(&mut all, time <= most, key, || {
                format!("{} is too long: at most {}", format(time), format(most))
            });
        }
        all.extend(Only::problems(self));
        all
    }

    pub(super) fn injects_errors(&self) -> bool {
        self.error_rate > 0.0
    }

    pub(super) fn injects_latency(&self) -> bool {
        self.latency_rate > 0.0 && !(self.latency.is_zero() && self.latency_jitter.is_zero())
    }

    pub(super) fn injects(&self) -> bool {
        self.injects_errors() || self.injects_latency()
    }

    /// The settings that make it inject, by name; none with the defaults.
    pub fn injecting(&self) -> impl Iterator<Item = &'static str> {
        let latency = if self.latency.is_zero() { "latency_jitter" } else { "latency" };
        let all = [("error_rate", self.injects_errors()), (latency, self.injects_latency())];
        all.into_iter().filter(|(_, injects)| *injects).map(|(key, _)| key)
    }
}
