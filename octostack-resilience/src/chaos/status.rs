//! What operators see of a chaos policy, and what they may change.
use super::Shared;
use super::machine::Standing;
use crate::counters::Totals;
use octostack_core::SystemClock;
use octostack_core::duration::format;
use octostack_core::inspect::{Control, Inspect, Metric, Mode, Patch, Problem, Sink, Value};

static INJECTED: Metric =
    Metric::counter("octostack_chaos_injected_total", "Faults that chaos injected into calls.");

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
        let (state, run) = match self.machine.standing(&SystemClock) {
            Standing::Idle => ("idle", None),
            Standing::Expired => ("expired", None),
            Standing::Armed { .. } if self.is_killed() => ("stopped", None),
            Standing::Armed { seed, drawn, expires_in } => {
                ("armed", Some((seed, drawn, expires_in)))
            }
        };
        let run = run.map(|(seed, drawn, expires_in)| {
            Value::map([
                ("seed", seed.into()),
                ("calls", drawn.into()),
                ("expires_in", expires_in.into()),
            ])
        });
        Value::map([
            ("state", state.into()),
            ("enabled", self.enabled().into()),
            mode,
            overridden,
            settings,
            ("run", run.into()),
            (
                "counters",
                Value::map([
                    ("passed", counts.passed.into()),
                    ("outside", counts.outside.into()),
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
            permitted: counts.passed + counts.outside,
            rejected: counts.errors,
            shadow_rejected: counts.shadow_errors,
            outcomes: None,
        };
        totals.collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        let (mode, settings) = self.live.now();
        let armed = matches!(self.machine.standing(&SystemClock), Standing::Armed { .. });
        if mode != Mode::Enforce || !armed || self.is_killed() {
            return None;
        }
        if let Some(problem) = self.sight.problems(&settings).first() {
            return Some(format!("injects nothing: {problem}"));
        }
        let percent = |rate: f64| rate * 100.0;
        let mut faults = Vec::new();
        if settings.injects_errors() {
            let share = percent(settings.error_rate);
            faults.push(format!("errors into {share} % of calls"));
        }
        if settings.injects_latency() {
            let mut latency = format(settings.latency);
            if !settings.latency_jitter.is_zero() {
                let most = format(settings.latency + settings.latency_jitter);
                latency = format!("{latency} to {most}");
            }
            let share = percent(settings.latency_rate);
            faults.push(format!("{latency} of latency into {share} % of calls"));
        }
        Some(format!("injects {}{}", faults.join(" and "), self.machine.only()))
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
        self.override_by(patch)
    }
}
