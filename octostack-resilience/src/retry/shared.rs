use super::budget::{RetryBudget, Rules};
use super::config::RetryConfig;
use super::machine::Machine;
use crate::settings::{Live, SettingsError};
use octostack_core::SystemClock;
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};
use std::fmt;
use std::sync::Arc;

static ATTEMPTS: Metric =
    Metric::counter("octostack_retry_attempts_total", "Attempts after the first one of a call.");

static EXHAUSTED: Metric = Metric::counter(
    "octostack_retry_budget_exhausted_total",
    "Failed attempts that were not repeated because the budget was empty.",
);

static LATE: Metric = Metric::counter(
    "octostack_retry_out_of_time_total",
    "Failed attempts that were not repeated because the caller would not have waited so long.",
);

/// The state that all clones, layers and calls of a retry policy share.
pub struct Shared {
    name: Arc<str>,
    pub(super) machine: Machine,
    pub(super) budget: RetryBudget,
    /// Whether others use the budget too, so that its rules are not this policy's to change.
    shares_budget: bool,
    pub(super) live: Live<RetryConfig>,
    /// Says how long to wait, in the place of the settings.
    #[cfg(feature = "backoff")]
    pub(super) foreign: Option<super::foreign::Factory>,
}

impl Shared {
    /// The modes that make sense here.
    pub(super) const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

    pub(super) fn new(
        name: Arc<str>,
        machine: Machine,
        budget: RetryBudget,
        shares_budget: bool,
        live: Live<RetryConfig>,
    ) -> Self {
        Self {
            name,
            machine,
            budget,
            shares_budget,
            live,
            #[cfg(feature = "backoff")]
            foreign: None,
        }
    }

    #[cfg(feature = "backoff")]
    pub(super) fn scheduled_by(self, foreign: Option<super::foreign::Factory>) -> Self {
        Self { foreign, ..self }
    }

    /// Who says how long to wait.
    fn schedule(&self) -> &'static str {
        #[cfg(feature = "backoff")]
        if self.foreign.is_some() {
            return "backoff";
        }
        self.live.now().1.jitter.as_str()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    pub(super) fn mode(&self) -> Mode {
        self.live.now().0
    }

    pub(super) fn settings(&self) -> RetryConfig {
        self.with_shared_budget(self.live.now().1)
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<RetryConfig>,
    ) -> Result<(), SettingsError> {
        let settings = settings.map(|settings| self.with_shared_budget(settings));
        self.live.change(&self.name, mode, settings, |mode, settings| self.apply(mode, settings))
    }

    fn apply(&self, mode: Mode, settings: &RetryConfig) {
        self.machine.apply(mode, settings);
        if !self.shares_budget {
            self.budget.apply(settings.budget_rules(), &SystemClock);
        }
    }

    /// A shared budget has rules of its own; what the settings say of it is then what it says.
    fn with_shared_budget(&self, mut settings: RetryConfig) -> RetryConfig {
        if self.shares_budget {
            settings.set_budget_rules(self.budget.rules());
        }
        settings
    }

    fn check_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        let keys = patch.into_iter().flat_map(|patch| &patch.settings).map(|(key, _)| key);
        let problems: Vec<_> = keys
            .filter(|key| self.shares_budget && key.starts_with("budget_"))
            .map(|key| Problem::new(format!("settings.{key}"), SHARED))
            .collect();
        match self.live.check_with(patch, |_| Vec::new()) {
            Ok(()) if problems.is_empty() => Ok(()),
            Ok(()) => Err(problems),
            Err(others) => Err(problems.into_iter().chain(others).collect()),
        }
    }
}

pub(super) const SHARED: &str =
    "this policy shares its budget with others: change the budget instead";

impl RetryConfig {
    pub(super) fn budget_rules(&self) -> Rules {
        Rules { ratio: self.budget_ratio, floor: self.budget_floor }
    }

    pub(super) fn set_budget_rules(&mut self, Rules { ratio, floor }: Rules) {
        (self.budget_ratio, self.budget_floor) = (ratio, floor);
    }
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "retry"
    }

    fn status(&self) -> Value {
        let available = self.budget.available(&SystemClock);
        let [mode, _, overridden] = self.live.status();
        let state = if available > 0 { "ready" } else { "budget_exhausted" };
        let settings = crate::settings::Settings::to_value(&self.settings());
        let budget = [("available", available.into()), ("shared", self.shares_budget.into())];
        Value::map([
            ("state", state.into()),
            mode,
            overridden,
            ("settings", settings),
            ("budget", Value::map(budget)),
            ("schedule", self.schedule().into()),
            ("out_of_time", self.machine.late().into()),
            ("counters", self.machine.totals().status()),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let labels = [("policy", &*self.name)];
        sink.sample(&ATTEMPTS, &labels, self.machine.repeats() as f64);
        sink.sample(&LATE, &labels, self.machine.late() as f64);
        sink.sample(&EXHAUSTED, &labels, self.machine.exhausted() as f64);
        self.machine.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        crate::settings::unusual(self.live.now().0)
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Shared {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        self.check_override(Some(patch))
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.check_override(patch)?;
        self.live.set_override(patch, |mode, settings| self.apply(mode, settings))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("name", &self.name)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
