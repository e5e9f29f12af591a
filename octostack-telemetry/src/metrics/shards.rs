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

    /// Where this thread is among `count` others; `count` must be a power of two.
    #[cfg(feature = "metrics")]
    #[inline]
    pub(super) const fn among(self, count: usize) -> usize {
        self.0 & (count - 1)
    }

    #[cfg(all(test, octostack_loom))]
    pub(super) const fn numbered(n: usize) -> Self {
        Self(n)
    }
}

/// How many shards there are: as many as threads run at a time, but at most eight. A power of two.
pub(crate) fn count() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        threads.next_power_of_two().min(8)
    })
}

/// A number of words, each of them the sum over all shards.
#[derive(Debug)]
pub(crate) struct Shards {
    lines: Box<[Line]>,
    lines_per_shard: usize,
    mask: usize,
}

impl Shards {
    /// Words that are all zero.
    pub(crate) fn new(words: usize) -> Self {
        Self::with_shards(words, count())
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

    /// Raises a word to at least `n`. It is one word for all threads, so it must not be added to.
    pub(super) fn raise(&self, word: usize, n: u64) {
        let word = self.word(Shard(0), word);
        if cfg!(octostack_planted_bug) {
            // loom must notice: puts a lower number over a higher one
            if word.load(Ordering::Relaxed) < n {
                word.store(n, Ordering::Relaxed);
            }
            return;
        }
        word.fetch_max(n, Ordering::Relaxed);
    }

    /// Adds to a word that holds an `f64`, which starts at 0.
    #[cfg(any(feature = "metrics", all(test, octostack_loom)))]
    #[inline]
    pub(super) fn add_float(&self, shard: Shard, word: usize, n: f64) {
        add_float(self.word(shard, word), n);
    }

    /// The sum of a word of `f64` over all shards.
    #[cfg(any(feature = "metrics", all(test, octostack_loom)))]
    pub(super) fn sum_float(&self, word: usize) -> f64 {
        let of_shard =
            |shard| f64::from_bits(self.word(Shard(shard), word).load(Ordering::Relaxed));
        (0..=self.mask).map(of_shard).sum()
    }

    /// The sum of a word over all shards.
    pub(crate) fn sum(&self, word: usize) -> u64 {
        (0..=self.mask)
            .map(|shard| self.word(Shard(shard), word).load(Ordering::Relaxed))
            .fold(0, u64::wrapping_add)
    }
}

/// There is no addition of floats in hardware, so it is tried until nobody came between.
#[inline]
fn add_float(word: &AtomicU64, n: f64) {
    let add = |bits| (f64::from_bits(bits) + n).to_bits();
    if cfg!(octostack_planted_bug) {
        // loom must notice: loses what another thread added meanwhile
        word.store(add(word.load(Ordering::Relaxed)), Ordering::Relaxed);
        return;
    }
    let mut now = word.load(Ordering::Relaxed);
    while let Err(other) =
        word.compare_exchange_weak(now, add(now), Ordering::Relaxed, Ordering::Relaxed)
    {
        now = other;
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
    pub(crate) fn add(&self, n: f64) {
        add_float(&self.0, n);
    }

    #[inline]
    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[cfg(octostack_loom)]
mod loom_tests {
    use super::{Float, Shard, Shards};
    use loom::thread;
    use octostack_core::sync::Arc;

    #[test]
    fn planted_no_addition_is_lost_in_a_shared_shard_or_beside_it() {
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
    #[test]
    fn planted_a_word_that_is_raised_never_falls() {
        loom::model(|| {
            let shards = Arc::new(Shards::with_shards(2, 2));
            let other = shards.clone();
            let raising = thread::spawn(move || {
                other.raise(1, 5);
                other.sum(1)
            });
            shards.raise(1, 3);
            assert!(shards.sum(1) >= 3);
            assert_eq!(raising.join().unwrap(), 5);
            assert_eq!(shards.sum(1), 5);
        });
    }

    #[test]
    fn planted_no_addition_of_floats_is_lost() {
        loom::model(|| {
            let shards = Arc::new(Shards::with_shards(1, 2));
            let gauge = Arc::new(Float::new());
            let (there, same) = (shards.clone(), gauge.clone());
            let writing = thread::spawn(move || {
                there.add_float(Shard::numbered(0), 0, 0.5);
                there.add_float(Shard::numbered(1), 0, 0.25);
                same.add(2.0);
            });
            shards.add_float(Shard::numbered(2), 0, 8.0); // the same as shard 0
            gauge.add(-0.5);
            writing.join().unwrap();
            assert_eq!((shards.sum_float(0) - 8.75).abs(), 0.0);
            assert_eq!((gauge.get() - 1.5).abs(), 0.0);
        });
    }
}
