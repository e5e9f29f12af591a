//! What is injected into which call: pure, shared between threads, with chance as an argument.
//!
//! `armed` is 0 while nothing is to be injected, which is almost always: one load then decides.
//! The other settings are read one by one, so a call that races a change may see half of it. That
//! is a call with a fault from before and a latency from after, which nobody can tell from chance.
use super::config::ChaosConfig;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

/// Between the seeds of two calls: the odd number next to 2^64 divided by the golden ratio, which
/// spreads consecutive numbers over all of `u64`.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// What to do to one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) latency: Duration,
    pub(super) error: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls that passed without an injected error while armed.
    pub(super) passed: u64,
    pub(super) errors: u64,
    pub(super) delays: u64,
    /// Errors that shadow mode withheld.
    pub(super) shadow_errors: u64,
    /// Latencies that shadow mode withheld.
    pub(super) shadow_delays: u64,
}

#[derive(Debug, Default)]
pub(super) struct Machine {
    /// 0, or 1 + the mode.
    armed: AtomicU8,
    error_rate: AtomicU64,
    latency_rate: AtomicU64,
    latency_nanos: AtomicU64,
    /// Calls drawn since it was built, for a seeded sequence.
    sequence: AtomicU64,
    passed: AtomicU64,
    errors: AtomicU64,
    delays: AtomicU64,
    shadow_errors: AtomicU64,
    shadow_delays: AtomicU64,
}

impl Machine {
    pub(super) fn new(mode: Mode, settings: &ChaosConfig) -> Self {
        let machine = Self::default();
        machine.apply(mode, settings);
        machine
    }

    /// Takes new settings. Changes do not race: the caller holds the lock of the settings.
    pub(super) fn apply(&self, mode: Mode, settings: &ChaosConfig) {
        let nanos = u64::try_from(settings.latency.as_nanos()).unwrap_or(u64::MAX);
        self.error_rate.store(settings.error_rate.to_bits(), Relaxed);
        self.latency_rate.store(settings.latency_rate.to_bits(), Relaxed);
        self.latency_nanos.store(nanos, Relaxed);
        let armed = settings.injects() && mode != Mode::Disabled;
        let armed = if armed { 1 + mode as u8 } else { 0 };
        self.armed.store(armed, Release);
    }

    /// Whether [`draw`](Self::draw) has anything to do.
    #[inline]
    pub(super) fn armed(&self) -> bool {
        self.armed.load(Relaxed) != 0
    }

    /// The seed for the next call's chance: the same for the nth call of every run.
    pub(super) fn next_seed(&self, seed: u64) -> u64 {
        let n = if cfg!(octostack_planted_bug) {
            let n = self.sequence.load(Relaxed);
            self.sequence.store(n + 1, Relaxed);
            n
        } else {
            self.sequence.fetch_add(1, Relaxed)
        };
        seed.wrapping_add(n.wrapping_mul(STRIDE))
    }

    /// Decides one call and counts the decision. `chance` gives numbers in `0..1`.
    pub(super) fn draw(&self, mut chance: impl FnMut() -> f64) -> Draw {
        let Some(mode) = self.armed.load(Acquire).checked_sub(1) else {
            return Draw::default();
        };
        // Both numbers are drawn whatever the first says: a seeded sequence must not depend on
        // the rates.
        let (for_error, for_latency) = (chance(), chance());
        let below = |number: f64, rate: &AtomicU64| number < f64::from_bits(rate.load(Relaxed));
        let error = below(for_error, &self.error_rate);
        let nanos = self.latency_nanos.load(Relaxed);
        let delay = nanos > 0 && below(for_latency, &self.latency_rate);
        let shadow = Mode::from_u8(mode) == Mode::Shadow;
        let (errors, delays) = if shadow {
            (&self.shadow_errors, &self.shadow_delays)
        } else {
            (&self.errors, &self.delays)
        };
        if error {
            errors.fetch_add(1, Relaxed);
        }
        if delay {
            delays.fetch_add(1, Relaxed);
        }
        if shadow || !error {
            self.passed.fetch_add(1, Relaxed);
        }
        if shadow {
            return Draw::default();
        }
        let latency = Duration::from_nanos(if delay { nanos } else { 0 });
        Draw { latency, error }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            passed: self.passed.load(Relaxed),
            errors: self.errors.load(Relaxed),
            delays: self.delays.load(Relaxed),
            shadow_errors: self.shadow_errors.load(Relaxed),
            shadow_delays: self.shadow_delays.load(Relaxed),
        }
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{ChaosConfig, Counts, Draw, Machine, Mode};
    use proptest::prelude::{any, proptest};
    use std::time::Duration;

