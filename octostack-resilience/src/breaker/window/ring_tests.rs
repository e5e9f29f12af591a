use super::{Mark, Recorded, Ring, Tally};
use proptest::prelude::*;
use std::collections::VecDeque;

const FAILED: Mark = Mark { failed: true, slow: false };
const SLOW: Mark = Mark { failed: false, slow: true };

/// What a queue of results holds.
fn count<'a>(results: impl IntoIterator<Item = &'a Mark>) -> Tally {
    results.into_iter().fold(Tally::default(), |tally, mark| Tally {
        calls: tally.calls + 1,
        failures: tally.failures + u32::from(mark.failed),
        slow: tally.slow + u32::from(mark.slow),
    })
}

proptest! {
    #[test]
    fn equals_a_queue_at_every_step(
        size in 1_u32..140,
        steps in prop::collection::vec((0_u8..60, any::<bool>(), any::<bool>()), 0..1_500),
    ) {
        let ring = Ring::new(size, size);
        let (mut generation, mut oracle, mut total) = (1, VecDeque::new(), 0);
        ring.reset(generation, size);
        for (dice, failed, slow) in steps {
            let mark = Mark { failed, slow };
            if dice == 0 {
                generation += 1;
                ring.reset(generation, size);
                oracle.clear();
            }
            oracle.push_back(mark);
            if oracle.len() > size as usize {
                oracle.pop_front();
            }
            total += 1;
            if let Recorded::Evaluate(seen) = ring.record(generation, mark) {
                prop_assert_eq!(seen, count(&oracle));
            } else {
                prop_assert!(mark.is_fine(), "what is bad is always evaluated");
            }
            prop_assert_eq!(ring.look(generation), count(&oracle));
            prop_assert_eq!(ring.record(generation - 1, FAILED), Recorded::Stale);
            prop_assert_eq!(ring.results(generation), Vec::from(oracle.clone()));
            prop_assert_eq!(ring.recorded(), total);
        }
    }
}

#[test]
fn b1_after_a_million_successes_an_outage_shows_within_one_window() {
    let ring = Ring::new(100, 100);
    ring.reset(1, 100);
    for _ in 0..1_000_000 {
        ring.record(1, Mark::FINE);
    }
    let mut seen = Recorded::Quiet;
    for _ in 0..50 {
        seen = ring.record(1, FAILED);
    }
    assert_eq!(seen, Recorded::Evaluate(Tally { calls: 100, failures: 50, slow: 0 }));
}

#[test]
fn threads_lose_no_result() {
    let ring = Ring::new(100, 100);
    ring.reset(1, 100);
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let ring = &ring;
            scope.spawn(move || {
                for call in 0..5_000 {
                    let failed = (call ^ thread) % 3 == 0;
                    ring.record(1, Mark { failed, slow: call % 5 == 0 });
                }
            });
        }
    });
    assert_eq!(ring.recorded(), 20_000);
    assert_eq!(ring.look(1), count(&ring.results(1)));
}

#[test]
fn a_refill_keeps_results_and_does_not_count_them_again() {
    let ring = Ring::new(4, 64);
    ring.reset(1, 4);
    for mark in [FAILED, FAILED, Mark::FINE, SLOW, FAILED] {
        ring.record(1, mark);
    }
    let kept = [FAILED, Mark::FINE, SLOW, FAILED];
    assert_eq!(ring.results(1), kept);
    ring.reset(2, 40);
    ring.refill(2, &kept);
    assert_eq!(ring.size(), 40);
    assert_eq!(ring.record(1, FAILED), Recorded::Stale);
    assert_eq!(ring.results(2), kept);
    assert_eq!(ring.recorded(), 5);
    ring.reset(5, 1_000);
    assert_eq!(ring.size(), 64, "as far as there is room");
    assert_eq!(ring.recorded(), 5);
}
