//! The breaker of one key.
use crate::breaker::config::{CircuitBreakerConfig, Window};
use crate::breaker::machine::Machine;
use crate::breaker::shared::Shared;
use crate::counters::Totals;
use crate::keyed::Unit;
use crate::settings::Live;
use fastrand::Rng;
use octostack_core::inspect::{Mode, Registry};
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;

/// What the breakers of new keys are made of.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(super) name: Arc<str>,
    pub(super) registry: Registry,
    pub(super) mode: Mode,
    pub(super) settings: CircuitBreakerConfig,
    /// The window that the policy was built with: all breakers can grow as far as the first could,
    /// whatever is in force when they are made.
    pub(super) built: Window,
}

/// What breakers have counted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(super) totals: Totals,
    pub(super) transitions: [[u64; 3]; 3],
}

impl Unit for Shared {
    type Rules = Rules;
    type Sum = Sum;

    fn make(rules: &Rules, label: Option<Arc<str>>, clock: &impl Clock) -> Self {
        let Rules { name, registry, mode, settings, built } = rules.clone();
        let first = CircuitBreakerConfig { window: built, ..settings.clone() };
        let machine = Machine::new(mode, first, Rng::new(), clock);
        if settings.window != built {
            machine.apply(mode, &settings, clock);
        }
        let live = Live::checked(mode, settings, &Mode::ALL);
        Self::new(name, machine, live, registry).of_key(label)
    }

    fn at_rest(&self) -> bool {
        self.machine.at_rest()
    }

    fn is_stale(&self, clock: &impl Clock) -> bool {
        self.machine.may_try(clock)
    }

    fn add_to(&self, sum: &mut Sum) {
        let (totals, transitions) = (self.machine.totals(), self.machine.transitions());
        Self::merge(sum, Sum { totals, transitions });
    }

    fn merge(sum: &mut Sum, other: Sum) {
        sum.totals.add(other.totals);
        let mine = sum.transitions.iter_mut().flatten();
        mine.zip(other.transitions.into_iter().flatten()).for_each(|(mine, other)| *mine += other);
    }
}

impl Shared {
    /// Takes settings that were checked before.
    pub(super) fn adopt(&self, mode: Mode, settings: &CircuitBreakerConfig) {
        self.machine.apply(mode, settings, &SystemClock);
    }
}
