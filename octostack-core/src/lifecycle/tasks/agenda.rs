//! When a task at an interval runs next: a state machine with time and chance as arguments.
use std::time::{Duration, Instant};

/// The plan of one task. Time is cut into slots of one interval each, from the start on; a run
/// begins at a slot's beginning, shifted by chance. So runs do not drift, whatever they take.
#[derive(Debug)]
pub(super) struct Agenda {
    every: Duration,
    /// How much of the interval the shift may be, from 0 to 1.
    jitter: f64,
    /// The beginning of the slot before the one of the next run.
    slot: Instant,
    shift: Duration,
    /// The first run does not wait.
    at_once: bool,
}

/// What is shorter would leave no time for anything else.
const LEAST: Duration = Duration::from_millis(1);

/// What is longer is never in the life of a process, and must not overflow the clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The interval that is kept for one that is asked for.
fn kept(every: Duration) -> Duration {
    if every.is_zero() { every } else { every.clamp(LEAST, LONGEST) }
}

impl Agenda {
    /// A plan that begins `now`. An interval of zero plans nothing.
    pub(super) fn new(every: Duration, jitter: f64, now: Instant, random: f64) -> Self {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
        let (every, shift) = (kept(every), Duration::ZERO);
        let mut agenda = Self { every, jitter, slot: now, shift, at_once: false };
        agenda.shift = agenda.draw(random);
        agenda
    }

    /// Makes the first run one of now.
    pub(super) fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    fn draw(&self, random: f64) -> Duration {
        self.every.mul_f64(self.jitter * random.clamp(0.0, 1.0))
    }

