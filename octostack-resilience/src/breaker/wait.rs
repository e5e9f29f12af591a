//! How long a breaker stays open: pure, with chance as an argument.
use super::config::CircuitBreakerConfig;
use std::time::Duration;

/// The waits of one breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waits {
    first: Duration,
    longest: Duration,
    /// What chance adds at most, as a share of the wait.
    jitter: f64,
}

impl Waits {
    pub(super) fn new(settings: &CircuitBreakerConfig) -> Self {
        let CircuitBreakerConfig { open_for, max_open_for, open_jitter, .. } = *settings;
        Self { first: open_for, longest: max_open_for.max(open_for), jitter: open_jitter }
    }

    /// The wait of a breaker that has opened again `again` times since it was closed, for a
    /// `chance` in `0..1`, where the service asked for `asked`.
    ///
    /// It doubles, and chance only adds to it: a wait is never shorter than the first one, nor than
    /// what was asked, and never longer than the longest. The doubling ends early enough that
    /// chance has room below the longest too: instances that have waited long must not all come
    /// back at once.
    pub(super) fn wait(self, again: u32, chance: f64, asked: Duration) -> Duration {
        let doubled = self.first.saturating_mul(1 << again.min(30));
        let with_room = self.longest.div_f64(1.0 + self.jitter);
        let least = doubled.min(with_room).max(self.first).max(asked).min(self.longest);
        let added = least.mul_f64(self.jitter * chance.clamp(0.0, 1.0));
        least.saturating_add(added).min(self.longest)
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Waits;
    use proptest::prelude::{prop_assert, proptest};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const WAITS: Waits = Waits { first: SECOND, longest: Duration::from_secs(60), jitter: 0.5 };

    fn bounds(waits: Waits, again: u32) -> [u128; 2] {
        [0.0, 1.0].map(|chance| waits.wait(again, chance, Duration::ZERO).as_millis())
    }

    #[test]
    fn doubles_and_keeps_room_for_chance_at_the_longest() {
        assert_eq!(bounds(WAITS, 0), [1_000, 1_500]);
        assert_eq!(bounds(WAITS, 3), [8_000, 12_000]);
        assert_eq!(bounds(WAITS, 6), [40_000, 60_000]);
        assert_eq!(bounds(WAITS, u32::MAX), [40_000, 60_000]);
        assert_eq!(bounds(Waits { jitter: 0.0, ..WAITS }, 9), [60_000, 60_000]);
        assert_eq!(bounds(Waits { longest: SECOND, ..WAITS }, 9), [1_000, 1_000]);
    }

    #[test]
    fn waits_as_long_as_the_service_asks_but_not_longer_than_the_longest() {
        let asked = |seconds| WAITS.wait(0, 0.0, Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 1, 20, 60, 3_600].map(asked), [1, 1, 20, 60, 60]);
        assert_eq!(WAITS.wait(0, 1.0, 20 * SECOND), 30 * SECOND, "and chance adds to it");
    }

    proptest! {
        #[test]
        fn no_wait_is_out_of_bounds(
            first in 1_u64..90_000_000, more in 0_u64..90_000_000, jitter in 0.0..=1.0,
            again in 0_u32..40, chance in 0.0..1.0, asked in 0_u64..90_000_000,
        ) {
            let millis = Duration::from_millis;
            let longest = millis(first + more);
            let waits = Waits { first: millis(first), longest, jitter };
            let wait = waits.wait(again, chance, millis(asked));
            prop_assert!(wait >= millis(first) && wait <= longest);
            prop_assert!(wait >= millis(asked).min(longest));
        }
    }
}
