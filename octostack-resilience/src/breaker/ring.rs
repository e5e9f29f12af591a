//! The last `size` results of one generation, exact and without a lock.
//!
//! Each result is one bit in a ring. Three sorts of words carry the generation they belong to, so
//! that a result of an older generation can never be counted in a newer one:
//!
//! ```text
//! head = generation:16 | lap:32 | slot:16     hands out the slots; one CAS a result
//! word = generation:32 | bits:32              32 slots; written only when a bit flips
//! sum  = generation:32 | failures:32          written only when a bit flips
//! ```
//!
//! So a steady success costs one CAS and one load. Words of an older generation need no clearing:
//! whoever writes there first starts from zero.
//!
//! The one subtle point is evaluation. Whoever flips a bit to failure writes it, then reads `head`
//! and `sum`, with a sequentially consistent fence in between: of two threads that reach the
//! threshold together, at least one sees both failures. Counting from one's own slot instead lets
//! both miss it; the model checker found that.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of packed words")]
use crate::padded::Padded;
use octostack_core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

const SLOTS_A_WORD: u32 = 32;
const LAP: u64 = 1 << 16;
const LAST_LAP: u64 = 0xffff_ffff;

/// Results in the ring, or what [`Ring::record`] saw of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) calls: u32,
    pub(super) failures: u32,
}

/// What became of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It belongs to an older generation and was not counted.
    Stale,
    /// It was counted and cannot have reached a threshold.
    Quiet,
    /// It was counted, and this is what the ring holds now.
    Evaluate(Tally),
}

pub(super) struct Ring {
    head: Padded<AtomicU64>,
    sum: AtomicU64,
    /// Slots in use; changes only between generations.
    size: AtomicU32,
    /// Results of all generations before this one.
    past: AtomicU64,
    words: Box<[AtomicU64]>,
}

impl Ring {
    /// The largest ring: slots are numbered with 16 bits.
    pub(super) const MAX: u32 = 0xffff;

    /// A ring of `size` slots that can later be resized up to `capacity`.
    ///
    /// Closed to all results until the first [`reset`](Self::reset).
    pub(super) fn new(size: u32, capacity: u32) -> Self {
        let capacity = capacity.clamp(size, Self::MAX);
        let words = (0..capacity.div_ceil(SLOTS_A_WORD)).map(|_| AtomicU64::new(0)).collect();
        Self {
            head: Padded(AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            size: AtomicU32::new(size),
            past: AtomicU64::new(0),
            words,
        }
    }

    /// How far it can be resized.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.words.len()).map_or(Self::MAX, |words| words * SLOTS_A_WORD)
    }

    pub(super) fn size(&self) -> u32 {
        self.size.load(Acquire)
    }

    /// Empties the ring for `generation`, which must not be 0. Only one thread may do this at a
    /// time.
    pub(super) fn reset(&self, generation: u32, size: u32) {
        // Shut for the moment in which `size` and `head` would not fit each other.
        let old = self.head.swap(u64::from(!generation & 0xffff) << 48, AcqRel);
        self.past.fetch_add(lap(old) * u64::from(self.size()) + slot(old), Relaxed);
        self.size.store(size.clamp(1, self.capacity()), Release);
        self.head.store(u64::from(generation & 0xffff) << 48, Release);
    }

    /// Empties the ring for `generation` and puts `results` back in, as far as they fit. They were
    /// counted before, so [`recorded`](Self::recorded) does not count them again.
    pub(super) fn resize(&self, generation: u32, size: u32, results: &[bool]) {
        self.reset(generation, size);
        let keep = &results[results.len().saturating_sub(size as usize)..];
        self.past.fetch_sub(keep.len() as u64, Relaxed);
        for failed in keep {
            self.record(generation, *failed);
        }
    }

    /// Counts a result of `generation`.
    #[inline]
    pub(super) fn record(&self, generation: u32, failed: bool) -> Recorded {
        let mut head = self.head.load(Acquire);
        let taken = loop {
            if (head >> 48) as u32 != generation & 0xffff {
                return Recorded::Stale;
            }
            let next = self.next(head);
            match self.head.compare_exchange_weak(head, next, AcqRel, Acquire) {
                Ok(_) => break head,
                Err(now) => head = now,
            }
        };
        let slot = slot(taken) as u32;
        let word = &self.words[(slot / SLOTS_A_WORD) as usize];
        match write_bit(word, generation, slot % SLOTS_A_WORD, failed) {
            None => {
                self.past.fetch_sub(1, Relaxed); // the slot was taken, but not used
                return Recorded::Stale;
            }
            Some(0) => {}
            Some(change) => self.adjust(generation, change),
        }
        // In the first lap a success can reach a threshold too: the minimum number of calls.
        if failed || lap(taken) == 0 {
            let mut tally = self.look(generation);
            if cfg!(octostack_planted_bug) {
                tally.calls = tally.calls.min(slot + 1); // the model checker must object
            }
            Recorded::Evaluate(tally)
        } else {
            Recorded::Quiet
        }
    }

