//! What the calls of a timeout share: the limit in force, and how they ended.
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Set beside the nanoseconds when the limit is only watched. The other bits hold 292 years.
const SHADOW: u64 = 1 << 63;

/// How long one call may take, as it was when the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(u64);

impl Limit {
    /// No limit.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(mode: Mode, timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).min(SHADOW - 1);
        match mode {
            Mode::Enforce | Mode::ForcedOpen => Self(nanos),
            Mode::Shadow if nanos > 0 => Self(nanos | SHADOW),
            Mode::Shadow | Mode::Disabled | Mode::ForcedClosed => Self::NONE,
        }
    }

    pub(super) const fn duration(self) -> Option<Duration> {
        match self.0 & !SHADOW {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub(super) const fn is_enforced(self) -> bool {
        self.0 & SHADOW == 0
    }
}

/// The atomics: one load when a call begins and one increment when it ends, in any order.
pub(super) struct Gauge {
    limit: AtomicU64,
    ended: Padded<[AtomicU64; 5]>,
    over_in_shadow: AtomicU64,
}

impl Gauge {
    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit: AtomicU64::new(limit.0),
            ended: Padded(std::array::from_fn(|_| AtomicU64::new(0))),
            over_in_shadow: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> Limit {
        Limit(self.limit.load(Relaxed))
    }

    pub(super) fn set_limit(&self, limit: Limit) {
        self.limit.store(limit.0, Relaxed);
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
            rejected: 0,
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
            (Mode::Disabled, second, None, true),
            (Mode::Enforce, Duration::ZERO, None, true),
            (Mode::Shadow, Duration::ZERO, None, true),
        ] {
            let made = Limit::new(mode, timeout);
            assert_eq!((made.duration(), made.is_enforced()), (limit, enforced), "{mode}");
        }
    }

    #[test]
    fn a_limit_without_end_does_not_become_another() {
        let long = Limit::new(Mode::Shadow, Duration::MAX);
        assert!(long.duration() > Some(Duration::from_secs(200 * 365 * 86_400)));
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
        loom::model(|| {
            let limit = |seconds| Limit::new(Mode::Enforce, Duration::from_secs(seconds));
            let gauge = Arc::new(Gauge::new(limit(1)));
            let other = gauge.clone();
            let changing = thread::spawn(move || {
                other.set_limit(limit(2));
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
