//! All keys of a keyed limit, in parts with a lock each.
use super::super::gcra::{Refused, Rules, Stance};
use super::part::Part;
use crate::counters::Totals;
use crate::padded::Padded;
use octostack_core::sync::atomic::{
    AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use octostack_core::sync::{Mutex, MutexGuard, lock};
use std::hash::{BuildHasher, Hash, RandomState};

/// The most parts: with more, two threads hardly ever meet less often.
const PARTS: usize = 32;

/// The fewest keys that are worth a part of their own. Keys fall into the parts by chance, so small
/// parts are full long before all of them are.
const KEYS: usize = 64;

/// How many entries are looked at under one hold of a lock when somebody asks for the numbers.
const SLICE: usize = 256;

/// See the [module docs](self).
pub(super) struct Store {
    /// What is done with calls, as far as that is the same for every key.
    stance: AtomicU8,
    parts: Box<[Padded<Mutex<Part>>]>,
    /// Keyed by chance: nobody can make up keys that share an entry.
    hasher: RandomState,
    /// Calls that were refused whatever their key.
    refused: AtomicU64,
}

/// The numbers of all parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) totals: Totals,
    /// Keys that have something to recover from.
    pub(super) keys: usize,
    pub(super) evicted: u64,
}

impl Store {
    pub(super) fn new(rules: Rules, max_keys: u32) -> Self {
        let max_keys = max_keys as usize;
        let parts = (max_keys / KEYS).clamp(1, PARTS);
        let part = |room| Padded(Mutex::new(Part::new(rules, room)));
        Self {
            stance: AtomicU8::new(rules.stance() as u8),
            parts: rooms(max_keys, parts).map(part).collect(),
            hasher: RandomState::new(),
            refused: AtomicU64::new(0),
        }
    }

    /// What is done with a call before its key is known.
    #[inline]
    pub(super) fn stance(&self) -> Stance {
        Stance::from_u8(self.stance.load(Acquire))
    }

    /// Refuses a call whatever its key.
    #[cold]
    pub(super) fn refuse(&self) -> Refused {
        self.refused.fetch_add(1, Relaxed);
        Refused { retry_after: None }
    }

    /// Decides a call of `key` that counts as `weight` calls.
    #[inline]
    pub(super) fn admit(
        &self,
        key: &(impl Hash + ?Sized),
        weight: u32,
        now: u64,
    ) -> Result<(), Refused> {
        // Outside the lock: hashing a key is the caller's code.
        let hash = self.hasher.hash_one(key);
        self.part_of(hash).admit(hash, weight, now)
    }

    fn part_of(&self, hash: u64) -> MutexGuard<'_, Part> {
        // Not the low bits and not the highest seven: these a hash map goes by.
        let middle = hash >> 16 & 0xffff_ffff;
        let at = (middle * self.parts.len() as u64) >> 32;
        lock(&self.parts[at as usize])
    }

    /// Fewer keys than parts cannot be divided among them.
    pub(super) fn fewest_keys(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }

    /// Takes other rules. Each key is judged by the old ones or by the new ones.
    pub(super) fn apply(&self, rules: Rules, max_keys: u32, now: u64) {
        let rooms = rooms(max_keys as usize, self.parts.len());
        for (part, room) in self.parts.iter().zip(rooms) {
            let mut part = lock(part);
            part.apply(rules, room, now);
            part.shrink();
        }
        self.stance.store(rules.stance() as u8, Release);
    }

    /// The numbers, after dropping what has recovered by `now`.
    pub(super) fn counts(&self, now: u64) -> Counts {
        let mut counts = Counts::default();
        counts.totals.rejected = self.refused.load(Relaxed);
        for part in &self.parts {
            let slices = lock(part).rewind().div_ceil(SLICE);
            for _ in 0..slices {
                lock(part).sweep(now, SLICE);
            }
            let mut part = lock(part);
            part.shrink();
            let totals = part.totals();
            counts.totals.permitted += totals.permitted;
            counts.totals.rejected += totals.rejected;
            counts.totals.shadow_rejected += totals.shadow_rejected;
            counts.keys += part.len();
            counts.evicted += part.evicted();
        }
        counts
    }
}

/// `max_keys` divided among the parts, the rest to the first.
fn rooms(max_keys: usize, parts: usize) -> impl Iterator<Item = usize> {
    (0..parts).map(move |at| max_keys / parts + usize::from(at < max_keys % parts))
}

#[cfg(all(test, not(octostack_loom)))]
#[path = "store_tests.rs"]
mod tests;
