//! What the calls of a panic catch share: how they ended, and when a panic is told.
use crate::counters::Totals;
use crate::outcome::Outcome;
use crate::padded::Padded;
use octostack_core::inspect::Mode;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is done about panics; as it was when the call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Catch {
    /// They become an answer.
    Answer,
    /// They are counted and told, and go on.
    Watch,
    /// They go on.
    Nothing,
}

impl Catch {
    const fn of(mode: Mode) -> Self {
        match mode {
            Mode::Enforce | Mode::ForcedOpen => Self::Answer,
            Mode::Shadow => Self::Watch,
            Mode::Disabled | Mode::ForcedClosed => Self::Nothing,
        }
    }
}

/// There was no event yet.
const NEVER: u64 = u64::MAX;

/// One load when a call begins and one increment when it ends.
pub(super) struct Tally {
    catch: AtomicU64,
    ended: Padded<[AtomicU64; 5]>,
    watched: AtomicU64,
    /// Panics since the last event.
    untold: AtomicU64,
    /// When the last event was, in nanoseconds; [`NEVER`] before the first.
    told_at: AtomicU64,
}

impl Tally {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            catch: AtomicU64::new(Catch::of(mode) as u64),
            ended: Padded(std::array::from_fn(|_| AtomicU64::new(0))),
            watched: AtomicU64::new(0),
            untold: AtomicU64::new(0),
            told_at: AtomicU64::new(NEVER),
        }
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.catch.store(Catch::of(mode) as u64, Relaxed);
    }

    #[inline]
    pub(super) fn catch(&self) -> Catch {
        match self.catch.load(Relaxed) {
            0 => Catch::Answer,
            1 => Catch::Watch,
            _ => Catch::Nothing,
        }
    }

    #[inline]
    pub(super) fn end(&self, outcome: Outcome) {
        self.ended[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn watched(&self) {
        self.watched.fetch_add(1, Relaxed);
    }

    /// Notes a panic at `now`. Answers of how many panics an event is due now, this one included.
    pub(super) fn tell(&self, now: u64, interval: u64) -> Option<u64> {
        self.untold.fetch_add(1, Relaxed);
        // The interval is that of now, and not that of the last event.
        let (last, now) = (self.told_at.load(Relaxed), now.min(NEVER - 1));
        if last != NEVER && now.saturating_sub(last) < interval {
            return None;
        }
        if cfg!(octostack_planted_bug) {
            self.told_at.store(now, Relaxed); // check, then act: two tell at once
        } else if interval > 0
            && self.told_at.compare_exchange(last, now, Relaxed, Relaxed).is_err()
        {
            return None; // another tells of both, or the next event does
        }
        // Whoever tells takes all that there are; one that came meanwhile may find none.
        match self.untold.swap(0, Relaxed) {
            0 => None,
            panics => Some(panics),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let outcomes = std::array::from_fn(|i| self.ended[i].load(Relaxed));
        Totals {
            permitted: outcomes.iter().sum(),
            rejected: 0,
            shadow_rejected: self.watched.load(Relaxed),
            outcomes: Some(outcomes),
        }
    }

    #[cfg(all(test, octostack_loom))]
    fn untold(&self) -> u64 {
        self.untold.load(Relaxed)
    }
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::Tally;
    use octostack_core::inspect::Mode;

    #[test]
    fn tells_of_the_first_and_then_of_all_since() {
        let tally = Tally::new(Mode::Enforce);
        assert_eq!(tally.tell(5, 100), Some(1));
        assert_eq!([6, 50, 104].map(|now| tally.tell(now, 100)), [None; 3]);
        assert_eq!(tally.tell(105, 100), Some(4));
        assert_eq!(tally.tell(204, 100), None);
        assert_eq!(tally.tell(204, 0), Some(2), "another interval holds at once");
    }

    #[test]
    fn without_an_interval_there_is_an_event_each() {
        let tally = Tally::new(Mode::Enforce);
        assert_eq!([7, 7, 8].map(|now| tally.tell(now, 0)), [Some(1); 3]);
    }

    #[test]
    fn a_clock_that_goes_back_silences_nothing_for_long() {
        let tally = Tally::new(Mode::Enforce);
        assert_eq!(tally.tell(1_000, 100), Some(1));
        assert_eq!(tally.tell(0, 100), None);
        assert_eq!(tally.tell(u64::MAX, 100), Some(2));
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::Tally;
    use loom::{sync::Arc, thread};
    use octostack_core::inspect::Mode;

    #[test]
    fn planted_no_panic_is_lost_and_one_event_tells() {
        crate::models::explore(|| {
            let tally = Arc::new(Tally::new(Mode::Enforce));
            let other = tally.clone();
            let panicking = thread::spawn(move || other.tell(1, 100));
            let told = [tally.tell(1, 100), panicking.join().unwrap()];
            let events = told.iter().flatten().count();
            assert_eq!(events, 1, "one event in the interval");
            let panics = told.iter().flatten().sum::<u64>() + tally.untold();
            assert_eq!(panics, 2, "no panic is lost, none is told twice");
        });
    }
}
