//! What a breaker judges by: the last calls, or the calls of the last while.
//!
//! Both kinds keep their results by generation, so that a change of state empties them without a
//! store to each word. Only the kind in use has memory; the other one gets its own when settings
//! ask for it.
mod buckets;
mod ring;

use super::config::Window;
use super::rules::nanos;
use buckets::Buckets;
use octostack_core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use ring::Ring;
use std::sync::OnceLock;

/// The largest window of calls.
pub(super) const MOST_CALLS: u32 = Ring::MAX;

/// How far a window of calls can grow while running, if it was built smaller: 256 bytes.
const ROOM: u32 = 512;

/// What one result says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Mark {
    /// Neither failed nor slow.
    pub(super) const FINE: Self = Self { failed: false, slow: false };

    const fn is_fine(self) -> bool {
        !self.failed && !self.slow
    }
}

/// Results in the window, or what [`History::record`] saw of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u32,
    pub(super) failures: u32,
    pub(super) slow: u32,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It belongs to an older generation and was not counted.
    Stale,
    /// It was counted and cannot have reached a threshold.
    Quiet,
    /// It was counted, and this is what the window holds now.
    Evaluate(Tally),
}

/// The results that a breaker judges by. Times are nanoseconds since one start.
pub(super) struct History {
    ring: OnceLock<Box<Ring>>,
    buckets: OnceLock<Box<Buckets>>,
    /// Which of them is in use. A call that finds the other one is of an older generation.
    by_time: AtomicBool,
}

impl History {
    /// Closed to all results until the first [`reset`](Self::reset).
    pub(super) fn new(window: Window) -> Self {
        let history = Self {
            ring: OnceLock::new(),
            buckets: OnceLock::new(),
            by_time: AtomicBool::new(matches!(window, Window::Time(_))),
        };
        match window {
            Window::Calls(size) => drop(history.ring(size)),
            Window::Time(_) => drop(history.buckets()),
        }
        history
    }

    fn ring(&self, size: u32) -> &Ring {
        self.ring.get_or_init(|| Box::new(Ring::new(size, size.max(ROOM))))
    }

    fn buckets(&self) -> &Buckets {
        self.buckets.get_or_init(|| Box::new(Buckets::new()))
    }

    /// Whether results have a time: then [`record`](Self::record) wants to know it.
    #[inline]
    pub(super) fn is_by_time(&self) -> bool {
        self.by_time.load(Acquire)
    }

    /// How many calls the window can hold while running.
    pub(super) fn capacity(&self) -> u32 {
        self.ring.get().map_or(MOST_CALLS, |ring| ring.capacity())
    }

    /// Empties the window for `generation`, which must not be 0. Only one thread may do this, or
    /// [`change`](Self::change), at a time.
    pub(super) fn reset(&self, generation: u32, window: Window, now: u64) {
        match window {
            Window::Calls(size) => self.ring(size).reset(generation, size),
            Window::Time(span) => self.buckets().reset(generation, nanos(span), now),
        }
        self.by_time.store(matches!(window, Window::Time(_)), Release);
    }

    /// Takes another window for the generation `to`, and puts into it what fits of `from`.
    ///
    /// Calls have no time and buckets no order. So what comes into a window of time counts as of
    /// now, and in what comes out of one the failures are the newest of their bucket.
    pub(super) fn change(&self, from: u32, to: u32, window: Window, now: u64) {
        match window {
            Window::Calls(size) => {
                let marks = self.newest(from, size, now);
                self.reset(to, window, now);
                self.ring(size).refill(to, &marks);
            }
            Window::Time(_) => {
                let tally = self.tally(from, now);
                self.reset(to, window, now);
                self.buckets().refill(to, tally);
            }
        }
    }

    /// The newest results, at most `size`, from the oldest to the newest.
    fn newest(&self, generation: u32, size: u32, now: u64) -> Vec<Mark> {
        if self.is_by_time() {
            self.buckets.get().map(|all| all.newest(generation, size, now)).unwrap_or_default()
        } else {
            let mut all = self.ring.get().map(|all| all.results(generation)).unwrap_or_default();
            all.split_off(all.len().saturating_sub(size as usize))
        }
    }

    /// Whether this is the window in use, as far as it has room for it.
    pub(super) fn is(&self, window: Window) -> bool {
        match (window, self.is_by_time()) {
            (Window::Calls(size), false) => self.ring.get().is_some_and(|ring| ring.size() == size),
            (Window::Time(span), true) => {
                self.buckets.get().is_some_and(|buckets| buckets.covers(nanos(span)))
            }
            _ => false,
        }
    }

    /// Counts a result of `generation` in a window of calls.
    #[inline]
    pub(super) fn record(&self, generation: u32, mark: Mark) -> Recorded {
        self.ring.get().map_or(Recorded::Stale, |ring| ring.record(generation, mark))
    }

    /// Counts a result in a window of time. `minimum` is the number of calls before which there is
    /// nothing to evaluate.
    #[inline]
    pub(super) fn record_at(
        &self,
        generation: u32,
        mark: Mark,
        now: u64,
        minimum: u32,
    ) -> Recorded {
        let buckets = self.buckets.get();
        buckets.map_or(Recorded::Stale, |all| all.record(generation, mark, now, minimum))
    }

    /// What the window holds of `generation`.
    pub(super) fn tally(&self, generation: u32, now: u64) -> Tally {
        if self.is_by_time() {
            self.buckets.get().map(|all| all.look_at(generation, now)).unwrap_or_default()
        } else {
            self.ring.get().map(|all| all.look(generation)).unwrap_or_default()
        }
    }

    /// Results counted in all generations.
    pub(super) fn recorded(&self) -> u64 {
        let ring = self.ring.get().map_or(0, |ring| ring.recorded());
        // One may be below 0 for what was moved to the other.
        ring.wrapping_add(self.buckets.get().map_or(0, |buckets| buckets.recorded()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Older,
    Same,
    Newer,
}

/// Whether a tagged word belongs to `tag`, to one before it, or to one after it. A word of tag 0
/// was never written.
#[inline]
fn age(word: u64, tag: u32) -> Age {
    let of_word = (word >> 32) as u32;
    match of_word.wrapping_sub(tag) {
        0 => Age::Same,
        ahead if of_word != 0 && ahead < u32::MAX / 2 => Age::Newer,
        _ => Age::Older,
    }
}
