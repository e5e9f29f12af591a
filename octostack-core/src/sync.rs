//! `std`, or loom's model of it: the one place that decides.
//!
//! Files that hold atomics or locks take them from here, so that
//! `RUSTFLAGS="--cfg octostack_loom" cargo test` explores their interleavings. The cfg is our own
//! because plain `--cfg loom` also switches off half of tokio.
#[cfg(not(octostack_loom))]
pub use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak, atomic};

#[cfg(octostack_loom)]
pub use loom::sync::{Arc, Mutex, MutexGuard, RwLock, atomic};
#[cfg(octostack_loom)]
pub use std::sync::{PoisonError, Weak};

/// Locks, also after a panic of another holder.
///
/// Sound where every critical section leaves the value consistent at each step that can panic;
/// ours only move plain values.
#[inline]
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
