use super::{Fallback, FallbackConfig, FallbackOn, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;

/// Builds a [`Fallback`]. Defaults are those of [`FallbackConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct FallbackBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: FallbackConfig,
    registry: Registry,
}

policy_builder!(FallbackBuilder, FallbackConfig);

impl FallbackBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: FallbackConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// Replaces only what a policy refused before it started.
    pub fn on_rejection(mut self) -> Self {
        self.settings.on = FallbackOn::Rejection;
        self
    }

    /// Replaces every `Err` and no response.
    pub fn on_error(mut self) -> Self {
        self.settings.on = FallbackOn::Error;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the mode.
    pub fn build(self) -> Result<Fallback, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings)?);
        self.registry.register(&shared);
        Ok(Fallback { shared })
    }
}
