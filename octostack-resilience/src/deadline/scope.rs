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

/// The scope of the work that this thread does at the moment.
struct Current {
    at: Cell<Option<Instant>>,
    within: Cell<u64>,
}

thread_local! {
    // In two parts, as most work that enters a scope changes one of them.
    static CURRENT: Current =
        const { Current { at: Cell::new(None), within: Cell::new(u64::MAX) } };
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
        let current = CURRENT.try_with(|now| Self { at: now.at.get(), within: now.within.get() });
        current.unwrap_or(Self::NONE)
    }

    /// The same, or until `deadline` if that is earlier.
    #[inline]
    pub(crate) fn by(self, deadline: Instant) -> Self {
        Self { at: Some(self.at.map_or(deadline, |at| at.min(deadline))), ..self }
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

    /// Whether nobody waits any more for the work that runs now. Reads the clock only if there is a
    /// point in time.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn has_passed(clock: &impl Clock) -> bool {
        let at = CURRENT.try_with(|now| now.at.get()).ok().flatten();
        at.is_some_and(|at| at <= clock.now())
    }

    /// Makes it that of the work that runs now, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        let before = CURRENT.try_with(|now| Entered {
            within: now.within.replace(self.within),
            at: Before::Was(now.at.replace(self.at)),
        });
        before.unwrap_or(Entered { within: u64::MAX, at: Before::Kept })
    }

    /// Gives the work that runs now so many nanoseconds from the first wait on, or less if it has
    /// less already; `u64::MAX` for no limit.
    #[cfg(feature = "tokio")]
    #[inline]
    pub(crate) fn enter_within(nanos: u64) -> Entered {
        let before = CURRENT.try_with(|now| now.within.replace(now.within.get().min(nanos)));
        Entered { within: before.unwrap_or(u64::MAX), at: Before::Kept }
    }
}

/// Puts back what was before, also when a panic unwinds.
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct Entered {
    within: u64,
    at: Before,
}

enum Before {
    /// It was not changed.
    Kept,
    Was(Option<Instant>),
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        // A thread that is ending does no work for anybody.
        let _ = CURRENT.try_with(|now| {
            now.within.set(self.within);
            if let Before::Was(at) = self.at {
                now.at.set(at);
            }
        });
    }
}

#[cfg(all(test, feature = "tokio", not(octostack_loom)))]
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
        catch_unwind(AssertUnwindSafe(|| {
            let _entered = Scope::enter_within(1_000_000_000);
            let inner = Scope { within: 1_000_000_000, ..outer };
            assert_eq!(Scope::current(), inner);
            let _entered = inner.by(now).enter();
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
        let _entered = Scope::enter_within(u64::MAX);
        let scope = Scope::current();
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
            let mut entered = Vec::new();
            for point in &points {
                entered.push(Scope::current().by(after(*point)).enter());
            }
            for limit in &limits {
                entered.push(Scope::enter_within(limit * 1_000_000));
            }
            let scope = Scope::current();
            let clock = after(now);
            let ends = points.iter().copied().chain(limits.iter().map(|limit| now + limit));
            let earliest = ends.min().map(after);
            prop_assert_eq!(scope.deadline(&clock), earliest);
            let left = earliest.map(|end| end.saturating_duration_since(clock));
            prop_assert_eq!(scope.remaining(&clock), left);
            let passed = points.iter().any(|point| *point <= now);
            prop_assert_eq!(Scope::has_passed(&clock), passed);
            while let Some(inner) = entered.pop() {
                drop(inner);
            }
            prop_assert_eq!(Scope::current(), Scope::NONE);
        }
    }
}
