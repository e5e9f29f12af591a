//! The keys of one part of a keyed limit: plain data under the part's lock, with time as an
//! argument.
//!
//! A key is kept as its hash, and all that is known of it is its arrival time. Once that lies in
//! the past the key has its whole burst again: it is as if it had never been seen, and its entry
//! may go at any time. So a *hand* goes over the entries and drops those: two steps for each new
//! key, and all the way when somebody asks for the numbers. It goes from the last to the first,
//! since the last fills the gap of one that is dropped: that one it has seen, or it is new.
//!
//! When there is no room for a new key, the hand looks at the next few entries. One that has
//! recovered goes; else the one that is nearest to it, which is the key that has used least. A
//! flood of new keys therefore pushes out its own kind, and not those that are at their limit,
//! unless it spends as much on each new key as those have spent.
use super::super::gcra::{Refused, Rules, Stance, Used};
use crate::counters::Totals;
use octostack_core::inspect::Mode;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// How many entries the hand looks at for each new key while there is room. One would keep up; two
/// get ahead.
const STEPS: usize = 2;

/// How many it looks at when there is none. More finds a better one to drop, and takes longer;
/// Redis finds 10 to be next to exact for its own choice of what to evict.
const SAMPLE: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    arrival: u64,
    /// How much of the arrival does not count, since it is more than a burst that shrank.
    cut: u64,
}

impl Entry {
    fn used(&self, now: u64) -> Used {
        Used::at(self.arrival, self.cut, now)
    }
}

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Part {
    rules: Rules,
    room: usize,
    /// Where in `entries` the entry of a hash is.
    index: HashMap<u64, usize, BuildHasherDefault<Same>>,
    entries: Vec<Entry>,
    hand: usize,
    totals: Totals,
    /// Keys that were dropped before they had recovered.
    evicted: u64,
}

impl Part {
    /// `room` is at least 1.
    pub(super) fn new(rules: Rules, room: usize) -> Self {
        Self {
            rules,
            room,
            index: HashMap::default(),
            entries: Vec::new(),
            hand: 0,
            totals: Totals::default(),
            evicted: 0,
        }
    }

    /// Decides a call of the key with this hash that counts as `weight` calls, and counts the
    /// decision.
    pub(super) fn admit(&mut self, hash: u64, weight: u32, now: u64) -> Result<(), Refused> {
        match self.rules.stance() {
            Stance::Pass => return Ok(()),
            Stance::Refuse => {
                self.totals.rejected += 1;
                return Err(Refused { retry_after: None });
            }
            Stance::Judge => {}
        }
        let known = self.index.get(&hash).copied();
        let used = known.map_or(Used { ahead: 0, cut: 0 }, |at| self.entries[at].used(now));
        match self.rules.judge(used.counted(), weight) {
            // What spends nothing needs no place, which might be that of a key at its limit.
            Ok(0) if known.is_none() => {}
            Ok(ahead) => {
                let at = known.unwrap_or_else(|| self.insert(hash, now));
                let entry = &mut self.entries[at];
                (entry.arrival, entry.cut) = (now + ahead + used.cut, used.cut);
            }
            Err(_) if self.rules.mode == Mode::Shadow => self.totals.shadow_rejected += 1,
            Err(refused) => {
                self.totals.rejected += 1;
                return Err(refused);
            }
        }
        self.totals.permitted += 1;
        Ok(())
    }

    fn insert(&mut self, hash: u64, now: u64) -> usize {
        if self.entries.len() < self.room {
            self.sweep(now, STEPS);
        } else {
            self.evict(now);
        }
        let at = self.entries.len();
        self.entries.push(Entry { hash, arrival: now, cut: 0 });
        self.index.insert(hash, at);
        at
    }

    /// Moves the hand by so many entries and drops those that have recovered.
    pub(super) fn sweep(&mut self, now: u64, steps: usize) {
        for _ in 0..steps.min(self.entries.len()) {
            let at = self.step();
            if self.entries[at].arrival <= now {
                self.remove(at);
            }
        }
    }

    /// Puts the hand where it has not seen any entry; says how many there are.
    pub(super) fn rewind(&mut self) -> usize {
        self.hand = self.entries.len();
        self.hand
    }

    /// Drops one of the next few entries. Only while there is one.
    fn evict(&mut self, now: u64) {
        let mut least = self.step();
        for _ in 1..SAMPLE.min(self.entries.len()) {
            if self.entries[least].arrival <= now {
                break;
            }
            let at = self.step();
            if self.entries[at].arrival < self.entries[least].arrival {
                least = at;
            }
        }
        self.evicted += u64::from(self.entries[least].arrival > now);
        self.remove(least);
    }

    /// Moves the hand by one. Only while there is an entry.
    fn step(&mut self) -> usize {
        if self.hand == 0 {
            self.hand = self.entries.len();
        }
        self.hand = self.hand.min(self.entries.len()) - 1;
        self.hand
    }

    fn remove(&mut self, at: usize) {
        let gone = self.entries.swap_remove(at);
        self.index.remove(&gone.hash);
        if let Some(moved) = self.entries.get(at) {
            self.index.insert(moved.hash, at);
        }
    }

    /// Takes other rules and keeps what was used of the old ones. When keys have to go, those go
    /// that have used least.
    pub(super) fn apply(&mut self, rules: Rules, room: usize, now: u64) {
        for entry in &mut self.entries {
            let used = self.rules.carry(rules, entry.used(now));
            (entry.arrival, entry.cut) = (now + used.ahead, used.cut);
        }
        (self.rules, self.room) = (rules, room);
        let all = self.rewind();
        self.sweep(now, all);
        if self.entries.len() > room {
            self.evicted += (self.entries.len() - room) as u64;
            self.entries.sort_unstable_by_key(|entry| Reverse(entry.arrival));
            self.entries.truncate(room);
            let places = self.entries.iter().enumerate().map(|(at, entry)| (entry.hash, at));
            self.index = places.collect();
        }
    }

    /// Gives back memory that a crowd of keys has left.
    pub(super) fn shrink(&mut self) {
        const SMALL: usize = 256;
        let (used, kept) = (self.entries.len(), self.entries.capacity());
        if kept > SMALL && used < kept / 4 {
            self.entries.shrink_to(used * 2);
            self.index.shrink_to(used * 2);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// The hash of a hash is itself.
#[derive(Clone, Copy, Debug, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used for `u64`, and right for anything else.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(all(test, not(octostack_loom)))]
#[path = "part_tests.rs"]
mod tests;
