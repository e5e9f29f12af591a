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
use super::probes::{Probes, Verdict, reaches};
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
    /// When it opened last.
    opened_at: Instant,
    /// When the last trial call began.
    leased_at: Instant,
    /// By state before and after.
    transitions: [[u64; 3]; 3],
    /// Outcomes as they were told last, so that none is ever told smaller.
    told: [u64; 5],
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
                opened_at: epoch,
                leased_at: epoch,
                transitions: [[0; 3]; 3],
                told: [0; 5],
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
        let (_, _, state) = unpack(self.state.load(Acquire));
        let transition = match state {
            // ## Open => HalfOpen
            State::Open if self.open_until.load(Relaxed) <= self.nanos(now) => {
                Some(self.transit(&mut cold, State::HalfOpen, "the wait is over".into()))
            }
            // Other settings may have decided what the results so far left open.
            State::HalfOpen => self.decide(&mut cold, &now),
            State::Open | State::Closed => None,
        };
        let (generation, _, state) = unpack(self.state.load(Acquire));
        let ticket = match state {
            State::Closed => Some(Ticket::new(generation, Role::Measured)),
            State::HalfOpen => self.lease(&mut cold, now),
            State::Open => None,
        };
        match ticket {
            Some(ticket) => (Admission::Admitted(ticket), transition),
            None => (Admission::Rejected { retry_after: None }, transition),
        }
    }

    /// A place among the trial calls.
    fn lease(&self, cold: &mut Cold, now: Instant) -> Option<Ticket> {
        let CircuitBreakerConfig { half_open_calls, half_open_timeout, .. } = cold.settings;
        let since = now.saturating_duration_since(cold.leased_at);
        if !cold.probes.lease(half_open_calls) {
            if since < half_open_timeout || !cold.probes.reclaim() {
                return None;
            }
            // ## HalfOpen => HalfOpen of the next generation: what hangs comes back too late
            let (generation, mode, state) = unpack(self.state.load(Acquire));
            self.state.store(pack(next_generation(generation), mode, state), Release);
            cold.probes.lease(half_open_calls);
        }
        cold.leased_at = now;
        let (generation, _, _) = unpack(self.state.load(Acquire));
        Some(Ticket::new(generation, Role::Probe))
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
                // Before it is in the ring: else it would look like a success for a moment.
                self.counts.in_ring.fetch_add(1, Relaxed);
                match self.ring.record(ticket.generation(), true) {
                    Recorded::Evaluate(tally) => self.evaluate(ticket.generation(), tally, clock),
                    Recorded::Quiet | Recorded::Stale => {
                        self.counts.in_ring.fetch_sub(1, Relaxed);
                        None
                    }
                }
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
        self.decide(&mut cold, clock)
    }

    /// Half-open: do the results so far decide it?
    fn decide(&self, cold: &mut Cold, clock: &impl Clock) -> Option<Transition> {
        let Probes { succeeded, failed, .. } = cold.probes;
        let CircuitBreakerConfig { half_open_calls, failure_rate, .. } = cold.settings;
        let cause = format!("{failed} of {} trial calls failed", succeeded + failed);
        match cold.probes.verdict(half_open_calls, failure_rate) {
            Verdict::Undecided => None,
            // ## HalfOpen => Closed
            Verdict::Close => Some(self.transit(cold, State::Closed, cause)),
            // ## HalfOpen => Open
            Verdict::Reopen => Some(self.open(cold, clock.now(), cause)),
        }
    }

    fn evaluate(&self, generation: u32, tally: Tally, clock: &impl Clock) -> Option<Transition> {
        self.is_too_bad(tally).then(|| self.trip(generation, clock)).flatten()
    }

    fn is_too_bad(&self, tally: Tally) -> bool {
        let rate = f64::from_bits(self.failure_rate.load(Relaxed));
        tally.calls >= self.minimum_calls.load(Relaxed)
            && tally.failures > 0
            && reaches(tally.failures, tally.calls, rate)
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
        cold.opened_at = now;
        self.set_open_until(cold);
        self.transit(cold, State::Open, cause)
    }

    fn set_open_until(&self, cold: &Cold) {
        // A day at most, so it fits.
        let wait = u64::try_from(cold.settings.open_for.as_nanos()).unwrap_or(u64::MAX);
        self.open_until.store(self.nanos(cold.opened_at).saturating_add(wait), Release);
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
        self.set_open_until(&cold); // what opened it under a longer wait is not to outlive that
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

    /// The counts so far. None is ever smaller than the last time.
    pub(super) fn totals(&self) -> Totals {
        // A reset moves a generation's count from one place to another, under this lock.
        let mut cold = lock(&self.cold);
        let Counts { in_ring, outcomes, rejected, shadow_rejected } = &self.counts;
        let successes = self.ring.recorded().saturating_sub(in_ring.load(Relaxed));
        for outcome in Outcome::ALL {
            let in_ring = if outcome == Outcome::Success { successes } else { 0 };
            let now = outcomes[outcome as usize].load(Relaxed) + in_ring;
            let told = &mut cold.told[outcome as usize];
            *told = now.max(*told);
        }
        Totals {
            permitted: cold.told.iter().sum(),
            rejected: rejected.load(Relaxed),
            shadow_rejected: shadow_rejected.load(Relaxed),
            outcomes: Some(cold.told),
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
