//! The state machine: pure, shared between threads, with time as an argument.
//!
//! Each transition starts a generation. A [`Ticket`] remembers the generation that admitted its
//! call; a result of an older one feeds counters and never the state. So a call that was admitted
//! before an outage cannot close, or open, what came after.
//!
//! A closed breaker admits with one load and settles in the ring, without a lock and without the
//! clock. Everything else is rare and happens under one lock, which also guards every store to
//! `state`.
use super::config::CircuitBreakerConfig;
use super::probes::{Probes, Verdict};
use super::ring::{Recorded, Ring, Tally};
use super::state::{State, next_generation, pack, unpack};
use super::ticket::{Role, Ticket};
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::Clock;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use octostack_core::sync::{Mutex, lock};
use std::time::{Duration, Instant};

/// A change of state, for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: State,
    pub(super) to: State,
    pub(super) cause: String,
}

/// The answer to a call that asks to be admitted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted(Ticket),
    Rejected { retry_after: Option<Duration> },
}

pub(super) struct Machine {
    state: Padded<AtomicU64>,
    ring: Ring,
    failure_rate: AtomicU64,
    minimum_calls: AtomicU32,
    /// When to try again, in nanoseconds since `epoch`: so that rejecting takes no lock.
    open_until: AtomicU64,
    counts: Counts,
    epoch: Instant,
    cold: Mutex<Cold>,
}

/// What the ring does not know. Successes are what it recorded less the failures among them.
#[derive(Default)]
struct Counts {
    /// Failures and overloads in the ring.
    in_ring: AtomicU64,
    /// By outcome; of successes only those that are not in the ring.
    outcomes: [AtomicU64; 5],
    rejected: AtomicU64,
    shadow_rejected: AtomicU64,
}

struct Cold {
    settings: CircuitBreakerConfig,
    probes: Probes,
    half_open_since: Instant,
    /// By state before and after.
    transitions: [[u64; 3]; 3],
}

impl Machine {
    pub(super) fn new(mode: Mode, settings: CircuitBreakerConfig, clock: &impl Clock) -> Self {
        let epoch = clock.now();
        // Room to grow to the usual sizes while running; 256 bytes.
        let size = settings.window.size();
        let ring = Ring::new(size, size.max(1_024));
        ring.reset(1, size);
        Self {
            state: Padded(AtomicU64::new(pack(1, mode, State::Closed))),
            ring,
            failure_rate: AtomicU64::new(settings.failure_rate.to_bits()),
            minimum_calls: AtomicU32::new(settings.minimum_calls),
            open_until: AtomicU64::new(0),
            counts: Counts::default(),
            epoch,
            cold: Mutex::new(Cold {
                settings,
                probes: Probes::default(),
                half_open_since: epoch,
                transitions: [[0; 3]; 3],
            }),
        }
    }

    /// Asks to be admitted. Reads the clock only if the breaker is not closed.
    #[inline]
    pub(super) fn admit(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let state = self.state.load(Acquire);
        if state.trailing_zeros() >= 32 {
            // closed and enforcing
            let generation = (state >> 32) as u32;
            return (Admission::Admitted(Ticket::new(generation, Role::Measured)), None);
        }
        self.admit_slowly(clock)
    }

