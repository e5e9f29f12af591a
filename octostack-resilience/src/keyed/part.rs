//! Some of the keys of a keyed policy, each with its unit: plain data under one lock, with time as
//! an argument.
//!
//! A unit may go while nobody but this part points to it: then no call is in flight, none waits,
//! and since new pointers are made under the same lock there will be none. The count of the `Arc`
//! says so, exactly, and what the last permit did before it was dropped is seen: the two are what
//! `Arc::get_mut` is for. There are no atomics of our own in that, so there is no model of them.
//!
//! A *hand* goes over the entries, one for each call and a few more for a new key, and drops what
//! nobody has asked for in a long time. It goes from the last to the first, since the last fills
//! the gap of one that is dropped: that one it has seen, or it is new.
use super::Unit;
use super::room::Room;
use hashbrown::HashTable;
use octostack_core::Clock;
use std::sync::Arc;

/// How many entries are looked at for one to make room. Redis finds 10 to be next to exact for its
/// own choice of what was used least recently.
pub(super) const SAMPLE: usize = 16;

/// How often a new key tries to make room: more than once, as there may be too many, and another
/// part may be faster.
const TRIES: usize = 3;

struct Entry<K, U> {
    hash: u64,
    key: K,
    unit: Arc<U>,
    touched: u64,
}

/// What was dropped. Keys are foreign code: they end outside the lock.
pub(super) struct Gone<K, U> {
    _key: K,
    _unit: Option<U>,
}

/// See the [module docs](self).
pub(super) struct Part<K, U: Unit> {
    rules: U::Rules,
    /// That of all parts.
    room: Arc<Room>,
    idle: u64,
    /// Where in `entries` the entry of a key is.
    index: HashTable<usize>,
    entries: Vec<Entry<K, U>>,
    hand: usize,
    retired: U::Sum,
    /// Keys that were dropped for others.
    evicted: u64,
}

impl<K: Eq, U: Unit> Part<K, U> {
    pub(super) fn new(rules: U::Rules, room: Arc<Room>, idle: u64) -> Self {
        Self {
            rules,
            room,
            idle,
            index: HashTable::new(),
            entries: Vec::new(),
            hand: 0,
            retired: U::Sum::default(),
            evicted: 0,
        }
    }

    /// The unit of a key that is present, without a touch.
    pub(super) fn find(&self, hash: u64, key: &K) -> Option<&Arc<U>> {
        let at = self.position(hash, key)?;
        Some(&self.entries[at].unit)
    }

    /// The unit of a key that is present.
    #[inline]
    pub(super) fn touch(&mut self, hash: u64, key: &K, now: u64) -> Option<Arc<U>> {
        let at = self.position(hash, key)?;
        let entry = &mut self.entries[at];
        entry.touched = entry.touched.max(now);
        Some(entry.unit.clone())
    }

    #[inline]
    fn position(&self, hash: u64, key: &K) -> Option<usize> {
        self.index.find(hash, |at| self.entries[*at].key == *key).copied()
    }

    /// Makes a unit for a key that is not present. `None` if there is no room for it: all that were
    /// looked at are in use.
    pub(super) fn add(
        &mut self,
        hash: u64,
        key: &K,
        label: Option<&Arc<str>>,
        now: u64,
        clock: &impl Clock,
    ) -> (Option<Arc<U>>, Vec<Gone<K, U>>)
    where
        K: Clone,
    {
        let mut gone = Vec::new();
        for _ in 0..TRIES {
            if self.room.take() {
                let unit = Arc::new(U::make(&self.rules, label.cloned(), clock));
                let at = self.entries.len();
                let entry = Entry { hash, key: key.clone(), unit: unit.clone(), touched: now };
                self.entries.push(entry);
                let entries = &self.entries;
                self.index.insert_unique(hash, at, |at| entries[*at].hash);
                return (Some(unit), gone);
            }
            match self.make_room() {
                Some(one) => gone.push(one),
                None => break,
            }
        }
        (None, gone)
    }

    /// Drops one that rests, so that another key has its place.
    pub(super) fn make_room(&mut self) -> Option<Gone<K, U>> {
        let at = self.least_recent()?;
        self.evicted += 1;
        Some(self.remove(at))
    }

    /// Of the next few entries the one at rest that was used least recently.
    fn least_recent(&mut self) -> Option<usize> {
        let mut best: Option<usize> = None;
        for _ in 0..SAMPLE.min(self.entries.len()) {
            let at = self.next();
            let entry = &mut self.entries[at];
            let rests = Arc::get_mut(&mut entry.unit).is_some_and(|unit| unit.at_rest());
            let touched = entry.touched;
            if rests && best.is_none_or(|best| touched < self.entries[best].touched) {
                best = Some(at);
            }
        }
        best
    }

    /// Moves the hand to the next entry. There must be one.
    fn next(&mut self) -> usize {
        let from = if self.hand == 0 { self.entries.len() } else { self.hand };
        self.hand = from.min(self.entries.len()) - 1;
        self.hand
    }

    /// Drops the next entry if nobody has asked for it in a long time.
    #[inline]
    pub(super) fn step(&mut self, now: u64, clock: &impl Clock) -> Option<Gone<K, U>> {
        if self.entries.is_empty() {
            return None;
        }
        let at = self.next();
        if self.entries[at].touched.saturating_add(self.idle) > now {
            return None;
        }
        self.drop_stale(at, clock)
    }

    #[cold]
    fn drop_stale(&mut self, at: usize, clock: &impl Clock) -> Option<Gone<K, U>> {
        let unit = Arc::get_mut(&mut self.entries[at].unit)?;
        unit.is_stale(clock).then(|| self.remove(at))
    }

    /// Drops all that nobody has asked for in a long time.
    pub(super) fn sweep(&mut self, now: u64, clock: &impl Clock) -> Vec<Gone<K, U>> {
        self.hand = self.entries.len();
        let gone: Vec<_> = (0..self.hand).filter_map(|_| self.step(now, clock)).collect();
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
            let entries = &self.entries;
            self.index.shrink_to(entries.len() * 2, |at| entries[*at].hash);
        }
        gone
    }

    /// Takes other rules for new units, and drops units at rest while there are too many.
    pub(super) fn apply(&mut self, rules: U::Rules, idle: u64) -> Vec<Gone<K, U>> {
        (self.rules, self.idle) = (rules, idle);
        let mut gone = Vec::new();
        for at in (0..self.entries.len()).rev() {
            if !self.room.is_over() {
                break;
            }
            if Arc::get_mut(&mut self.entries[at].unit).is_some_and(|unit| unit.at_rest()) {
                self.evicted += 1;
                gone.push(self.remove(at));
            }
        }
        gone
    }

    /// Its unit must have no other owner.
    fn remove(&mut self, at: usize) -> Gone<K, U> {
        let entry = self.entries.swap_remove(at);
        self.room.give();
        if let Ok(found) = self.index.find_entry(entry.hash, |other| *other == at) {
            found.remove();
        }
        if let Some(moved) = self.entries.get(at) {
            let last = self.entries.len();
            if let Some(place) = self.index.find_mut(moved.hash, |other| *other == last) {
                *place = at;
            }
        }
        let unit = Arc::into_inner(entry.unit);
        if let Some(unit) = &unit {
            unit.add_to(&mut self.retired);
        }
        Gone { _key: entry.key, _unit: unit }
    }

    pub(super) fn units(&self) -> impl Iterator<Item = &Arc<U>> {
        self.entries.iter().map(|entry| &entry.unit)
    }

    /// What the units that are gone have counted.
    pub(super) fn retired(&self) -> U::Sum {
        self.retired
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}
