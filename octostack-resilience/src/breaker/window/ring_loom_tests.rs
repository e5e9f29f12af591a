//! The ring under every interleaving of two threads.
use super::{Mark, Recorded, Ring, Tally};
use crate::models::explore;
use loom::{sync::Arc, thread};
use std::collections::VecDeque;

const FAILED: Mark = Mark { failed: true, slow: false };
const SLOW: Mark = Mark { failed: false, slow: true };

fn ring(size: u32) -> Arc<Ring> {
    let ring = Ring::new(size, size);
    ring.reset(1, size);
    Arc::new(ring)
}

fn evaluated(seen: Recorded) -> Option<Tally> {
    match seen {
        Recorded::Evaluate(tally) => Some(tally),
        Recorded::Stale | Recorded::Quiet => None,
    }
}

/// What each of two threads sees that record at once.
fn racing(size: u32, mine: Mark, theirs: Mark) -> [Option<Tally>; 2] {
    let ring = ring(size);
    let other = ring.clone();
    let racing = thread::spawn(move || other.record(1, theirs));
    let mine = evaluated(ring.record(1, mine));
    [mine, evaluated(racing.join().unwrap())]
}

#[test]
fn planted_two_failures_that_race_to_the_threshold_are_seen_by_one_of_them() {
    explore(|| {
        let seen = racing(2, FAILED, FAILED);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 2, slow: 0 })), "{seen:?}");
    });
}

#[test]
fn planted_a_failure_and_a_slow_call_that_race_are_seen_by_one_of_them() {
    explore(|| {
        let seen = racing(2, FAILED, SLOW);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 1, slow: 1 })), "{seen:?}");
    });
}

#[test]
fn the_minimum_of_calls_is_seen_by_success_or_failure() {
    explore(|| {
        let seen = racing(2, Mark::FINE, FAILED);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 1, slow: 0 })), "{seen:?}");
    });
}

/// One thread and no interleavings: the window against a queue, with the bug planted that it never
/// evicts.
#[test]
fn planted_the_window_evicts() {
    explore(|| {
        let ring = ring(3);
        let mut oracle = VecDeque::new();
        for failed in [true, false, true, false, false, false, true] {
            ring.record(1, Mark { failed, slow: false });
            oracle.push_back(failed);
            if oracle.len() > 3 {
                oracle.pop_front();
            }
            let failures = oracle.iter().filter(|failed| **failed).count() as u32;
            assert_eq!(ring.look(1).failures, failures);
        }
    });
}

#[test]
fn when_all_is_quiet_the_sums_are_the_numbers_of_bits() {
    explore(|| {
        let ring = ring(1);
        let other = ring.clone();
        let racing = thread::spawn(move || {
            other.record(1, Mark { failed: true, slow: true });
        });
        ring.record(1, FAILED);
        ring.record(1, SLOW);
        racing.join().unwrap();
        let bits = ring.results(1)[0];
        let (failures, slow) = (u32::from(bits.failed), u32::from(bits.slow));
        assert_eq!(ring.look(1), Tally { calls: 1, failures, slow });
    });
}

#[test]
fn an_older_generation_never_marks_the_new_one() {
    explore(|| {
        let ring = ring(2);
        ring.record(1, FAILED);
        let other = ring.clone();
        let stale = thread::spawn(move || {
            other.record(1, Mark { failed: true, slow: true });
        });
        ring.reset(2, 2);
        ring.record(2, Mark::FINE);
        stale.join().unwrap();
        assert_eq!(ring.look(2), Tally { calls: 1, failures: 0, slow: 0 });
    });
}
