use super::config::{CircuitBreakerConfig, Window};
use super::machine::{Admission, Machine, Transition};
use super::state::State;
use super::ticket::Ticket;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::outcome::Outcome;
use crate::settings::Live;
use octostack_core::inspect::{
    Control, Event, Inspect, Metric, Mode, Patch, Problem, Registry, Sink, Value,
};
use octostack_core::{Clock, SystemClock};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

static STATE: Metric = Metric::gauge(
    "octostack_circuit_breaker_state",
    "1 for the state that a circuit breaker is in, 0 for the others.",
);

static TRANSITIONS: Metric =
    Metric::counter("octostack_circuit_breaker_transitions_total", "Changes of state.");

/// The state that all clones, layers and permits of a circuit breaker share.
pub struct Shared {
    name: Arc<str>,
    pub(super) machine: Machine,
    pub(super) live: Live<CircuitBreakerConfig>,
    registry: Registry,
    /// The key that it is for, if it is one of many and keys are shown.
    pub(super) key: Option<Arc<str>>,
    last: Mutex<Option<(SystemTime, Transition)>>,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        machine: Machine,
        live: Live<CircuitBreakerConfig>,
        registry: Registry,
    ) -> Self {
        Self { name, machine, live, registry, key: None, last: Mutex::new(None) }
    }

    /// As one of many, for a key.
    pub(super) fn of_key(self, key: Option<Arc<str>>) -> Self {
        Self { key, ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> CircuitBreakerConfig {
        self.live.now().1
    }

    pub(super) fn mode(&self) -> Mode {
        self.live.now().0
    }

    #[inline]
    pub(super) fn admit(&self, clock: &impl Clock) -> Result<Ticket, PolicyError> {
        let (admission, transition) = self.machine.admit(clock);
        if let Some(transition) = transition {
            self.report(transition);
        }
        match admission {
            Admission::Admitted(ticket) => Ok(ticket),
            Admission::Rejected { retry_after } => {
                let error = PolicyError::new(self.name.clone(), PolicyErrorKind::CircuitOpen);
                Err(error.with_retry_after(retry_after))
            }
        }
    }

    #[inline]
    pub(super) fn settle(&self, ticket: Ticket, outcome: Outcome, clock: &impl Clock) {
        self.settle_after(ticket, outcome, None, clock);
    }

    /// As [`settle`](Self::settle), with the time after which the service wants to be asked again.
    #[inline]
    pub(super) fn settle_after(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        retry_after: Option<Duration>,
        clock: &impl Clock,
    ) {
        if let Some(transition) = self.machine.settle(ticket, outcome, retry_after, clock) {
            self.report(transition);
        }
    }

    #[cold]
    fn report(&self, transition: Transition) {
        let (from, to) = (transition.from.as_str(), transition.to.as_str());
        let event =
            Event::new("transition", &*self.name, format!("{from} -> {to}: {}", transition.cause))
                .with("policy_kind", self.kind())
                .with("from", from)
                .with("to", to)
                .with("rule", rule(&transition))
                .with("cause", transition.cause.clone());
        let event = match &self.key {
            Some(key) => event.with("key", key.to_string()),
            None => event,
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((event.at, transition));
        self.registry.emit(event);
    }

    pub(super) fn last_transition(&self) -> Option<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, transition) = last.as_ref()?;
        Some(Value::map([
            ("at", octostack_core::time::rfc3339(*at).into()),
            ("from", transition.from.as_str().into()),
            ("to", transition.to.as_str().into()),
            ("rule", rule(transition)),
            ("cause", Value::from(transition.cause.clone())),
        ]))
    }

    /// What cannot be changed while running, on top of what is wrong anyway.
    pub(super) fn check_settings(&self, settings: &CircuitBreakerConfig) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Window::Calls(size) = settings.window else { return problems };
        let capacity = self.machine.capacity();
        crate::settings::require(&mut problems, size <= capacity, "settings.window", || {
            format!("{size} calls need a restart: while running it can grow to {capacity}")
        });
        problems
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<CircuitBreakerConfig>,
    ) -> Result<(), crate::SettingsError> {
        let problems = settings.as_ref().map(|s| self.check_settings(s)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(crate::SettingsError { policy: self.name.to_string(), problems });
        }
        self.live.change(&self.name, mode, settings, |mode, settings| {
            self.machine.apply(mode, settings, &SystemClock);
        })
    }
}

pub(super) fn collect_transitions(policy: &str, transitions: [[u64; 3]; 3], sink: &mut dyn Sink) {
    for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 1)] {
        let names = (State::ALL[from].as_str(), State::ALL[to].as_str());
        let labels = [("policy", policy), ("from", names.0), ("to", names.1)];
        sink.sample(&TRANSITIONS, &labels, transitions[from][to] as f64);
    }
}

/// The rule that opened it, for pages and events.
fn rule(transition: &Transition) -> Value {
    transition.rule.map_or(Value::Null, |rule| rule.as_str().into())
}

impl Inspect for Shared {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "circuit_breaker"
    }

    fn status(&self) -> Value {
        let (tally, streak) = self.machine.tally(&SystemClock);
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("state", self.machine.state().as_str().into()),
            mode,
            overridden,
            settings,
            (
                "window",
                Value::map([
                    ("calls", tally.calls.into()),
                    ("failures", tally.failures.into()),
                    ("slow_calls", tally.slow.into()),
                    ("consecutive_failures", streak.into()),
                ]),
            ),
            ("open_for_another", self.machine.waits(&SystemClock).map_or(Value::Null, Value::from)),
            ("counters", self.machine.totals().status()),
            ("last_transition", self.last_transition().unwrap_or(Value::Null)),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let state = self.machine.state();
        for other in State::ALL {
            let labels = [("policy", &*self.name), ("state", other.as_str())];
            sink.sample(&STATE, &labels, f64::from(u8::from(other == state)));
        }
        collect_transitions(&self.name, self.machine.transitions(), sink);
        self.machine.totals().collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        match (self.live.now().0, self.machine.state()) {
            (mode @ (Mode::ForcedOpen | Mode::ForcedClosed | Mode::Disabled), _) => {
                Some(format!("mode is {mode}"))
            }
            (_, State::Closed) => None,
            (_, state) => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                let cause = last.as_ref().map_or("", |(_, transition)| &transition.cause);
                Some(format!("{}: {cause}", state.as_str()))
            }
        }
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl Control for Shared {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        self.live.check_with(Some(patch), |settings| self.check_settings(settings))
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.live.check_with(patch, |settings| self.check_settings(settings))?;
        self.live.set_override(patch, |mode, settings| {
            self.machine.apply(mode, settings, &SystemClock);
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name)
            .field("state", &self.machine.state())
            .field("settings", &self.live)
            .finish_non_exhaustive()
    }
}