    /// When the next run begins; `None` while there is no interval.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.every.is_zero() {
            return None;
        }
        if self.at_once {
            return Some(self.slot);
        }
        self.slot.checked_add(self.every)?.checked_add(self.shift)
    }

    /// Takes note that the run of [`next`](Self::next) has ended. Returns how many slots have gone
    /// by in the meantime, whose runs are left out.
    pub(super) fn ran(&mut self, now: Instant, random: f64) -> u64 {
        if self.every.is_zero() {
            return 0;
        }
        if self.at_once {
            self.at_once = false;
        } else {
            self.slot = self.slot.checked_add(self.every).unwrap_or(now);
        }
        self.shift = self.draw(random);
        // The first run to come is the one after this slot; it is late by so much.
        let due = self.slot + self.every + self.shift;
        let late = now.saturating_duration_since(due).as_nanos();
        // How many have to be left out so that the next one is not in the past.
        let skipped = late.div_ceil(self.every.as_nanos());
        let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        self.slot += self.every * skipped;
        skipped.into()
    }

    /// Sets another interval. The last run stays where it was; a run that would have been by now
    /// with the new interval is one of now.
    pub(super) fn change(&mut self, every: Duration, now: Instant) {
        let every = kept(every);
        if every == self.every {
            return;
        }
        if self.every.is_zero() {
            self.slot = now;
        }
        self.every = every;
        self.shift = self.shift.min(every.mul_f64(self.jitter));
        let overdue = self.next().is_some_and(|next| next < now);
        if overdue && !self.at_once {
            self.slot = now.checked_sub(every + self.shift).unwrap_or(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Agenda;
    use crate::{Clock, SystemClock};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn runs_do_not_drift_and_long_ones_skip() {
        let start = SystemClock.now();
        let mut agenda = Agenda::new(10 * SECOND, 0.0, start, 0.5);
        let at = |agenda: &Agenda| (agenda.next().unwrap() - start).as_secs();
        assert_eq!(at(&agenda), 10);
        assert_eq!(agenda.ran(start + 13 * SECOND, 0.5), 0);
        assert_eq!(at(&agenda), 20);
        assert_eq!(agenda.ran(start + 30 * SECOND, 0.5), 0, "just in time");
        assert_eq!(at(&agenda), 30);
        assert_eq!(agenda.ran(start + 61 * SECOND, 0.5), 3, "40, 50 and 60");
        assert_eq!(at(&agenda), 70);
        let mut agenda = Agenda::new(10 * SECOND, 0.0, start, 0.5).at_once();
        assert_eq!(at(&agenda), 0);
        assert_eq!(agenda.ran(start + SECOND, 0.5), 0);
        assert_eq!(at(&agenda), 10);
    }

    #[test]
    fn follows_another_interval() {
        let start = SystemClock.now();
        let mut agenda = Agenda::new(3600 * SECOND, 0.0, start, 0.0);
        agenda.change(60 * SECOND, start + 10 * SECOND);
        assert_eq!(agenda.next(), Some(start + 60 * SECOND));
        agenda.change(5 * SECOND, start + 50 * SECOND);
        assert_eq!(agenda.next(), Some(start + 50 * SECOND), "it would have been before now");
        assert_eq!(agenda.ran(start + 51 * SECOND, 0.0), 0);
        assert_eq!(agenda.next(), Some(start + 55 * SECOND));
        agenda.change(Duration::ZERO, start + 52 * SECOND);
        assert_eq!(agenda.next(), None, "off");
        assert_eq!(agenda.ran(start + 52 * SECOND, 0.0), 0);
        agenda.change(7 * SECOND, start + 60 * SECOND);
        assert_eq!(agenda.next(), Some(start + 67 * SECOND));
    }

    #[test]
    fn an_interval_beyond_all_bounds_neither_spins_nor_overflows() {
        let start = SystemClock.now();
        let mut agenda = Agenda::new(Duration::from_nanos(1), 0.0, start, 0.0);
        assert_eq!(agenda.next(), Some(start + Duration::from_millis(1)));
        agenda.change(Duration::MAX, start);
        for jitter in [0.0, 1.0] {
            let mut agenda = Agenda::new(Duration::MAX, jitter, start, 1.0).at_once();
            assert_eq!(agenda.ran(start + SECOND, 1.0), 0);
            assert!(agenda.next().is_none_or(|next| next > start + 3600 * SECOND));
            agenda.change(SECOND, start + 2 * SECOND);
            agenda.change(Duration::MAX, start + 2 * SECOND);
            assert_eq!(agenda.ran(start + 4 * SECOND, 1.0), 0);
        }
    }

    /// The slot, counted from the start, in which a run begins.
    fn slot(start: Instant, at: Instant, every: u64) -> u64 {
        let since = u64::try_from((at - start).as_millis()).unwrap();
        since / every
    }

    proptest! {
        /// One run a slot, within its jitter, never before the one before it has ended; and each
        /// slot has a run or is counted.
        #[test]
        fn no_overlap_no_drift_and_no_slot_without_a_word(
            every in 10_u64..1000,
            jitter in 0.0..0.9_f64,
            at_once: bool,
            runs in prop::collection::vec((0_u64..4000, 0.0..1.0_f64), 1..40),
        ) {
            let start = SystemClock.now();
            let mut agenda = Agenda::new(Duration::from_millis(every), jitter, start, 0.5);
            if at_once {
                agenda = agenda.at_once();
            }
            let first = u64::from(!at_once);
            let (mut ended, mut skipped) = (start, 0);
            for (number, (takes, random)) in (0_u64..).zip(runs) {
                let begins = agenda.next().unwrap();
                prop_assert!(begins >= ended, "it overlaps the run before");
                let at = slot(start, begins, every);
                prop_assert_eq!(at, first + number + skipped, "runs and skips make up the slots");
                let shift = (begins - start).as_secs_f64() * 1e3 - (at * every) as f64;
                prop_assert!(shift <= jitter * every as f64 + 1e-3, "{} of {}", shift, every);
                ended = begins + Duration::from_millis(takes);
                skipped += agenda.ran(ended, random);
            }
        }
    }
}
