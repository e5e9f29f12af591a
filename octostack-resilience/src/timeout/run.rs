//! One call under a timeout, from its beginning to its end.
use super::Shared;
use super::limit::Limit;
use crate::deadline::{Entered, Scope};
use crate::error::{Phase, PolicyError};
use crate::handle::Handle;
use crate::outcome::Outcome;
use octostack_core::{Clock, SystemClock};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A call that has begun; counts how it ended, also when it is dropped.
#[derive(Debug)]
pub(super) struct Run<H: Handle<Shared>> {
    handle: H,
    limit: Limit,
    ended: bool,
}

impl<H: Handle<Shared>> Run<H> {
    /// Begins a call whose caller says for how long it waits, if it does.
    ///
    /// # Errors
    /// The caller waits no more.
    #[inline]
    pub(super) fn start(
        handle: H,
        wait: impl FnOnce() -> Option<Duration>,
    ) -> Result<Self, PolicyError> {
        let mut limit = handle.gauge.limit();
        if limit != Limit::OFF {
            let wait = wait();
            if let Some(wait) = wait {
                limit = limit.at_most(wait);
            }
            let is_over = wait.is_some_and(|wait| wait.is_zero());
            if limit.is_enforced() && (is_over || Scope::current().has_passed(&SystemClock)) {
                return Err(handle.too_late());
            }
        }
        Ok(Self { handle, limit, ended: false })
    }

    /// For how long whoever is called next may work; `None` without any limit.
    ///
    /// # Errors
    /// Nobody waits any more.
    pub(super) fn left(mut self) -> Result<(Self, Option<Duration>), PolicyError> {
        let scope = self.tighten(Scope::current(), None);
        let Some(left) = scope.remaining(&SystemClock) else { return Ok((self, None)) };
        let left = left.saturating_sub(self.handle.gauge.margin().min(left / 2));
        if left.is_zero() && self.limit.is_enforced() {
            self.ended = true;
            return Err(self.handle.too_late());
        }
        Ok((self, Some(left)))
    }

    /// Makes the limit known to everything that is called until the guard is dropped.
    #[inline]
    pub(super) fn enter(&self, until: Option<Instant>) -> Option<Entered> {
        let limited = self.limit.enforced_nanos() != u64::MAX;
        limited.then(|| self.tighten(Scope::current(), until).enter())
    }

    /// The time runs from the first wait on; `until` says when it is up then.
    #[inline]
    fn tighten(&self, scope: Scope, until: Option<Instant>) -> Scope {
        match until {
            Some(until) => scope.by(until),
            None => scope.within(self.limit.enforced_nanos()),
        }
    }

    #[inline]
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.handle.gauge.end(outcome);
    }

    /// A panic came neither in time nor too late.
    #[cold]
    pub(super) fn panicked(&mut self) {
        if !self.ended {
            self.end(Outcome::Ignored);
        }
    }

    /// The call is pending: arms the timer, and says whether time is up.
    pub(super) fn poll_timer(
        &mut self,
        mut sleep: Pin<&mut Option<Sleep>>,
        phase: impl FnOnce() -> Phase,
        cx: &mut Context<'_>,
    ) -> Poll<PolicyError> {
        let Some(timeout) = self.limit.duration() else {
            return Poll::Pending;
        };
        if sleep.is_none() {
            sleep.set(Some(tokio::time::sleep(timeout)));
        }
        let Some(mut timer) = sleep.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        // A future that uses up the task's budget each time it is polled keeps the timer from
        // firing: so the clock decides too.
        let is_up =
            timer.as_mut().poll(cx).is_ready() || SystemClock.now() >= timer.deadline().into_std();
        if !is_up {
            return Poll::Pending;
        }
        if self.limit.is_enforced() {
            self.end(Outcome::Failure);
            return Poll::Ready(self.handle.timed_out(phase()));
        }
        self.handle.gauge.over_in_shadow();
        self.limit = Limit::OFF;
        sleep.set(None);
        Poll::Pending
    }
}

impl<H: Handle<Shared>> Drop for Run<H> {
    #[inline]
    fn drop(&mut self) {
        if !self.ended {
            // A panic in `poll` has ended it before; this one came from the inner `call`.
            let panics = std::thread::panicking();
            self.end(if panics { Outcome::Ignored } else { Outcome::Cancelled });
        }
    }
}

/// When the timer fires, once it is armed.
#[inline]
pub(super) fn fires_at(sleep: Option<&Sleep>) -> Option<Instant> {
    sleep.map(|sleep| sleep.deadline().into_std())
}