    const LATENCY: Duration = Duration::from_millis(250);

    fn settings(error_rate: f64, latency: Duration, latency_rate: f64) -> ChaosConfig {
        ChaosConfig { error_rate, latency, latency_rate }
    }

    #[test]
    fn asks_for_no_chance_while_it_is_not_armed() {
        for (mode, settings) in [
            (Mode::Enforce, ChaosConfig::default()),
            (Mode::Enforce, settings(0.0, LATENCY, 0.0)),
            (Mode::Disabled, settings(1.0, LATENCY, 1.0)),
        ] {
            let machine = Machine::new(mode, &settings);
            assert!(!machine.armed());
            assert_eq!(machine.draw(|| panic!("asked")), Draw::default());
            assert_eq!(machine.counts(), Counts::default());
        }
    }

    #[test]
    fn the_rates_are_exact_at_their_ends() {
        let machine = Machine::new(Mode::Enforce, &settings(1.0, LATENCY, 0.0));
        assert!(machine.draw(|| 1.0 - f64::EPSILON).error);
        machine.apply(Mode::Enforce, &settings(0.0, LATENCY, 1.0));
        let draw = machine.draw(|| 0.0);
        assert!(!draw.error);
        assert_eq!(draw.latency, LATENCY);
        let expected = Counts { passed: 1, errors: 1, delays: 1, ..Counts::default() };
        assert_eq!(machine.counts(), expected);
    }

    #[test]
    fn shadow_mode_counts_and_does_nothing() {
        let machine = Machine::new(Mode::Shadow, &settings(1.0, LATENCY, 1.0));
        assert_eq!(machine.draw(|| 0.5), Draw::default());
        let expected =
            Counts { passed: 1, shadow_errors: 1, shadow_delays: 1, ..Counts::default() };
        assert_eq!(machine.counts(), expected);
    }

    proptest! {
        #[test]
        fn a_number_below_the_rate_is_a_fault(
            error_rate in 0.0..=1.0, latency_rate in 0.0..=1.0, draws in any::<[u32; 2]>(),
        ) {
            let numbers = draws.map(|n| f64::from(n) / (f64::from(u32::MAX) + 1.0));
            let machine = Machine::new(Mode::Enforce, &settings(error_rate, LATENCY, latency_rate));
            let mut next = numbers.into_iter();
            let draw = machine.draw(|| next.next().unwrap());
            assert_eq!(draw.error, numbers[0] < error_rate);
            assert_eq!(!draw.latency.is_zero(), numbers[1] < latency_rate);
        }
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::{ChaosConfig, Counts, Machine, Mode};
    use loom::{sync::Arc, thread};

    fn failing() -> ChaosConfig {
        ChaosConfig { error_rate: 1.0, ..ChaosConfig::default() }
    }

    #[test]
    fn planted_no_two_calls_get_the_same_seed() {
        loom::model(|| {
            let machine = Arc::new(Machine::new(Mode::Enforce, &failing()));
            let other = machine.clone();
            let racing = thread::spawn(move || other.next_seed(7));
            let mine = machine.next_seed(7);
            assert_ne!(mine, racing.join().unwrap());
        });
    }

    #[test]
    fn a_call_after_the_end_of_chaos_is_left_alone_and_all_are_counted() {
        loom::model(|| {
            let machine = Arc::new(Machine::new(Mode::Enforce, &failing()));
            let other = machine.clone();
            let racing = thread::spawn(move || other.draw(|| 0.5).error);
            machine.apply(Mode::Enforce, &ChaosConfig::default());
            assert!(!machine.draw(|| 0.5).error);
            let injected = racing.join().unwrap();
            let Counts { errors, .. } = machine.counts();
            assert_eq!(errors, u64::from(injected));
        });
    }
}