    /// Takes a result. Reads the clock only if it opens the breaker.
    #[inline]
    pub(super) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        clock: &impl Clock,
    ) -> Option<Transition> {
        if outcome == Outcome::Success && ticket.role() == Role::Measured {
            return match self.ring.record(ticket.generation(), false) {
                Recorded::Quiet => None,
                Recorded::Evaluate(tally) => self.evaluate(ticket.generation(), tally, clock),
                Recorded::Stale => {
                    self.count(outcome);
                    None
                }
            };
        }
        self.settle_slowly(ticket, outcome, clock)
    }

    #[cold]
    fn admit_slowly(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let (generation, mode, state) = unpack(self.state.load(Acquire));
        let admitted = |role| Admission::Admitted(Ticket::new(generation, role));
        let (admission, transition) = match (mode, state) {
            (Mode::Disabled, _) | (Mode::ForcedClosed, State::Open | State::HalfOpen) => {
                (admitted(Role::Counted), None)
            }
            (Mode::ForcedOpen, _) => (Admission::Rejected { retry_after: None }, None),
            (_, State::Closed) => (admitted(Role::Measured), None),
            (_, State::Open | State::HalfOpen) => self.probe(clock),
        };
        match (admission, mode) {
            (Admission::Rejected { .. }, Mode::Shadow) => {
                self.counts.shadow_rejected.fetch_add(1, Relaxed);
                (admitted(Role::Counted), transition)
            }
            (Admission::Rejected { retry_after }, _) => {
                self.counts.rejected.fetch_add(1, Relaxed);
                (Admission::Rejected { retry_after }, transition)
            }
            (admission, _) => (admission, transition),
        }
    }

    /// Open or half-open: is it time to try, and is there a lease?
    fn probe(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let now = clock.now();
        let wait = self.open_until.load(Acquire).saturating_sub(self.nanos(now));
        if wait > 0 && self.state() == State::Open {
            let retry_after = Some(Duration::from_nanos(wait));
            return (Admission::Rejected { retry_after }, None);
        }
        let mut cold = lock(&self.cold);
        let (generation, mode, state) = unpack(self.state.load(Acquire));
        let calls = cold.settings.half_open_calls;
        let transition = match state {
            // ## Open => HalfOpen
            State::Open if self.open_until.load(Relaxed) <= self.nanos(now) => {
                cold.half_open_since = now;
                Some(self.transit(&mut cold, State::HalfOpen, "the wait is over".into()))
            }
            // ## HalfOpen => HalfOpen of the next generation, so that what hangs is forgotten
            State::HalfOpen if now >= cold.half_open_since + cold.settings.half_open_timeout => {
                cold.half_open_since = now;
                cold.probes = Probes::default();
                let next = next_generation(generation);
                self.state.store(pack(next, mode, State::HalfOpen), Release);
                None
            }
            State::Open | State::HalfOpen => None,
            // Closed by a probe in the meantime.
            State::Closed => {
                let ticket = Ticket::new(generation, Role::Measured);
                return (Admission::Admitted(ticket), None);
            }
        };
        let (generation, _, state) = unpack(self.state.load(Acquire));
        if state == State::HalfOpen && cold.probes.lease(calls) {
            (Admission::Admitted(Ticket::new(generation, Role::Probe)), transition)
        } else {
            (Admission::Rejected { retry_after: None }, transition)
        }
    }

    #[cold]
    fn settle_slowly(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        clock: &impl Clock,
    ) -> Option<Transition> {
        self.count(outcome);
        match (ticket.role(), outcome) {
            (Role::Probe, _) => self.settle_probe(ticket, outcome, clock),
            (Role::Measured, Outcome::Failure | Outcome::Overloaded) => {
                let Recorded::Evaluate(tally) = self.ring.record(ticket.generation(), true) else {
                    return None;
                };
                self.counts.in_ring.fetch_add(1, Relaxed);
                self.evaluate(ticket.generation(), tally, clock)
            }
            (Role::Counted, _)
            | (Role::Measured, Outcome::Success | Outcome::Ignored | Outcome::Cancelled) => None,
        }
    }

    fn settle_probe(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        clock: &impl Clock,
    ) -> Option<Transition> {
        let mut cold = lock(&self.cold);
        let (generation, _, state) = unpack(self.state.load(Acquire));
        if (generation, state) != (ticket.generation(), State::HalfOpen) {
            return None; // too late to have a say
        }
        cold.probes.settle(outcome);
        let Probes { succeeded, failed, .. } = cold.probes;
        let CircuitBreakerConfig { half_open_calls, failure_rate, .. } = cold.settings;
        let cause = format!("{failed} of {} trial calls failed", succeeded + failed);
        match cold.probes.verdict(half_open_calls, failure_rate) {
            Verdict::Undecided => None,
            // ## HalfOpen => Closed
            Verdict::Close => Some(self.transit(&mut cold, State::Closed, cause)),
            // ## HalfOpen => Open
            Verdict::Reopen => Some(self.open(&mut cold, clock.now(), cause)),
        }
    }

    fn evaluate(&self, generation: u32, tally: Tally, clock: &impl Clock) -> Option<Transition> {
        self.is_too_bad(tally).then(|| self.trip(generation, clock)).flatten()
    }

    fn is_too_bad(&self, tally: Tally) -> bool {
        let rate = f64::from_bits(self.failure_rate.load(Relaxed));
        tally.calls >= self.minimum_calls.load(Relaxed)
            && tally.failures > 0
            && f64::from(tally.failures) >= rate * f64::from(tally.calls)
    }

    #[cold]
    fn trip(&self, generation: u32, clock: &impl Clock) -> Option<Transition> {
        let mut cold = lock(&self.cold);
        let (now, mode, state) = unpack(self.state.load(Acquire));
        let tally = self.ring.look(generation);
        let held = matches!(mode, Mode::ForcedClosed | Mode::Disabled);
        if now != generation || state != State::Closed || held || !self.is_too_bad(tally) {
            return None; // somebody else did it, or it is not to happen
        }
        let Tally { calls, failures } = tally;
        let limit = cold.settings.failure_rate * 100.0;
        let cause = format!("{failures} of the last {calls} calls failed; the limit is {limit} %");
        // ## Closed => Open
        Some(self.open(&mut cold, clock.now(), cause))
    }

    fn open(&self, cold: &mut Cold, now: Instant, cause: String) -> Transition {
        let until = self.nanos(now + cold.settings.open_for);
        self.open_until.store(until, Release);
        self.transit(cold, State::Open, cause)
    }

    /// The one place where the state changes.
    fn transit(&self, cold: &mut Cold, to: State, cause: String) -> Transition {
        let (generation, mode, from) = unpack(self.state.load(Acquire));
        let next = next_generation(generation);
        cold.probes = Probes::default();
        cold.transitions[from as usize][to as usize] += 1;
        self.ring.reset(next, cold.settings.window.size());
        self.state.store(pack(next, mode, to), Release);
        Transition { from, to, cause }
    }

    /// Takes other settings and another mode, and keeps the window.
    pub(super) fn apply(&self, mode: Mode, settings: &CircuitBreakerConfig) {
        let mut cold = lock(&self.cold);
        let (mut generation, _, state) = unpack(self.state.load(Acquire));
        let size = settings.window.size().min(self.ring.capacity());
        // In the other states the ring is empty, and gets its size when it closes.
        if state == State::Closed && size != self.ring.size() {
            let results = self.ring.results(generation);
            generation = next_generation(generation);
            self.ring.resize(generation, size, &results);
        }
        cold.settings = settings.clone();
        self.failure_rate.store(settings.failure_rate.to_bits(), Relaxed);
        self.minimum_calls.store(settings.minimum_calls.min(size), Relaxed);
        self.state.store(pack(generation, mode, state), Release);
    }

    /// The state that callers meet: that of the machine, unless the mode forces another.
    pub(super) fn state(&self) -> State {
        match unpack(self.state.load(Acquire)) {
            (_, Mode::ForcedOpen, _) => State::Open,
            (_, Mode::ForcedClosed | Mode::Disabled, _) => State::Closed,
            (_, Mode::Enforce | Mode::Shadow, state) => state,
        }
    }

    /// How large the window can become while running.
    pub(super) fn capacity(&self) -> u32 {
        self.ring.capacity()
    }

    /// Calls and failures in the window.
    pub(super) fn tally(&self) -> Tally {
        self.ring.look((self.state.load(Acquire) >> 32) as u32)
    }

    pub(super) fn transitions(&self) -> [[u64; 3]; 3] {
        lock(&self.cold).transitions
    }

    pub(super) fn totals(&self) -> Totals {
        let Counts { in_ring, outcomes, rejected, shadow_rejected } = &self.counts;
        let mut outcomes = std::array::from_fn(|i| outcomes[i].load(Relaxed));
        let successes = self.ring.recorded().saturating_sub(in_ring.load(Relaxed));
        outcomes[Outcome::Success as usize] += successes;
        Totals {
            permitted: outcomes.iter().sum(),
            rejected: rejected.load(Relaxed),
            shadow_rejected: shadow_rejected.load(Relaxed),
            outcomes: Some(outcomes),
        }
    }

    fn count(&self, outcome: Outcome) {
        self.counts.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// Nanoseconds since the breaker was made: 584 years fit.
    fn nanos(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(all(test, octostack_loom))]
#[path = "machine_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "machine_tests.rs"]
mod tests;
