use super::Shared;
use super::ticket::Ticket;
use crate::handle::Handle;
use crate::outcome::Outcome;
use octostack_core::{Clock, SystemClock};
use std::fmt;
use std::time::Duration;

/// The right to make one call, and the duty to say how it went.
///
/// A permit that is dropped unsettled counts as cancelled, or as failed if the thread panics; a
/// half-open breaker gets its place back.
#[must_use = "a permit that is dropped at once counts as a cancelled call"]
pub struct Permit<H: Handle<Shared>> {
    handle: H,
    ticket: Option<Ticket>,
}

impl<H: Handle<Shared>> Permit<H> {
    #[inline]
    pub(super) fn new(handle: H, ticket: Ticket) -> Self {
        Self { handle, ticket: Some(ticket) }
    }

    /// Says how the call went.
    #[inline]
    pub fn settle(self, outcome: Outcome) {
        self.settle_at(outcome, &SystemClock);
    }

    /// As [`settle`](Self::settle), with the time of another clock.
    #[inline]
    pub fn settle_at(self, outcome: Outcome, clock: &impl Clock) {
        self.settle_after_at(outcome, None, clock);
    }

    /// As [`settle`](Self::settle), with the time after which the service wants to be asked again,
    /// such as its `Retry-After`. If the call failed and the breaker opens, it stays open at least
    /// that long, within [`max_open_for`](super::CircuitBreakerConfig::max_open_for).
    ///
    /// ```
    /// use octostack_resilience::{CircuitBreaker, Outcome};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = CircuitBreaker::builder("inventory").consecutive_failures(1).build()?;
    /// let asked = Duration::from_secs(30);
    /// breaker.admit()?.settle_after(Outcome::Overloaded, Some(asked));
    /// let error = breaker.admit().unwrap_err();
    /// assert!(error.retry_after > Some(Duration::from_secs(29)), "open_for is 5 s");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn settle_after(self, outcome: Outcome, retry_after: Option<Duration>) {
        self.settle_after_at(outcome, retry_after, &SystemClock);
    }

    /// As [`settle_after`](Self::settle_after), with the time of another clock.
    #[inline]
    pub fn settle_after_at(
        mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        clock: &impl Clock,
    ) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.settle_after(ticket, outcome, retry_after, clock);
        }
    }
}

impl<H: Handle<Shared>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.settle(ticket, Outcome::of_drop(), &SystemClock);
        }
    }
}

impl<H: Handle<Shared>> fmt::Debug for Permit<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("policy", &self.handle.name()).finish_non_exhaustive()
    }
}
