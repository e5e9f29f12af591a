//! Failures in a row, in one word.
//!
//! ```text
//! streak = generation:32 | failures:32     a success writes only where there was a failure
//! ```
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of the packed word")]
use octostack_core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

#[derive(Debug)]
pub(super) struct Streak(AtomicU64);

impl Streak {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Starts over for `generation`, with so many failures. Results of older ones are not counted.
    pub(super) fn reset(&self, generation: u32, failures: u32) {
        self.0.store(u64::from(generation) << 32 | u64::from(failures), Release);
    }

    /// Failures in a row in `generation`.
    #[inline]
    pub(super) fn look(&self, generation: u32) -> u32 {
        let word = self.0.load(Acquire);
        if (word >> 32) as u32 == generation { word as u32 } else { 0 }
    }

    /// Takes a result, and returns how many failed in a row with it.
    #[inline]
    pub(super) fn record(&self, generation: u32, failed: bool) -> u32 {
        let mut now = self.0.load(Acquire);
        loop {
            let failures = now as u32;
            if (now >> 32) as u32 != generation || (!failed && failures == 0) {
                return 0;
            }
            let streak = if failed { failures.saturating_add(1) } else { 0 };
            let next = u64::from(generation) << 32 | u64::from(streak);
            if cfg!(octostack_planted_bug) {
                self.0.store(next, Release); // loses one of two: the model checker must object
                return streak;
            }
            match self.0.compare_exchange_weak(now, next, AcqRel, Acquire) {
                Ok(_) => return streak,
                Err(other) => now = other,
            }
        }
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Streak;

    #[test]
    fn a_success_ends_it_and_other_generations_have_no_say() {
        let streak = Streak::new();
        streak.reset(2, 0);
        assert_eq!([true, true, false, true].map(|failed| streak.record(2, failed)), [1, 2, 0, 1]);
        assert_eq!(streak.record(1, true), 0);
        assert_eq!(streak.record(1, false), 0);
        assert_eq!((streak.look(2), streak.look(1)), (1, 0));
        streak.reset(3, 1);
        assert_eq!(streak.record(2, true), 0);
        assert_eq!(streak.record(3, true), 2);
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::Streak;
    use crate::models::explore;
    use loom::{sync::Arc, thread};

    fn streak() -> Arc<Streak> {
        let streak = Streak::new();
        streak.reset(1, 0);
        Arc::new(streak)
    }

    #[test]
    fn planted_of_two_failures_at_once_one_is_the_second() {
        explore(|| {
            let streak = streak();
            let other = streak.clone();
            let racing = thread::spawn(move || other.record(1, true));
            let mine = streak.record(1, true);
            assert_eq!(mine + racing.join().unwrap(), 3);
            assert_eq!(streak.look(1), 2);
        });
    }

    #[test]
    fn a_success_ends_it_before_or_after_a_failure() {
        explore(|| {
            let streak = streak();
            streak.record(1, true);
            let other = streak.clone();
            let racing = thread::spawn(move || other.record(1, false));
            let mine = streak.record(1, true);
            assert_eq!(racing.join().unwrap(), 0);
            assert!(matches!((mine, streak.look(1)), (2, 0) | (1, 1)));
        });
    }

    #[test]
    fn an_older_generation_adds_nothing() {
        explore(|| {
            let streak = streak();
            let other = streak.clone();
            let racing = thread::spawn(move || other.record(1, true));
            streak.reset(2, 0);
            racing.join().unwrap();
            assert_eq!(streak.look(2), 0);
        });
    }
}
