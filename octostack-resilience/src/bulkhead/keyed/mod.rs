//! Places for each key alone: a tenant, an endpoint.
//!
//! # Why
//! Places for all tenants together are gone when one tenant is slow. Here each key has as many of
//! its own.
//!
//! # How it works
//! As the keyed circuit breaker ([there](crate::breaker::KeyedCircuitBreaker)): the first call of a
//! key makes its bulkhead, all go by the same [settings](KeyedBulkheadConfig), at most
//! [`max_keys`](KeyedBulkheadConfig::max_keys) are there at once. Only one without a call in flight
//! or in the queue can be forgotten, for a new key or after
//! [`idle_for`](KeyedBulkheadConfig::idle_for); keys that find no room share the places of one more
//! bulkhead, and `octostack_bulkhead_overflow_total` counts their calls.
//!
//! # What it costs
//! Over a [`Bulkhead`]: one read of the clock, a hash, a lock that is held while
//! one entry is found, and two reference counts. `Eq` of the key runs under that lock. No allocation
//! for a key that is present. A key takes about 700 bytes.
//!
//! # What it does not do
//! It does not bound all keys together: put a [`Bulkhead`] inside it.
//!
//! # Example
//! ```
//! use octostack_resilience::KeyedBulkhead;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tenants = KeyedBulkhead::<&str>::builder("tenants").max_concurrent(1).build()?;
//! let running = tenants.try_admit(&"red")?;
//! assert!(tenants.try_admit(&"red").is_err());
//! assert!(tenants.try_admit(&"blue").is_ok());
//! assert_eq!(tenants.in_flight(&"red"), 1);
//! # drop(running);
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod layer;
mod shared;
mod unit;

pub use builder::KeyedBulkheadBuilder;
pub use config::KeyedBulkheadConfig;
pub use layer::{KeyedBulkheadLayer, KeyedBulkheadService};

use super::{Admit, Bulkhead, Call, Permit, Shared as Places};
use crate::error::{FromPolicy, MapError, PolicyError};
use crate::keyed::{OwnKey, keyed_handle};
use crate::protocol::Plain;
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

/// A bulkhead for each key; see the [module docs](self).
///
/// Clones are cheap and share the places.
pub struct KeyedBulkhead<K> {
    shared: Arc<shared::Shared<K>>,
}

keyed_handle!(KeyedBulkhead, KeyedBulkheadBuilder, KeyedBulkheadConfig, modes: "enforce, shadow, disabled and `forced_open`");

impl<K: Hash + Eq + Clone + Send + Sync + 'static> KeyedBulkhead<K> {
    /// A Tower layer around this bulkhead, which finds the key of a request by `key`. A request
    /// without one (`None`) passes without a place. Equal keys of different layers are one.
    pub fn layer<Req, E>(&self, key: E) -> KeyedBulkheadLayer<Plain, OwnKey<Self, E>>
    where
        E: Fn(&Req) -> Option<K>,
    {
        KeyedBulkheadLayer::new(OwnKey { policy: self.clone(), key })
    }

    /// Runs a future in a place of `key`.
    ///
    /// The place, or the place in the queue, is taken now; the future starts when the result is
    /// polled and there is a place. If another policy guards the future already, use
    /// [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, key: &K, future: F) -> Call<MapError<F>, Arc<Places>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(key, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is.
    #[inline]
    pub fn around<F, T, E>(&self, key: &K, future: F) -> Call<F, Arc<Places>>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(self.of(key, &SystemClock).shared, future)
    }

    /// Takes a place of `key` if one is free; never waits.
    ///
    /// # Errors
    /// [`BulkheadFull`](crate::PolicyErrorKind::BulkheadFull).
    #[inline]
    pub fn try_admit(&self, key: &K) -> Result<Permit<Arc<Places>>, PolicyError> {
        self.try_admit_at(key, &SystemClock)
    }

    /// As [`try_admit`](Self::try_admit), with the time of another clock.
    ///
    /// # Errors
    /// As [`try_admit`](Self::try_admit).
    #[inline]
    pub fn try_admit_at(
        &self,
        key: &K,
        clock: &impl Clock,
    ) -> Result<Permit<Arc<Places>>, PolicyError> {
        self.of(key, clock).try_admit()
    }

    /// Takes a place of `key`, or waits for one as the settings allow; see
    /// [`Bulkhead::admit`].
    #[inline]
    pub fn admit(&self, key: &K) -> Admit<Arc<Places>> {
        self.of(key, &SystemClock).admit()
    }

    /// How many calls of `key` have a place of its own.
    pub fn in_flight(&self, key: &K) -> u32 {
        self.shared.store.look_at(key, |places| places.permits.counts().0).unwrap_or(0)
    }

    /// How many calls of `key` wait for a place of its own.
    pub fn queued(&self, key: &K) -> u32 {
        self.shared.store.look_at(key, |places| places.permits.counts().1).unwrap_or(0)
    }

    #[inline]
    fn of(&self, key: &K, clock: &impl Clock) -> Bulkhead {
        Bulkhead { shared: self.shared.store.unit(key, clock) }
    }
}
