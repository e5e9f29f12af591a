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

impl Shared {
    /// The limit of a call that begins now and whose caller says for how long it waits, if it does.
    /// `None` if nobody waits any more.
    // Not a `Result` with the error: that is large, and would be copied on its way.
    #[inline]
    pub(super) fn begin(&self, wait: impl FnOnce() -> Option<Duration>) -> Option<Limit> {
        let limit = self.gauge.limit();
        if limit == Limit::OFF {
            return Some(limit);
        }
        let wait = wait();
        let is_over = wait.is_some_and(|wait| wait.is_zero()) || Scope::has_passed(&SystemClock);
        if is_over && limit.is_enforced() {
            return None;
        }
        Some(wait.map_or(limit, |wait| limit.at_most(wait)))
    }

    /// For how long whoever is called within `limit` may work; `None` without any limit.
    pub(super) fn left(&self, limit: Limit) -> Option<Duration> {
        let _entered = limit.enter();
        let left = Scope::current().remaining(&SystemClock)?;
        Some(left.saturating_sub(self.gauge.margin().min(left / 2)))
    }
}

impl Limit {
    /// Makes it known to everything that is called until the guard is dropped.
    #[inline]
    fn enter(self) -> Option<Entered> {
        let nanos = self.enforced_nanos();
        (nanos != u64::MAX).then(|| Scope::enter_within(nanos))
    }
}

/// A call that has begun; counts how it ended, also when it is dropped.
#[derive(Debug)]
pub(super) struct Run<H: Handle<Shared>> {
    handle: H,
    limit: Limit,
    ended: bool,
}

impl<H: Handle<Shared>> Run<H> {
    /// Begins a call with the limit that [`Shared::begin`] gave it.
    #[inline]
    pub(super) fn new(handle: H, limit: Limit) -> Self {
        Self { handle, limit, ended: false }
    }

    /// Makes the limit known to everything that is called until the guard is dropped. The time runs
    /// from the first wait on; `until` says when it is up then.
    #[inline]
    pub(super) fn enter(&self, until: Option<Instant>) -> Option<Entered> {
        match until {
            Some(until) if self.limit.is_enforced() => Some(Scope::current().by(until).enter()),
            _ => self.limit.enter(),
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
