use super::{Bucket, LAST, RetryBudget, Rules, cap};
use octostack_core::{Clock, SystemClock};
use proptest::prelude::{Strategy, prop_assert, prop_oneof, proptest};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

fn bucket(ratio: f64, floor: u32) -> Bucket {
    Bucket::new(Rules { ratio, floor })
}

fn empty(bucket: &Bucket, now: u64) -> u64 {
    (0..100_000).take_while(|_| bucket.withdraw(now)).count() as u64
}

#[test]
fn ten_calls_pay_for_one_repeat_at_a_ratio_of_a_tenth() {
    let bucket = bucket(0.1, 0);
    assert_eq!(empty(&bucket, 0), 10, "it starts full");
    for _ in 0..9 {
        bucket.deposit();
    }
    assert!(!bucket.withdraw(0));
    bucket.deposit();
    assert!(bucket.withdraw(0));
    assert!(!bucket.withdraw(1_000_000), "no floor, so time adds nothing");
}

#[test]
fn time_adds_the_floor_and_nothing_beyond_the_cap() {
    let bucket = bucket(0.0, 3);
    assert_eq!(empty(&bucket, 0), 30);
    assert!(!bucket.withdraw(333));
    assert!(bucket.withdraw(334));
    assert_eq!(empty(&bucket, 1_000), 2);
    assert_eq!(empty(&bucket, 1_000_000), 30);
    assert_eq!(empty(&bucket, 0), 0, "time that goes back adds nothing");
    assert_eq!(empty(&bucket, u64::MAX), 30, "the end of time is far away");
    assert_eq!(bucket.tokens(LAST), 0);
}

#[test]
fn new_rules_keep_what_still_fits() {
    let budget = RetryBudget::new(0.25, 10).unwrap();
    let now = SystemClock.now();
    budget.reconfigure(0.5, 2, &now).unwrap();
    assert_eq!(budget.rules(), Rules { ratio: 0.5, floor: 2 });
    assert_eq!(budget.available(&now), 20);
    let later = now + Duration::from_secs(1);
    assert!(budget.withdraw(&later));
    assert_eq!(budget.available(&later), 19);
    let error = budget.reconfigure(2.0, 1_001, &now).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    assert_eq!(budget.rules(), Rules { ratio: 0.5, floor: 2 });
}

#[test]
fn a_change_of_rules_changes_nothing_that_was_before_it() {
    let bucket = bucket(0.0, 1);
    let hour = 3_600_000;
    assert_eq!(empty(&bucket, 0), 10);
    bucket.apply(Rules { ratio: 0.0, floor: 1_000 }, hour);
    assert_eq!(empty(&bucket, hour), 10, "an hour at one a second, up to its cap");
    assert_eq!(empty(&bucket, hour + 1_000), 1_000, "then a second at the new floor");

    bucket.apply(Rules { ratio: 0.0, floor: 0 }, hour + 1_005);
    assert_eq!(empty(&bucket, 2 * hour), 5, "what was earned before the floor fell away stays");
}

#[test]
fn threads_together_spend_no_more_than_there_is() {
    let bucket = bucket(0.1, 0);
    let spent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    bucket.deposit();
                    spent.fetch_add(u64::from(bucket.withdraw(0)), Relaxed);
                }
            });
        }
    });
    let spent = spent.into_inner();
    assert!(spent <= 10 + 4_000, "{spent}");
    assert!(spent > 3_900, "{spent}: nearly all deposits were spent at once");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call,
    Repeat,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::strategy::Just(Step::Call),
        3 => proptest::strategy::Just(Step::Repeat),
        1 => (0_u64..5_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_naive_budget(
        thousandths in 0_u32..=1_000, floor in 0_u32..=1_000,
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let bucket = bucket(f64::from(thousandths) / 1_000.0, floor);
        let full = 10.0 * f64::from(floor.max(1));
        let (mut held, mut now, mut calls, mut repeats) = (full, 0, 0_u32, 0_u32);
        for step in steps {
            match step {
                Step::Call => {
                    bucket.deposit();
                    calls += 1;
                    held = (held + f64::from(thousandths) / 1_000.0).min(full);
                }
                Step::Wait(millis) => {
                    now += millis;
                    held = (held + millis as f64 / 1_000.0 * f64::from(floor)).min(full);
                }
                Step::Repeat => {
                    let allowed = bucket.withdraw(now);
                    // The order of calls and time differs when both fill it up: then the
                    // real one, which counts time late, may hold more, but never beyond full.
                    prop_assert!(allowed || held < 1.0 + 1e-6, "{held}");
                    if allowed {
                        held = (held - 1.0).max(0.0);
                        repeats += 1;
                    }
                }
            }
        }
        let limit = full + now as f64 / 1_000.0 * f64::from(floor)
            + f64::from(calls) * f64::from(thousandths) / 1_000.0;
        prop_assert!(f64::from(repeats) <= limit + 1e-6, "{repeats} of {limit}");
        prop_assert!(bucket.tokens(now) <= cap(bucket.rules.load(Relaxed)));
    }
}
