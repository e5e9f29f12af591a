use super::{BUCKETS, Buckets, Mark, Recorded, Tally};
use proptest::prelude::*;

const FAILED: Mark = Mark { failed: true, slow: false };
const WIDTH: u64 = 100_000_000;
const SPAN: u64 = WIDTH * BUCKETS as u64;

fn buckets() -> Buckets {
    let buckets = Buckets::new();
    buckets.reset(1, SPAN, 0);
    buckets
}

/// Each result with the number of the tenth in which it was counted.
#[derive(Default)]
struct Oracle {
    results: Vec<(u64, Mark)>,
    /// The latest tenth that was recorded in; a clock that goes back counts in it.
    latest: u64,
}

impl Oracle {
    fn record(&mut self, now: u64, mark: Mark) {
        self.latest = self.latest.max(now / WIDTH);
        self.results.push((self.latest, mark));
    }

    fn tally(&self, now: u64) -> Tally {
        let latest = self.latest.max(now / WIDTH);
        let within = self.results.iter().filter(|(at, _)| at + u64::from(BUCKETS) > latest);
        within.fold(Tally::default(), |tally, (_, mark)| Tally {
            calls: tally.calls + 1,
            failures: tally.failures + u32::from(mark.failed),
            slow: tally.slow + u32::from(mark.slow),
        })
    }
}

/// Whether a window that opens at half of `minimum` calls has to be open.
fn is_bad(tally: Tally, minimum: u32) -> bool {
    let worst = tally.failures.max(tally.slow);
    tally.calls >= minimum && worst > 0 && worst * 2 >= tally.calls
}

proptest! {
    #[test]
    fn equals_a_list_at_every_step(
        minimum in 1_u32..9,
        steps in prop::collection::vec((0_u8..60, any::<bool>(), any::<bool>(), -300_i64..700), 0..800),
    ) {
        let buckets = buckets();
        let (mut generation, mut oracle, mut total) = (1, Oracle::default(), 0);
        let (mut now, mut latest) = (0_u64, 0);
        for (dice, failed, slow, millis) in steps {
            // Now and then much time passes; now and then the clock goes back.
            let millis = if dice < 3 { millis * 10 } else { millis / 20 };
            now = now.saturating_add_signed(millis * 1_000_000);
            latest = now.max(latest);
            if dice == 59 {
                generation += 1;
                buckets.reset(generation, SPAN, latest);
                oracle = Oracle { latest: latest / WIDTH, ..Oracle::default() };
            }
            let mark = Mark { failed, slow };
            let before = oracle.tally(now);
            oracle.record(now, mark);
            total += 1;
            match buckets.record(generation, mark, now, minimum) {
                Recorded::Evaluate(seen) => prop_assert_eq!(seen, oracle.tally(now)),
                Recorded::Quiet => {
                    prop_assert!(mark.is_fine(), "what is bad is always evaluated");
                    let missed = is_bad(oracle.tally(now), minimum) && !is_bad(before, minimum);
                    prop_assert!(!missed, "{:?} after {:?}", oracle.tally(now), before);
                }
                Recorded::Stale => prop_assert!(false, "it is the newest generation"),
            }
            prop_assert_eq!(buckets.look_at(generation, now), oracle.tally(now));
            prop_assert_eq!(buckets.record(generation - 1, FAILED, now, 1), Recorded::Stale);
            prop_assert_eq!(buckets.recorded(), total);
        }
    }
}

#[test]
fn b1_after_a_million_successes_an_outage_shows_within_one_window() {
    let buckets = buckets();
    for call in 0..1_000_000 {
        buckets.record(1, Mark::FINE, call * 1_000_000, 1);
    }
    let start = 1_000_000_000_000;
    let seen = (0..500).map(|call| buckets.record(1, FAILED, start + call * 1_000_000, 1)).last();
    let Some(Recorded::Evaluate(seen)) = seen else { panic!("{seen:?}") };
    assert!(seen.failures * 2 >= seen.calls, "{seen:?}");
}

