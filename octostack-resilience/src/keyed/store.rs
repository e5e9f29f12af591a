//! All keys of a keyed policy, in parts with a lock each.
use super::part::Part;
use super::room::Room;
use super::{KeyedRules, ShowKey, Unit};
use crate::padded::Padded;
use octostack_core::Clock;
use octostack_core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use octostack_core::sync::{Mutex, lock};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most parts: with more, two threads hardly ever meet less often.
const PARTS: usize = 32;

/// The fewest keys that are worth a part of their own.
const KEYS: usize = 64;

/// In how many other parts a new key looks for room when all in its own are in use.
const ELSEWHERE: usize = 4;

type Locked<K, U> = Padded<Mutex<Part<K, U>>>;

/// See the [module docs](self).
pub(crate) struct Store<K, U: Unit> {
    parts: Box<[Locked<K, U>]>,
    room: Arc<Room>,
    /// Keyed by chance: nobody can make up keys that share a part.
    hasher: RandomState,
    /// What keys share that there is no room for.
    overflow: Arc<U>,
    /// Calls that went there.
    overflowed: AtomicU64,
    epoch: Instant,
    show: Option<ShowKey<K>>,
}

/// What all units have counted, and what is counted beside them.
pub(crate) struct Look<U: Unit> {
    pub(crate) keys: usize,
    /// Of all units, those that are gone and that of the overflow too.
    pub(crate) sum: U::Sum,
    pub(crate) evicted: u64,
    pub(crate) overflowed: u64,
}

impl<K: Hash + Eq + Clone, U: Unit> Store<K, U> {
    pub(crate) fn new(rules: KeyedRules<U>, show: Option<ShowKey<K>>, clock: &impl Clock) -> Self {
        let KeyedRules { each, max_keys, idle_for } = rules;
        let parts = (max_keys as usize / KEYS).clamp(1, PARTS);
        let room = Arc::new(Room::new(max_keys));
        let part = || Part::new(each.clone(), room.clone(), nanos(idle_for));
        Self {
            parts: (0..parts).map(|_| Padded(Mutex::new(part()))).collect(),
            room,
            hasher: RandomState::new(),
            overflow: Arc::new(U::make(&each, None, clock)),
            overflowed: AtomicU64::new(0),
            epoch: clock.now(),
            show,
        }
    }

    /// The unit of `key`: its own, or the one that keys without room share.
    #[inline]
    pub(crate) fn unit(&self, key: &K, clock: &impl Clock) -> Arc<U> {
        // Outside the lock: hashing a key is the caller's code.
        let hash = self.hasher.hash_one(key);
        let now = self.nanos(clock);
        let mut part = lock(self.part_of(hash));
        let Some(unit) = part.touch(hash, key, now) else {
            drop(part);
            return self.new_unit(hash, key, now, clock);
        };
        let gone = part.step(now, clock);
        drop(part);
        drop(gone);
        unit
    }

    #[cold]
    fn new_unit(&self, hash: u64, key: &K, now: u64, clock: &impl Clock) -> Arc<U> {
        let label = self.show.as_ref().map(|show| Arc::from(show(key)));
        let mine = self.place(hash);
        // After its own part a few others are asked to make room.
        for other in 0..=ELSEWHERE.min(self.parts.len() - 1) {
            if other > 0 {
                let made = lock(&self.parts[(mine + other) % self.parts.len()]).make_room();
                if made.is_none() {
                    continue;
                }
            }
            let mut part = lock(&self.parts[mine]);
            if let Some(unit) = part.touch(hash, key, now) {
                drop(part);
                return unit; // another thread was faster
            }
            let idle = [part.step(now, clock), part.step(now, clock)];
            let (unit, gone) = part.add(hash, key, label.as_ref(), now, clock);
            drop(part);
            drop((idle, gone));
            if let Some(unit) = unit {
                return unit;
            }
        }
        self.overflowed.fetch_add(1, Relaxed);
        self.overflow.clone()
    }

    /// The unit of `key`, if it has one of its own. It is not used by that.
    pub(crate) fn look_at<T>(&self, key: &K, look: impl FnOnce(&U) -> T) -> Option<T> {
        let hash = self.hasher.hash_one(key);
        lock(self.part_of(hash)).find(hash, key).map(|unit| look(unit))
    }

    fn part_of(&self, hash: u64) -> &Mutex<Part<K, U>> {
        &self.parts[self.place(hash)]
    }

    fn place(&self, hash: u64) -> usize {
        // Not the low bits and not the highest seven: these a hash table goes by.
        let middle = hash >> 16 & 0xffff_ffff;
        ((middle * self.parts.len() as u64) >> 32) as usize
    }

    /// Takes other rules: for new units, and with `adopt` for those that are there.
    pub(crate) fn apply(&self, rules: &KeyedRules<U>, adopt: impl Fn(&U)) {
        self.room.set(rules.max_keys);
        for part in &self.parts {
            let mut part = lock(part);
            let gone = part.apply(rules.each.clone(), nanos(rules.idle_for));
            let units: Vec<_> = part.units().cloned().collect();
            // What is woken by it is foreign code.
            drop(part);
            drop(gone);
            for unit in &units {
                adopt(unit);
            }
        }
        adopt(&self.overflow);
    }

    /// The numbers, after dropping what nobody has asked for in a long time. Each unit of a key is
    /// shown to `visit`.
    ///
    /// That is under the lock of its part: a pointer to a unit would keep it from making room.
    pub(crate) fn look(&self, clock: &impl Clock, mut visit: impl FnMut(&U)) -> Look<U> {
        let now = self.nanos(clock);
        let mut look = Look {
            keys: 0,
            sum: U::Sum::default(),
            evicted: 0,
            overflowed: self.overflowed.load(Relaxed),
        };
        self.overflow.add_to(&mut look.sum);
        for part in &self.parts {
            let mut part = lock(part);
            let gone = part.sweep(now, clock);
            U::merge(&mut look.sum, part.retired());
            for unit in part.units() {
                look.keys += 1;
                unit.add_to(&mut look.sum);
                visit(unit);
            }
            look.evicted += part.evicted();
            drop(part);
            drop(gone);
        }
        look
    }

    /// What keys share that there is no room for.
    pub(crate) fn overflow(&self) -> &U {
        &self.overflow
    }

    #[inline]
    fn nanos(&self, clock: &impl Clock) -> u64 {
        clock.now().checked_duration_since(self.epoch).map_or(0, nanos)
    }
}

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(octostack_loom)))]
#[path = "store_tests.rs"]
mod tests;
