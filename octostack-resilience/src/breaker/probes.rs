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

    /// Forgets the leases that are out; results stay. Returns whether there were any.
    pub(super) fn reclaim(&mut self) -> bool {
        std::mem::take(&mut self.out) > 0
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
        let reached = |failures: u32| reaches(failures, calls, failure_rate);
        // The fewest failures that keep it open. One at least: the rate is above 0.
        let too_many = (1..=calls).find(|failures| reached(*failures)).unwrap_or(calls);
        if self.failed >= too_many {
            Verdict::Reopen
        } else if self.succeeded > calls - too_many {
            Verdict::Close
        } else {
            Verdict::Undecided
        }
    }
}

/// Whether `failures` of `calls` are the share that opens. Divided rather than multiplied, since
/// only then 7 of 100 are exactly 0.07.
pub(super) fn reaches(failures: u32, calls: u32, rate: f64) -> bool {
    f64::from(failures) / f64::from(calls) >= rate
}

#[cfg(test)]
mod tests {
    use super::{Probes, Verdict, reaches};
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
    fn every_percentage_is_reached_exactly() {
        for percent in 1..=100 {
            let rate = format!("0.{percent:02}").parse().unwrap_or(1.0);
            let rate = if percent == 100 { 1.0 } else { rate };
            assert!(reaches(percent, 100, rate), "{percent} %");
            assert!(!reaches(percent - 1, 100, rate), "{percent} %");
        }
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
