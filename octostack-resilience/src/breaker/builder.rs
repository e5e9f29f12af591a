use super::machine::Machine;
use super::{CircuitBreaker, CircuitBreakerConfig, Shared, Window};
use crate::policy::policy_builder;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Mode, Registry};
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`CircuitBreaker`]. Defaults are those of [`CircuitBreakerConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct CircuitBreakerBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: CircuitBreakerConfig,
    registry: Registry,
}

policy_builder!(CircuitBreakerBuilder, CircuitBreakerConfig);

impl CircuitBreakerBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: CircuitBreakerConfig::default(),
            registry: Registry::global().clone(),
        }
    }

    /// Opens when at least this share of the calls in the window failed: above 0, at most 1.
    pub fn failure_rate(mut self, rate: f64) -> Self {
        self.settings.failure_rate = rate;
        self
    }

    /// The calls that it judges by.
    pub fn window(mut self, window: Window) -> Self {
        self.settings.window = window;
        self
    }

    /// Does not open before so many calls: 1 to the size of the window.
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.settings.minimum_calls = calls;
        self
    }

    /// How long it stays open before it tries again: 1 ms to 24 h.
    pub fn open_for(mut self, wait: Duration) -> Self {
        self.settings.open_for = wait;
        self
    }

    /// How many calls it admits to find out whether the service is back: 1 to 65,535.
    pub fn half_open_calls(mut self, calls: u32) -> Self {
        self.settings.half_open_calls = calls;
        self
    }

    /// When trial calls that never came back lose their places: 1 ms to 24 h.
    pub fn half_open_timeout(mut self, timeout: Duration) -> Self {
        self.settings.half_open_timeout = timeout;
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name and the settings.
    pub fn build(self) -> Result<CircuitBreaker, SettingsError> {
        self.build_at(&SystemClock)
    }

    /// As [`build`](Self::build), with the time of another clock.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_at(self, clock: &impl Clock) -> Result<CircuitBreaker, SettingsError> {
        let Self { name, mode, settings, registry } = self;
        let live = Live::new(&name, mode, settings.clone(), &Mode::ALL)?;
        let machine = Machine::new(mode, settings, clock);
        let shared = Arc::new(Shared::new(name, machine, live, registry.clone()));
        registry.register(&shared);
        Ok(CircuitBreaker { shared })
    }
}
