//! The half-open state: who may try, and what the tries say. Plain data, used under a lock.
use crate::outcome::Outcome;

/// The tries of one half-open generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    /// Leases handed out and not come back.
    pub(super) out: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
}

/// What the tries say so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    Close,
    Reopen,
}

impl Probes {
    /// Hands out a lease if one of `calls` is left.
    pub(super) fn lease(&mut self, calls: u32) -> bool {
        let free = self.out + self.succeeded + self.failed < calls;
        self.out += u32::from(free);
        free
    }

    /// Takes a lease back. A result that says nothing about the service frees the place.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        self.out = self.out.saturating_sub(1);
        match outcome {
            Outcome::Success => self.succeeded += 1,
            Outcome::Failure | Outcome::Overloaded => self.failed += 1,
            Outcome::Ignored | Outcome::Cancelled => {}
        }
    }

    /// Decides as soon as the missing results cannot change the verdict any more.
    pub(super) fn verdict(self, calls: u32, failure_rate: f64) -> Verdict {
        // The fewest failures that keep it open, as for the window: failures >= rate * calls.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to `calls`, which is a u32"
        )]
        let too_many = ((f64::from(calls) * failure_rate).ceil() as u32).max(1);
        if self.failed >= too_many {
            Verdict::Reopen
        } else if self.succeeded > calls - too_many {
            Verdict::Close
        } else {
            Verdict::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Probes, Verdict};
    use crate::outcome::Outcome;

    #[test]
    fn never_more_leases_than_calls_and_a_cancelled_one_comes_back() {
        let mut probes = Probes::default();
        assert!(probes.lease(2) && probes.lease(2) && !probes.lease(2));
        probes.settle(Outcome::Cancelled);
        assert!(probes.lease(2) && !probes.lease(2));
        probes.settle(Outcome::Success);
        assert!(!probes.lease(2), "a result keeps its place");
    }

    #[test]
    fn decides_once_it_is_certain() {
        let verdict =
            |succeeded, failed, rate| Probes { out: 0, succeeded, failed }.verdict(5, rate);
        assert_eq!(verdict(2, 2, 0.5), Verdict::Undecided);
        assert_eq!(verdict(3, 0, 0.5), Verdict::Close, "3 of 5 failures cannot happen any more");
        assert_eq!(verdict(0, 3, 0.5), Verdict::Reopen);
        assert_eq!(verdict(4, 0, 0.01), Verdict::Undecided);
        assert_eq!(verdict(5, 0, 0.01), Verdict::Close);
        assert_eq!(verdict(0, 1, 0.01), Verdict::Reopen);
        assert_eq!(verdict(1, 4, 1.0), Verdict::Close);
        assert_eq!(verdict(0, 5, 1.0), Verdict::Reopen);
    }
}
