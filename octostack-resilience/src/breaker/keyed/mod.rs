//! A circuit breaker for each key: an endpoint, a tenant.
//!
//! # Why
//! One breaker for all tenants opens for all when one of them fails, or, if that one is small among
//! many, never. Here each key has a breaker of its own: an outage of one rejects no other.
//!
//! # How it works
//! The first call of a key makes its breaker. All go by the same
//! [settings](KeyedCircuitBreakerConfig); a change of those reaches the breakers that are there,
//! and they keep their windows.
//!
//! * At most [`max_keys`](KeyedCircuitBreakerConfig::max_keys) have one at once. When there is no
//!   place for a new key, one of 16 others goes: of those that are closed with no call in flight the
//!   one that was used least recently. If none of them is, the new key shares one more breaker with
//!   all that have no place; `octostack_circuit_breaker_overflow_total` counts such calls.
//! * One that nobody has asked for in [`idle_for`](KeyedCircuitBreakerConfig::idle_for) goes if it
//!   is closed, or its wait is over, with no call in flight. There is no task for that: each call
//!   looks at one other key, and whoever asks for the numbers at all.
//! * From 128 on, `max_keys` are divided among up to 32 parts with a lock each, and keys fall into
//!   them by chance: the first part is full a little before all are.
//! * A permit keeps its breaker, so no result is lost. What breakers that are gone have counted
//!   stays in the totals.
//!
//! # What it costs
//! Over a [`CircuitBreaker`]: one read of the clock, a hash, a lock that is
//! held while one entry is found, and two reference counts. `Eq` of the key runs under that lock. No
//! allocation for a key that is present. Whoever asks for the numbers looks at all keys, one part
//! under one hold of its lock. A key takes about 1.5 KiB.
//!
//! # What it does not do
//! An error of readiness has no key, so it is in no window. It cannot know whether a key is true.
//!
//! # Example
//! ```
//! use octostack_resilience::{CircuitBreakerConfig, KeyedCircuitBreaker, breaker::State};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let each = CircuitBreakerConfig { consecutive_failures: 3, ..Default::default() };
//! let tenants = KeyedCircuitBreaker::<String>::builder("tenants").each(each).build()?;
//!
//! let (red, blue) = ("red".to_owned(), "blue".to_owned());
//! for _ in 0..3 {
//!     let _ = tenants.call(&red, async { Err::<(), _>("connection refused") }).await;
//! }
//! assert_eq!(tenants.state(&red), State::Open);
//! assert_eq!(tenants.call(&blue, async { Ok::<_, &str>(7) }).await, Ok(7));
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod layer;
mod shared;
mod unit;

pub use builder::KeyedCircuitBreakerBuilder;
pub use config::KeyedCircuitBreakerConfig;
pub use layer::{KeyedCircuitBreakerLayer, KeyedCircuitBreakerService};

use super::future::ResponseFuture;
use super::{CircuitBreaker, Permit, Shared as Breaker, State};
use crate::error::{FromPolicy, MapError, PolicyError};
use crate::keyed::{OwnKey, keyed_handle};
use crate::protocol::Plain;
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

/// A circuit breaker for each key; see the [module docs](self).
///
/// Clones are cheap and share the breakers.
pub struct KeyedCircuitBreaker<K> {
    shared: Arc<shared::Shared<K>>,
}

keyed_handle!(KeyedCircuitBreaker, KeyedCircuitBreakerBuilder, KeyedCircuitBreakerConfig, modes: "enforce, shadow, disabled, `forced_open` and `forced_closed`");

impl<K: Hash + Eq + Clone + Send + Sync + 'static> KeyedCircuitBreaker<K> {
    /// A Tower layer around this breaker, which finds the key of a request by `key`. A request
    /// without one (`None`) passes unguarded. Equal keys of different layers are one.
    pub fn layer<Req, E>(&self, key: E) -> KeyedCircuitBreakerLayer<Plain, OwnKey<Self, E>>
    where
        E: Fn(&Req) -> Option<K>,
    {
        KeyedCircuitBreakerLayer::new(OwnKey { policy: self.clone(), key })
    }

    /// Runs a future under the breaker of `key`: an `Ok` is a success, an `Err` a failure.
    ///
    /// The breaker decides now; the future starts when the result is polled. If another policy
    /// guards the future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(
        &self,
        key: &K,
        future: F,
    ) -> ResponseFuture<MapError<F>, Plain, Arc<Breaker>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(key, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is.
    #[inline]
    pub fn around<F, T, E>(&self, key: &K, future: F) -> ResponseFuture<F, Plain, Arc<Breaker>>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        ResponseFuture::of(self.admit(key), future)
    }

    /// Asks to make one call of `key` by hand.
    ///
    /// # Errors
    /// [`CircuitOpen`](crate::PolicyErrorKind::CircuitOpen), with the time to wait if it is known.
    #[inline]
    pub fn admit(&self, key: &K) -> Result<Permit<Arc<Breaker>>, PolicyError> {
        self.admit_at(key, &SystemClock)
    }

    /// As [`admit`](Self::admit), with the time of another clock.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_at(
        &self,
        key: &K,
        clock: &impl Clock,
    ) -> Result<Permit<Arc<Breaker>>, PolicyError> {
        let shared = self.shared.store.unit(key, clock);
        CircuitBreaker { shared }.admit_at(clock)
    }

    /// The state that calls of `key` meet: [`Closed`](State::Closed) for one that has no breaker of
    /// its own.
    pub fn state(&self, key: &K) -> State {
        let state = self.shared.store.look_at(key, |breaker| breaker.machine.state());
        state.unwrap_or(State::Closed)
    }
}
