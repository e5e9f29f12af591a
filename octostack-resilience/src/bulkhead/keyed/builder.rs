use super::shared::Shared;
use super::{KeyedBulkhead, KeyedBulkheadConfig};
use crate::keyed::keyed_builder;
use crate::settings::SettingsError;
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

keyed_builder!(KeyedBulkheadBuilder, KeyedBulkhead, KeyedBulkheadConfig);

impl<K: Hash + Eq + Clone + Send + Sync + 'static> KeyedBulkheadBuilder<K> {
    /// How many calls of each key may be in flight at once: 1 to 100,000.
    pub fn max_concurrent(mut self, calls: u32) -> Self {
        self.settings.max_concurrent = calls;
        self
    }

    /// How many calls of each key may wait for a place: 0 to 100,000; above 0 it needs
    /// [`max_wait`](Self::max_wait).
    pub fn max_queue(mut self, calls: u32) -> Self {
        self.settings.max_queue = calls;
        self
    }

    /// How long a call may wait for a place: 1 ms to 1 h.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.settings.max_wait = wait;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<KeyedBulkhead<K>, SettingsError> {
        self.build_at(&SystemClock)
    }

    /// As [`build`](Self::build), with the time of another clock.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_at(self, clock: &impl Clock) -> Result<KeyedBulkhead<K>, SettingsError> {
        let Self { name, mode, settings, registry, show } = self;
        let shared = Arc::new(Shared::new(name, mode, &settings, show, clock)?);
        registry.register(&shared);
        Ok(KeyedBulkhead { shared })
    }
}
