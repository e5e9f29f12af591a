//! When a task that has ended starts again: a state machine with time and chance as arguments.
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Whether a task that has ended starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Once is enough. An error or a panic has failed it for good.
    Never,
    /// After an error or a panic; a task that returns `Ok` is done.
    #[default]
    OnFailure,
    /// Whatever it returns: for loops that should not end.
    Always,
}

/// The pauses before restarts: they double from the first to the longest, and each is shortened by
/// up to a half at random, so that instances that failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

/// A pause of none would be a busy loop.
const LEAST: Duration = Duration::from_millis(1);

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The pause before restart `number` in a row, from 1, for a `random` from 0 to 1.
    fn pause(self, number: u32, random: f64) -> Duration {
        let doubled = 2_u32.checked_pow(number.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.longest.max(LEAST);
        let whole = self.first.max(LEAST).saturating_mul(doubled).min(longest);
        whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// How many failures are too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) restarts: usize,
    pub(super) within: Duration,
}

/// With the default backoff, what fails at once reaches it after four minutes.
impl Default for Limit {
    fn default() -> Self {
        Self { restarts: 10, within: Duration::from_secs(600) }
    }
}

/// What follows the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is done.
    Done,
    /// Nothing: it has failed too often, or may not start again.
    Failed,
    /// Another run after a pause.
    Again(Duration),
}

/// The restarts of one task.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: Restart,
    backoff: Backoff,
    limit: Option<Limit>,
    /// Restarts since a run lasted.
    streak: u32,
    /// When it failed, within the time of the limit.
    failures: VecDeque<Instant>,
}

impl Restarts {
    pub(super) fn new(policy: Restart, backoff: Backoff, limit: Option<Limit>) -> Self {
        Self { policy, backoff, limit, streak: 0, failures: VecDeque::new() }
    }

    /// Takes note that a run ended at `now` after it `ran` for so long.
    pub(super) fn ended(&mut self, failed: bool, ran: Duration, now: Instant, random: f64) -> Next {
        match (self.policy, failed) {
            (Restart::Never | Restart::OnFailure, false) => return Next::Done,
            (Restart::Never, true) => return Next::Failed,
            (Restart::OnFailure, true) | (Restart::Always, _) => {}
        }
        if failed && self.too_many(now) {
            return Next::Failed;
        }
        // What ran for longer than the longest pause was well.
        self.streak = if ran > self.backoff.longest { 1 } else { self.streak.saturating_add(1) };
        Next::Again(self.backoff.pause(self.streak, random))
    }

    fn too_many(&mut self, now: Instant) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        self.failures.push_back(now);
        while let Some(first) = self.failures.front()
            && now.saturating_duration_since(*first) > limit.within
        {
            self.failures.pop_front();
        }
        self.failures.len() > limit.restarts
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Limit, Next, Restart, Restarts};
    use crate::{Clock, SystemClock};
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const BACKOFF: Backoff = Backoff { first: SECOND, longest: Duration::from_secs(60) };

    #[test]
    fn the_policy_decides() {
        let now = SystemClock.now();
        for (policy, after_ok, after_error) in [
            (Restart::Never, Next::Done, Next::Failed),
            (Restart::OnFailure, Next::Done, Next::Again(SECOND)),
            (Restart::Always, Next::Again(SECOND), Next::Again(SECOND)),
        ] {
            let ended =
                |failed| Restarts::new(policy, BACKOFF, None).ended(failed, SECOND, now, 0.0);
            assert_eq!((ended(false), ended(true)), (after_ok, after_error), "{policy:?}");
        }
    }

    #[test]
    fn pauses_double_and_begin_anew_after_a_run_that_lasted() {
        let now = SystemClock.now();
        let mut restarts = Restarts::new(Restart::OnFailure, BACKOFF, None);
        let mut pause = |ran: u64| match restarts.ended(true, Duration::from_secs(ran), now, 0.0) {
            Next::Again(pause) => pause.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([0, 0, 60, 0, 0, 0, 0].map(&mut pause), [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(pause(0), 60);
        assert_eq!([61, 0].map(pause), [1, 2]);
    }

    #[test]
    fn chance_shortens_a_pause_by_up_to_a_half_and_none_is_zero() {
        assert_eq!(BACKOFF.pause(2, 0.0), 2 * SECOND);
        assert_eq!(BACKOFF.pause(2, 1.0), SECOND);
        assert_eq!(BACKOFF.pause(u32::MAX, 0.0), 60 * SECOND);
        let none = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
        assert!(!none.pause(1, 1.0).is_zero());
    }

    proptest! {
        /// It fails for good with the first failure before which there were as many as the limit
        /// allows, within its time.
        #[test]
        fn the_limit_is_that_of_a_naive_count(
            gaps in prop::collection::vec(0_u64..20, 1..60),
            most in 0_usize..6,
            within in 1_u64..40,
        ) {
            let start = SystemClock.now();
            let limit = Limit { restarts: most, within: Duration::from_secs(within) };
            let mut restarts = Restarts::new(Restart::Always, BACKOFF, Some(limit));
            let (mut at, mut all) = (0, Vec::new());
            for gap in gaps {
                at += gap;
                let before = all.iter().filter(|then| at - **then <= within).count();
                all.push(at);
                let next = restarts.ended(true, SECOND, start + Duration::from_secs(at), 0.5);
                prop_assert_eq!(next == Next::Failed, before >= most);
                if next == Next::Failed {
                    break;
                }
                // An end without error counts for nothing.
                restarts.ended(false, SECOND, start + Duration::from_secs(at), 0.5);
            }
        }
    }
}
