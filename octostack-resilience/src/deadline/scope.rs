//! What is known of a deadline, and whose it is at the moment.
use octostack_core::Clock;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Until when somebody waits: a point in time, a time from now on, or the earlier of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    at: Option<Instant>,
    /// Nanoseconds; `u64::MAX` for no limit. It runs from the first wait on, so as long as nobody
    /// has waited it is as long as it was.
    within: u64,
}

thread_local! {
    /// The scope of the work that this thread does at the moment.
    static CURRENT: Cell<Scope> = const { Cell::new(Scope::NONE) };
}

impl Scope {
    /// Nobody waits, or nobody said for how long.
    pub(crate) const NONE: Self = Self { at: None, within: u64::MAX };

    /// Until `deadline`.
    pub(crate) const fn until(deadline: Instant) -> Self {
        Self { at: Some(deadline), ..Self::NONE }
    }

    /// That of the work that runs now.
    #[inline]
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Cell::get).unwrap_or(Self::NONE)
    }

    /// The same, or until `deadline` if that is earlier.
    #[inline]
    pub(crate) fn by(self, deadline: Instant) -> Self {
        Self { at: Some(self.at.map_or(deadline, |at| at.min(deadline))), ..self }
    }

    /// The same, or so many nanoseconds from the first wait on if that ends earlier; `u64::MAX` for
    /// no limit.
    #[cfg(any(feature = "tokio", test))]
    #[inline]
    pub(crate) fn within(self, nanos: u64) -> Self {
        Self { within: self.within.min(nanos), ..self }
    }

    /// The point in time, as of now. Reads the clock only if a time has not begun to run.
    #[inline]
    pub(crate) fn deadline(self, clock: &impl Clock) -> Option<Instant> {
        if self.within == u64::MAX {
            return self.at;
        }
        // A limit of centuries is none.
        let end = clock.now().checked_add(Duration::from_nanos(self.within));
        match (self.at, end) {
            (Some(at), Some(end)) => Some(at.min(end)),
            (at, end) => at.or(end),
        }
    }

    /// What is left as of now. Reads the clock only if there is a deadline.
    pub(crate) fn remaining(self, clock: &impl Clock) -> Option<Duration> {
        let within = (self.within != u64::MAX).then(|| Duration::from_nanos(self.within));
        let left = self.at.map(|at| at.saturating_duration_since(clock.now()));
        match (left, within) {
            (Some(left), Some(within)) => Some(left.min(within)),
            (left, within) => left.or(within),
        }
    }

    /// Whether nobody waits any more. Reads the clock only if there is a point in time.
    #[cfg(any(feature = "tokio", test))]
    #[inline]
    pub(crate) fn has_passed(self, clock: &impl Clock) -> bool {
        self.at.is_some_and(|at| at <= clock.now())
    }

    /// Makes it that of the work that runs now, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        Entered { before: CURRENT.try_with(|current| current.replace(self)).unwrap_or(Self::NONE) }
    }
}

/// Puts back what was before, also when a panic unwinds.
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct Entered {
    before: Scope,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        // A thread that is ending does no work for anybody.
        let _ = CURRENT.try_with(|current| current.set(self.before));
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Scope;
    use octostack_core::{Clock, SystemClock};
    use proptest::prelude::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    #[test]
    fn a_panic_puts_back_what_was_before() {
        let now = SystemClock.now();
        let outer = Scope::NONE.by(now);
        let entered = outer.enter();
        let inner = outer.within(1_000_000_000);
        catch_unwind(AssertUnwindSafe(|| {
            let _entered = inner.enter();
            assert_eq!(Scope::current(), inner);
            panic!("in the work");
        }))
        .unwrap_err();
        assert_eq!(Scope::current(), outer);
        drop(entered);
        assert_eq!(Scope::current(), Scope::NONE);
    }

    #[test]
    fn a_limit_without_end_is_none() {
        let now = SystemClock.now();
        let scope = Scope::NONE.within(u64::MAX);
        assert_eq!(scope, Scope::NONE);
        assert_eq!((scope.deadline(&now), scope.remaining(&now)), (None, None));
    }

    proptest! {
        #[test]
        fn the_earliest_counts(
            points in prop::collection::vec(0..1_000_u64, 0..4),
            limits in prop::collection::vec(0..1_000_u64, 0..4),
            now in 0..1_000_u64,
        ) {
            let start = SystemClock.now();
            let after = |millis| start + Duration::from_millis(millis);
            let mut scope = Scope::NONE;
            for point in &points {
                scope = scope.by(after(*point));
            }
            for limit in &limits {
                scope = scope.within(limit * 1_000_000);
            }
            let clock = after(now);
            let ends = points.iter().copied().chain(limits.iter().map(|limit| now + limit));
            let earliest = ends.min().map(after);
            prop_assert_eq!(scope.deadline(&clock), earliest);
            let left = earliest.map(|end| end.saturating_duration_since(clock));
            prop_assert_eq!(scope.remaining(&clock), left);
            let passed = points.iter().any(|point| *point <= now);
            prop_assert_eq!(scope.has_passed(&clock), passed);
        }
    }
}
