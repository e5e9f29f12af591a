//! A rate limit for each key alone: a client, a tenant, an API key.
//!
//! # Why
//! A limit for all calls together lets one noisy caller use it up for everybody. Here each has its
//! own, so that the noisy one meets it and the others do not.
//!
//! # How it judges
//! As [its parent](super), each key for itself. The layer asks a [`KeyExtractor`] for the key of a
//! request, such as a closure: anything that can be hashed. [`ClientIp`] is one for the address of a
//! client, also behind proxies. A request without a key (`None`) passes and is not counted; in mode
//! `forced_open` it is rejected like all.
//!
//! # What it remembers
//! * Of a key only a hash of 64 bits, keyed by chance, and one point in time: no copy of what may
//!   be an address or a secret, and nothing of it on the admin port. Two keys of a million share a
//!   hash with a chance of 1 in 37 million; they then share a limit.
//! * A key that has its whole burst again is forgotten: it is as new. So the memory follows the
//!   keys that were seen within the last `burst * period / limit`.
//! * At most [`max_keys`](KeyedRateLimitConfig::max_keys), about 60 bytes each. When there is no
//!   room for a new key, one of 16 others goes: one that has recovered if there is any, else the
//!   one that has used least, which then starts with a whole burst. So a flood of new keys that
//!   are used less than those at their limit pushes out its own kind, and those stay there.
//!   `octostack_rate_limit_evictions_total` counts keys that were forgotten too early.
//! * From 128 on, `max_keys` are divided among up to 32 parts, and keys fall into them by chance:
//!   the first part is full a little before all are.
//!
//! # What it costs
//! For a key that it remembers: one read of the clock, a hash, and a lock that is held while one
//! entry is found and changed. No allocation. Two threads wait for each other only if their keys
//! are in the same part. A new key may make its part grow, and costs a look at up to 16 entries.
//! Whoever asks for the numbers looks at all entries, 256 under one hold of a lock. Without a limit
//! it is one load, and the key is not asked for.
//!
//! # What it does not do
//! It does not bound all keys together: put a [`RateLimit`](super::RateLimit) or a bulkhead beside
//! it. It cannot know whether a key is true: a header says what its sender wants.
//!
//! # Example
//! ```
//! # #[cfg(feature = "http")] {
//! use http::{Request, Response};
//! use octostack_resilience::KeyedRateLimit;
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limit = KeyedRateLimit::builder("tenants").limit(100).burst(1).build()?;
//! let by_tenant = |request: &Request<()>| request.headers().get("x-tenant").cloned();
//! let orders = ServiceBuilder::new()
//!     .layer(limit.layer(by_tenant).respond_http())
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, Infallible>(Response::new(bytes::Bytes::from("an order")))
//!     }));
//!
//! let of = |tenant| Request::builder().header("x-tenant", tenant).body(()).unwrap();
//! assert_eq!(orders.clone().oneshot(of("red")).await?.status(), 200);
//! let over = orders.clone().oneshot(of("red")).await?;
//! assert_eq!((over.status().as_u16(), &over.headers()["retry-after"]), (429, &"1".parse()?));
//! assert_eq!(orders.oneshot(of("blue")).await?.status(), 200);
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
//!
//! By hand: `limit.admit(&tenant)?`. Around a future: `limit.call(&tenant, future).await`.
mod builder;
#[cfg(feature = "http")]
mod client_ip;
mod config;
#[cfg(feature = "http")]
mod forwarded;
mod key;
#[cfg(feature = "http")]
mod network;
mod part;
mod shared;
mod store;

pub use builder::KeyedRateLimitBuilder;
#[cfg(feature = "http")]
pub use client_ip::ClientIp;
pub use config::KeyedRateLimitConfig;
pub use key::{By, KeyExtractor, KeyedRateLimitLayer, KeyedRateLimitService};
#[cfg(feature = "http")]
pub use network::{Network, NetworkError};
pub use shared::Shared;

use super::Call;
use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use crate::settings::SettingsError;
use octostack_core::{Clock, SystemClock};
use std::hash::Hash;
use std::sync::Arc;

/// A rate limit for each key; see the [module docs](self).
///
/// Clones are cheap and share the limits.
#[derive(Clone, Copy, Debug)]
pub struct KeyedRateLimit<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(KeyedRateLimit, KeyedRateLimitBuilder, KeyedRateLimitConfig, modes: "enforce, shadow, disabled and `forced_open`");

impl<H: Handle<Shared>> KeyedRateLimit<H> {
    /// Checks other settings, as [`reconfigure`](Self::reconfigure) would, and changes nothing. An
    /// operator's override does not matter here: one that does not go together with the new
    /// settings keeps what is in force until it ends.
    ///
    /// # Errors
    /// Everything that is wrong with them, and `max_keys` that need a restart.
    pub fn check(&self, settings: &KeyedRateLimitConfig) -> Result<(), SettingsError> {
        self.shared.check_settings(settings)
    }

    /// A Tower layer around this rate limit, which finds the key of a request by `key`. All
    /// services of all its layers share the limits, so equal keys of different layers are one.
    pub fn layer<Req, E>(&self, key: E) -> KeyedRateLimitLayer<Plain, By<E, H>>
    where
        E: KeyExtractor<Req>,
    {
        KeyedRateLimitLayer::new(By::new(self.clone(), key))
    }

    /// Runs a future if the limit of `key` allows one more call.
    ///
    /// The policy decides and counts now; the future starts when the result is polled. If another
    /// policy guards the future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, key: &(impl Hash + ?Sized), future: F) -> Call<MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(key, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, key: &(impl Hash + ?Sized), future: F) -> Call<F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(self.admit(key), future)
    }

    /// Asks to make one call of `key` by hand. There is nothing to give back.
    ///
    /// # Errors
    /// [`RateLimited`](crate::PolicyErrorKind::RateLimited), with the time to wait; without it in
    /// mode `forced_open`.
    #[inline]
    pub fn admit(&self, key: &(impl Hash + ?Sized)) -> Result<(), PolicyError> {
        self.admit_at(key, &SystemClock)
    }

    /// As [`admit`](Self::admit), with the time of another clock. A change of the settings goes by
    /// the system's clock all the same.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_at(
        &self,
        key: &(impl Hash + ?Sized),
        clock: &impl Clock,
    ) -> Result<(), PolicyError> {
        self.shared.admit(|| Some(key), 1, clock)
    }

    /// As [`admit`](Self::admit), for a call of `key` that counts as `weight` calls; see
    /// [weights](super#weights).
    ///
    /// # Errors
    /// As [`admit`](Self::admit), and without a time to wait if `weight` is more than the burst.
    #[inline]
    pub fn admit_weighted(
        &self,
        key: &(impl Hash + ?Sized),
        weight: u32,
    ) -> Result<(), PolicyError> {
        self.shared.admit(|| Some(key), weight, &SystemClock)
    }

    /// How many keys it remembers: those that do not have their whole burst.
    pub fn keys(&self) -> usize {
        self.shared.keys()
    }
}
