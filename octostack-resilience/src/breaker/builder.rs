use super::machine::Machine;
use super::{CircuitBreaker, CircuitBreakerConfig, Shared, Window};
use crate::policy::policy_builder;
use crate::settings::{Live, SettingsError};
use fastrand::Rng;
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
    seed: Option<u64>,
}

policy_builder!(CircuitBreakerBuilder, CircuitBreakerConfig);

impl CircuitBreakerBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: CircuitBreakerConfig::default(),
            registry: Registry::global().clone(),
            seed: None,
        }
    }

    /// Opens when at least this share of the calls in the window failed: above 0, at most 1.
    pub fn failure_rate(mut self, rate: f64) -> Self {
        self.settings.failure_rate = rate;
        self
    }

    /// The calls that it judges by: the last so many, or those of the last while.
    pub fn window(mut self, window: Window) -> Self {
        self.settings.window = window;
        self
    }

    /// Does not open by a share of calls before so many: 1 to the size of a window of calls.
    pub fn minimum_calls(mut self, calls: u32) -> Self {
        self.settings.minimum_calls = calls;
        self
    }

    /// Opens when so many calls in a row failed; 0 turns that off.
    pub fn consecutive_failures(mut self, calls: u32) -> Self {
        self.settings.consecutive_failures = calls;
        self
    }

    /// A call that takes this long or longer is slow: 1 ms to 1 h; zero turns that off.
    pub fn slow_call_duration(mut self, duration: Duration) -> Self {
        self.settings.slow_call_duration = duration;
        self
    }

    /// Opens when at least this share of the calls in the window was slow: above 0, at most 1.
    pub fn slow_call_rate(mut self, rate: f64) -> Self {
        self.settings.slow_call_rate = rate;
        self
    }

    /// How long it stays open, at least, before it tries again: 1 ms to 24 h.
    pub fn open_for(mut self, wait: Duration) -> Self {
        self.settings.open_for = wait;
        self
    }

    /// How long it stays open at most, however often it has opened again: 1 ms to 24 h.
    pub fn max_open_for(mut self, wait: Duration) -> Self {
        self.settings.max_open_for = wait;
        self
    }

    /// What chance adds to a wait at most, as a share of it: from 0, at most 1.
    pub fn open_jitter(mut self, share: f64) -> Self {
        self.settings.open_jitter = share;
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

    /// Makes the waits of each run the same: their jitter comes from this seed instead of chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
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
        let Self { name, mode, settings, registry, seed } = self;
        let live = Live::new(&name, mode, settings.clone(), &Mode::ALL)?;
        let dice = seed.map_or_else(Rng::new, Rng::with_seed);
        let machine = Machine::new(mode, settings, dice, clock);
        let shared = Arc::new(Shared::new(name, machine, live, registry.clone()));
        registry.register(&shared);
        Ok(CircuitBreaker { shared })
    }
}
