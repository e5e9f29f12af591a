use super::{RateLimit, RateLimitConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// The methods of both builders that set the rate.
macro_rules! rate_builder {
    ($builder:ident) => {
        impl $builder {
            /// How many calls may pass in each [`period`](Self::period). 0, the default, is no
            /// limit.
            pub fn limit(mut self, calls: u32) -> Self {
                self.settings.limit = calls;
                self
            }

            /// The time that [`limit`](Self::limit) is for: 1 ms to 24 h; 1 s unless told
            /// otherwise.
            pub fn period(mut self, period: Duration) -> Self {
                self.settings.period = period;
                self
            }

            /// How many calls may come at once after a rest; as many as `limit` unless told
            /// otherwise.
            pub fn burst(mut self, calls: u32) -> Self {
                self.settings.burst = calls;
                self
            }
        }
    };
}
pub(super) use rate_builder;

/// Builds a [`RateLimit`]. Defaults are those of [`RateLimitConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct RateLimitBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: RateLimitConfig,
    registry: Registry,
}

policy_builder!(RateLimitBuilder, RateLimitConfig);
rate_builder!(RateLimitBuilder);

impl RateLimitBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: RateLimitConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<RateLimit, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings)?);
        self.registry.register(&shared);
        Ok(RateLimit { shared })
    }
}
