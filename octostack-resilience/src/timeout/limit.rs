//! What the calls of a timeout share: the limit in force, and how they ended.
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Set beside the nanoseconds when the limit is only watched.
const SHADOW: u64 = 1 << 63;

/// No limit, for as long as nobody sets one. The bits below `SHADOW` hold 292 years.
const UNLIMITED: u64 = SHADOW - 1;

/// How long one call may take, as it was when the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(u64);

impl Limit {
    /// The policy does nothing.
    pub(super) const OFF: Self = Self(UNLIMITED | SHADOW);

    pub(super) fn new(mode: Mode, timeout: Duration) -> Self {
        let nanos = if timeout.is_zero() { UNLIMITED } else { nanos(timeout) };
        match mode {
            Mode::Enforce | Mode::ForcedOpen => Self(nanos),
            Mode::Shadow => Self(nanos | SHADOW),
            Mode::Disabled | Mode::ForcedClosed => Self::OFF,
        }
    }

    /// The same, or what the caller says if that is less.
    pub(super) fn at_most(self, wait: Duration) -> Self {
        if self == Self::OFF {
            return self;
        }
        Self(self.0 & SHADOW | (self.0 & !SHADOW).min(nanos(wait)))
    }

    #[inline]
    pub(super) const fn duration(self) -> Option<Duration> {
        match self.0 & !SHADOW {
            UNLIMITED => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// As nanoseconds, if it is enforced and there is one; else `u64::MAX`.
    #[inline]
    pub(super) const fn enforced_nanos(self) -> u64 {
        if self.0 < UNLIMITED { self.0 } else { u64::MAX }
    }

    #[inline]
    pub(super) const fn is_enforced(self) -> bool {
        self.0 & SHADOW == 0
    }
}

fn nanos(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX).min(UNLIMITED)
}

/// The atomics: one load when a call begins and one increment when it ends, in any order.
pub(super) struct Gauge {
    limit: AtomicU64,
    /// Nanoseconds that a deadline loses on its way out.
    margin: AtomicU64,
    ended: Padded<[AtomicU64; 5]>,
    over_in_shadow: AtomicU64,
    rejected: AtomicU64,
}

impl Gauge {
    pub(super) fn new(limit: Limit, margin: Duration) -> Self {
        Self {
            limit: AtomicU64::new(limit.0),
            margin: AtomicU64::new(nanos(margin)),
            ended: Padded(std::array::from_fn(|_| AtomicU64::new(0))),
            over_in_shadow: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> Limit {
        Limit(self.limit.load(Relaxed))
    }

    /// Takes both for calls that begin from now on; one that begins meanwhile may have one of each.
    pub(super) fn apply(&self, limit: Limit, margin: Duration) {
        self.limit.store(limit.0, Relaxed);
        self.margin.store(nanos(margin), Relaxed);
    }

    pub(super) fn margin(&self) -> Duration {
        Duration::from_nanos(self.margin.load(Relaxed))
    }

    /// A call was refused: its deadline had passed.
    pub(super) fn reject(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(super) fn end(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn over_in_shadow(&self) {
        self.over_in_shadow.fetch_add(1, Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        let outcomes = std::array::from_fn(|i| self.ended[i].load(Relaxed));
        Totals {
            permitted: outcomes.iter().sum(),
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.over_in_shadow.load(Relaxed),
            outcomes: Some(outcomes),
        }
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Limit;
    use octostack_core::inspect::Mode;
    use std::time::Duration;

    #[test]
    fn zero_and_the_mode_that_is_off_set_no_limit() {
        let second = Duration::from_secs(1);
        for (mode, timeout, limit, enforced) in [
            (Mode::Enforce, second, Some(second), true),
            (Mode::Shadow, second, Some(second), false),
            (Mode::Disabled, second, None, false),
            (Mode::Enforce, Duration::ZERO, None, true),
            (Mode::Shadow, Duration::ZERO, None, false),
        ] {
            let made = Limit::new(mode, timeout);
            assert_eq!((made.duration(), made.is_enforced()), (limit, enforced), "{mode}");
        }
    }

    #[test]
    fn the_caller_may_shorten_it_and_not_lengthen_it() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        for (mode, timeout, wait, limit) in [
            (Mode::Enforce, minute, second, Some(second)),
            (Mode::Enforce, second, minute, Some(second)),
            (Mode::Enforce, Duration::ZERO, second, Some(second)),
            (Mode::Shadow, minute, second, Some(second)),
            (Mode::Disabled, minute, second, None),
            (Mode::Enforce, second, Duration::ZERO, Some(Duration::ZERO)),
            (Mode::Enforce, Duration::ZERO, Duration::MAX, None),
        ] {
            let made = Limit::new(mode, timeout);
            assert_eq!(made.at_most(wait).duration(), limit, "{mode} {timeout:?} {wait:?}");
            assert_eq!(made.at_most(wait).is_enforced(), made.is_enforced());
        }
    }

    #[test]
    fn a_limit_without_end_does_not_become_another() {
        let long = Limit::new(Mode::Shadow, Duration::from_secs(200 * 365 * 86_400));
        assert!(long.duration() > Some(Duration::from_secs(199 * 365 * 86_400)));
        assert!(!long.is_enforced());
        assert!(Limit::new(Mode::Enforce, Duration::MAX).is_enforced());
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::{Gauge, Limit, Outcome};
    use loom::{sync::Arc, thread};
    use octostack_core::inspect::Mode;
    use std::time::Duration;

    #[test]
    fn no_end_is_lost_and_a_limit_is_one_that_was_set() {
        crate::models::explore(|| {
            let limit = |seconds| Limit::new(Mode::Enforce, Duration::from_secs(seconds));
            let gauge = Arc::new(Gauge::new(limit(1), Duration::ZERO));
            let other = gauge.clone();
            let changing = thread::spawn(move || {
                other.apply(limit(2), Duration::ZERO);
                other.end(Outcome::Success);
            });
            let seen = gauge.limit();
            assert!(seen == limit(1) || seen == limit(2));
            gauge.end(Outcome::Success);
            changing.join().unwrap();
            assert_eq!(gauge.totals().permitted, 2);
            assert_eq!(gauge.limit(), limit(2));
        });
    }
}
