//! The state machine: pure, shared between threads, with time as an argument.
//!
//! Each transition starts a generation. A [`Ticket`] remembers the generation that admitted its
//! call; a result of an older one feeds counters and never the state. So a call that was admitted
//! before an outage cannot close, or open, what came after.
//!
//! A closed breaker admits with one load and settles in the window, without a lock, and without the
//! clock unless settings need it. Everything else is rare and happens under one lock, which also
//! guards every store to `state`.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of packed words")]
use crate::breaker::config::CircuitBreakerConfig;
use crate::breaker::counts::{Counts, Told};
use crate::breaker::probes::Probes;
use crate::breaker::rules::{Rule, Rules, nanos};
use crate::breaker::state::{State, TIMED, Word, next_generation};
use crate::breaker::streak::Streak;
use crate::breaker::ticket::{Role, Ticket};
use crate::breaker::wait::Waits;
use crate::breaker::window::{History, Mark, Recorded, Tally};
use crate::outcome::Outcome;
use fastrand::Rng;
use octostack_core::Clock;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use octostack_core::sync::{Mutex, lock};
use std::time::{Duration, Instant};

mod trial;
mod view;

/// A change of state, for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: State,
    pub(super) to: State,
    /// What opened it, if it opened.
    pub(super) rule: Option<Rule>,
    pub(super) cause: String,
}

/// The answer to a call that asks to be admitted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted(Ticket),
    Rejected { retry_after: Option<Duration> },
}

/// What every call reads comes first. A line of its own keeps the reference counts of the `Arc`
/// around it away from that.
#[repr(align(64))]
pub(in crate::breaker) struct Machine {
    state: AtomicU64,
    history: History,
    rules: Rules,
    /// Whether a success only has to go into a window of calls.
    plain: AtomicBool,
    /// When to try again, in nanoseconds since `epoch`: so that rejecting takes no lock.
    open_until: AtomicU64,
    epoch: Instant,
    streak: Streak,
    counts: Counts,
    cold: Mutex<Cold>,
}

/// Times are nanoseconds since the epoch.
struct Cold {
    settings: CircuitBreakerConfig,
    probes: Probes,
    /// When it opened last.
    opened_at: u64,
    /// When the last trial call began.
    leased_at: u64,
    /// Until when the service asked not to be called.
    asked_until: u64,
    /// How often it has opened again since it was closed.
    again: u32,
    /// Decides about the jitter of the wait that runs.
    chance: f64,
    dice: Rng,
    /// By state before and after.
    transitions: [[u64; 3]; 3],
    told: Told,
}

impl Machine {
    pub(super) fn new(
        mode: Mode,
        settings: CircuitBreakerConfig,
        dice: Rng,
        clock: &impl Clock,
    ) -> Self {
        let first = Word {
            generation: 1,
            mode,
            state: State::Closed,
            timed: !settings.slow_call_duration.is_zero(),
        };
        let machine = Self {
            state: AtomicU64::new(first.pack()),
            history: History::new(settings.window),
            rules: Rules::new(&settings),
            plain: AtomicBool::new(settings.is_plain()),
            open_until: AtomicU64::new(0),
            epoch: clock.now(),
            streak: Streak::new(),
            counts: Counts::default(),
            cold: Mutex::new(Cold {
                settings,
                probes: Probes::default(),
                opened_at: 0,
                leased_at: 0,
                asked_until: 0,
                again: 0,
                chance: 0.0,
                dice,
                transitions: [[0; 3]; 3],
                told: Told::default(),
            }),
        };
        machine.history.reset(1, lock(&machine.cold).settings.window, 0);
        machine.streak.reset(1, 0);
        machine
    }

    /// Asks to be admitted. Reads the clock only if the breaker is not closed, or tells slow calls.
    #[inline]
    pub(super) fn admit(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let state = self.state.load(Acquire);
        let generation = (state >> 32) as u32;
        let ticket = match state as u32 {
            0 => Ticket::new(generation, Role::Measured), // closed and enforcing
            TIMED => self.started(generation, clock),
            _ => return self.admit_slowly(clock),
        };
        (Admission::Admitted(ticket), None)
    }

    // Apart from `admit`, and `settle_otherwise` from `settle`: so that those are small enough to
    // become part of their callers.
    #[inline(never)]
    fn started(&self, generation: u32, clock: &impl Clock) -> Ticket {
        Ticket::new(generation, Role::Measured).started(self.nanos(clock.now()))
    }

