use super::config::KeyedCircuitBreakerConfig;
use super::unit::Rules;
use crate::breaker::config::Window;
use crate::breaker::shared::{Shared as Breaker, collect_transitions};
use crate::breaker::state::State;
use crate::keyed::{KeyedRules, SHOWN, ShowKey, Store};
use crate::settings::{Live, SettingsError, require};
use octostack_core::inspect::{
    Control, Inspect, Metric, Mode, Patch, Problem, Registry, Sink, Value,
};
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

static KEYS: Metric = Metric::gauge(
    "octostack_circuit_breaker_keys",
    "Keys that have a circuit breaker of their own, by its state.",
);

static EVICTIONS: Metric = Metric::counter(
    "octostack_circuit_breaker_evictions_total",
    "Closed circuit breakers of keys that went since another key needed the place.",
);

static OVERFLOW: Metric = Metric::counter(
    "octostack_circuit_breaker_overflow_total",
    "Calls of keys that shared one circuit breaker, since there was no place for their own.",
);

/// The state that all clones, layers and calls of a keyed circuit breaker share.
pub(super) struct Shared<K> {
    pub(super) name: Arc<str>,
    pub(super) store: Store<K, Breaker>,
    pub(super) live: Live<KeyedCircuitBreakerConfig>,
    registry: Registry,
    built: Window,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Shared<K> {
    pub(super) fn new(
        name: Arc<str>,
        mode: Mode,
        settings: &KeyedCircuitBreakerConfig,
        registry: &Registry,
        show: Option<ShowKey<K>>,
        clock: &impl Clock,
    ) -> Result<Self, SettingsError> {
        let live = Live::new(&name, mode, settings.clone(), &Mode::ALL)?;
        let built = settings.window;
        let rules = rules(&name, registry, mode, settings, built);
        let store = Store::new(rules, show, clock);
        Ok(Self { name, store, live, registry: registry.clone(), built })
    }

    fn apply(&self, mode: Mode, settings: &KeyedCircuitBreakerConfig) {
        let rules = rules(&self.name, &self.registry, mode, settings, self.built);
        self.store.apply(&rules, |breaker| breaker.adopt(mode, &rules.each.settings));
    }

    /// What cannot be changed while running, on top of what is wrong anyway.
    fn check(&self, settings: &KeyedCircuitBreakerConfig) -> Vec<Problem> {
        let mut all = Vec::new();
        if let Window::Calls(size) = settings.window {
            // All breakers are made alike.
            let capacity = self.store.overflow().machine.capacity();
            require(&mut all, size <= capacity, "settings.window", || {
                format!("{size} calls need a restart: while running it can grow to {capacity}")
            });
        }
        all
    }

    pub(super) fn reconfigure(
        &self,
        mode: Option<Mode>,
        settings: Option<KeyedCircuitBreakerConfig>,
    ) -> Result<(), SettingsError> {
        let problems = settings.as_ref().map(|s| self.check(s)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(SettingsError { policy: self.name.to_string(), problems });
        }
        self.live.change(&self.name, mode, settings, |mode, settings| self.apply(mode, settings))
    }
}

fn rules(
    name: &Arc<str>,
    registry: &Registry,
    mode: Mode,
    settings: &KeyedCircuitBreakerConfig,
    built: Window,
) -> KeyedRules<Breaker> {
    let (name, registry) = (name.clone(), registry.clone());
    let each = Rules { name, registry, mode, settings: settings.each(), built };
    KeyedRules { each, max_keys: settings.max_keys, idle_for: settings.idle_for }
}

/// How many breakers are in each state, in the order of [`State::ALL`].
#[derive(Default)]
struct ByState([u64; 3]);

impl ByState {
    fn count(&mut self, breaker: &Breaker) {
        self.0[breaker.machine.state() as usize] += 1;
    }

    fn each(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.into_iter().zip(self.0)
    }
}

/// A breaker that is not closed, for operators.
fn shown(breaker: &Breaker) -> Option<Value> {
    let (key, state) = (breaker.key.as_ref()?, breaker.machine.state());
    (state != State::Closed).then(|| {
        Value::map([
            ("key", Value::from(key.to_string())),
            ("state", state.as_str().into()),
            ("last_transition", breaker.last_transition().unwrap_or(Value::Null)),
        ])
    })
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Inspect for Shared<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "circuit_breaker"
    }

    fn status(&self) -> Value {
        let (mut states, mut not_closed) = (ByState::default(), Vec::new());
        let look = self.store.look(&SystemClock, |breaker| {
            states.count(breaker);
            if not_closed.len() < SHOWN {
                not_closed.extend(shown(breaker));
            }
        });
        let states = states.each().map(|(state, count)| (state.as_str(), Value::from(count)));
        let [mode, settings, overridden] = self.live.status();
        Value::map([
            ("keys", look.keys.into()),
            ("states", Value::map(states)),
            ("evictions", look.evicted.into()),
            ("overflow", look.overflowed.into()),
            ("overflow_state", self.store.overflow().machine.state().as_str().into()),
            mode,
            overridden,
            settings,
            ("counters", look.sum.totals.status()),
            ("not_closed", Value::List(not_closed)),
        ])
    }

    fn collect(&self, sink: &mut dyn Sink) {
        let mut states = ByState::default();
        let look = self.store.look(&SystemClock, |breaker| states.count(breaker));
        let labels = [("policy", &*self.name)];
        for (state, count) in states.each() {
            sink.sample(&KEYS, &[labels[0], ("state", state.as_str())], count as f64);
        }
        sink.sample(&EVICTIONS, &labels, look.evicted as f64);
        sink.sample(&OVERFLOW, &labels, look.overflowed as f64);
        collect_transitions(&self.name, look.sum.transitions, sink);
        look.sum.totals.collect(&self.name, self.kind(), sink);
    }

    fn abnormal(&self) -> Option<String> {
        match self.live.now().0 {
            mode @ (Mode::ForcedOpen | Mode::ForcedClosed | Mode::Disabled) => {
                Some(format!("mode is {mode}"))
            }
            Mode::Enforce | Mode::Shadow => {
                let mut states = ByState::default();
                let all = self.store.look(&SystemClock, |breaker| states.count(breaker)).keys;
                let ByState([_, open, half_open]) = states;
                (open + half_open > 0)
                    .then(|| format!("of {all} keys {open} are open, {half_open} half-open"))
            }
        }
    }

    fn control(&self) -> Option<&dyn Control> {
        Some(self)
    }
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Control for Shared<K> {
    fn check(&self, patch: &Patch) -> Result<(), Vec<Problem>> {
        self.live.check_with(Some(patch), |settings| Self::check(self, settings))
    }

    fn set_override(&self, patch: Option<&Patch>) -> Result<(), Vec<Problem>> {
        self.live.check_with(patch, |settings| Self::check(self, settings))?;
        self.live.set_override(patch, |mode, settings| self.apply(mode, settings))
    }
}
