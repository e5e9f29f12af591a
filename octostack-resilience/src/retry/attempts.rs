use super::Shared;
use super::machine::Failed;
use super::schedule::Schedule;
use crate::deadline::Scope;
use crate::error::{PolicyError, PolicyErrorKind};
use crate::handle::Handle;
use crate::outcome::Outcome;
use octostack_core::SystemClock;
use std::fmt;
use std::time::Duration;

/// The attempts of one call; made by [`Retry::attempts`](super::Retry::attempts).
///
/// Dropped before it is settled, it counts as cancelled, or as failed if the thread panics.
#[must_use = "attempts that are dropped at once count as a cancelled call"]
pub struct Attempts<H: Handle<Shared>> {
    handle: H,
    number: u32,
    /// How long the wait before this attempt was, without what the service asked for.
    waited: Duration,
    #[cfg(feature = "backoff")]
    waits: super::foreign::Waits,
    settled: bool,
    /// The budget has paid for the current attempt, which has not begun.
    paid: bool,
    /// Inside a poll. Dropped like that, it was left by a panic: that holds too if something
    /// catches the panic before it drops the future, when `thread::panicking` would say no.
    polling: bool,
}

impl<H: Handle<Shared>> Attempts<H> {
    #[inline]
    pub(super) fn new(handle: H) -> Self {
        handle.budget.deposit();
        Self {
            handle,
            number: 1,
            waited: Duration::ZERO,
            #[cfg(feature = "backoff")]
            waits: super::foreign::Waits::default(),
            settled: false,
            paid: false,
            polling: false,
        }
    }

    /// The number of the current attempt, from 1.
    #[inline]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How many attempts the settings leave after the current one, the budget aside.
    #[inline]
    pub fn left(&self) -> u32 {
        self.handle.machine.attempts_after(self.number)
    }

    /// Takes the outcome of the current attempt, and the wait that the service asked for.
    ///
    /// Answers how long to wait before the next attempt, which is then the current one. `None`: the
    /// call is over with this outcome, because it need not, may not or must not be repeated, or
    /// because the wait would not end before the [deadline](crate::deadline) of the caller.
    #[inline]
    pub fn after(&mut self, outcome: Outcome, retry_after: Option<Duration>) -> Option<Duration> {
        let wait = if is_repeatable(outcome) { self.judge(retry_after) } else { None };
        if wait.is_none() {
            self.settle(outcome);
        }
        wait
    }

    /// Ends the call with this outcome.
    #[inline]
    pub(super) fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.settled = true;
            self.handle.machine.settle(outcome);
            if self.paid {
                self.handle.budget.refund();
            }
        }
    }

    /// As [`after`](Self::after), for a caller that says with [`begin`](Self::begin) when the next
    /// attempt begins; if it never does, the budget gets its repeat back.
    #[inline]
    pub(super) fn wait_after(
        &mut self,
        outcome: Outcome,
        hint: Option<Duration>,
    ) -> Option<Duration> {
        let wait = self.after(outcome, hint);
        self.paid = wait.is_some();
        wait
    }

    /// The current attempt begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.paid = false;
    }

    /// Ends the call if nobody waits for the current attempt any more. The answer of the one before
    /// has gone, so this is what there is to say.
    #[cold]
    pub(super) fn give_up_if_late(&mut self) -> Option<PolicyError> {
        if !Scope::has_passed(&SystemClock) {
            return None;
        }
        self.handle.machine.count_late();
        self.settle(Outcome::Failure);
        Some(PolicyError::new(self.handle.shared_name(), PolicyErrorKind::DeadlinePassed))
    }

    /// A poll of the call begins.
    #[inline]
    pub(super) fn enter(&mut self) {
        self.polling = true;
    }

    /// The poll is over, and nothing panicked.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.polling = false;
    }

    fn judge(&mut self, hint: Option<Duration>) -> Option<Duration> {
        let shared = &*self.handle;
        let Shared { machine, budget, .. } = shared;
        if machine.attempts_after(self.number) == 0 {
            return None;
        }
        let left = Scope::current().remaining(&SystemClock);
        let failed = Failed { attempt: self.number, hint, left };
        let draw = |schedule: Schedule| {
            #[cfg(feature = "backoff")]
            if let Some(factory) = &shared.foreign {
                return self.waits.next(factory);
            }
            Some(schedule.wait(self.number, self.waited, fastrand::f64()))
        };
        let wait = machine.judge(failed, budget, &SystemClock, draw)?;
        self.waited = wait.saturating_sub(hint.unwrap_or_default());
        self.number += 1;
        Some(wait)
    }
}

/// Success needs no repeat; what a policy refused must not be repeated, or policies and retries
/// would work against each other.
#[inline]
pub(super) fn is_repeatable(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failure | Outcome::Overloaded)
}

impl<H: Handle<Shared>> Drop for Attempts<H> {
    #[inline]
    fn drop(&mut self) {
        self.settle(if self.polling { Outcome::Failure } else { Outcome::of_drop() });
    }
}

impl<H: Handle<Shared>> fmt::Debug for Attempts<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts")
            .field("policy", &self.handle.name())
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
