//! The half-open state: who may try, and what the tries say. Plain data, used under a lock.
use super::config::CircuitBreakerConfig;
use crate::outcome::Outcome;

/// The tries of one half-open generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Probes {
    /// Leases handed out and not come back.
    pub(super) out: u32,
    /// Results.
    pub(super) done: u32,
    pub(super) failed: u32,
    /// Slow ones, failed or not.
    pub(super) slow: u32,
}

/// What the tries say so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    Close,
    Reopen,
}

/// How many tries there are, and what share of them keeps it open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) calls: u32,
    pub(super) failure_rate: f64,
    /// `None` if slow calls are as good as others.
    pub(super) slow_rate: Option<f64>,
}

impl Terms {
    pub(super) fn new(settings: &CircuitBreakerConfig) -> Self {
        let told = !settings.slow_call_duration.is_zero();
        Self {
            calls: settings.half_open_calls,
            failure_rate: settings.failure_rate,
            slow_rate: told.then_some(settings.slow_call_rate),
        }
    }
}

impl Probes {
    /// Hands out a lease if one of `calls` is left.
    pub(super) fn lease(&mut self, calls: u32) -> bool {
        let free = self.out + self.done < calls;
        self.out += u32::from(free);
        free
    }

    /// Forgets the leases that are out; results stay. Returns whether there were any.
    pub(super) fn reclaim(&mut self) -> bool {
        std::mem::take(&mut self.out) > 0
    }

    /// Takes a lease back. A result that says nothing about the service frees the place.
    pub(super) fn settle(&mut self, outcome: Outcome, slow: bool) {
        self.out = self.out.saturating_sub(1);
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure | Outcome::Overloaded => true,
            Outcome::Ignored | Outcome::Cancelled => return,
        };
        self.done += 1;
        self.failed += u32::from(failed);
        self.slow += u32::from(slow);
    }

    /// Decides as soon as the missing results cannot change the verdict any more.
    pub(super) fn verdict(self, terms: Terms) -> Verdict {
        let Terms { calls, failure_rate, slow_rate } = terms;
        let missing = calls.saturating_sub(self.done);
        let by = |bad: u32, rate: f64| {
            if reaches(bad, calls, rate) {
                Verdict::Reopen
            } else if reaches(bad + missing, calls, rate) {
                Verdict::Undecided
            } else {
                Verdict::Close
            }
        };
        let slow = slow_rate.map_or(Verdict::Close, |rate| by(self.slow, rate));
        match (by(self.failed, failure_rate), slow) {
            (Verdict::Reopen, _) | (_, Verdict::Reopen) => Verdict::Reopen,
            (Verdict::Close, Verdict::Close) => Verdict::Close,
            _ => Verdict::Undecided,
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
    use super::{Probes, Terms, Verdict, reaches};
    use crate::outcome::Outcome;

    #[test]
    fn never_more_leases_than_calls_and_a_cancelled_one_comes_back() {
        let mut probes = Probes::default();
        assert!(probes.lease(2) && probes.lease(2) && !probes.lease(2));
        probes.settle(Outcome::Cancelled, true);
        assert!(probes.lease(2) && !probes.lease(2));
        probes.settle(Outcome::Success, false);
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
        let verdict = |succeeded, failed, failure_rate| {
            let probes = Probes { out: 0, done: succeeded + failed, failed, slow: 0 };
            probes.verdict(Terms { calls: 5, failure_rate, slow_rate: None })
        };
        assert_eq!(verdict(2, 2, 0.5), Verdict::Undecided);
        assert_eq!(verdict(3, 0, 0.5), Verdict::Close, "3 of 5 failures cannot happen any more");
        assert_eq!(verdict(0, 3, 0.5), Verdict::Reopen);
        assert_eq!(verdict(4, 0, 0.01), Verdict::Undecided);
        assert_eq!(verdict(5, 0, 0.01), Verdict::Close);
        assert_eq!(verdict(0, 1, 0.01), Verdict::Reopen);
        assert_eq!(verdict(1, 4, 1.0), Verdict::Close);
        assert_eq!(verdict(0, 5, 1.0), Verdict::Reopen);
    }

    #[test]
    fn slow_calls_keep_it_open_too() {
        let verdict = |done, slow, slow_rate| {
            let probes = Probes { out: 0, done, failed: 0, slow };
            probes.verdict(Terms { calls: 5, failure_rate: 1.0, slow_rate })
        };
        assert_eq!(verdict(5, 5, None), Verdict::Close, "nobody asks");
        assert_eq!(verdict(2, 2, Some(0.5)), Verdict::Undecided);
        assert_eq!(verdict(3, 3, Some(0.5)), Verdict::Reopen);
        assert_eq!(verdict(3, 0, Some(0.5)), Verdict::Close);
        assert_eq!(verdict(1, 1, Some(0.01)), Verdict::Reopen);
    }

    #[test]
    fn fewer_calls_than_results_decide_too() {
        let terms = Terms { calls: 1, failure_rate: 0.5, slow_rate: None };
        assert_eq!(Probes { out: 2, done: 3, failed: 0, slow: 0 }.verdict(terms), Verdict::Close);
        assert_eq!(Probes { out: 2, done: 3, failed: 1, slow: 0 }.verdict(terms), Verdict::Reopen);
    }
}
