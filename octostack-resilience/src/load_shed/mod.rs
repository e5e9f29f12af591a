//! Rejects calls while a service is not ready, instead of letting them queue in front of it.
//!
//! # Why
//! A Tower service says that it is busy by not getting ready, and whoever calls it then waits: with
//! no limit in time, in no order, and holding a request each. When a service is busy for longer than
//! a moment, those that wait are answered so late that nobody wants the answer. Turned away at once,
//! they can try elsewhere, or say so to their own callers.
//!
//! # How it judges
//! * It asks the inner service whether it is ready, and is always ready itself. A call that comes
//!   when the inner service was not is rejected as [`Overloaded`](crate::PolicyErrorKind::Overloaded),
//!   with [`retry_after`](LoadShedConfig::retry_after) as a hint if there is one.
//! * An inner service that *fails* to get ready is another matter: that error is passed on.
//! * A call that is rejected leaves nothing behind: neither readiness nor a place in a queue that the
//!   inner service had given to it.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | a call that comes too early is counted, and waits inside its future until the inner service is ready |
//! | `disabled` | the same, uncounted |
//! | `forced_open` | every call is rejected, ready or not |
//!
//! By hand you say yourself whether there is room: `shed.admit(pool.idle() > 0)?`.
//!
//! # What it counts
//! Each call is *permitted* or *rejected*, when it comes; `shadow_rejected` would have been.
//!
//! # Where in the stack
//! Right around what limits itself by readiness: a `ConcurrencyLimit` or `Buffer` of Tower, a client
//! with a bounded pool. Our own policies reject in `call` and are ready whenever the service is, so
//! around a [bulkhead](crate::bulkhead) it has nothing to do. What stands outside of it never waits
//! for readiness any more.
//!
//! # What it costs
//! One load and one increment. No allocation, no lock, no clock.
//!
//! # What it does not do
//! It looks at readiness only: not at load, latency or priority. A service that gets ready step by
//! step and forgets that when it is cloned never gets there behind it, since a call that is rejected
//! starts it anew: put a buffer around such a service. And a caller that does not ask for readiness
//! before it calls, against Tower's contract, is rejected.
//!
//! # Example
//! ```
//! use octostack_resilience::{Error, LoadShed, PolicyErrorKind, error};
//! use std::convert::Infallible;
//! use std::task::{Context, Poll, Waker};
//! use tower::{Service, ServiceBuilder};
//!
//! /// A service that is busy until something happens that never does.
//! #[derive(Clone)]
//! struct Busy;
//!
//! impl Service<u32> for Busy {
//!     type Response = u32;
//!     type Error = Infallible;
//!     type Future = std::future::Ready<Result<u32, Infallible>>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
//!         Poll::Pending
//!     }
//!
//!     fn call(&mut self, request: u32) -> Self::Future {
//!         std::future::ready(Ok(request))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shed = LoadShed::builder("reports.shed").build()?;
//! let mut reports =
//!     ServiceBuilder::new().layer(shed.layer()).layer(error::layer()).service(Busy);
//!
//! assert!(reports.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
//! let Err(Error::Policy(error)) = reports.call(4).await else { panic!("not rejected") };
//! assert_eq!(error.kind, PolicyErrorKind::Overloaded);
//!
//! // By hand, for synchronous code: whether there is room is yours to say.
//! let queue: Vec<u32> = Vec::with_capacity(8);
//! shed.admit(queue.len() < 8)?;
//! # Ok(())
//! # }
//! ```
mod builder;
mod config;
mod future;
mod gate;
mod layer;
mod shared;

pub use builder::LoadShedBuilder;
pub use config::LoadShedConfig;
pub use future::{Call, ResponseFuture};
pub use layer::{LoadShedLayer, LoadShedService};
pub use shared::Shared;

use crate::error::{FromPolicy, MapError, PolicyError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use std::sync::Arc;

/// A load shed; see the [module docs](self).
///
/// Clones are cheap and share settings and counters.
#[derive(Clone, Copy, Debug)]
pub struct LoadShed<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(LoadShed, LoadShedBuilder, LoadShedConfig, modes: "enforce, shadow, disabled and `forced_open`");

impl<H: Handle<Shared>> LoadShed<H> {
    /// A Tower layer around this policy. All services of all its layers share its settings and
    /// counters; each has its own readiness.
    pub fn layer(&self) -> LoadShedLayer<Plain, H> {
        LoadShedLayer::new(self.clone())
    }

    /// Decides one call by hand; `ready` says whether there is room for it.
    ///
    /// # Errors
    /// [`Overloaded`](crate::PolicyErrorKind::Overloaded), if there is not, and in mode
    /// `forced_open` always.
    #[inline]
    pub fn admit(&self, ready: bool) -> Result<(), PolicyError> {
        self.shared.admit(ready)
    }

    /// Runs a future if there is room for it, which `ready` says.
    ///
    /// The policy decides now; a future that is rejected never starts. If another policy guards the
    /// future already, use [`around`](Self::around).
    #[inline]
    pub fn call<F, T, E>(&self, ready: bool, future: F) -> Call<MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(ready, MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    #[inline]
    pub fn around<F, T, E>(&self, ready: bool, future: F) -> Call<F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(self.admit(ready), future)
    }
}
