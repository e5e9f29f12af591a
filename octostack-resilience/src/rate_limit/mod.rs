//! Lets only so many calls pass in a time: all together, or for each key.
//!
//! # Why
//! One caller in a loop, or one bad deploy of a client, can ask for more than a service can do; and
//! a service can ask for more than the quota that it pays for. A rate limit says how many calls may
//! pass in a second, a minute or a day, and rejects the rest at once, with the time at which to
//! come back.
//!
//! | | limits | costs |
//! |---|---|---|
//! | [`RateLimit`] | all calls together: what this instance bears, or may send | a compare-and-swap |
//! | [`KeyedRateLimit`](keyed) | the calls of each key alone: a client, a tenant, an API key | a hash and a short lock |
//!
//! # How it judges
//! * `limit` calls in each `period`, evenly: after a call the next one has its place `period /
//!   limit` later. Who rested may send up to `burst` calls at once. So in any time span, however it
//!   lies, at most `burst` calls pass, and one more for each `period / limit` in it. There is no
//!   window that starts anew and lets twice the limit through around its edge.
//! * A call that is over the limit uses up nothing, never waits, and learns to the nanosecond when
//!   the next one may pass. Answers round that up.
//! * Another rate keeps what was used: 7 calls of a burst are 7 calls of the new burst, or all of
//!   it if it is smaller. What that cuts off recovers last, and what is left of it counts again when
//!   the burst grows: so a change that is undone is as if it had not been. Who leaves a slow rate
//!   does not wait for it. Only a `limit` of 0 forgets all.
//! * What a call came to does not matter, nor how long it took: it counts when it starts.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | nothing is rejected; calls over the limit are counted |
//! | `disabled` | every call passes and nothing is counted, as with a `limit` of 0 |
//! | `forced_open` | every call is rejected |
//!
//! # Weights
//! A call can count as several, such as a search that reads ten shards: `.weight(|request| 10)` on
//! the layer, or [`admit_weighted`](RateLimit::admit_weighted). All of its weight fits or the call
//! is rejected. One that weighs more than a whole burst can never pass, so it is rejected without a
//! time to come back; a weight of 0 passes and uses up nothing. The counters count calls.
//!
//! # Where in the stack
//! On the way in behind whatever sheds load without looking at who asks; on the way out outermost,
//! if a quota is for calls as the caller sees them, or inside the retry, if each attempt counts.
//!
//! # What it costs
//! One read of the clock, one compare-and-swap and one increment, on a cache line of their own. No
//! allocation, no lock. Without a limit four loads and no clock.
//!
//! # What it does not do
//! It does not queue or delay: a bulkhead does, for calls in flight. It knows of no other instance:
//! with four of them, four times the limit passes. It forgets with the process.
//!
//! # Example
//! ```
//! # #[cfg(feature = "tokio")] {
//! use octostack_resilience::{Error, PolicyErrorKind, RateLimit};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 60 a minute, at most 2 at once.
//! let limit = RateLimit::builder("geocoder")
//!     .limit(60)
//!     .period(Duration::from_secs(60))
//!     .burst(2)
//!     .build()?;
//!
//! let ask = || limit.call(async { Ok::<_, &str>("52.52 13.40") });
//! assert_eq!(ask().await, Ok("52.52 13.40"));
//! assert_eq!(ask().await, Ok("52.52 13.40"));
//!
//! let Err(Error::Policy(error)) = ask().await else { panic!("not rejected") };
//! assert_eq!(error.kind, PolicyErrorKind::RateLimited);
//! assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
//!
//! tokio::time::advance(Duration::from_secs(1)).await;
//! assert_eq!(ask().await, Ok("52.52 13.40"));
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
//!
//! By hand, for synchronous code: `limit.admit()?`. Around a service: `limit.layer()`.
mod builder;
mod config;
mod future;
mod gcra;
pub mod keyed;
mod layer;
mod limiter;
mod shared;

pub use builder::RateLimitBuilder;
pub use config::RateLimitConfig;
pub use future::{Call, ResponseFuture};
pub use keyed::{KeyedRateLimit, KeyedRateLimitConfig, KeyedRateLimitLayer};
pub use layer::{Admits, RateLimitLayer, RateLimitService, Weighed};
pub use shared::Shared;

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use octostack_core::{Clock, SystemClock};
use std::sync::Arc;

/// A rate limit for all calls together; see the [module docs](self).
///
/// Clones are cheap and share the limit.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(RateLimit, RateLimitBuilder, RateLimitConfig, modes: "enforce, shadow, disabled and `forced_open`");

impl<H: Handle<Shared>> RateLimit<H> {
    /// A Tower layer around this rate limit. All services of all its layers share the limit.
    pub fn layer(&self) -> RateLimitLayer<Plain, Self> {
        RateLimitLayer::new(self.clone())
    }

    /// Runs a future if the limit allows one more call.
    ///
    /// The policy decides and counts now; the future starts when the result is polled. If another
    /// policy guards the future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(self.admit(), future)
    }

    /// Asks to make one call by hand. There is nothing to give back.
    ///
    /// # Errors
    /// [`RateLimited`](crate::PolicyErrorKind::RateLimited), with the time to wait; without it in
    /// mode `forced_open`.
    #[inline]
    pub fn admit(&self) -> Result<(), PolicyError> {
        self.admit_at(&SystemClock)
    }

    /// As [`admit`](Self::admit), with the time of another clock. A change of the settings goes by
    /// the system's clock all the same.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_at(&self, clock: &impl Clock) -> Result<(), PolicyError> {
        self.shared.admit(1, clock)
    }

    /// As [`admit`](Self::admit), for a call that counts as `weight` calls; see
    /// [weights](self#weights).
    ///
    /// # Errors
    /// As [`admit`](Self::admit), and without a time to wait if `weight` is more than the burst.
    #[inline]
    pub fn admit_weighted(&self, weight: u32) -> Result<(), PolicyError> {
        self.shared.admit(weight, &SystemClock)
    }
}
