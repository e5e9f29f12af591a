use super::super::builder::rate_builder;
use super::{KeyedRateLimit, KeyedRateLimitConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`KeyedRateLimit`]. Defaults are those of [`KeyedRateLimitConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct KeyedRateLimitBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: KeyedRateLimitConfig,
    registry: Registry,
    per: &'static str,
}

policy_builder!(KeyedRateLimitBuilder, KeyedRateLimitConfig);
rate_builder!(KeyedRateLimitBuilder);

impl KeyedRateLimitBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: KeyedRateLimitConfig::default(),
            registry: Registry::global().clone(),
            per: "key",
        }
    }

    /// What a key is, in a word for operators: `client`, `tenant`; `key` unless told otherwise. The
    /// admin port shows it.
    pub fn per(mut self, what: &'static str) -> Self {
        self.per = what;
        self
    }

    /// How many keys are remembered at once: 1 to 10,000,000; 100,000 unless told otherwise.
    pub fn max_keys(mut self, keys: u32) -> Self {
        self.settings.max_keys = keys;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<KeyedRateLimit, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings, self.per)?);
        self.registry.register(&shared);
        Ok(KeyedRateLimit { shared })
    }
}
