//! What is injected into which call: shared between threads, with time and chance as arguments.
//!
//! `armed` is 0 while nothing is to be injected, which is almost always: one load then decides.
//! Otherwise a call takes the rules as a whole, by the short lock of a [`Dynamic`] and a reference
//! count. That is about 20 ns, on a path whose purpose is to fail; for it, a call never mixes the
//! rates of one setting with the target of another, and the numbers of the calls start anew with
//! the rules that they belong to.
use super::config::ChaosConfig;
use super::only::Only;
use super::replay;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use octostack_core::{Clock, Dynamic};
use std::time::{Duration, Instant};

/// What to do to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) latency: Duration,
    pub(super) error: bool,
    /// Of the rules that decided it; see [`Machine::lasts`].
    pub(super) generation: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls that were meant and passed without an injected error.
    pub(super) passed: u64,
    /// Calls that were not meant, while others were.
    pub(super) outside: u64,
    pub(super) errors: u64,
    pub(super) delays: u64,
    /// Errors that shadow mode withheld.
    pub(super) shadow_errors: u64,
    /// Latencies that shadow mode withheld.
    pub(super) shadow_delays: u64,
}

/// How it stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Idle,
    Armed { seed: u32, drawn: u64, expires_in: Option<Duration> },
    Expired,
}

/// Settings as a call needs them.
#[derive(Debug)]
struct Rules {
    /// Whether there is anything to inject.
    active: bool,
    shadow: bool,
    error_rate: f64,
    latency_rate: f64,
    latency: Duration,
    jitter: Duration,
    only: Only,
    ends: Option<Instant>,
    seed: u32,
    /// Calls drawn by these rules.
    drawn: AtomicU64,
}

impl Rules {
    fn new(mode: Mode, settings: &ChaosConfig, seed: u32, since: Instant) -> Self {
        let run = settings.expires_after;
        Self {
            active: settings.injects() && mode != Mode::Disabled,
            shadow: mode == Mode::Shadow,
            error_rate: settings.error_rate,
            latency_rate: settings.latency_rate,
            latency: settings.latency,
            jitter: settings.latency_jitter,
            only: Only::new(settings),
            ends: (!run.is_zero()).then(|| since + run),
            seed,
            drawn: AtomicU64::new(0),
        }
    }

    /// The number of the next call: 0 for the first.
    fn next(&self) -> u64 {
        if cfg!(octostack_planted_bug) {
            let n = self.drawn.load(Relaxed);
            self.drawn.store(n + 1, Relaxed);
            return n;
        }
        self.drawn.fetch_add(1, Relaxed)
    }

    /// What the given numbers, each from 0 to below 1, do to a call: whether there is an error, and
    /// how long it is held back. What one number decides does not depend on the others, nor on what
    /// the other settings are.
    fn decide(&self, [for_error, for_latency, for_jitter]: [f64; 3]) -> (bool, Duration) {
        let delay = for_latency < self.latency_rate;
        let latency = self.latency + self.jitter.mul_f64(for_jitter);
        (for_error < self.error_rate, if delay { latency } else { Duration::ZERO })
    }
}

#[derive(Debug)]
pub(super) struct Machine {
    /// 0, or the generation of the rules.
    armed: AtomicU64,
    rules: Dynamic<Rules>,
    passed: AtomicU64,
    outside: AtomicU64,
    errors: AtomicU64,
    delays: AtomicU64,
    shadow_errors: AtomicU64,
    shadow_delays: AtomicU64,
}

impl Machine {
    pub(super) fn new(mode: Mode, settings: &ChaosConfig, seed: u32, since: Instant) -> Self {
        let rules = Rules::new(mode, settings, seed, since);
        Self {
            armed: AtomicU64::new(rules.active.into()), // of the first generation
            rules: Dynamic::new(rules),
            passed: AtomicU64::new(0),
            outside: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            delays: AtomicU64::new(0),
            shadow_errors: AtomicU64::new(0),
            shadow_delays: AtomicU64::new(0),
        }
    }

    /// Takes new settings, that are in force `since` then. Changes do not race: the caller holds
    /// the lock of the settings.
    pub(super) fn apply(&self, mode: Mode, settings: &ChaosConfig, seed: u32, since: Instant) {
        let rules = Rules::new(mode, settings, seed, since);
        let active = rules.active;
        let generation = self.rules.store(rules);
        // A swap, so that it is ordered with that of an expiry.
        self.armed.swap(if active { generation } else { 0 }, AcqRel);
    }

    /// Whether [`draw`](Self::draw) has anything to do.
    #[inline]
    pub(super) fn armed(&self) -> bool {
        self.armed.load(Relaxed) != 0
    }

    /// Whether the rules that decided a call are still in force.
    pub(super) fn lasts(&self, generation: u64) -> bool {
        self.armed.load(Relaxed) == generation
    }

    /// Decides one call and counts the decision; `None` for nothing. `meant` says whether the call
    /// has what it must have.
    pub(super) fn draw(
        &self,
        meant: impl FnOnce(&Only) -> bool,
        clock: &impl Clock,
    ) -> Option<Draw> {
        let rules = self.rules.load();
        if !rules.active {
            return None;
        }
        let mut left = Duration::MAX;
        if let Some(ends) = rules.ends {
            left = ends.saturating_duration_since(clock.now());
            if left.is_zero() {
                self.expire(rules.generation);
                return None;
            }
        }
        if !meant(&rules.only) {
            self.outside.fetch_add(1, Relaxed);
            return None;
        }
        let (error, latency) = rules.decide(replay::numbers(rules.seed, rules.next()));
        let delay = !latency.is_zero();
        let (errors, delays) = if rules.shadow {
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
        if rules.shadow || !error {
            self.passed.fetch_add(1, Relaxed);
        }
        let fault = (error || delay) && !rules.shadow;
        let generation = rules.generation;
        fault.then(|| Draw { latency: latency.min(left), error, generation })
    }

    /// From now on one load decides again. Newer rules, that came between, stay.
    fn expire(&self, generation: u64) {
        if cfg!(octostack_planted_bug) {
            self.armed.store(0, Release);
            return;
        }
        // If it fails, there are newer rules, or somebody else was faster.
        let _ = self.armed.compare_exchange(generation, 0, AcqRel, Acquire);
    }

    pub(super) fn standing(&self, clock: &impl Clock) -> Standing {
        let rules = self.rules.load();
        if !rules.active {
            return Standing::Idle;
        }
        let expires_in = rules.ends.map(|ends| ends.saturating_duration_since(clock.now()));
        if expires_in == Some(Duration::ZERO) {
            return Standing::Expired;
        }
        Standing::Armed { seed: rules.seed, drawn: rules.drawn.load(Relaxed), expires_in }
    }

    /// Which calls are meant, for people.
    pub(super) fn only(&self) -> String {
        self.rules.load().only.to_string()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            passed: self.passed.load(Relaxed),
            outside: self.outside.load(Relaxed),
            errors: self.errors.load(Relaxed),
            delays: self.delays.load(Relaxed),
            shadow_errors: self.shadow_errors.load(Relaxed),
            shadow_delays: self.shadow_delays.load(Relaxed),
        }
    }
}

#[cfg(all(test, octostack_loom))]
#[path = "machine_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "machine_tests.rs"]
mod tests;
