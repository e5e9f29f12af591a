//! The results of the last while, in a fixed number of buckets and without a lock.
//!
//! A call costs the same however many calls there are: it adds to the bucket of its time. What has
//! left the window is not cleared; it is told by its tag, which counts buckets since the start:
//!
//! ```text
//! head = generation:32 | tag:32     the newest bucket; written when time reaches the next one
//! word = tag:32 | count:32          ten of calls; ten of failures and of slow calls, rarely written
//! ```
//!
//! A result takes its tag from `head`, not from the clock. So a clock that goes back adds to the
//! newest bucket, and no result has a later tag than its generation had. Each generation begins ten
//! tags further: nothing that is written for an older one lies in its window.
//!
//! Evaluation is that of the ring: write, pass a sequentially consistent fence, read everyone's.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of packed words")]
use super::{Age, Mark, Recorded, Tally, age};
use octostack_core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use std::array::from_fn;

/// The window moves on by a tenth of its length.
const BUCKETS: u32 = 10;

type Words = [AtomicU64; BUCKETS as usize];

#[repr(align(64))]
pub(super) struct Buckets {
    head: AtomicU64,
    /// Nanoseconds of a bucket; changes only between generations, like `offset`.
    width: AtomicU64,
    /// From the number of a bucket since the start to its tag.
    offset: AtomicU32,
    /// Results of buckets that were used again.
    past: AtomicU64,
    calls: Words,
    failures: Words,
    slow: Words,
}

impl Buckets {
    /// Closed to all results until the first [`reset`](Self::reset).
    pub(super) fn new() -> Self {
        let words = || from_fn(|_| AtomicU64::new(0));
        Self {
            head: AtomicU64::new(0),
            width: AtomicU64::new(1),
            offset: AtomicU32::new(0),
            past: AtomicU64::new(0),
            calls: words(),
            failures: words(),
            slow: words(),
        }
    }

    /// Whether the window is that of `span` nanoseconds.
    pub(super) fn covers(&self, span: u64) -> bool {
        self.width.load(Acquire) == width(span)
    }

    /// Empties the window for `generation`, which must not be 0. Only one thread may do this at a
    /// time.
    pub(super) fn reset(&self, generation: u32, span: u64, now: u64) {
        // Shut for the moment in which the fields would not fit each other.
        let old = self.head.swap(u64::from(!generation) << 32, AcqRel);
        let tag = (old as u32).wrapping_add(BUCKETS);
        let width = width(span);
        self.width.store(width, Release);
        self.offset.store(tag.wrapping_sub((now / width) as u32), Release);
        self.head.store(u64::from(generation) << 32 | u64::from(tag), Release);
    }

    /// Puts results of an older generation in, after a [`reset`](Self::reset). They were counted
    /// before, so [`recorded`](Self::recorded) does not count them again.
    pub(super) fn refill(&self, generation: u32, tally: Tally) {
        let head = self.head.load(Acquire);
        if (head >> 32) as u32 != generation {
            return;
        }
        let evicted = add(&self.calls, head as u32, tally.calls).map_or(0, |added| added.evicted);
        self.past.fetch_add(u64::from(evicted).wrapping_sub(tally.calls.into()), Relaxed);
        add(&self.failures, head as u32, tally.failures);
        add(&self.slow, head as u32, tally.slow);
    }

    /// Counts a result of `generation`. See [`History::record_at`](super::History::record_at).
    #[inline]
    pub(super) fn record(&self, generation: u32, mark: Mark, now: u64, minimum: u32) -> Recorded {
        let Some(tag) = self.turn(generation, now) else { return Recorded::Stale };
        let Some(calls) = add(&self.calls, tag, 1) else { return Recorded::Stale };
        if calls.evicted > 0 {
            self.past.fetch_add(calls.evicted.into(), Relaxed);
        }
        if mark.failed {
            add(&self.failures, tag, 1);
        }
        if mark.slow {
            add(&self.slow, tag, 1);
        }
        // A success only improves the share, but for two cases: the calls reach the minimum, or a
        // bucket has left the window. In both its own bucket holds no more than the minimum.
        if !mark.is_fine() || calls.count <= minimum {
            Recorded::Evaluate(self.look_at(generation, now))
        } else {
            Recorded::Quiet
        }
    }

    /// The tag of the newest bucket, which is that of `now` unless the clock went back. `None` in
    /// another generation.
    #[inline]
    fn turn(&self, generation: u32, now: u64) -> Option<u32> {
        let mut head = self.head.load(Acquire);
        loop {
            if (head >> 32) as u32 != generation {
                return None;
            }
            let tag = self.tag_at(now);
            if !is_ahead(tag, head as u32) {
                return Some(head as u32);
            }
            let next = u64::from(generation) << 32 | u64::from(tag);
            match self.head.compare_exchange_weak(head, next, AcqRel, Acquire) {
                Ok(_) => return Some(tag),
                Err(other) => head = other,
            }
        }
    }