    /// What the ring holds of `generation`.
    pub(super) fn look(&self, generation: u32) -> Tally {
        fence(SeqCst); // see the module docs
        let head = self.head.load(Acquire);
        if (head >> 48) as u32 != generation & 0xffff {
            return Tally::default();
        }
        let size = self.size();
        let calls = if lap(head) > 0 { size } else { slot(head) as u32 };
        let sum = self.sum.load(Acquire);
        let failures =
            if (sum >> 32) as u32 == generation { (sum as u32).cast_signed() } else { 0 };
        // Between a bit and its sum the sum may be off by the number of threads in there.
        Tally { calls, failures: failures.clamp(0, size.cast_signed()).cast_unsigned() }
    }

    /// Results counted in all generations.
    pub(super) fn recorded(&self) -> u64 {
        let head = self.head.load(Acquire);
        self.past.load(Relaxed) + lap(head) * u64::from(self.size()) + slot(head)
    }

    /// The results in the ring from the oldest to the newest, for [`resize`](Self::resize). Not
    /// exact while others record.
    pub(super) fn results(&self, generation: u32) -> Vec<bool> {
        let Tally { calls, .. } = self.look(generation);
        let (size, newest) = (u64::from(self.size()), slot(self.head.load(Acquire)));
        let bit = |slot: u64| {
            let word = self.words[(slot / u64::from(SLOTS_A_WORD)) as usize].load(Acquire);
            (word >> 32) as u32 == generation && word >> (slot % u64::from(SLOTS_A_WORD)) & 1 == 1
        };
        (1..=u64::from(calls)).rev().map(|back| bit((newest + size - back) % size)).collect()
    }

    #[inline]
    fn next(&self, head: u64) -> u64 {
        if slot(head) + 1 < u64::from(self.size.load(Acquire)) {
            head + 1
        } else {
            self.next_lap(head)
        }
    }

    #[cold]
    fn next_lap(&self, head: u64) -> u64 {
        let start = head & !0xffff;
        if lap(head) < LAST_LAP {
            return start + LAP;
        }
        // After 2^32 laps the count starts over at lap 1; what it held becomes past. If the CAS
        // then fails the past is counted twice: once in many centuries of calls.
        self.past.fetch_add((LAST_LAP - 1) * u64::from(self.size()), Relaxed);
        (start & !(LAST_LAP << 16)) + LAP
    }

    #[cold]
    fn adjust(&self, generation: u32, change: i32) {
        let mut sum = self.sum.load(Relaxed);
        loop {
            let base = match age(sum, generation) {
                Age::Same => sum as u32,
                Age::Older => 0,
                Age::Newer => return,
            };
            let failures = base.wrapping_add(change.cast_unsigned());
            let next = u64::from(generation) << 32 | u64::from(failures);
            match self.sum.compare_exchange_weak(sum, next, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => sum = now,
            }
        }
    }
}

/// Writes one bit. Returns by how much the number of failures changed, `None` if the word belongs
/// to a newer generation.
#[inline]
fn write_bit(word: &AtomicU64, generation: u32, bit: u32, failed: bool) -> Option<i32> {
    let mask = 1_u64 << bit;
    let mut now = word.load(Relaxed);
    loop {
        let base = match age(now, generation) {
            Age::Same if (now & mask != 0) == failed => return Some(0),
            Age::Same => now,
            Age::Older => u64::from(generation) << 32,
            Age::Newer => return None,
        };
        let was = base & mask != 0;
        let next = if failed { base | mask } else { base & !mask };
        match word.compare_exchange_weak(now, next, AcqRel, Relaxed) {
            Ok(_) => return Some(i32::from(failed) - i32::from(was)),
            Err(other) => now = other,
        }
    }
}

enum Age {
    Older,
    Same,
    Newer,
}

/// Whether a tagged word belongs to `generation`, to one before it, or to one after it.
#[inline]
fn age(tagged: u64, generation: u32) -> Age {
    let tag = (tagged >> 32) as u32;
    match tag.wrapping_sub(generation) {
        0 => Age::Same,
        ahead if tag != 0 && ahead < u32::MAX / 2 => Age::Newer,
        _ => Age::Older,
    }
}

const fn lap(head: u64) -> u64 {
    head >> 16 & LAST_LAP
}

const fn slot(head: u64) -> u64 {
    head & 0xffff
}

