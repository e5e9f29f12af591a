//! Values that change while the service runs.
//!
//! A [`Dynamic`] holds one value and a generation number that goes up by one at each
//! [`store`](Dynamic::store). Whoever reads sees one whole value, never a mix of two, and never an
//! older one after a newer one: whichever of the two ways they read, and also if it was another
//! thread that saw the newer one and told them.
//!
//! There are two ways to read, and the difference matters on a hot path:
//!
//! | | cost | use it |
//! |---|---|---|
//! | [`Reader::get`] | one atomic load | where a `&mut` is at hand: a Tower service, a worker's loop |
//! | [`Dynamic::load`] | a short lock and an `Arc` clone, about 20 ns | everywhere else |
//!
//! A reader keeps the value it saw last alive until it reads again. So do not read secrets through
//! one: an idle reader would keep a revoked secret in memory.
//!
//! ```
//! use octostack_core::Dynamic;
//!
//! let greeting = Dynamic::new("hello".to_owned());
//! let mut reader = greeting.reader();
//! assert_eq!(reader.get(), "hello");
//!
//! assert_eq!(greeting.store("good day".to_owned()), 2);
//! assert_eq!(reader.get(), "good day");
//! assert_eq!(greeting.load().generation, 2);
//! ```
//!
//! The storage is arc-swap with the `RwLock` strategy, which is sound by construction; see
//! `docs/decisions/0003-arc-swap-strategy.md`.
mod storage;

#[cfg(all(test, octostack_loom))]
mod loom_tests;
#[cfg(all(test, not(octostack_loom)))]
mod tests;

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::ops::Deref;
use storage::Storage;

/// A value and the generation in which it became current.
#[derive(Debug)]
pub struct Versioned<T> {
    /// 1 for the initial value, one more for each later one.
    pub generation: u64,
    /// The value.
    pub value: T,
}

impl<T> Deref for Versioned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value that can be replaced while it is read; see the [module docs](self).
///
/// Clones are cheap and share the value.
pub struct Dynamic<T> {
    cell: Arc<Cell<T>>,
}

struct Cell<T> {
    /// Generation of `current`, or one behind it for the moment of a store: it is published after
    /// the value, so a reader that sees the new number finds the new value.
    generation: AtomicU64,
    current: Storage<T>,
}

impl<T> Cell<T> {
    /// The value in place, with its number published.
    ///
    /// A store may be between its two steps, the value in place and its number not yet. Whoever
    /// took that value and then asked a reader, itself or by way of another thread, would get the
    /// one before. So the number is published by whoever comes first.
    fn load(&self) -> Arc<Versioned<T>> {
        let now = self.current.load();
        // Each planted bug has generations of its own, since one would hide the other.
        let forgets = cfg!(octostack_planted_bug) && !now.generation.is_multiple_of(2);
        if self.generation.load(Ordering::Relaxed) < now.generation && !forgets {
            self.publish(now.generation);
        }
        now
    }

    /// Never goes back: who helps an earlier store may be late.
    fn publish(&self, generation: u64) {
        self.generation.fetch_max(generation, Ordering::Release);
    }
}

impl<T> Dynamic<T> {
    /// A dynamic value that starts as `value`, generation 1.
    pub fn new(value: T) -> Self {
        let first = Arc::new(Versioned { generation: 1, value });
        Self {
            cell: Arc::new(Cell { generation: AtomicU64::new(1), current: Storage::new(first) }),
        }
    }

    /// Replaces the value and returns its generation.
    ///
    /// Stores are serialised; readers are not held up.
    pub fn store(&self, value: T) -> u64 {
        let cell = &*self.cell;
        cell.current.replace(value, |generation| cell.publish(generation))
    }

    /// The current value: a short lock and an `Arc` clone.
    pub fn load(&self) -> Arc<Versioned<T>> {
        self.cell.load()
    }

    /// The current generation.
    pub fn generation(&self) -> u64 {
        self.cell.generation.load(Ordering::Acquire)
    }

    /// A reader that caches the value; reading through it is one atomic load.
    pub fn reader(&self) -> Reader<T> {
        Reader { cell: self.cell.clone(), seen: self.load() }
    }
}

impl<T> Clone for Dynamic<T> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone() }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Dynamic<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let now = self.load();
        f.debug_struct("Dynamic")
            .field("generation", &now.generation)
            .field("value", &now.value)
            .finish()
    }
}

impl<T: Default> Default for Dynamic<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A cached view of a [`Dynamic`]; see the [module docs](self) for when to use it.
pub struct Reader<T> {
    cell: Arc<Cell<T>>,
    seen: Arc<Versioned<T>>,
}

impl<T> Reader<T> {
    /// The current value. Costs one atomic load unless it changed since the last call.
    #[inline]
    pub fn get(&mut self) -> &T {
        &self.versioned().value
    }

    /// The current value with its generation.
    #[inline]
    pub fn versioned(&mut self) -> &Arc<Versioned<T>> {
        if self.cell.generation.load(Ordering::Acquire) != self.seen.generation {
            self.refresh();
        }
        &self.seen
    }

    #[cold]
    fn refresh(&mut self) {
        self.seen = self.cell.load();
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone(), seen: self.seen.clone() }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("generation", &self.seen.generation)
            .field("value", &self.seen.value)
            .finish_non_exhaustive()
    }
}
