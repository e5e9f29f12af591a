use super::Shared;
use super::ticket::Ticket;
use crate::handle::Handle;
use crate::outcome::Outcome;
use octostack_core::{Clock, SystemClock};
use std::fmt;

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
    pub fn settle_at(mut self, outcome: Outcome, clock: &impl Clock) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.settle(ticket, outcome, clock);
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
