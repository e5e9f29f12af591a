use super::machine::Machine;
use super::{Chaos, ChaosConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Chaos`] policy. Defaults are those of [`ChaosConfig`], and not enabled.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct ChaosBuilder {
    name: Arc<str>,
    enabled: bool,
    seed: Option<u64>,
    mode: Mode,
    settings: ChaosConfig,
    registry: Registry,
}

policy_builder!(ChaosBuilder, ChaosConfig);

impl ChaosBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            enabled: false,
            seed: None,
            mode: Mode::Enforce,
            settings: ChaosConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// Whether it may inject at all. Not by default: settings that inject and every override are
    /// then refused, so that nobody can break production by a slip.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Makes it repeatable: with equal settings, the nth call meets the same faults in every run.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The share of calls that fail without reaching the service: 0 to 1.
    pub fn error_rate(mut self, rate: f64) -> Self {
        self.settings.error_rate = rate;
        self
    }

    /// How long calls are held back: at most 1 hour.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// The share of calls that are held back: 0 to 1.
    pub fn latency_rate(mut self, rate: f64) -> Self {
        self.settings.latency_rate = rate;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name, the mode and the settings; and settings that inject
    /// while it is not [enabled](Self::enabled).
    pub fn build(self) -> Result<Chaos, SettingsError> {
        let Self { name, enabled, seed, mode, settings, registry } = self;
        let live = Live::new(&name, mode, settings.clone(), Shared::MODES)?;
        Shared::check_gate(&name, enabled, &settings)?;
        let machine = Machine::new(mode, &settings);
        let shared = Arc::new(Shared::new(name, machine, live, enabled, seed));
        registry.register(&shared);
        Ok(Chaos { shared })
    }
}
