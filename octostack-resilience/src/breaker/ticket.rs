//! What an admitted call has to bring back, in one word.
//!
//! ```text
//! generation:32 | role:31 | 1        never 0, so that an `Option` of it is one word too
//! ```
//!
//! Not a struct of two fields: a layer moves it from `call` to `poll`, written as two parts and
//! read as one, and for that a processor waits longer than for all else that a closed breaker does.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of the packed word")]
use std::num::NonZeroU64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(NonZeroU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    /// Its result goes into the ring.
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

    /// The generation that admitted the call.
    #[inline]
    pub(super) const fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    #[inline]
    pub(super) const fn role(self) -> Role {
        match self.0.get() as u32 >> 1 {
            0 => Role::Measured,
            1 => Role::Probe,
            _ => Role::Counted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, Ticket};

    #[test]
    fn a_ticket_holds_what_it_was_made_of_in_one_word() {
        for generation in [0, 1, 7 << 16, u32::MAX] {
            for role in [Role::Measured, Role::Probe, Role::Counted] {
                let ticket = Ticket::new(generation, role);
                assert_eq!((ticket.generation(), ticket.role()), (generation, role));
            }
        }
        assert_eq!(size_of::<Option<Ticket>>(), size_of::<u64>());
    }
}
