use super::{Chaos, ChaosConfig, ChaosSwitch, Shared};
use crate::policy::policy_builder;
use crate::settings::SettingsError;
use octostack_core::inspect::{Mode, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Chaos`] policy. Defaults are those of [`ChaosConfig`], and not enabled.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct ChaosBuilder {
    name: Arc<str>,
    enabled: bool,
    switch: Option<ChaosSwitch>,
    by_hand: bool,
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
            switch: None,
            by_hand: false,
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

    /// The switch that stops it, with all others that have the same one. None unless given.
    pub fn switch(mut self, switch: &ChaosSwitch) -> Self {
        self.switch = Some(switch.clone());
        self
    }

    /// Whether the program says of each call what it is about, by [`Chaos::draw_for`] and
    /// [`Chaos::call_for`], so that targets can be set though no layer tells them. Not by default.
    pub fn by_hand(mut self, by_hand: bool) -> Self {
        self.by_hand = by_hand;
        self
    }

    /// Makes it repeatable: with equal settings, the nth call that is meant meets the same faults
    /// in every run. 0, the default, is another seed each time that settings are applied.
    pub fn seed(mut self, seed: u32) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Only calls of this route; one that ends in `*` is the beginning of a route.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.settings.route = route.into();
        self
    }

    /// Only calls with this header: `name`, or `name: value`.
    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.settings.header = header.into();
        self
    }

    /// Only calls of this tenant.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.settings.tenant = tenant.into();
        self
    }

    /// How long it injects from when it is built: at most 24 hours; 0 is until it is changed.
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.settings.expires_after = time;
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

    /// How much longer than the latency at most: at most 1 hour.
    pub fn latency_jitter(mut self, jitter: Duration) -> Self {
        self.settings.latency_jitter = jitter;
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
    /// while it is not [enabled](Self::enabled). A target that no layer tells is no error yet, as
    /// there are no layers: nothing is injected then, and `/statusz` says why.
    pub fn build(self) -> Result<Chaos, SettingsError> {
        let Self { name, enabled, switch, by_hand, mode, settings, registry } = self;
        let shared = Arc::new(Shared::new(name, mode, &settings, enabled, switch)?);
        if by_hand {
            shared.sees(super::target::ALL);
        }
        registry.register(&shared);
        Ok(Chaos { shared })
    }
}
