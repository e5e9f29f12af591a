use super::{Refused, Rules, Stance, Used};
use octostack_core::inspect::Mode;
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn rules(limit: u32, period: Duration, burst: u32) -> Rules {
    Rules::new(Mode::Enforce, limit, period, burst)
}

/// What a rate means, as a definition: however a time span lies, at most `burst` calls pass in it,
/// and one more for each whole interval of its length. Keeps all that passed and looks at all time
/// spans that end now.
struct Definition {
    rules: Rules,
    passed: Vec<u64>,
}

impl Definition {
    fn admit(&mut self, now: u64, weight: u32) -> bool {
        let all = self.passed.iter().copied().chain(std::iter::repeat_n(now, weight as usize));
        let all: Vec<u64> = all.collect();
        let fits = |(earlier, start): (usize, &u64)| {
            let calls = (all.len() - earlier) as u64;
            calls <= u64::from(self.rules.burst) + (now - start) / self.rules.interval
        };
        let passes = all.iter().enumerate().all(fits);
        if passes {
            self.passed = all;
        }
        passes
    }
}

#[test]
fn the_mode_and_a_missing_limit_decide_for_all() {
    for (mode, limit, stance) in [
        (Mode::Enforce, 1, Stance::Judge),
        (Mode::Shadow, 1, Stance::Judge),
        (Mode::Disabled, 1, Stance::Pass),
        (Mode::Enforce, 0, Stance::Pass),
        (Mode::Shadow, 0, Stance::Pass),
        (Mode::ForcedOpen, 0, Stance::Refuse),
        (Mode::ForcedOpen, 1, Stance::Refuse),
    ] {
        let rules = Rules::new(mode, limit, SECOND, 0);
        assert_eq!(rules.stance(), stance, "{mode}, {limit}");
        assert_eq!(Stance::from_u8(stance as u8), stance);
    }
}

#[test]
fn a_rate_is_never_faster_than_it_says() {
    assert_eq!(rules(3, SECOND, 0), Rules { mode: Mode::Enforce, interval: 333_333_334, burst: 3 });
    assert_eq!(rules(1_000_000, SECOND, 7).interval, 1_000);
    assert_eq!(rules(1, Duration::from_secs(86_400), 7).burst, 7);
}

#[test]
fn what_was_used_stays_used_under_other_rules() {
    let (slow, fast) = (rules(5, Duration::from_secs(3_600), 0), rules(1_000, SECOND, 100));
    let (hour_of_slow, ms) = (5 * slow.interval, 1_000_000);
    let used = |ahead| Used { ahead, cut: 0 };
    assert_eq!(slow.carry(fast, used(hour_of_slow)), used(5 * ms), "5 calls are 5 calls");
    assert_eq!(fast.carry(slow, used(3 * ms)), used(3 * slow.interval));
    let cut = fast.carry(slow, used(90 * ms));
    assert_eq!(cut, Used { ahead: 90 * slow.interval, cut: 85 * slow.interval });
    assert_eq!(cut.counted(), hour_of_slow, "no more than the whole burst");
    assert_eq!(slow.carry(fast, cut), used(90 * ms), "and all of it again");
    assert_eq!(fast.carry(fast, used(90 * ms)), used(90 * ms));
    let none = rules(0, SECOND, 0);
    assert_eq!((fast.carry(none, used(90 * ms)), none.carry(fast, used(0))), (used(0), used(0)));
}

prop_compose! {
    fn any_rules()(
        limit in 1..20_u32, period in 1..2_000_u64, burst in 1..12_u32,
    ) -> Rules {
        // Small numbers of nanoseconds, so that exact meetings happen.
        let period = Duration::from_nanos(period);
        rules(limit, period, burst)
    }
}

#[test]
fn a_weight_passes_whole_or_not_at_all() {
    let rules = rules(1, SECOND, 5);
    let second = rules.interval;
    assert_eq!(rules.judge(0, 5), Ok(5 * second));
    let wait = |seconds| Err(Refused { retry_after: Some(Duration::from_secs(seconds)) });
    assert_eq!(rules.judge(2 * second, 5), wait(2), "all of it has to fit");
    assert_eq!(rules.judge(5 * second, 0), Ok(5 * second), "nothing weighs nothing");
    let never = Err(Refused { retry_after: None });
    assert_eq!((rules.judge(0, 6), rules.judge(0, u32::MAX)), (never, never));
}

proptest! {
    #[test]
    fn lets_pass_what_the_definition_does(
        rules in any_rules(), calls in prop::collection::vec((0..300_u64, 0..5_u32), 1..60),
    ) {
        let (mut arrival, mut now) = (0_u64, 0);
        let mut definition = Definition { rules, passed: Vec::new() };
        for (gap, weight) in calls {
            now += gap;
            let ahead = arrival.saturating_sub(now);
            let available = rules.available(ahead);
            let judged = rules.judge(ahead, weight);
            prop_assert_eq!(judged.is_ok(), definition.admit(now, weight));
            prop_assert_eq!(judged.is_ok(), available >= weight);
            match judged {
                Ok(after) => {
                    arrival = now + after;
                    prop_assert_eq!(rules.available(after), available - weight);
                }
                Err(Refused { retry_after: None }) => prop_assert!(weight > rules.burst),
                Err(Refused { retry_after: Some(wait) }) => {
                    // Exact: then it passes, and a nanosecond earlier it does not.
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(wait > 0);
                    prop_assert!(rules.judge(arrival.saturating_sub(now + wait), weight).is_ok());
                    let early = arrival.saturating_sub(now + wait - 1);
                    prop_assert!(rules.judge(early, weight).is_err());
                }
            }
        }
    }

    #[test]
    fn other_rules_leave_as_many_calls_as_the_new_burst_has_beyond_those_used(
        old in any_rules(), new in any_rules(), calls in 0..12_u32,
    ) {
        let calls = calls.min(old.burst);
        let ahead = (0..calls).fold(0, |ahead, _| old.judge(ahead, 1).unwrap());
        let carried = old.carry(new, Used { ahead, cut: 0 });
        prop_assert_eq!(new.available(carried.counted()), new.burst.saturating_sub(calls));
        // And whoever used up everything waits for one call by the new rules at most.
        let wait = new.judge(carried.counted(), 1).err().and_then(|refused| refused.retry_after);
        let wait = wait.unwrap_or_default();
        prop_assert!(wait <= Duration::from_nanos(new.interval));
    }
}
