use super::{Field, Jitter, Schedule, Value};
use proptest::prelude::{any, prop_assert, proptest};
use std::time::Duration;

const SCHEDULE: Schedule = Schedule {
    base: Duration::from_millis(100),
    cap: Duration::from_millis(1_500),
    jitter: Jitter::Full,
};
const EQUAL: Schedule = Schedule { jitter: Jitter::Equal, ..SCHEDULE };
const DECORRELATED: Schedule = Schedule { jitter: Jitter::Decorrelated, ..SCHEDULE };

fn millis(schedule: Schedule, failed: u32, before: u64) -> (u128, u128) {
    let (shortest, longest) = schedule.range(failed, Duration::from_millis(before));
    (shortest.as_millis(), longest.as_millis())
}

#[test]
fn doubles_up_to_the_cap() {
    let longest: Vec<_> = (1..=6).map(|n| SCHEDULE.longest(n).as_millis()).collect();
    assert_eq!(longest, [100, 200, 400, 800, 1_500, 1_500]);
    assert_eq!(SCHEDULE.longest(u32::MAX), SCHEDULE.cap);
    assert_eq!((millis(SCHEDULE, 3, 7), millis(EQUAL, 3, 7)), ((0, 400), (200, 400)));
}

#[test]
fn decorrelated_waits_grow_with_the_one_before() {
    assert_eq!(millis(DECORRELATED, 1, 0), (100, 300));
    assert_eq!(millis(DECORRELATED, 2, 120), (100, 360));
    assert_eq!(millis(DECORRELATED, 2, 0), (100, 300), "the base has been raised since");
    assert_eq!(millis(DECORRELATED, 9, 1_500), (100, 1_500), "all of the range at the cap");
    let longest: Vec<_> = (1..=4).map(|n| DECORRELATED.longest(n).as_millis()).collect();
    assert_eq!(longest, [300, 900, 1_500, 1_500]);
    assert_eq!(DECORRELATED.longest(u32::MAX), DECORRELATED.cap);
}

#[test]
fn spreads_over_the_whole_range_also_at_the_cap() {
    for schedule in [SCHEDULE, EQUAL, DECORRELATED] {
        let (shortest, longest) = schedule.range(9, schedule.cap);
        assert_eq!(longest, schedule.cap);
        let wait = |chance| schedule.wait(9, schedule.cap, chance);
        assert_eq!((wait(0.0), wait(0.5)), (shortest, (shortest + longest) / 2));
        assert!(wait(0.999) > longest.mul_f64(0.99));
    }
}

#[test]
fn values() {
    for jitter in Jitter::ALL {
        assert_eq!(Jitter::from_value(&jitter.to_value()), Ok(jitter));
        assert_eq!(Jitter::from_u8(jitter as u8), jitter);
    }
    let error = Jitter::from_value(&Value::from("some")).unwrap_err();
    assert!(error.starts_with("expected full, equal or decorrelated, found"), "{error}");
}

#[cfg(feature = "serde")]
#[test]
fn config() {
    let read = |text| serde_json::from_str::<Jitter>(text);
    assert_eq!(read("\"decorrelated\"").unwrap(), Jitter::Decorrelated);
    assert!(read("\"Full\"").is_err());
    assert_eq!(serde_json::to_string(&Jitter::Equal).unwrap(), "\"equal\"");
}

/// Many waits in a row of many callers, each going by its own wait before.
fn sampled(schedule: Schedule, failed: u32, seed: u64) -> Vec<Duration> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let caller =
        |_| (1..=failed).fold(Duration::ZERO, |before, n| schedule.wait(n, before, chance.f64()));
    (0..200).map(caller).collect()
}

proptest! {
    #[test]
    fn waits_are_within_bounds(
        base in 0_u64..10_000, more in 0_u64..10_000, failed in any::<u32>(),
        before in 0_u64..40_000, chance in 0.0..1.0, jitter in 0_u8..3,
    ) {
        let (base, cap) = (Duration::from_millis(base), Duration::from_millis(base + more));
        let jitter = Jitter::from_u8(jitter);
        let schedule = Schedule { base, cap, jitter };
        let before = Duration::from_millis(before);
        let wait = schedule.wait(failed, before, chance);
        let (shortest, longest) = schedule.range(failed, before);
        prop_assert!(shortest <= wait && wait <= longest && longest <= cap);
        prop_assert!(wait <= schedule.longest(failed) || before > schedule.longest(failed - 1));
        // The same as one writes it down, but for the cap.
        let (low, high) = match jitter {
            Jitter::Full => (0.0, 1.0),
            Jitter::Equal => (0.5, 1.0),
            Jitter::Decorrelated => (0.0, 3.0),
        };
        if failed == 1 {
            prop_assert!(wait >= base.mul_f64(low) && wait <= base.mul_f64(high));
        }
    }

    /// tower's have none with a base of whole seconds, and none at the cap.
    #[test]
    fn waits_are_really_spread(
        base in 1_u64..5_000, times in 1_u64..20, failed in 1_u32..10, seed in any::<u64>(),
        jitter in 0_u8..3,
    ) {
        let (base, cap) = (Duration::from_millis(base), Duration::from_millis(base * times));
        check_spread(Schedule { base, cap, jitter: Jitter::from_u8(jitter) }, failed, seed)?;
    }
}

fn check_spread(
    schedule: Schedule,
    failed: u32,
    seed: u64,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut waits = sampled(schedule, failed, seed);
    waits.sort();
    let (first, last) = (waits[0], waits[waits.len() - 1]);
    let count = waits.len();
    waits.dedup();
    prop_assert!(waits.len() > count * 9 / 10, "hardly two callers wait alike");
    let spread = last.saturating_sub(first);
    prop_assert!(spread > last.mul_f64(0.4), "{:?} to {:?}", first, last);
    let middle = waits[count / 2];
    prop_assert!(middle > first + spread / 10 && middle + spread / 10 < last);
    Ok(())
}

#[test]
fn tower_has_no_jitter_with_a_base_of_one_second_and_at_the_cap_and_we_have() {
    let second = Duration::from_secs(1);
    for jitter in Jitter::ALL {
        for (base, cap, failed) in
            [(second, 8 * second, 1), (second, second, 1), (second, 2 * second, 7)]
        {
            check_spread(Schedule { base, cap, jitter }, failed, 7).unwrap();
        }
    }
}
