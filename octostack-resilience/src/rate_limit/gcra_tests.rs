use super::{Rules, Stance};
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
    fn admit(&mut self, now: u64) -> bool {
        let fits = |(earlier, start): (usize, &u64)| {
            let calls = (self.passed.len() - earlier + 1) as u64;
            calls <= u64::from(self.rules.burst) + (now - start) / self.rules.interval
        };
        let passes = self.passed.iter().enumerate().all(fits);
        if passes {
            self.passed.push(now);
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
    assert_eq!(slow.carry(fast, hour_of_slow), 5 * ms, "5 calls are 5 calls");
    assert_eq!(fast.carry(slow, 3 * ms), 3 * slow.interval);
    assert_eq!(fast.carry(slow, 90 * ms), hour_of_slow, "no more than the whole burst");
    assert_eq!(fast.carry(fast, 90 * ms), 90 * ms);
    let none = rules(0, SECOND, 0);
    assert_eq!((fast.carry(none, 90 * ms), none.carry(fast, 0)), (0, 0));
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

proptest! {
    #[test]
    fn lets_pass_what_the_definition_does(
        rules in any_rules(), gaps in prop::collection::vec(0..300_u64, 1..80),
    ) {
        let (mut arrival, mut now) = (0_u64, 0);
        let mut definition = Definition { rules, passed: Vec::new() };
        for gap in gaps {
            now += gap;
            let ahead = arrival.saturating_sub(now);
            let available = rules.available(ahead);
            let judged = rules.judge(ahead);
            prop_assert_eq!(judged.is_ok(), definition.admit(now));
            prop_assert_eq!(judged.is_ok(), available > 0);
            match judged {
                Ok(after) => {
                    arrival = now + after;
                    prop_assert_eq!(rules.available(after), available - 1);
                }
                Err(wait) => {
                    // Exact: then it passes, and a nanosecond earlier it does not.
                    let wait = u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(wait > 0);
                    prop_assert!(rules.judge(arrival.saturating_sub(now + wait)).is_ok());
                    prop_assert!(rules.judge(arrival.saturating_sub(now + wait - 1)).is_err());
                }
            }
        }
    }

    #[test]
    fn other_rules_leave_as_many_calls_as_the_new_burst_has_beyond_those_used(
        old in any_rules(), new in any_rules(), calls in 0..12_u32,
    ) {
        let calls = calls.min(old.burst);
        let ahead = (0..calls).fold(0, |ahead, _| old.judge(ahead).unwrap());
        let carried = old.carry(new, ahead);
        prop_assert_eq!(new.available(carried), new.burst.saturating_sub(calls));
        // And whoever used up everything waits for one call by the new rules at most.
        let wait = new.judge(carried).err().unwrap_or_default();
        prop_assert!(wait <= Duration::from_nanos(new.interval));
    }
}
