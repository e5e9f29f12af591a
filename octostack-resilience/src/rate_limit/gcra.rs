//! What a rate allows: pure, with time as an argument.
//!
//! The generic cell rate algorithm (GCRA, ITU-T I.371) keeps one number, the time at which the
//! calls so far would have arrived had they come at exactly the rate. Each call moves it on by one
//! interval. A call is refused if that time would lie further ahead of now than a burst takes. It
//! is a token bucket without a task that fills it, and exact at every instant.
//!
//! When a burst shrinks, more may have been used than it allows. That much is *cut off*: it stays
//! in the arrival time but is not judged, recovers after what is, and counts again once the burst
//! grows. So a change that is undone is as if it had not been.
//!
//! governor decides; what it is told is how far ahead the arrival time lies, so its own clock can
//! stand still and its rates can change between two calls.
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use octostack_core::inspect::Mode;
use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

/// What is in force, in the units of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) mode: Mode,
    /// Nanoseconds that one call stands for; 0 for no limit.
    pub(super) interval: u64,
    /// Calls that may come at once after a rest.
    pub(super) burst: u32,
}

/// What is done with every call, or that each is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stance {
    Pass,
    Judge,
    Refuse,
}

impl Stance {
    /// The stance whose `as u8` this is.
    #[inline]
    pub(super) const fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Pass,
            1 => Self::Judge,
            _ => Self::Refuse,
        }
    }
}

/// A call that may not pass, and when one may, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) retry_after: Option<Duration>,
}

impl Rules {
    /// `limit` calls per `period`, 0 for no limit; a `burst` of 0 is as many as `limit`.
    pub(super) fn new(mode: Mode, limit: u32, period: Duration, burst: u32) -> Self {
        // Rounded up: a limit may be slower than it says by a fraction of a nanosecond, never
        // faster.
        let interval = match limit {
            0 => 0,
            limit => period.as_nanos().div_ceil(u128::from(limit)),
        };
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        Self { mode, interval, burst: if burst == 0 { limit } else { burst } }
    }

    #[inline]
    pub(super) const fn stance(self) -> Stance {
        match self.mode {
            Mode::ForcedOpen => Stance::Refuse,
            Mode::Enforce | Mode::Shadow if self.interval > 0 => Stance::Judge,
            _ => Stance::Pass,
        }
    }

    /// How far ahead of now the arrival time lies after a call that counts as `weight` calls, or
    /// how long to wait for it; for ever if that is more than a whole burst. Only for rules that
    /// judge.
    #[inline]
    pub(super) fn judge(self, ahead: u64, weight: u32) -> Result<u64, Refused> {
        let Some(quota) = self.quota() else { return Ok(ahead) };
        let Some(weight) = NonZeroU32::new(weight) else { return Ok(ahead) };
        let state = Ahead { before: ahead, after: Cell::new(ahead) };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(quota, state, StandsStill);
        match limiter.check_n(weight) {
            Ok(Ok(())) => Ok(limiter.into_state_store().after.get()),
            Ok(Err(until)) => {
                Err(Refused { retry_after: Some(until.wait_time_from(StandsStill.now())) })
            }
            Err(_more_than_a_burst) => Err(Refused { retry_after: None }),
        }
    }

    fn quota(self) -> Option<Quota> {
        let quota = Quota::with_period(Duration::from_nanos(self.interval))?;
        Some(quota.allow_burst(NonZeroU32::new(self.burst)?))
    }

    /// What is used once `other` rules are in force: as many calls as before, each of the new
    /// length. What is more than the new burst is cut off: so nobody is made to wait longer than a
    /// call takes by the new rules. It counts again as far as the burst grows. Rounded to whole
    /// nanoseconds up for a slower rate and down for a faster one, which takes that up back: so a
    /// limit that is lowered and restored leaves exactly what was.
    pub(super) fn carry(self, other: Self, used: Used) -> Used {
        if self.interval == 0 {
            return Used::default();
        }
        let scaled = |time: u64| {
            let time = u128::from(time) * u128::from(other.interval);
            let slower = other.interval > self.interval;
            let old = u128::from(self.interval);
            let time = if slower { time.div_ceil(old) } else { time / old };
            u64::try_from(time).unwrap_or(u64::MAX).min(MOST_USED)
        };
        let all = scaled(used.ahead);
        let more = u64::from(other.burst.saturating_sub(self.burst)) * other.interval;
        let counted = scaled(used.counted()).saturating_add(more).min(all).min(other.full());
        Used { ahead: all, cut: all - counted }
    }

    /// How many calls may pass right now.
    pub(super) fn available(self, ahead: u64) -> u32 {
        let used = if self.interval == 0 { 0 } else { ahead.div_ceil(self.interval) };
        self.burst.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// How far ahead the arrival time lies when a burst has just been used up. The settings bound
    /// it, see [`MAX_RECOVERY`](super::config::MAX_RECOVERY).
    const fn full(self) -> u64 {
        self.interval.saturating_mul(self.burst as u64)
    }
}

/// The longest that an arrival time can lie ahead of now, by what was used or cut off: 18 years. A
/// slower rate than what was used so far can make more of it, and that is forgotten.
pub(super) const MOST_USED: u64 = 1 << 59;

/// What was used up, as time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// How far ahead of now the arrival time lies.
    pub(super) ahead: u64,
    /// How much of that does not count, since it is more than the burst was when that shrank. It
    /// recovers last, after what counts.
    pub(super) cut: u64,
}

impl Used {
    /// What is used at `now`, of an arrival time and what was cut off.
    #[inline]
    pub(super) fn at(arrival: u64, cut: u64, now: u64) -> Self {
        let ahead = arrival.saturating_sub(now);
        Self { ahead, cut: cut.min(ahead) }
    }

    /// What is judged.
    #[inline]
    pub(super) const fn counted(self) -> u64 {
        self.ahead - self.cut
    }
}

/// governor's clock: what it is told is relative to now, which is therefore 0.
#[derive(Clone, Copy, Debug)]
struct StandsStill;

impl Clock for StandsStill {
    type Instant = Nanos;

    #[inline]
    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

/// governor's store for one decision.
struct Ahead {
    before: u64,
    after: Cell<u64>,
}

impl StateStore for Ahead {
    type Key = NotKeyed;

    #[inline]
    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (decision, after) = decide(Some(self.before.into()))?;
        self.after.set(after.into());
        Ok(decision)
    }
}

#[cfg(all(test, not(octostack_loom)))]
#[path = "gcra_tests.rs"]
mod tests;
