//! How long to wait before the next attempt: pure, with chance as an argument.
use std::time::Duration;

/// The waits of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) base: Duration,
    pub(super) cap: Duration,
}

impl Schedule {
    /// The longest wait after so many failed attempts: doubling from the base up to the cap.
    pub(super) fn bound(self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// Full jitter: anything from nothing to the bound, for a `chance` in `0..1`.
    ///
    /// Jitter lies below the cap, never on top of it. What fails together must not come back
    /// together, least of all when everybody waits for the longest time.
    pub(super) fn wait(self, failed: u32, chance: f64) -> Duration {
        let bound = self.bound(failed);
        bound.mul_f64(chance.clamp(0.0, 1.0)).min(bound)
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Schedule;
    use proptest::prelude::{any, prop_assert, proptest};
    use std::time::Duration;

    const SCHEDULE: Schedule =
        Schedule { base: Duration::from_millis(100), cap: Duration::from_millis(1_500) };

    #[test]
    fn doubles_up_to_the_cap() {
        let bounds: Vec<_> = (1..=6).map(|n| SCHEDULE.bound(n).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1_500, 1_500]);
        assert_eq!(SCHEDULE.bound(u32::MAX), SCHEDULE.cap);
    }

    #[test]
    fn spreads_over_the_whole_range_also_at_the_cap() {
        assert_eq!(SCHEDULE.wait(9, 0.0), Duration::ZERO);
        assert_eq!(SCHEDULE.wait(9, 0.5), SCHEDULE.cap / 2);
        assert!(SCHEDULE.wait(9, 0.999) > SCHEDULE.cap.mul_f64(0.99));
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bound(
            base in 0_u64..10_000, cap in 0_u64..10_000, failed in any::<u32>(), chance in 0.0..1.0,
        ) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            let wait = Schedule { base, cap }.wait(failed, chance);
            prop_assert!(wait <= cap);
            prop_assert!(failed > 1 || wait <= base);
        }
    }
}
