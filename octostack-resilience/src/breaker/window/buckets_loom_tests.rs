//! The buckets under every interleaving of two threads.
use super::{BUCKETS, Buckets, Mark, Recorded, Tally};
use crate::models::explore;
use loom::{sync::Arc, thread};

const FAILED: Mark = Mark { failed: true, slow: false };
const SLOW: Mark = Mark { failed: false, slow: true };
const SPAN: u64 = BUCKETS as u64;

fn buckets() -> Arc<Buckets> {
    let buckets = Buckets::new();
    buckets.reset(1, SPAN, 0);
    Arc::new(buckets)
}

fn evaluated(seen: Recorded) -> Option<Tally> {
    match seen {
        Recorded::Evaluate(tally) => Some(tally),
        Recorded::Stale | Recorded::Quiet => None,
    }
}

/// What each of two threads sees that record at once, the second one in the next bucket or not.
fn racing(mine: Mark, theirs: Mark, later: u64) -> [Option<Tally>; 2] {
    let buckets = buckets();
    let other = buckets.clone();
    let racing = thread::spawn(move || other.record(1, theirs, later, 2));
    let mine = evaluated(buckets.record(1, mine, 0, 2));
    [mine, evaluated(racing.join().unwrap())]
}

#[test]
fn planted_two_failures_that_race_to_the_threshold_are_seen_by_one_of_them() {
    explore(|| {
        let seen = racing(FAILED, FAILED, 0);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 2, slow: 0 })), "{seen:?}");
    });
}

#[test]
fn also_in_two_buckets() {
    explore(|| {
        let seen = racing(FAILED, SLOW, 1);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 1, slow: 1 })), "{seen:?}");
    });
}

#[test]
fn the_minimum_of_calls_is_seen_by_success_or_failure() {
    explore(|| {
        let seen = racing(Mark::FINE, FAILED, 0);
        assert!(seen.contains(&Some(Tally { calls: 2, failures: 1, slow: 0 })), "{seen:?}");
    });
}

/// One thread and no interleavings: the bug planted is a window that never evicts.
#[test]
fn planted_the_window_evicts() {
    explore(|| {
        let buckets = buckets();
        buckets.record(1, FAILED, 0, 1);
        buckets.record(1, FAILED, SPAN, 1);
        assert_eq!(buckets.look_at(1, SPAN), Tally { calls: 1, failures: 1, slow: 0 });
        assert_eq!(buckets.recorded(), 2);
    });
}

#[test]
fn two_that_evict_at_once_lose_no_result() {
    explore(|| {
        let buckets = buckets();
        buckets.record(1, FAILED, 0, 1);
        let other = buckets.clone();
        let racing = thread::spawn(move || {
            other.record(1, Mark::FINE, SPAN, 1);
        });
        buckets.record(1, FAILED, SPAN, 1);
        racing.join().unwrap();
        assert_eq!(buckets.look_at(1, SPAN), Tally { calls: 2, failures: 1, slow: 0 });
        assert_eq!(buckets.recorded(), 3);
    });
}

#[test]
fn an_older_generation_never_marks_the_new_one() {
    explore(|| {
        let buckets = buckets();
        buckets.record(1, FAILED, 0, 1);
        let other = buckets.clone();
        // It has even read a later time than who starts the generation.
        let stale = thread::spawn(move || {
            other.record(1, FAILED, 3, 1);
        });
        buckets.reset(2, SPAN, 1);
        buckets.record(2, Mark::FINE, 2, 1);
        stale.join().unwrap();
        assert_eq!(buckets.look_at(2, 3), Tally { calls: 1, failures: 0, slow: 0 });
    });
}