    /// Takes a result, and when the service wants to be asked again. Reads the clock only if that
    /// or the settings need it, or if it opens the breaker.
    #[inline]
    pub(super) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        retry_after: Option<Duration>,
        clock: &impl Clock,
    ) -> Option<Transition> {
        if outcome != Outcome::Success {
            return self.settle_slowly(ticket, outcome, retry_after, clock);
        }
        if ticket.is_plain() && self.plain.load(Relaxed) {
            return match self.history.record(ticket.generation(), Mark::FINE) {
                Recorded::Quiet => None,
                recorded => self.judge(ticket.generation(), false, recorded, clock),
            };
        }
        self.settle_otherwise(ticket, clock)
    }

    /// A success that takes more than a place in a window of calls.
    #[inline(never)]
    fn settle_otherwise(&self, ticket: Ticket, clock: &impl Clock) -> Option<Transition> {
        match ticket.role() {
            Role::Measured => self.record(ticket, false, clock),
            Role::Probe | Role::Counted => {
                self.settle_slowly(ticket, Outcome::Success, None, clock)
            }
        }
    }

    /// Puts a result into the window and judges what it holds then.
    #[inline]
    fn record(&self, ticket: Ticket, failed: bool, clock: &impl Clock) -> Option<Transition> {
        let generation = ticket.generation();
        let by_time = self.history.is_by_time();
        if !by_time && !ticket.is_timed() {
            let recorded = self.history.record(generation, Mark { failed, slow: false });
            return self.judge(generation, failed, recorded, clock);
        }
        let time = clock.now();
        let now = self.nanos(time);
        let mark = Mark { failed, slow: ticket.is_slow(now, self.rules.slow_from()) };
        let recorded = if by_time {
            self.history.record_at(generation, mark, now, self.rules.minimum_calls())
        } else {
            self.history.record(generation, mark)
        };
        self.judge(generation, failed, recorded, &time)
    }

    #[inline]
    fn judge(
        &self,
        generation: u32,
        failed: bool,
        recorded: Recorded,
        clock: &impl Clock,
    ) -> Option<Transition> {
        let streak = match recorded {
            Recorded::Stale if failed => {
                self.counts.measured.fetch_sub(1, Relaxed);
                return None;
            }
            Recorded::Stale => {
                self.counts.count(Outcome::Success);
                return None;
            }
            _ if self.rules.has_streak() => self.streak.record(generation, failed),
            _ => 0,
        };
        match recorded {
            Recorded::Evaluate(tally) => self.evaluate(generation, tally, streak, clock),
            Recorded::Quiet | Recorded::Stale => None,
        }
    }

    #[cold]
    fn admit_slowly(&self, clock: &impl Clock) -> (Admission, Option<Transition>) {
        let word = self.word();
        // An open breaker rejects as many calls as a closed one admits: it goes first.
        if (word.mode, word.state) == (Mode::Enforce, State::Open) {
            let wait = self.open_until.load(Acquire).saturating_sub(self.nanos(clock.now()));
            if wait > 0 {
                self.counts.rejected.fetch_add(1, Relaxed);
                let retry_after = Some(Duration::from_nanos(wait));
                return (Admission::Rejected { retry_after }, None);
            }
        }
        let counted = || Admission::Admitted(Ticket::new(word.generation, Role::Counted));
        let (admission, transition) = match (word.mode, word.state) {
            (Mode::Disabled, _) | (Mode::ForcedClosed, State::Open | State::HalfOpen) => {
                (counted(), None)
            }
            (Mode::ForcedOpen, _) => (Admission::Rejected { retry_after: None }, None),
            (_, State::Closed) => {
                (Admission::Admitted(self.ticket(word, Role::Measured, clock)), None)
            }
            (_, State::Open | State::HalfOpen) => self.probe(clock),
        };
        match (admission, word.mode) {
            (Admission::Rejected { .. }, Mode::Shadow) => {
                self.counts.shadow_rejected.fetch_add(1, Relaxed);
                (counted(), transition)
            }
            (Admission::Rejected { retry_after }, _) => {
                self.counts.rejected.fetch_add(1, Relaxed);
                (Admission::Rejected { retry_after }, transition)
            }
            (admission, _) => (admission, transition),
        }
    }

    fn ticket(&self, word: Word, role: Role, clock: &impl Clock) -> Ticket {
        let ticket = Ticket::new(word.generation, role);
        if word.timed { ticket.started(self.nanos(clock.now())) } else { ticket }
    }

    #[cold]
    fn settle_slowly(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        retry_after: Option<Duration>,
        clock: &impl Clock,
    ) -> Option<Transition> {
        self.counts.count(outcome);
        let failed = matches!(outcome, Outcome::Failure | Outcome::Overloaded);
        if let (true, Some(wait)) = (failed, retry_after) {
            self.keep_off(ticket, wait, clock);
        }
        match ticket.role() {
            Role::Probe => self.settle_probe(ticket, outcome, clock),
            Role::Measured if failed => {
                // Before it is in the window: else it would look like a success for a moment.
                self.counts.measured.fetch_add(1, Relaxed);
                self.record(ticket, true, clock)
            }
            Role::Counted | Role::Measured => None,
        }
    }

    #[inline]
    fn evaluate(
        &self,
        generation: u32,
        tally: Tally,
        streak: u32,
        clock: &impl Clock,
    ) -> Option<Transition> {
        self.rules.broken(tally, streak).and_then(|_| self.trip(generation, streak, clock))
    }

    #[cold]
    fn trip(&self, generation: u32, streak: u32, clock: &impl Clock) -> Option<Transition> {
        let now = self.nanos(clock.now());
        let mut cold = lock(&self.cold);
        let word = self.word();
        let held = matches!(word.mode, Mode::ForcedClosed | Mode::Disabled);
        if word.generation != generation || word.state != State::Closed || held {
            return None; // somebody else did it, or it is not to happen
        }
        let tally = self.history.tally(generation, now);
        let rule = self.rules.broken(tally, streak)?;
        let cause = rule.describe(tally, streak, &cold.settings);
        // ## Closed => Open
        Some(self.open(&mut cold, now, rule, cause))
    }

    fn open(&self, cold: &mut Cold, now: u64, rule: Rule, cause: String) -> Transition {
        // Threads may read the clock in one order and come here in another.
        cold.opened_at = now.max(cold.leased_at);
        cold.chance = cold.dice.f64();
        self.set_open_until(cold);
        self.transit(cold, now, State::Open, Some(rule), cause)
    }

    fn set_open_until(&self, cold: &Cold) {
        let asked = Duration::from_nanos(cold.asked_until.saturating_sub(cold.opened_at));
        let wait = Waits::new(&cold.settings).wait(cold.again, cold.chance, asked);
        self.open_until.store(cold.opened_at.saturating_add(nanos(wait)), Release);
    }

    /// The one place where the state changes.
    fn transit(
        &self,
        cold: &mut Cold,
        now: u64,
        to: State,
        rule: Option<Rule>,
        cause: String,
    ) -> Transition {
        let word = self.word();
        let generation = next_generation(word.generation);
        cold.probes = Probes::default();
        if to != State::Open {
            cold.asked_until = 0;
        }
        if to == State::Closed {
            cold.again = 0;
        }
        cold.transitions[word.state as usize][to as usize] += 1;
        self.history.reset(generation, cold.settings.window, now);
        self.streak.reset(generation, 0);
        self.store(Word { generation, state: to, ..word });
        Transition { from: word.state, to, rule, cause }
    }

    /// Takes other settings and another mode, and keeps the window.
    pub(super) fn apply(&self, mode: Mode, settings: &CircuitBreakerConfig, clock: &impl Clock) {
        let now = self.nanos(clock.now());
        let mut cold = lock(&self.cold);
        let mut word = self.word();
        // In the other states the window is empty, and becomes what it has to be when it closes.
        if word.state == State::Closed && !self.history.is(settings.window) {
            let old = word.generation;
            word.generation = next_generation(old);
            self.history.change(old, word.generation, settings.window, now);
            self.streak.reset(word.generation, self.streak.look(old));
        }
        if settings.consecutive_failures == 0 {
            self.streak.reset(word.generation, 0); // nobody ends it any more
        }
        cold.settings = settings.clone();
        self.set_open_until(&cold); // what opened it under a longer wait is not to outlive that
        self.rules.set(settings);
        self.plain.store(settings.is_plain(), Relaxed);
        self.store(Word { mode, timed: !settings.slow_call_duration.is_zero(), ..word });
    }

    #[inline]
    fn word(&self) -> Word {
        Word::unpack(self.state.load(Acquire))
    }

    fn store(&self, word: Word) {
        self.state.store(word.pack(), Release);
    }

    /// Nanoseconds since the breaker was made: 584 years fit.
    #[inline]
    fn nanos(&self, instant: Instant) -> u64 {
        instant.checked_duration_since(self.epoch).map_or(0, nanos)
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
mod tests;
