//! What pages, metrics and other policies are told.
use super::Machine;
use crate::breaker::state::{State, Word};
use crate::breaker::window::Tally;
use crate::counters::Totals;
use octostack_core::Clock;
use octostack_core::inspect::Mode;
use octostack_core::sync::{atomic::Ordering::Acquire, lock};
use std::time::Duration;

impl Machine {
    /// The state that callers meet: that of the machine, unless the mode forces another.
    pub(in crate::breaker) fn state(&self) -> State {
        match self.word() {
            Word { mode: Mode::ForcedOpen, .. } => State::Open,
            Word { mode: Mode::ForcedClosed | Mode::Disabled, .. } => State::Closed,
            Word { mode: Mode::Enforce | Mode::Shadow, state, .. } => state,
        }
    }

    /// Whether the machine is closed, whatever the mode makes of it.
    pub(in crate::breaker) fn at_rest(&self) -> bool {
        self.word().state == State::Closed
    }

    /// Whether the machine is closed, or would try again if it was asked.
    pub(in crate::breaker) fn may_try(&self, clock: &impl Clock) -> bool {
        self.at_rest() || self.open_until.load(Acquire) <= self.nanos(clock.now())
    }

    /// How large a window of calls can become while running.
    pub(in crate::breaker) fn capacity(&self) -> u32 {
        self.history.capacity()
    }

    /// What is in the window, and how many calls failed in a row.
    pub(in crate::breaker) fn tally(&self, clock: &impl Clock) -> (Tally, u32) {
        let Word { generation, .. } = self.word();
        let now = self.nanos(clock.now());
        (self.history.tally(generation, now), self.streak.look(generation))
    }

    /// How long an open breaker still waits. One that is forced open waits for no time.
    pub(in crate::breaker) fn waits(&self, clock: &impl Clock) -> Option<Duration> {
        let wait = self.open_until.load(Acquire).saturating_sub(self.nanos(clock.now()));
        let Word { mode, state, .. } = self.word();
        let waits = state == State::Open && matches!(mode, Mode::Enforce | Mode::Shadow);
        (waits && wait > 0).then(|| Duration::from_nanos(wait))
    }

    pub(in crate::breaker) fn transitions(&self) -> [[u64; 3]; 3] {
        lock(&self.cold).transitions
    }

    /// The counts so far. None is ever smaller than the last time.
    pub(in crate::breaker) fn totals(&self) -> Totals {
        let mut cold = lock(&self.cold);
        self.counts.totals(&self.history, &mut cold.told)
    }
}
