use super::shared::Shared;
use super::{KeyedCircuitBreaker, KeyedCircuitBreakerConfig};
use crate::breaker::CircuitBreakerConfig;
use crate::keyed::keyed_builder;
use crate::settings::SettingsError;
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

keyed_builder!(KeyedCircuitBreakerBuilder, KeyedCircuitBreaker, KeyedCircuitBreakerConfig);

impl<K: Hash + Eq + Clone + Send + Sync + 'static> KeyedCircuitBreakerBuilder<K> {
    /// The settings of the breaker of each key.
    #[allow(clippy::needless_pass_by_value, reason = "as `settings`")]
    pub fn each(mut self, settings: CircuitBreakerConfig) -> Self {
        self.settings = self.settings.with_each(&settings);
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<KeyedCircuitBreaker<K>, SettingsError> {
        self.build_at(&SystemClock)
    }

    /// As [`build`](Self::build), with the time of another clock.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_at(self, clock: &impl Clock) -> Result<KeyedCircuitBreaker<K>, SettingsError> {
        let Self { name, mode, settings, registry, show } = self;
        let shared = Arc::new(Shared::new(name, mode, &settings, &registry, show, clock)?);
        registry.register(&shared);
        Ok(KeyedCircuitBreaker { shared })
    }
}
