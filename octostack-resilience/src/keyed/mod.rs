//! One unit of a policy for each key: what the keyed circuit breaker and the keyed bulkhead share.
//!
//! `store.rs` has all keys in parts, `part.rs` those under one lock, `room.rs` counts all. No call is decided under that
//! lock: it is held while a unit is found, and the call then goes on with the unit.
mod future;
mod handle;
mod part;
mod room;
mod store;

pub use future::{KeyedFuture, OwnKey};
pub(crate) use handle::{keyed_builder, keyed_handle, keyed_layer};
pub(crate) use store::Store;

use crate::settings::require;
use octostack_core::Clock;
use octostack_core::duration::format;
use octostack_core::inspect::Problem;
use std::sync::Arc;
use std::time::Duration;

const MOST_KEYS: u32 = 1_000_000;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How many keys a page shows at most.
pub(crate) const SHOWN: usize = 50;

/// How a key is shown to operators.
pub(crate) type ShowKey<K> = Arc<dyn Fn(&K) -> String + Send + Sync>;

/// The state of a policy for one key.
pub(crate) trait Unit: Send + Sync + Sized {
    /// What one is made of.
    type Rules: Clone;
    /// What it counts.
    type Sum: Copy + Default;

    /// A new one; `label` is its key in words, if keys are shown.
    fn make(rules: &Self::Rules, label: Option<Arc<str>>, clock: &impl Clock) -> Self;

    /// Whether it may go when another key needs its place. Nobody uses it when this is asked.
    fn at_rest(&self) -> bool;

    /// Whether it may go when nobody has asked for it in a long time. Nobody uses it when this is
    /// asked.
    fn is_stale(&self, clock: &impl Clock) -> bool;

    /// Adds what it has counted.
    fn add_to(&self, sum: &mut Self::Sum);

    /// Adds what others have counted.
    fn merge(sum: &mut Self::Sum, other: Self::Sum);
}

/// What a keyed policy goes by.
pub(crate) struct KeyedRules<U: Unit> {
    pub(crate) each: U::Rules,
    pub(crate) max_keys: u32,
    pub(crate) idle_for: Duration,
}

/// What is wrong with the settings that all keyed policies have.
pub(crate) fn problems_of_keys(all: &mut Vec<Problem>, max_keys: u32, idle_for: Duration) {
    require(all, (1..=MOST_KEYS).contains(&max_keys), "max_keys", || {
        format!("{max_keys} is out of range: 1 to {MOST_KEYS}")
    });
    require(all, (SHORTEST..=LONGEST).contains(&idle_for), "idle_for", || {
        format!("{} is out of range: 1s to 1day", format(idle_for))
    });
}
