//! Lets only so many calls run at once, so that one slow dependency cannot take everything.
//!
//! # Why
//! When a dependency gets slow, calls to it pile up. Each holds a connection, memory and a caller
//! that waits; soon the service has nothing left for the calls that would go well. A bulkhead gives
//! the dependency a fixed number of places. What does not fit is rejected at once, or waits for a
//! short time in a short queue.
//!
//! # How it judges
//! * A call takes a place if one is free, and gives it back when its future ends or is dropped.
//! * If none is free, up to [`max_queue`](BulkheadConfig::max_queue) calls wait, each up to
//!   [`max_wait`](BulkheadConfig::max_wait). The first that came is the first that goes; nobody
//!   overtakes the queue. Everything else is rejected.
//! * Nobody waits for a place longer than the [caller waits](crate::deadline) for the answer. A call
//!   that is too late already is not queued, and a place that comes too late goes on to the next;
//!   both are refused as [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed).
//! * A call that leaves the queue without a place counts as rejected, whether its wait or its
//!   caller ended it: else an outer timeout shorter than the wait would hide that the bulkhead is
//!   full. So each call ends as permitted or as rejected.
//! * A call that waits holds no readiness of the inner service, so it keeps nobody else from it.
//!   Its clone of the service is asked again once the call has its place.
//! * The limit can change at any time. A larger one lets the queue in at once; a smaller one admits
//!   nothing until enough calls have ended.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | nothing is rejected and nothing waits; calls that found no place are counted |
//! | `disabled` | every call passes, without a place |
//! | `forced_open` | every call is rejected; those that wait already are when their wait ends |
//!
//! # Where in the stack
//! Inside the breaker, so that an open circuit takes no place; outside the attempt's timeout, so
//! that waiting here does not use up the time of the call.
//!
//! # What it costs
//! With a free place: one compare-and-swap to enter, which counts the call too, and one to leave.
//! No allocation, no lock, no clock. Rejecting takes no lock either; waiting does.
//!
//! # What it does not do
//! It does not find the right limit by itself. A place is held until the response begins, unless
//! the layer says [`until_body_end()`](BulkheadLayer::until_body_end). It tells nobody when to come back, since it does not know when a place
//! will be free.
//!
//! # Example
//! ```
//! use octostack_resilience::{Bulkhead, Error, PolicyErrorKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bulkhead = Bulkhead::builder("reports").max_concurrent(1).build()?;
//!
//! let running = bulkhead.try_admit()?;
//! let rejected = bulkhead.call(async { Ok::<_, &str>("never runs") }).await.unwrap_err();
//! let Error::Policy(error) = rejected else { panic!("not rejected") };
//! assert_eq!(error.kind, PolicyErrorKind::BulkheadFull);
//!
//! drop(running);
//! assert_eq!(bulkhead.call(async { Ok::<_, &str>("runs") }).await, Ok("runs"));
//! # Ok(())
//! # }
//! ```
//!
//! With a queue, around a service (feature `tokio`, whose timer ends the wait):
//!
//! ```
//! # #[cfg(feature = "tokio")] {
//! use octostack_resilience::{Bulkhead, error::BoxError};
//! use std::time::Duration;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let bulkhead = Bulkhead::builder("reports.queued")
//!     .max_concurrent(2)
//!     .max_queue(8)
//!     .max_wait(Duration::from_millis(200))
//!     .build()?;
//! let render = ServiceBuilder::new()
//!     .layer(bulkhead.layer())
//!     .service(service_fn(|page: u32| async move { Ok::<_, BoxError>(page + 1) }));
//! assert_eq!(render.oneshot(1).await?, 2);
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
mod builder;
mod config;
mod future;
mod layer;
mod permit;
mod permits;
mod shared;
mod wait;

pub use builder::BulkheadBuilder;
pub use config::BulkheadConfig;
pub use future::{Admit, Call, ResponseFuture};
pub use layer::{BulkheadLayer, BulkheadService};
pub use permit::Permit;
pub use shared::Shared;

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use permits::Answer;
use std::sync::Arc;

/// A bulkhead; see the [module docs](self).
///
/// Clones are cheap and share the places.
#[derive(Clone, Copy, Debug)]
pub struct Bulkhead<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(Bulkhead, BulkheadBuilder, BulkheadConfig, modes: "enforce, shadow, disabled and `forced_open`");

impl<H: Handle<Shared>> Bulkhead<H> {
    /// A Tower layer around this bulkhead. All services of all its layers share the places.
    pub fn layer(&self) -> BulkheadLayer<Plain, H> {
        BulkheadLayer::new(self.clone())
    }

    /// Runs a future in a place of this bulkhead.
    ///
    /// The place, or the place in the queue, is taken now; the future starts when the result is
    /// polled and there is a place. If another policy guards the future already, use
    /// [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<'_, MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        Call::new(&self.shared, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<'_, F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(&self.shared, future)
    }

    /// Takes a place if one is free; never waits.
    ///
    /// # Errors
    /// [`BulkheadFull`](crate::PolicyErrorKind::BulkheadFull).
    #[inline]
    pub fn try_admit(&self) -> Result<Permit<H>, PolicyError> {
        match self.shared.ask(false) {
            Answer::Placed => Ok(Permit::new(self.shared.clone(), true)),
            Answer::Passed => Ok(Permit::new(self.shared.clone(), false)),
            // Queued: not without the wish to wait.
            Answer::Queued(_) | Answer::Refused => Err(self.shared.full()),
        }
    }

    /// Takes a place, or waits for one as the settings allow.
    ///
    /// The place in the queue is taken now; the future gives
    /// [`BulkheadFull`](crate::PolicyErrorKind::BulkheadFull) if there is none or the wait ends, and
    /// [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed) if the caller's wait ended first.
    #[inline]
    pub fn admit(&self) -> Admit<H> {
        Admit::new(self)
    }

    /// How many calls have a place.
    pub fn in_flight(&self) -> u32 {
        self.shared.permits.counts().0
    }

    /// How many calls wait for a place.
    pub fn queued(&self) -> u32 {
        self.shared.permits.counts().1
    }
}
