use super::{LoadShed, LoadShedConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`LoadShed`]. Defaults are those of [`LoadShedConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct LoadShedBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: LoadShedConfig,
    registry: Registry,
}

policy_builder!(LoadShedBuilder, LoadShedConfig);

impl LoadShedBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: LoadShedConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// When callers that are turned away should come back: 1 ms to 1 h, or zero to say nothing.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.settings.retry_after = wait;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name, the mode and the settings.
    pub fn build(self) -> Result<LoadShed, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings)?);
        self.registry.register(&shared);
        Ok(LoadShed { shared })
    }
}
