use super::config::ChaosConfig;
use super::machine::{Draw, Machine};
use crate::counters::Totals;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::settings::{Live, SettingsError};
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};
use std::fmt;
use std::sync::Arc;

static INJECTED: Metric =
    Metric::counter("octostack_chaos_injected_total", "Faults that chaos injected into calls.");

/// The state that all clones and layers of a chaos policy share.
pub struct Shared {
    name: Arc<str>,
    machine: Machine,
    pub(super) live: Live<ChaosConfig>,
    enabled: bool,
    seed: Option<u64>,
}

impl Shared {
    /// The modes that make sense here.
    pub(super) const MODES: &[Mode] = &[Mode::Enforce, Mode::Shadow, Mode::Disabled];

    pub(super) fn new(
        name: Arc<str>,
        machine: Machine,
        live: Live<ChaosConfig>,
        enabled: bool,
        seed: Option<u64>,
    ) -> Self {
        Self { name, machine, live, enabled, seed }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> ChaosConfig {
        self.live.now().1
    }

    pub(super) fn mode(&self) -> Mode {
        self.live.now().0
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// What to do to the next call; `None` for nothing.
    #[inline]
    pub(super) fn draw(&self) -> Option<Draw> {
        if self.machine.armed() { self.draw_armed() } else { None }
    }

    #[cold]
    fn draw_armed(&self) -> Option<Draw> {
        let draw = match self.seed {
            None => self.machine.draw(fastrand::f64),
            Some(seed) => {
                let mut chance = fastrand::Rng::with_seed(self.machine.next_seed(seed));
                self.machine.draw(|| chance.f64())
            }
        };
        (draw != Draw::default()).then_some(draw)
    }

    #[cold]
    pub(super) fn error(&self) -> PolicyError {
        PolicyError::new(self.name.clone(), PolicyErrorKind::Injected)
    }

    /// Settings that inject need the gate open.
    pub(super) fn check_gate(
        name: &str,
        enabled: bool,
        settings: &ChaosConfig,
    ) -> Result<(), SettingsError> {
        let mut problems = Vec::new();
        for (key, injects) in [
            ("settings.error_rate", settings.injects_errors()),
            ("settings.latency", settings.injects_latency()),
        ] {
            crate::settings::require(&mut problems, enabled || !injects, key, gate_closed);
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(SettingsError { policy: name.to_owned(), problems })
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<ChaosConfig>,
    ) -> Result<(), SettingsError> {
        if let Some(settings) = &settings {
            Self::check_gate(&self.name, self.enabled, settings)?;
        }
        self.live.change(&self.name, mode, settings, |mode, settings| {
            self.machine.apply(mode, settings);
        })
    }

    /// An override needs the gate open, whatever it says: one that does nothing now would hide
    /// that chaos cannot work here.
    fn check_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        if patch.is_some() && !self.enabled {
            return Err(vec![Problem::new("", gate_closed())]);
        }
        self.live.check_with(patch, |_| Vec::new())
    }
}

fn gate_closed() -> String {
    "chaos is not enabled in this process: set `chaos.enabled = true` in its config to allow it"
        .to_owned()
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "chaos"
    }

    fn status(&self) -> Value {
        let counts = self.machine.counts();
        let [mode, settings, overridden] = self.live.status();
        let state = if self.machine.armed() { "armed" } else { "idle" };
        Value::map([
            ("state", state.into()),
            ("enabled", self.enabled.into()),
            mode,
            overridden,
            settings,
            (
                "counters",
                Value::map([
                    ("passed", counts.passed.into()),
                    ("errors", counts.errors.into()),
                    ("latencies", counts.delays.into()),
                    ("shadow_errors", counts.shadow_errors.into()),
                    ("shadow_latencies", counts.shadow_delays.into()),
                ]),
            ),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let counts = self.machine.counts();
        for (fault, count) in [("error", counts.errors), ("latency", counts.delays)] {
            let labels = [("policy", &*self.name), ("fault", fault)];
            sink.sample(&INJECTED, &labels, count as f64);
        }
        let totals = Totals {
            permitted: counts.passed,
            rejected: counts.errors,
            shadow_rejected: counts.shadow_errors,
            outcomes: None,
        };
        totals.collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        let (mode, settings) = self.live.now();
        if mode != Mode::Enforce {
            return None;
        }
        let percent = |rate: f64| rate * 100.0;
        let mut faults = Vec::new();
        if settings.injects_errors() {
            let share = percent(settings.error_rate);
            faults.push(format!("errors into {share} % of calls"));
        }
        if settings.injects_latency() {
            let latency = octostack_core::duration::format(settings.latency);
            let share = percent(settings.latency_rate);
            faults.push(format!("{latency} of latency into {share} % of calls"));
        }
        (!faults.is_empty()).then(|| format!("injects {}", faults.join(" and ")))
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
        self.live.set_override(patch, |mode, settings| self.machine.apply(mode, settings))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