    #[inline]
    fn tag_at(&self, now: u64) -> u32 {
        ((now / self.width.load(Acquire)) as u32).wrapping_add(self.offset.load(Acquire))
    }

    /// What the window holds of `generation` at `now`.
    pub(super) fn look_at(&self, generation: u32, now: u64) -> Tally {
        fence(SeqCst); // see the module docs
        let Some(tag) = self.newest_tag(generation, now) else { return Tally::default() };
        let count = |words: &Words| {
            let within = |word: &AtomicU64| {
                let word = word.load(Acquire);
                if is_within(word, tag) { word as u32 } else { 0 }
            };
            words.iter().map(within).fold(0, u32::saturating_add)
        };
        // Failures first: a call is written before its failure.
        let (failures, slow) = (count(&self.failures), count(&self.slow));
        Tally { calls: count(&self.calls), failures, slow }
    }

    /// As [`turn`](Self::turn), without moving on.
    fn newest_tag(&self, generation: u32, now: u64) -> Option<u32> {
        let head = self.head.load(Acquire);
        let (tag, now) = (head as u32, self.tag_at(now));
        let newest = if is_ahead(now, tag) { now } else { tag };
        ((head >> 32) as u32 == generation).then_some(newest)
    }

    /// The newest results, at most `most`, from the oldest to the newest. In a bucket, where they
    /// have no order, failures and slow calls come last. Not exact while others record.
    pub(super) fn newest(&self, generation: u32, most: u32, now: u64) -> Vec<Mark> {
        let Some(tag) = self.newest_tag(generation, now) else { return Vec::new() };
        let count = |words: &Words, tag: u32| {
            let word = words[(tag % BUCKETS) as usize].load(Acquire);
            if age(word, tag) == Age::Same { word as u32 } else { 0 }
        };
        let backwards = (0..BUCKETS).flat_map(|back| {
            let tag = tag.wrapping_sub(back);
            let (failures, slow) = (count(&self.failures, tag), count(&self.slow, tag));
            let mark = move |nth| Mark { failed: nth < failures, slow: nth < slow };
            (0..count(&self.calls, tag)).map(mark)
        });
        let mut marks: Vec<_> = backwards.take(most as usize).collect();
        marks.reverse();
        marks
    }

    /// Results counted in all generations.
    pub(super) fn recorded(&self) -> u64 {
        let counts = self.calls.iter().map(|word| u64::from(word.load(Acquire) as u32));
        counts.fold(self.past.load(Relaxed), u64::wrapping_add)
    }
}

/// Nanoseconds of a bucket.
fn width(span: u64) -> u64 {
    (span / u64::from(BUCKETS)).max(1)
}

/// What became of a word.
struct Added {
    count: u32,
    /// What an older bucket had left in it.
    evicted: u32,
}

/// Adds to the bucket of `tag`. `None` if its word is one of a later time or generation already.
#[inline]
fn add(words: &Words, tag: u32, count: u32) -> Option<Added> {
    let word = &words[(tag % BUCKETS) as usize];
    let mut now = word.load(Relaxed);
    loop {
        let (base, evicted) = match age(now, tag) {
            Age::Same => (now as u32, 0),
            Age::Older if cfg!(octostack_planted_bug) => (now as u32, 0), // never evicts
            Age::Older => (0, now as u32),
            Age::Newer => return None,
        };
        let count = base.saturating_add(count);
        let next = u64::from(tag) << 32 | u64::from(count);
        if cfg!(octostack_planted_bug) {
            word.store(next, Relaxed); // two at once: the model checker must object
            return Some(Added { count, evicted });
        }
        match word.compare_exchange_weak(now, next, AcqRel, Relaxed) {
            Ok(_) => return Some(Added { count, evicted }),
            Err(other) => now = other,
        }
    }
}

/// Whether a word is one of the ten that end with the tag `newest`.
fn is_within(word: u64, newest: u32) -> bool {
    word >> 32 != 0 && newest.wrapping_sub((word >> 32) as u32) < BUCKETS
}

/// Whether `tag` comes after `other`. Tags start over after 2^32 buckets: 13 years of the shortest.
const fn is_ahead(tag: u32, other: u32) -> bool {
    tag.wrapping_sub(other).wrapping_sub(1) < u32::MAX / 2
}

#[cfg(all(test, octostack_loom))]
#[path = "buckets_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "buckets_tests.rs"]
mod tests;
