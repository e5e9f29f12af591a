//! What an admitted call has to bring back, in one word.
//!
//! ```text
//! generation:32 | start:28 | timed:1 | role:2 | 1      never 0, so that an `Option` of it is one word too
//! ```
//!
//! Not a struct of two fields: a layer moves it from `call` to `poll`, written as two parts and
//! read as one, and for that a processor waits longer than for all else that a closed breaker does.
//!
//! So the start of a call has to fit too. It is counted in units of 66 µs and starts over after 4.9
//! hours. A call that takes longer than half of that is never slow.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of the packed word")]
use std::num::NonZeroU64;

/// 2^16 nanoseconds: 66 µs.
const UNIT: u32 = 16;
const STARTS: u32 = 1 << 28;
const TIMED: u64 = 1 << 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(NonZeroU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    /// Its result goes into the window.
    Measured,
    /// Its result helps to decide the half-open state.
    Probe,
    /// Its result is counted and decides nothing.
    Counted,
}

impl Ticket {
    #[inline]
    pub(super) fn new(generation: u32, role: Role) -> Self {
        Self(NonZeroU64::MIN | u64::from(generation) << 32 | (role as u64) << 1)
    }

    /// Remembers when the call began, in nanoseconds, so that it can be told whether it was slow.
    #[inline]
    pub(super) fn started(self, now: u64) -> Self {
        let start = (now >> UNIT) as u32 % STARTS;
        Self(self.0 | TIMED | u64::from(start) << 4)
    }

    /// The generation that admitted the call.
    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    #[inline]
    pub(super) const fn role(self) -> Role {
        match self.0.get() as u32 >> 1 & 3 {
            0 => Role::Measured,
            1 => Role::Probe,
            _ => Role::Counted,
        }
    }

    /// Whether it is measured and not timed.
    #[inline]
    pub(super) const fn is_plain(self) -> bool {
        self.0.get() & 0xf == 1
    }

    /// Whether it remembers when the call began.
    #[inline]
    pub(super) const fn is_timed(self) -> bool {
        self.0.get() & TIMED != 0
    }

    /// Whether the call took `limit` nanoseconds or more: exact but for a unit, in favour of slow.
    #[inline]
    pub(super) const fn is_slow(self, now: u64, limit: u64) -> bool {
        let start = self.0.get() as u32 >> 4;
        let took = ((now >> UNIT) as u32).wrapping_sub(start) % STARTS;
        // The upper half is a clock that went back.
        self.is_timed() && limit > 0 && took as u64 >= limit >> UNIT && took < STARTS / 2
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, Ticket};
    use std::time::Duration;

    #[test]
    fn a_ticket_holds_what_it_was_made_of_in_one_word() {
        for generation in [0, 1, 7 << 16, u32::MAX] {
            for role in [Role::Measured, Role::Probe, Role::Counted] {
                let ticket = Ticket::new(generation, role);
                assert_eq!(ticket.is_plain(), role == Role::Measured);
                assert!(!ticket.started(7).is_plain());
                assert!(!ticket.is_timed() && !ticket.is_slow(u64::MAX, 1));
                for ticket in [ticket, ticket.started(u64::MAX)] {
                    assert_eq!((ticket.generation(), ticket.role()), (generation, role));
                }
            }
        }
        assert_eq!(size_of::<Option<Ticket>>(), size_of::<u64>());
    }

    #[test]
    fn a_call_is_slow_from_the_limit_on() {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
        let hour = nanos(Duration::from_secs(3_600));
        for limit in [1_000_000, 250_000_000, hour] {
            for start in [0, 77_777, 5 * hour - 1, 40_000 * hour + 3] {
                let ticket = Ticket::new(7, Role::Measured).started(start);
                assert!(ticket.is_timed());
                assert!(ticket.is_slow(start + limit, limit));
                assert!(ticket.is_slow(start + limit + hour, limit));
                assert!(!ticket.is_slow(start + limit - 140_000, limit), "two units before");
                assert!(!ticket.is_slow(start.saturating_sub(hour), limit), "the clock went back");
                assert!(!ticket.is_slow(start + limit, 0), "nobody asks any more");
            }
        }
    }
}
