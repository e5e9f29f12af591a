use super::{Bulkhead, BulkheadConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Bulkhead`]. Defaults are those of [`BulkheadConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct BulkheadBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: BulkheadConfig,
    registry: Registry,
}

policy_builder!(BulkheadBuilder, BulkheadConfig);

impl BulkheadBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: BulkheadConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// How many calls may be in flight at once: 1 to 100,000.
    pub fn max_concurrent(mut self, calls: u32) -> Self {
        self.settings.max_concurrent = calls;
        self
    }

    /// How many calls may wait for a place: 0 to 100,000; above 0 it needs
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
    pub fn build(self) -> Result<Bulkhead, SettingsError> {
        let shared = Arc::new(Shared::new(self.name, self.mode, self.settings)?);
        self.registry.register(&shared);
        Ok(Bulkhead { shared })
    }
}
