use super::{CatchPanic, CatchPanicConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`CatchPanic`]. Defaults are those of [`CatchPanicConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct CatchPanicBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: CatchPanicConfig,
    registry: Registry,
}

policy_builder!(CatchPanicBuilder, CatchPanicConfig);

impl CatchPanicBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: CatchPanicConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// How many characters of a panic's message go into its event: 0, for none, to 4,096.
    pub fn max_message(mut self, characters: u32) -> Self {
        self.settings.max_message = characters;
        self
    }

    /// The shortest time between two events: 0, for an event each, to 24 h.
    pub fn event_interval(mut self, interval: Duration) -> Self {
        self.settings.event_interval = interval;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name, the mode and the settings.
    pub fn build(self) -> Result<CatchPanic, SettingsError> {
        let Self { name, mode, settings, registry } = self;
        let shared = Arc::new(Shared::new(name, mode, settings, registry.clone())?);
        registry.register(&shared);
        Ok(CatchPanic { shared })
    }
}
