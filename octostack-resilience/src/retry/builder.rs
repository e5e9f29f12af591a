use super::budget::RetryBudget;
use super::machine::Machine;
use super::shared::SHARED;
use super::{Jitter, Retry, RetryConfig, Shared};
use crate::policy::policy_builder;
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Mode, Problem, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`Retry`] policy. Defaults are those of [`RetryConfig`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build()`"]
pub struct RetryBuilder {
    name: Arc<str>,
    mode: Mode,
    settings: RetryConfig,
    budget: Option<RetryBudget>,
    registry: Registry,
    #[cfg(feature = "backoff")]
    foreign: Option<super::foreign::Factory>,
}

policy_builder!(RetryBuilder, RetryConfig);

impl RetryBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            mode: Mode::Enforce,
            settings: RetryConfig::default(),
            budget: None,
            registry: Registry::global().clone(),
            #[cfg(feature = "backoff")]
            foreign: None,
        }
    }

    /// How often a call is attempted in all, the first time included: 1 to 10.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// What waits grow from: see [`RetryConfig::base_delay`].
    pub fn base_delay(mut self, delay: Duration) -> Self {
        self.settings.base_delay = delay;
        self
    }

    /// The longest wait before any attempt: at most 1 hour.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.settings.max_delay = delay;
        self
    }

    /// How chance spreads the waits.
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// A service that asks for a longer wait than this is not asked again: at most 1 hour.
    pub fn max_retry_after(mut self, wait: Duration) -> Self {
        self.settings.max_retry_after = wait;
        self
    }

    /// Repeats allowed for each call: 0 to 1, in thousandths.
    pub fn budget_ratio(mut self, ratio: f64) -> Self {
        self.settings.budget_ratio = ratio;
        self
    }

    /// Repeats allowed in each second whatever the traffic: 0 to 1,000.
    pub fn budget_floor(mut self, floor: u32) -> Self {
        self.settings.budget_floor = floor;
        self
    }

    /// Shares a budget with other policies. Its own rules then hold: do not set
    /// [`budget_ratio`](Self::budget_ratio) and [`budget_floor`](Self::budget_floor) too.
    pub fn budget(mut self, budget: &RetryBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Takes the waits from policies of the crate [`backoff`](::backoff), in the place of
    /// `base_delay` and `jitter`.
    ///
    /// The closure makes one for each call, when the first attempt has failed; so what it says of
    /// elapsed time counts from then. When it has no further wait, the call is over. All other
    /// limits hold: no wait is longer than `max_delay`, and attempts, budget and deadline are as
    /// ever.
    ///
    /// That crate has no maintainer any more (RUSTSEC-2025-0012), and the settings do the same with
    /// better jitter. This is for code that has such policies already.
    ///
    /// ```
    /// use backoff::ExponentialBackoff;
    /// use octostack_resilience::{Outcome, Retry};
    /// use std::time::Duration;
    ///
    /// let retry = Retry::builder("inventory")
    ///     .schedule(|| ExponentialBackoff {
    ///         initial_interval: Duration::from_millis(20),
    ///         randomization_factor: 0.0,
    ///         ..ExponentialBackoff::default()
    ///     })
    ///     .build()?;
    /// let mut attempts = retry.attempts();
    /// let waits = [(); 3].map(|()| attempts.after(Outcome::Failure, None));
    /// assert_eq!(waits, [Some(Duration::from_millis(20)), Some(Duration::from_millis(30)), None]);
    /// # Ok::<_, octostack_resilience::SettingsError>(())
    /// ```
    #[cfg(feature = "backoff")]
    pub fn schedule<B>(mut self, make: impl Fn() -> B + Send + Sync + 'static) -> Self
    where
        B: ::backoff::backoff::Backoff + Send + Sync + 'static,
    {
        self.foreign = Some(super::foreign::Factory::new(make));
        self
    }

    /// Builds it and registers it.
    ///
    /// # Errors
    /// Everything that is wrong with the name, the mode and the settings.
    pub fn build(self) -> Result<Retry, SettingsError> {
        #[cfg(feature = "backoff")]
        let foreign = self.foreign;
        let Self { name, mode, mut settings, budget, registry, .. } = self;
        let live = |settings: &RetryConfig| Live::new(&name, mode, settings.clone(), Shared::MODES);
        let rules = settings.budget_rules();
        let shares_budget = budget.is_some();
        let live = match &budget {
            None => live(&settings)?,
            Some(budget) => {
                let own = rules != RetryConfig::default().budget_rules();
                if own && rules != budget.rules() {
                    let problems = vec![Problem::new("settings.budget_ratio", SHARED)];
                    return Err(SettingsError { policy: name.to_string(), problems });
                }
                settings.set_budget_rules(budget.rules());
                live(&settings)?
            }
        };
        let budget = budget.unwrap_or_else(|| RetryBudget::from_rules(rules));
        let machine = Machine::new(mode, &settings);
        let shared = Shared::new(name, machine, budget, shares_budget, live);
        #[cfg(feature = "backoff")]
        let shared = shared.scheduled_by(foreign);
        let shared = Arc::new(shared);
        registry.register(&shared);
        Ok(Retry { shared })
    }
}