#[test]
fn results_leave_the_window_when_their_time_has_passed() {
    let buckets = buckets();
    buckets.record(1, FAILED, 0, 1);
    let one = Tally { calls: 1, failures: 1, slow: 0 };
    assert_eq!(buckets.look_at(1, SPAN - 1), one);
    assert_eq!(buckets.look_at(1, SPAN), Tally::default());
    assert_eq!(buckets.look_at(1, 0), one, "looking does not move it on");
}

#[test]
fn a_clock_that_goes_back_counts_in_the_newest_bucket() {
    let buckets = buckets();
    buckets.record(1, FAILED, 5 * WIDTH, 1);
    buckets.record(1, FAILED, 0, 1);
    assert_eq!(buckets.look_at(1, 15 * WIDTH - 1).failures, 2);
    assert_eq!(buckets.look_at(1, 15 * WIDTH).failures, 0);
}

#[test]
fn tags_start_over() {
    let buckets = Buckets::new();
    let far = (u64::from(u32::MAX) - 25) * WIDTH;
    buckets.reset(1, SPAN, far);
    for back in (0..60).rev() {
        buckets.record(1, FAILED, far + (60 - back) * WIDTH, 1);
    }
    let tally = buckets.look_at(1, far + 60 * WIDTH);
    assert_eq!(tally, Tally { calls: 10, failures: 10, slow: 0 });
}

#[test]
fn a_refill_counts_as_of_now_and_not_again() {
    let buckets = buckets();
    for _ in 0..5 {
        buckets.record(1, FAILED, 0, 1);
    }
    let tally = buckets.look_at(1, 0);
    let later = 7 * WIDTH;
    buckets.reset(2, 2 * SPAN, later);
    buckets.refill(2, tally);
    assert_eq!(buckets.recorded(), 5);
    assert!(buckets.covers(2 * SPAN) && buckets.covers(2 * SPAN + 1) && !buckets.covers(SPAN));
    assert_eq!(buckets.look_at(2, later + 2 * SPAN - 2 * WIDTH), tally);
    assert_eq!(buckets.look_at(2, later + 2 * SPAN), Tally::default());
}

#[test]
fn the_newest_results_come_out_bucket_by_bucket() {
    let buckets = buckets();
    let slow = Mark { failed: false, slow: true };
    for (tenth, mark) in [(0, Mark::FINE), (1, FAILED), (1, Mark::FINE), (3, slow)] {
        buckets.record(1, mark, tenth * WIDTH, 1);
    }
    let now = 4 * WIDTH;
    assert_eq!(buckets.newest(1, 9, now), [Mark::FINE, Mark::FINE, FAILED, slow]);
    assert_eq!(buckets.newest(1, 2, now), [FAILED, slow]);
    assert_eq!(buckets.newest(1, 9, 12 * WIDTH), [slow]);
    assert_eq!(buckets.newest(2, 9, now), []);
}

#[test]
fn threads_lose_no_result() {
    let buckets = buckets();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let buckets = &buckets;
            scope.spawn(move || {
                for call in 0..5_000_u64 {
                    let mark = Mark { failed: (call ^ thread) % 4 == 0, slow: call % 5 == 0 };
                    buckets.record(1, mark, call * 10_000, 1);
                }
            });
        }
    });
    assert_eq!(buckets.recorded(), 20_000);
    let all = Tally { calls: 20_000, failures: 5_000, slow: 4_000 };
    assert_eq!(buckets.look_at(1, 50_000_000), all);
}

#[test]
fn b5_a_call_costs_the_same_however_many_there_are() {
    // What grows in others is the look at the window. Here it reads a fixed number of words, and
    // successes cause it only until each bucket holds the minimum.
    let looks = |calls: u64| {
        let buckets = buckets();
        let evaluated = |call| {
            let recorded = buckets.record(1, Mark::FINE, call * SPAN / calls, 20);
            u32::from(matches!(recorded, Recorded::Evaluate(_)))
        };
        let looks: u32 = (0..calls).map(evaluated).sum();
        assert_eq!(u64::from(buckets.look_at(1, SPAN - 1).calls), calls);
        looks
    };
    assert_eq!((looks(1_000), looks(100_000)), (200, 200));
}
