use super::{Shared, Timeout, TimeoutConfig};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Timeout`]. Defaults are those of [`TimeoutConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct TimeoutBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: TimeoutConfig,
    registry: Registry,
}

policy_builder!(TimeoutBuilder, TimeoutConfig);

impl TimeoutBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: TimeoutConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// How long a call may take: at least 1 ms, or zero for no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// By how much earlier the next service has to give up: at most 1 minute.
    pub fn margin(mut self, margin: Duration) -> Self {
        self.settings.margin = margin;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<Timeout, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings)?);
        self.registry.register(&shared);
        Ok(Timeout { shared })
    }
}
