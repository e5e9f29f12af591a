//! The last `size` results of one generation, exact and without a lock.
//!
//! Each result is two bits in a ring: failed, and slow. Three sorts of words carry the generation
//! they belong to, so that a result of an older generation can never be counted in a newer one:
//!
//! ```text
//! head = generation:16 | lap:32 | slot:16     hands out the slots; one CAS a result
//! word = generation:32 | slow:16 | failed:16  16 slots; written only when a bit flips
//! sum  = generation:32 | count:32             one of failures, one of slow calls; as rarely
//! ```
//!
//! So a steady success costs one CAS and one load. Words of an older generation need no clearing:
//! whoever writes there first starts from zero.
//!
//! The one subtle point is evaluation. Whoever flips a bit to 1 writes it, then reads `head`
//! and `sum`, with a sequentially consistent fence in between: of two threads that reach the
//! threshold together, at least one sees both failures. Counting from one's own slot instead lets
//! both miss it; the model checker found that.
#![allow(clippy::cast_possible_truncation, reason = "casts take fields out of packed words")]
use super::{Age, Mark, Recorded, Tally, age};
use octostack_core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

const SLOTS_A_WORD: u32 = 16;
const LAP: u64 = 1 << 16;
const LAST_LAP: u64 = 0xffff_ffff;

/// On a pair of cache lines of its own: every call writes to `head`.
#[repr(align(128))]
pub(super) struct Ring {
    head: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
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
            head: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            slow: AtomicU64::new(0),
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

    /// Puts results of an older generation in, after a [`reset`](Self::reset). They were counted
    /// before, so [`recorded`](Self::recorded) does not count them again.
    pub(super) fn refill(&self, generation: u32, results: &[Mark]) {
        self.past.fetch_sub(results.len() as u64, Relaxed);
        for mark in results {
            self.record(generation, *mark);
        }
    }

    /// Counts a result of `generation`.
    #[inline]
    pub(super) fn record(&self, generation: u32, mark: Mark) -> Recorded {
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
        match write(word, generation, slot % SLOTS_A_WORD, mark) {
            None => {
                self.past.fetch_sub(1, Relaxed); // the slot was taken, but not used
                return Recorded::Stale;
            }
            Some(Change { failures: 0, slow: 0 }) => {}
            Some(change) => self.adjust(generation, &change),
        }
        // In the first lap a success can reach a threshold too: the minimum number of calls.
        if !mark.is_fine() || lap(taken) == 0 {
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
        // Between a bit and its sum the sum may be off by the number of threads in there.
        let count = |sum: &AtomicU64| {
            let sum = sum.load(Acquire);
            let count =
                if (sum >> 32) as u32 == generation { (sum as u32).cast_signed() } else { 0 };
            count.clamp(0, size.cast_signed()).cast_unsigned()
        };
        Tally { calls, failures: count(&self.failures), slow: count(&self.slow) }
    }

    /// Results counted in all generations.
    pub(super) fn recorded(&self) -> u64 {
        let head = self.head.load(Acquire);
        self.past.load(Relaxed).wrapping_add(lap(head) * u64::from(self.size()) + slot(head))
    }

    /// The results in the ring from the oldest to the newest, for
    /// [`refill`](Self::refill). Not exact while others record.
    pub(super) fn results(&self, generation: u32) -> Vec<Mark> {
        let Tally { calls, .. } = self.look(generation);
        let (size, newest) = (u64::from(self.size()), slot(self.head.load(Acquire)));
        let mark = |slot: u64| {
            let word = self.words[(slot / u64::from(SLOTS_A_WORD)) as usize].load(Acquire);
            let bits = if (word >> 32) as u32 == generation { word } else { 0 };
            mark_of(bits >> (slot % u64::from(SLOTS_A_WORD)))
        };
        (1..=u64::from(calls)).rev().map(|back| mark((newest + size - back) % size)).collect()
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
    fn adjust(&self, generation: u32, change: &Change) {
        add(&self.failures, generation, change.failures);
        add(&self.slow, generation, change.slow);
    }
}

/// By how much the counts changed.
struct Change {
    failures: i32,
    slow: i32,
}

fn add(sum: &AtomicU64, generation: u32, change: i32) {
    if change == 0 {
        return;
    }
    let mut now = sum.load(Relaxed);
    loop {
        let base = match age(now, generation) {
            Age::Same => now as u32,
            Age::Older => 0,
            Age::Newer => return,
        };
        let count = base.wrapping_add(change.cast_unsigned());
        let next = u64::from(generation) << 32 | u64::from(count);
        match sum.compare_exchange_weak(now, next, AcqRel, Relaxed) {
            Ok(_) => return,
            Err(other) => now = other,
        }
    }
}

/// Writes one result. Returns what changed, `None` if the word belongs to a newer generation.
#[inline]
fn write(word: &AtomicU64, generation: u32, slot: u32, mark: Mark) -> Option<Change> {
    let both = 0x1_0001_u64 << slot;
    let bits = (u64::from(mark.failed) | u64::from(mark.slow) << SLOTS_A_WORD) << slot;
    let mut now = word.load(Relaxed);
    loop {
        let base = match age(now, generation) {
            Age::Same if now & both == bits => return Some(Change { failures: 0, slow: 0 }),
            Age::Same => now,
            Age::Older => u64::from(generation) << 32,
            Age::Newer => return None,
        };
        if cfg!(octostack_planted_bug) && mark.is_fine() {
            return Some(Change { failures: 0, slow: 0 }); // never evicts: the oracle must object
        }
        match word.compare_exchange_weak(now, base & !both | bits, AcqRel, Relaxed) {
            Ok(_) => {
                let was = mark_of(base >> slot);
                let failures = i32::from(mark.failed) - i32::from(was.failed);
                return Some(Change { failures, slow: i32::from(mark.slow) - i32::from(was.slow) });
            }
            Err(other) => now = other,
        }
    }
}

/// The result in the lowest slot of a word.
const fn mark_of(bits: u64) -> Mark {
    Mark { failed: bits & 1 == 1, slow: bits >> SLOTS_A_WORD & 1 == 1 }
}

const fn lap(head: u64) -> u64 {
    head >> 16 & LAST_LAP
}

const fn slot(head: u64) -> u64 {
    head & 0xffff
}

#[cfg(all(test, octostack_loom))]
#[path = "ring_loom_tests.rs"]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
#[path = "ring_tests.rs"]
mod tests;
