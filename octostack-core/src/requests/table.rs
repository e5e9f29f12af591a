use super::slots::{Block, Record, SLOTS};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::available_parallelism;

/// Groups of blocks, each twice as large as the one before.
const GROUPS: u32 = 11;

/// Blocks of a shard: 131,008 slots.
const BLOCKS: usize = (1 << GROUPS) - 1;

/// Slots for requests, added when there are too few and never moved.
///
/// Threads take slots of their own shard, so that they do not write to the same cache lines. A
/// request may end on another thread than it began on; its ticket says where its slot is.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Shard]>,
    /// Requests that found no slot.
    untracked: AtomicU64,
}

/// Where the record of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    const SLOT_BITS: u32 = 8;
    const BLOCK_BITS: u32 = 16;

    fn new(shard: usize, block: usize, slot: usize) -> Self {
        let number = (shard << Self::BLOCK_BITS | block) << Self::SLOT_BITS | slot;
        Self(u32::try_from(number).unwrap_or(u32::MAX))
    }

    const fn parts(self) -> (usize, usize, usize) {
        let slot = self.0 & ((1 << Self::SLOT_BITS) - 1);
        let block = self.0 >> Self::SLOT_BITS & ((1 << Self::BLOCK_BITS) - 1);
        (self.0 as usize >> (Self::SLOT_BITS + Self::BLOCK_BITS), block as usize, slot as usize)
    }
}

#[derive(Debug)]
#[repr(align(128))] // processors fetch cache lines of 64 bytes in pairs
struct Shard {
    /// A block that had a free slot when somebody looked last.
    hint: AtomicUsize,
    groups: [OnceLock<Box<[Block]>>; GROUPS as usize],
}

/// The group of a block, and its place in there.
const fn group_of(block: usize) -> (usize, usize) {
    let group = (block + 1).ilog2();
    (group as usize, block + 1 - (1 << group))
}

impl Shard {
    fn new() -> Self {
        let shard =
            Self { hint: AtomicUsize::new(0), groups: std::array::from_fn(|_| OnceLock::new()) };
        shard.grow(0); // so that nobody waits for it later
        shard
    }

    fn grow(&self, group: usize) {
        self.groups[group].get_or_init(|| (0..1_usize << group).map(|_| Block::new()).collect());
    }

    #[inline]
    fn block(&self, number: usize) -> Option<&Block> {
        let (group, at) = group_of(number);
        self.groups.get(group)?.get()?.get(at)
    }

    /// The blocks that there are, with their numbers.
    fn blocks(&self) -> impl Iterator<Item = (usize, &Block)> {
        (0..BLOCKS).map_while(|number| Some((number, self.block(number)?)))
    }

    #[inline]
    fn take(&self, record: &Record) -> Option<(usize, usize)> {
        let hint = self.hint.load(Ordering::Relaxed);
        if let Some(slot) = self.block(hint).and_then(|block| block.take(record)) {
            return Some((hint, slot));
        }
        self.take_elsewhere(record)
    }

    #[cold]
    fn take_elsewhere(&self, record: &Record) -> Option<(usize, usize)> {
        loop {
            let mut blocks = 0;
            for (number, block) in self.blocks() {
                if let Some(slot) = block.take(record) {
                    self.hint.store(number, Ordering::Relaxed);
                    return Some((number, slot));
                }
                blocks = number + 1;
            }
            if blocks == BLOCKS {
                return None;
            }
            self.grow(group_of(blocks).0);
        }
    }
}

