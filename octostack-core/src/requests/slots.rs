//! The atomics of the table: a block of slots, each taken by one request at a time.
//!
//! A bit of `taken` says whose a slot is. Whoever has set it is the only one that writes to the
//! slot, until it clears the bit. Readers take nothing: a slot has a version that is odd while
//! there is something to see and moves on at each change, so that a reader notices if what it has
//! read belongs to two requests.
use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// Slots of a block: as many as a word has bits, and few enough for the model checker.
pub(super) const SLOTS: usize = if cfg!(octostack_loom) { 2 } else { 64 };

const ALL_TAKEN: u64 = u64::MAX >> (64 - SLOTS);

/// What a slot keeps of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Since when, in nanoseconds after the table was made.
    pub(super) started: u64,
    /// Small numbers, packed.
    pub(super) packed: u64,
    pub(super) tag: u64,
}

#[derive(Debug)]
struct Slot {
    version: AtomicU64,
    started: AtomicU64,
    packed: AtomicU64,
    tag: AtomicU64,
}

impl Slot {
    fn new() -> Self {
        let [version, started, packed, tag] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { version, started, packed, tag }
    }

    /// By the owner, when it has just become that.
    #[inline]
    fn show(&self, record: &Record) {
        let version = self.version.load(Ordering::Relaxed);
        if cfg!(octostack_planted_bug) {
            // loom must notice: seen before it is there
            self.version.store(version + 1, Ordering::Release);
        }
        // Whoever reads something of what follows also reads the version that was set before it.
        fence(Ordering::Release);
        self.started.store(record.started, Ordering::Relaxed);
        self.packed.store(record.packed, Ordering::Relaxed);
        self.tag.store(record.tag, Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
    }

    /// By the owner, before it is that no more.
    #[inline]
    fn hide(&self) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
    }

    /// What is there, with its version; none if it ends while it is read.
    fn read(&self) -> Option<(u64, Record)> {
        let version = self.version.load(Ordering::Acquire);
        if version.is_multiple_of(2) {
            return None;
        }
        let record = Record {
            started: self.started.load(Ordering::Relaxed),
            packed: self.packed.load(Ordering::Relaxed),
            tag: self.tag.load(Ordering::Relaxed),
        };
        fence(Ordering::Acquire);
        (self.version.load(Ordering::Relaxed) == version).then_some((version, record))
    }
}

/// Some slots, and which of them are taken.
#[derive(Debug)]
pub(super) struct Block {
    taken: AtomicU64,
    slots: [Slot; SLOTS],
}

impl Block {
    pub(super) fn new() -> Self {
        Self { taken: AtomicU64::new(0), slots: std::array::from_fn(|_| Slot::new()) }
    }

    /// Takes a free slot, if there is one.
    #[inline]
    pub(super) fn take(&self, record: &Record) -> Option<usize> {
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let free = (!taken & ALL_TAKEN).trailing_zeros() as usize;
            let slot = self.slots.get(free)?;
            let bit = 1 << free;
            if cfg!(octostack_planted_bug) {
                // loom must notice: two take the same slot
                self.taken.store(taken | bit, Ordering::Relaxed);
                slot.show(record);
                return Some(free);
            }
            // What the last owner has written happened before.
            taken = self.taken.fetch_or(bit, Ordering::Acquire);
            if taken & bit == 0 {
                slot.show(record);
                return Some(free);
            }
        }
    }

    /// Changes the small numbers of a slot, by its owner.
    #[inline]
    pub(super) fn repack(&self, slot: usize, repack: impl FnOnce(u64) -> u64) {
        if let Some(slot) = self.slots.get(slot) {
            let packed = slot.packed.load(Ordering::Relaxed);
            slot.packed.store(repack(packed), Ordering::Relaxed);
        }
    }

    /// Gives a slot back, by its owner.
    #[inline]
    pub(super) fn give_back(&self, slot: usize) {
        if let Some(taken) = self.slots.get(slot) {
            taken.hide();
            self.taken.fetch_and(!(1 << slot), Ordering::Release);
        }
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.taken.load(Ordering::Relaxed).count_ones() as usize
    }

    /// What is in the slots now: number, version and record of each.
    pub(super) fn look(&self) -> impl Iterator<Item = (usize, u64, Record)> {
        let taken = self.taken.load(Ordering::Acquire);
        let slots = self.slots.iter().enumerate().filter(move |(at, _)| taken & (1 << at) != 0);
        slots.filter_map(|(at, slot)| slot.read().map(|(version, record)| (at, version, record)))
    }

    /// Whether what was seen with this version is still there.
    pub(super) fn is_still(&self, slot: usize, version: u64) -> bool {
        let slot = self.slots.get(slot);
        slot.is_some_and(|slot| slot.version.load(Ordering::Acquire) == version)
    }
}

#[cfg(test)]
#[cfg(octostack_loom)]
mod loom_tests {
    use super::{Block, Record};
    use crate::sync::Arc;
    use loom::thread;

    /// A record whose parts tell whether they belong together.
    fn record(of: u64) -> Record {
        Record { started: of, packed: of * 10, tag: of * 100 }
    }

    fn is_whole(seen: &Record) -> bool {
        *seen == record(seen.started) && (1..=2).contains(&seen.started)
    }

    #[test]
    fn planted_no_two_requests_share_a_slot() {
        loom::model(|| {
            let block = Arc::new(Block::new());
            let other = Arc::clone(&block);
            let taking = thread::spawn(move || other.take(&record(2)));
            let (mine, theirs) = (block.take(&record(1)), taking.join().unwrap());
            assert!(mine.is_some() && theirs.is_some());
            assert_ne!(mine, theirs);
            assert_eq!(block.count(), 2);
        });
    }

    #[test]
    fn planted_a_reader_never_sees_half_of_a_request() {
        loom::model(|| {
            let block = Arc::new(Block::new());
            let other = Arc::clone(&block);
            // The reader is the new thread: of several loads and a store, loom takes only the last
            // load for one that the store may come before.
            let reading = thread::spawn(move || {
                for (_, _, seen) in other.look() {
                    assert!(is_whole(&seen), "{seen:?}");
                }
            });
            // The second one takes the slot of the first.
            for of in [1, 2] {
                let slot = block.take(&record(of)).unwrap();
                block.give_back(slot);
            }
            reading.join().unwrap();
            assert_eq!(block.look().count(), 0);
            assert_eq!(block.count(), 0);
        });
    }

    #[test]
    fn a_slot_goes_from_one_thread_to_the_other() {
        loom::model(|| {
            let block = Arc::new(Block::new());
            let there = Arc::clone(&block);
            let other = thread::spawn(move || {
                let slot = there.take(&record(2)).unwrap();
                there.give_back(slot);
            });
            let first = block.take(&record(1)).unwrap();
            block.give_back(first);
            let again = block.take(&record(1)).unwrap();
            let seen: Vec<_> = block.look().filter(|(at, ..)| *at == again).collect();
            assert_eq!(seen.len(), 1, "an owner finds its own");
            assert_eq!(seen[0].2, record(1));
            other.join().unwrap();
            assert_eq!(block.count(), 1);
        });
    }
}
