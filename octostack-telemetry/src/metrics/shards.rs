//! The atomics that every metric is made of.
//!
//! Threads write to their own cache lines and the scraper adds them up, since two threads that
//! write to one line cost each other several times the price of the write. Everything is
//! `Relaxed`: each word is its own truth, and no word says anything about another. What follows
//! from that, and what the model tests hold it to:
//!
//! * No addition is lost, also if two threads share a shard.
//! * A word that only grows is never seen to shrink by one scraper.
//! * What was entered in a shard is left in the same one, so no shard falls below zero and a
//!   scrape in between never shows a negative number of things in flight.
use octostack_core::sync::atomic::{AtomicU64, Ordering};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

/// Words in a line. 128 bytes, since processors fetch cache lines of 64 in pairs.
const LINE: usize = 16;

#[derive(Debug)]
#[repr(align(128))]
struct Line([AtomicU64; LINE]);

/// Which lines a thread writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard(usize);

impl Shard {
    /// The one of this thread: given out in turn when a thread first asks.
    #[inline]
    pub(crate) fn current() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        const UNSET: usize = usize::MAX;
        thread_local!(static MINE: Cell<usize> = const { Cell::new(UNSET) });
        // A thread that is being torn down has no locals any more, and may still drop a request.
        let shard = MINE.try_with(|mine| {
            if mine.get() == UNSET {
                mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (UNSET >> 1));
            }
            mine.get()
        });
        Self(shard.unwrap_or(0))
    }

    #[cfg(all(test, octostack_loom))]
    pub(super) const fn numbered(n: usize) -> Self {
        Self(n)
    }
}

/// A number of words, each of them the sum over all shards.
#[derive(Debug)]
pub(crate) struct Shards {
    lines: Box<[Line]>,
    lines_per_shard: usize,
    mask: usize,
}

impl Shards {
    /// Words that are all zero, in as many shards as threads run at a time, but at most eight.
    pub(crate) fn new(words: usize) -> Self {
        static SHARDS: OnceLock<usize> = OnceLock::new();
        let shards = *SHARDS.get_or_init(|| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            threads.next_power_of_two().min(8)
        });
        Self::with_shards(words, shards)
    }

    /// `shards` must be a power of two.
    pub(super) fn with_shards(words: usize, shards: usize) -> Self {
        debug_assert!(shards.is_power_of_two());
        let lines_per_shard = words.div_ceil(LINE);
        let line = |_| Line(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            lines: (0..lines_per_shard * shards).map(line).collect(),
            lines_per_shard,
            mask: shards - 1,
        }
    }

    #[inline]
    fn word(&self, shard: Shard, word: usize) -> &AtomicU64 {
        let line = (shard.0 & self.mask) * self.lines_per_shard + word / LINE;
        &self.lines[line].0[word % LINE]
    }

    /// Adds to a word; wraps after 2^64.
    #[inline]
    pub(crate) fn add(&self, shard: Shard, word: usize, n: u64) {
        let word = self.word(shard, word);
        if cfg!(octostack_planted_bug) {
            // loom must notice: loses additions where two threads share a shard
            word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            return;
        }
        word.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes back what was added in the same shard.
    #[inline]
    pub(crate) fn sub(&self, shard: Shard, word: usize, n: u64) {
        self.word(shard, word).fetch_sub(n, Ordering::Relaxed);
    }

    /// The sum of a word over all shards.
    pub(crate) fn sum(&self, word: usize) -> u64 {
        (0..=self.mask)
            .map(|shard| self.word(Shard(shard), word).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// A number that is set rather than counted.
#[derive(Debug)]
pub(crate) struct Float(AtomicU64);

impl Float {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0.0_f64.to_bits()))
    }

    #[inline]
    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[cfg(octostack_loom)]
mod loom_tests {
    use super::{Shard, Shards};
    use loom::thread;
    use octostack_core::sync::Arc;

    #[test]
    fn no_addition_is_lost_in_a_shared_shard_or_beside_it() {
        loom::model(|| {
            let shards = Arc::new(Shards::with_shards(1, 2));
            let other = shards.clone();
            let writing = thread::spawn(move || {
                other.add(Shard::numbered(0), 0, 1);
                other.add(Shard::numbered(1), 0, 10);
            });
            shards.add(Shard::numbered(2), 0, 100); // the same as shard 0
            writing.join().unwrap();
            assert_eq!(shards.sum(0), 111);
        });
    }

    #[test]
    fn a_scraper_never_sees_a_counter_shrink() {
        loom::model(|| {
            let shards = Arc::new(Shards::with_shards(1, 2));
            let other = shards.clone();
            let writing = thread::spawn(move || {
                other.add(Shard::numbered(0), 0, 1);
                other.add(Shard::numbered(1), 0, 1);
            });
            let first = shards.sum(0);
            let second = shards.sum(0);
            assert!(first <= second, "went back from {first} to {second}");
            writing.join().unwrap();
            assert_eq!(shards.sum(0), 2);
        });
    }

    #[test]
    fn what_is_in_flight_never_shows_as_negative() {
        loom::model(|| {
            let shards = Arc::new(Shards::with_shards(1, 2));
            let (here, there) = (shards.clone(), shards.clone());
            let entering = thread::spawn(move || {
                here.add(Shard::numbered(0), 0, 1);
                // The request moves to another thread, which knows where it was entered.
                thread::spawn(move || there.sub(Shard::numbered(0), 0, 1))
            });
            let seen = shards.sum(0);
            assert!(seen <= 1, "shows {}", seen.cast_signed());
            entering.join().unwrap().join().unwrap();
            assert_eq!(shards.sum(0), 0);
        });
    }
}