impl Table {
    pub(super) fn new() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self::with_shards(threads.next_power_of_two().min(8))
    }

    /// `shards` must be a power of two.
    pub(super) fn with_shards(shards: usize) -> Self {
        let shards = (0..shards).map(|_| Shard::new()).collect();
        Self { shards, untracked: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn take(&self, record: &Record) -> Option<Place> {
        let shard = this_thread() & (self.shards.len() - 1);
        if let Some((block, slot)) = self.shards[shard].take(record) {
            return Some(Place::new(shard, block, slot));
        }
        self.untracked.fetch_add(1, Ordering::Relaxed);
        None
    }

    #[inline]
    fn block(&self, place: Place) -> Option<(&Shard, &Block)> {
        let (shard, block, _) = place.parts();
        let shard = self.shards.get(shard)?;
        Some((shard, shard.block(block)?))
    }

    #[inline]
    pub(super) fn repack(&self, place: Place, repack: impl FnOnce(u64) -> u64) {
        if let Some((_, block)) = self.block(place) {
            block.repack(place.parts().2, repack);
        }
    }

    #[inline]
    pub(super) fn give_back(&self, place: Place) {
        if let Some((shard, block)) = self.block(place) {
            let (_, number, slot) = place.parts();
            block.give_back(slot);
            // Only if it is news: the line is shared.
            if shard.hint.load(Ordering::Relaxed) != number {
                shard.hint.store(number, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.shards.iter().flat_map(Shard::blocks).map(|(_, block)| block.count()).sum()
    }

    pub(super) fn untracked(&self) -> u64 {
        self.untracked.load(Ordering::Relaxed)
    }

    /// What is there now: place, version and record of each.
    pub(super) fn look(&self) -> impl Iterator<Item = (Place, u64, Record)> {
        self.shards.iter().enumerate().flat_map(|(shard, slots)| {
            slots.blocks().flat_map(move |(number, block)| {
                block.look().map(move |(slot, version, record)| {
                    (Place::new(shard, number, slot), version, record)
                })
            })
        })
    }

    /// Whether what was seen with this version is still there.
    pub(super) fn is_still(&self, place: Place, version: u64) -> bool {
        self.block(place).is_some_and(|(_, block)| block.is_still(place.parts().2, version))
    }
}

/// A number of this thread, given out in turn when a thread first asks.
#[inline]
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const UNSET: usize = usize::MAX;
    thread_local!(static MINE: Cell<usize> = const { Cell::new(UNSET) });
    // A thread that is being torn down has no locals any more.
    let mine = MINE.try_with(|mine| {
        if mine.get() == UNSET {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (UNSET >> 1));
        }
        mine.get()
    });
    mine.unwrap_or(0)
}

// A place has to hold every number.
const _: () = assert!(SLOTS <= 1 << Place::SLOT_BITS && BLOCKS <= 1 << Place::BLOCK_BITS);

#[cfg(test)]
#[cfg(not(octostack_loom))]
mod tests {
    use super::{BLOCKS, Place, Record, SLOTS, Table, group_of};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn record(tag: u64) -> Record {
        Record { started: tag, packed: tag, tag }
    }

    #[test]
    fn every_block_has_its_place_in_a_group() {
        let mut expected = (0, 0);
        for block in 0..BLOCKS {
            assert_eq!(group_of(block), expected);
            expected = if expected.1 + 1 == 1 << expected.0 {
                (expected.0 + 1, 0)
            } else {
                (expected.0, expected.1 + 1)
            };
        }
        let place = Place::new(7, BLOCKS - 1, SLOTS - 1);
        assert_eq!(place.parts(), (7, BLOCKS - 1, SLOTS - 1));
    }

    #[test]
    fn grows_to_its_bound_and_counts_what_found_no_place() {
        let table = Table::with_shards(1);
        let all: Vec<_> = (0..(BLOCKS * SLOTS) as u64).map(|n| table.take(&record(n))).collect();
        assert!(all.iter().all(Option::is_some));
        assert_eq!(table.count(), BLOCKS * SLOTS);
        assert_eq!(table.take(&record(1)), None);
        assert_eq!(table.untracked(), 1);
        table.give_back(all[77_777].unwrap());
        assert_eq!(table.take(&record(5)), all[77_777], "the one that has become free");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        GiveBack(usize),
        Repack(usize),
    }

    proptest! {
        /// As if it were a map.
        #[test]
        fn holds_what_was_taken_and_not_given_back(steps in prop::collection::vec(
            prop_oneof![
                3 => any::<u64>().prop_map(Step::Take),
                2 => any::<usize>().prop_map(Step::GiveBack),
                1 => any::<usize>().prop_map(Step::Repack),
            ],
            1..400,
        )) {
            let table = Table::with_shards(2);
            let mut taken: Vec<(Place, Record)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(n) => taken.push((table.take(&record(n)).unwrap(), record(n))),
                    Step::GiveBack(at) if !taken.is_empty() => {
                        let (place, _) = taken.swap_remove(at % taken.len());
                        table.give_back(place);
                    }
                    Step::Repack(at) if !taken.is_empty() => {
                        let at = at % taken.len();
                        table.repack(taken[at].0, |packed| packed ^ 1);
                        taken[at].1.packed ^= 1;
                    }
                    _ => {}
                }
                prop_assert_eq!(table.count(), taken.len());
            }
            let seen: BTreeMap<_, _> = table.look().map(|(at, _, r)| (at.0, r)).collect();
            let expected: BTreeMap<_, _> = taken.iter().map(|(at, r)| (at.0, *r)).collect();
            prop_assert_eq!(seen, expected);
            for (place, version, _) in table.look().collect::<Vec<_>>() {
                prop_assert!(table.is_still(place, version));
                table.give_back(place);
                prop_assert!(!table.is_still(place, version));
            }
        }
    }
}
