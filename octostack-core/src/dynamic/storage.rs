//! Where a [`Dynamic`](super::Dynamic) keeps its value: arc-swap, or loom's `RwLock` under loom,
//! which gives the same guarantees and which loom can see into.
use super::Versioned;
use crate::sync::{Arc, Mutex, lock};

#[cfg(not(octostack_loom))]
#[allow(clippy::disallowed_types, reason = "the strategy is named, and it is the sound one")]
type Slot<T> = arc_swap::ArcSwapAny<Arc<Versioned<T>>, std::sync::RwLock<()>>;
#[cfg(octostack_loom)]
type Slot<T> = crate::sync::RwLock<Arc<Versioned<T>>>;

pub(super) struct Storage<T> {
    slot: Slot<T>,
    /// Serialises writers, so that generations are handed out in the order of the stores.
    writer: Mutex<()>,
}

impl<T> Storage<T> {
    /// Puts `value` in place as the next generation and calls `publish` with that number before
    /// the next writer gets its turn.
    pub(super) fn replace(&self, value: T, publish: impl Fn(u64)) -> u64 {
        let writing = lock(&self.writer);
        let generation = self.load().generation + 1;
        if cfg!(octostack_planted_bug) && generation.is_multiple_of(2) {
            publish(generation); // loom must notice: the number is out before the value
        }
        let old = self.swap(Arc::new(Versioned { generation, value }));
        publish(generation);
        drop(writing);
        drop(old); // outside the lock: dropping the value runs the user's code
        generation
    }

    #[cfg(not(octostack_loom))]
    pub(super) fn new(first: Arc<Versioned<T>>) -> Self {
        let slot = Slot::with_strategy(first, std::sync::RwLock::new(()));
        Self { slot, writer: Mutex::new(()) }
    }

    #[cfg(not(octostack_loom))]
    pub(super) fn load(&self) -> Arc<Versioned<T>> {
        self.slot.load_full()
    }

    #[cfg(not(octostack_loom))]
    fn swap(&self, new: Arc<Versioned<T>>) -> Arc<Versioned<T>> {
        self.slot.swap(new)
    }

    #[cfg(octostack_loom)]
    pub(super) fn new(first: Arc<Versioned<T>>) -> Self {
        Self { slot: Slot::new(first), writer: Mutex::new(()) }
    }

    #[cfg(octostack_loom)]
    pub(super) fn load(&self) -> Arc<Versioned<T>> {
        self.slot.read().unwrap().clone()
    }

    #[cfg(octostack_loom)]
    fn swap(&self, new: Arc<Versioned<T>>) -> Arc<Versioned<T>> {
        std::mem::replace(&mut *self.slot.write().unwrap(), new)
    }
}