#[cfg(all(test, not(octostack_loom)))]
mod tests {
    use super::{Recorded, Ring, Tally};
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn equals_a_queue_at_every_step(
            size in 1_u32..140,
            steps in prop::collection::vec((0_u8..60, any::<bool>()), 0..1_500),
        ) {
            let ring = Ring::new(size, size);
            let (mut generation, mut oracle, mut total) = (1, VecDeque::new(), 0);
            ring.reset(generation, size);
            for (dice, failed) in steps {
                if dice == 0 {
                    generation += 1;
                    ring.reset(generation, size);
                    oracle.clear();
                }
                oracle.push_back(failed);
                if oracle.len() > size as usize {
                    oracle.pop_front();
                }
                total += 1;
                let failures = oracle.iter().filter(|failed| **failed).count() as u32;
                let tally = Tally { calls: oracle.len() as u32, failures };
                if let Recorded::Evaluate(seen) = ring.record(generation, failed) {
                    prop_assert_eq!(seen, tally);
                } else {
                    prop_assert!(!failed, "a failure is always evaluated");
                }
                prop_assert_eq!(ring.look(generation), tally);
                prop_assert_eq!(ring.record(generation - 1, true), Recorded::Stale);
                prop_assert_eq!(ring.results(generation), Vec::from(oracle.clone()));
                prop_assert_eq!(ring.recorded(), total);
            }
        }
    }

    #[test]
    fn after_a_million_successes_an_outage_shows_within_one_window() {
        let ring = Ring::new(100, 100);
        ring.reset(1, 100);
        for _ in 0..1_000_000 {
            ring.record(1, false);
        }
        let mut seen = Recorded::Quiet;
        for _ in 0..50 {
            seen = ring.record(1, true);
        }
        assert_eq!(seen, Recorded::Evaluate(Tally { calls: 100, failures: 50 }));
    }

    #[test]
    fn threads_lose_no_result() {
        let ring = Ring::new(100, 100);
        ring.reset(1, 100);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let ring = &ring;
                scope.spawn(move || {
                    for call in 0..5_000 {
                        ring.record(1, (call ^ thread) % 3 == 0);
                    }
                });
            }
        });
        assert_eq!(ring.recorded(), 20_000);
        let bits = ring.results(1).into_iter().filter(|failed| *failed).count() as u32;
        assert_eq!(ring.look(1), Tally { calls: 100, failures: bits });
    }

    #[test]
    fn a_resize_starts_a_generation_and_keeps_what_fits() {
        let ring = Ring::new(4, 64);
        ring.reset(1, 4);
        for failed in [true, true, false, false, true] {
            ring.record(1, failed);
        }
        assert_eq!(ring.results(1), [true, false, false, true]);
        ring.resize(2, 40, &ring.results(1));
        assert_eq!(ring.size(), 40);
        assert_eq!(ring.record(1, true), Recorded::Stale);
        assert_eq!(ring.results(2), [true, false, false, true]);
        assert_eq!(ring.recorded(), 5);
        ring.resize(4, 2, &ring.results(2));
        assert_eq!(ring.results(4), [false, true], "the newest are kept");
        assert_eq!(ring.recorded(), 5);
        ring.reset(5, 1_000);
        assert_eq!(ring.size(), 64, "as far as there is room");
    }
}

#[cfg(all(test, octostack_loom))]
mod loom_tests {
    use super::{Recorded, Ring, Tally};
    use loom::{sync::Arc, thread};

    fn ring(size: u32) -> Arc<Ring> {
        let ring = Ring::new(size, size);
        ring.reset(1, size);
        Arc::new(ring)
    }

    fn evaluated(seen: Recorded) -> Option<Tally> {
        match seen {
            Recorded::Evaluate(tally) => Some(tally),
            Recorded::Stale | Recorded::Quiet => None,
        }
    }

    #[test]
    fn planted_two_failures_that_race_to_the_threshold_are_seen_by_one_of_them() {
        loom::model(|| {
            let ring = ring(2);
            let other = ring.clone();
            let racing = thread::spawn(move || other.record(1, true));
            let mine = evaluated(ring.record(1, true));
            let theirs = evaluated(racing.join().unwrap());
            let both = Some(Tally { calls: 2, failures: 2 });
            assert!(mine == both || theirs == both, "{mine:?} {theirs:?}");
        });
    }

    #[test]
    fn the_minimum_of_calls_is_seen_by_success_or_failure() {
        loom::model(|| {
            let ring = ring(2);
            let other = ring.clone();
            let racing = thread::spawn(move || other.record(1, true));
            let mine = evaluated(ring.record(1, false));
            let theirs = evaluated(racing.join().unwrap());
            let both = Some(Tally { calls: 2, failures: 1 });
            assert!(mine == both || theirs == both, "{mine:?} {theirs:?}");
        });
    }

    #[test]
    fn when_all_is_quiet_the_sum_is_the_number_of_bits() {
        loom::model(|| {
            let ring = ring(1);
            let other = ring.clone();
            let racing = thread::spawn(move || {
                other.record(1, true);
            });
            ring.record(1, true);
            ring.record(1, false);
            racing.join().unwrap();
            let bits = ring.results(1).into_iter().filter(|failed| *failed).count() as u32;
            assert_eq!(ring.look(1), Tally { calls: 1, failures: bits });
        });
    }

    #[test]
    fn an_older_generation_never_marks_the_new_one() {
        loom::model(|| {
            let ring = ring(2);
            ring.record(1, true);
            let other = ring.clone();
            let stale = thread::spawn(move || {
                other.record(1, true);
            });
            ring.reset(2, 2);
            ring.record(2, false);
            stale.join().unwrap();
            assert_eq!(ring.look(2), Tally { calls: 1, failures: 0 });
        });
    }
}
