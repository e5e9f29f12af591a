//! From a key of the facade to its handle without a lock that anybody waits for.
//!
//! The macros of the facade keep nothing: each `counter!(…)` asks the recorder again. So the
//! recorder remembers what it answered, once for each shard of threads, since even the lock of a
//! reader and the count of an `Arc` are writes that threads would fight over.
//!
//! Only the first key of each series is remembered, so the caches are as bounded as the series.
use super::instruments::Instrument;
use super::names::Kind;
use crate::metrics::shards::{self, Shard};
use ::metrics::{Key, KeyName};
use octostack_core::sync::{PoisonError, RwLock};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// One cache for each shard of threads.
pub(super) struct Caches {
    shards: Box<[Cache]>,
    /// How many names are remembered as described.
    names: usize,
}

#[derive(Default)]
#[repr(align(128))]
struct Cache(RwLock<Known>);

#[derive(Default)]
pub(super) struct Known {
    counters: Map<::metrics::Counter>,
    gauges: Map<::metrics::Gauge>,
    histograms: Map<::metrics::Histogram>,
    described: [HashSet<KeyName>; 3],
}

type Map<H> = HashMap<Key, H, BuildHasherDefault<Hashed>>;

impl Caches {
    pub(super) fn new(names: usize) -> Self {
        Self { shards: (0..shards::count()).map(|_| Cache::default()).collect(), names }
    }

    #[inline]
    fn mine(&self) -> &RwLock<Known> {
        &self.shards[Shard::current().among(self.shards.len())].0
    }

    #[inline]
    pub(super) fn get<H: Handle>(&self, key: &Key) -> Option<H> {
        let known = self.mine().read().unwrap_or_else(PoisonError::into_inner);
        H::known(&known).get(key).cloned()
    }

    /// How many keys of counters all shards remember.
    #[cfg(test)]
    pub(super) fn counters(&self) -> usize {
        let counters = |cache: &Cache| cache.0.read().unwrap().counters.len();
        self.shards.iter().map(counters).sum()
    }

    pub(super) fn insert<H: Handle>(&self, key: Key, handle: H) {
        let mut known = self.mine().write().unwrap_or_else(PoisonError::into_inner);
        H::known_mut(&mut known).insert(key, handle);
    }

    /// Whether a metric is known to be described.
    pub(super) fn is_described(&self, kind: Kind, name: &KeyName) -> bool {
        let known = self.mine().read().unwrap_or_else(PoisonError::into_inner);
        known.described[kind as usize].contains(name)
    }

    /// Remembers that a metric is described.
    pub(super) fn set_described(&self, kind: Kind, name: &KeyName) {
        let mut known = self.mine().write().unwrap_or_else(PoisonError::into_inner);
        let described = &mut known.described[kind as usize];
        if described.len() < self.names {
            described.insert(name.to_retained());
        }
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caches").finish_non_exhaustive()
    }
}

/// The handles of the facade.
pub(super) trait Handle: Clone {
    const KIND: Kind;
    /// One that records nothing.
    fn noop() -> Self;
    /// One that writes to `instrument`, if that is of its kind. It has a count of references of
    /// its own, which only the threads of one shard touch.
    fn of(instrument: Instrument) -> Option<Self>;
    fn known(known: &Known) -> &Map<Self>;
    fn known_mut(known: &mut Known) -> &mut Map<Self>;
}

macro_rules! handles {
    ($($name:ident in $field:ident),*) => {$(
        impl Handle for ::metrics::$name {
            const KIND: Kind = Kind::$name;
            fn noop() -> Self {
                ::metrics::$name::noop()
            }
            fn of(instrument: Instrument) -> Option<Self> {
                match instrument {
                    Instrument::$name(own) => Some(Self::from_arc(Arc::new(own))),
                    _ => None,
                }
            }
            fn known(known: &Known) -> &Map<Self> {
                &known.$field
            }
            fn known_mut(known: &mut Known) -> &mut Map<Self> {
                &mut known.$field
            }
        }
    )*};
}
handles!(Counter in counters, Gauge in gauges, Histogram in histograms);

/// A key brings its hash along, so there is nothing to compute.
#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    /// No key writes bytes; should one ever do, it is only slower to find.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
