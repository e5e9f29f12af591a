//! Ends calls that take too long.
//!
//! # Why
//! A call without a time limit waits as long as the other side likes, and holds a connection,
//! memory and a caller while it does. Nobody waits for ever; so say for how long.
//!
//! # How it judges
//! * The call is polled first. An answer that is there wins, also in the very poll in which the
//!   time is up.
//! * The time runs from the first time that the call has to wait. One that answers at once never
//!   touches a timer or the clock.
//! * A call that is out of time is answered with [`TimedOut`](crate::PolicyErrorKind::TimedOut),
//!   which breakers count as a failure and retries may repeat, and which says in what
//!   [`Phase`](crate::Phase) it was. Its future is dropped with the future that held it.
//! * A call whose [deadline](crate::deadline) has passed is refused with
//!   [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed) before it starts.
//! * Another timeout counts for calls that start after the change.
//!
//! | mode | what happens |
//! |---|---|
//! | `enforce` | as above |
//! | `shadow` | the call goes on; that it took too long is counted |
//! | `disabled` | the call goes on |
//!
//! # What it reaches
//! By default the wait for the head of the answer. Layers can do more:
//!
//! * [`including_readiness()`](TimeoutLayer::including_readiness) times the wait for the inner
//!   service to get ready too;
//! * [`until_body_end()`](TimeoutLayer::until_body_end) times the body, and cuts it off;
//! * [`accept_deadline(…)`](TimeoutLayer::accept_deadline) lets the caller shorten the limit in a
//!   header of its request;
//! * [`forward_deadline(…)`](TimeoutLayer::forward_deadline) tells the next service what is left,
//!   less the [`margin`](TimeoutConfig::margin).
//!
//! Everything that is called inside a timeout that enforces knows until when somebody waits: see
//! [`deadline`](crate::deadline).
//!
//! # What it counts
//! Every call that ended is *permitted*; *rejected* are those whose deadline had passed. The outcome
//! is `success` if the call ended in time, whatever its result; `failure` if it was out of time;
//! `cancelled` if its caller went away; `ignored` if it panicked. In shadow, `shadow_rejected`
//! counts those out of time.
//!
//! # Where in the stack
//! Twice, with two policies: innermost, around each attempt; and outside the retry, around all
//! attempts and the waits between them. The first should be shorter.
//!
//! # What it costs
//! For a call that answers at once: one load, one increment and a thread-local. No allocation, no
//! lock, no clock. For one that waits: the timer of tokio, which lives inside the future.
//!
//! # What it does not do
//! It does not stop work that blocks its thread, nor work that was spawned elsewhere.
//!
//! # Example
//! ```
//! use octostack_resilience::{Error, PolicyErrorKind, Timeout};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let timeout = Timeout::builder("inventory.timeout").timeout(Duration::from_millis(250)).build()?;
//!
//! let slow = async {
//!     tokio::time::sleep(Duration::from_secs(1)).await;
//!     Ok::<_, &str>("too late")
//! };
//! let Err(Error::Policy(error)) = timeout.call(slow).await else { panic!("not timed out") };
//! assert_eq!(error.kind, PolicyErrorKind::TimedOut);
//!
//! let fast = async { Ok::<_, &str>("in time") };
//! assert_eq!(timeout.call(fast).await, Ok("in time"));
//! # Ok(())
//! # }
//! ```
#[cfg(feature = "http")]
mod body;
mod builder;
mod config;
mod future;
mod layer;
mod limit;
mod reach;
mod readiness;
mod run;
mod shared;
mod travel;

#[cfg(feature = "http")]
pub use body::{BodyInTime, TimedBody};
pub use builder::TimeoutBuilder;
pub use config::TimeoutConfig;
pub use future::{Call, ResponseFuture};
pub use layer::{TimeoutLayer, TimeoutService};
pub use reach::{Clocked, Reach};
pub use readiness::{Before, Calling, Readiness, Ready, Readying, Within};
pub use shared::Shared;
#[cfg(feature = "http")]
pub use travel::{Accepted, Forwarded};
pub use travel::{Travel, Unsaid};

use crate::error::{FromPolicy, MapError};
use crate::handle::Handle;
use crate::policy::policy_handle;
use crate::protocol::Plain;
use std::sync::Arc;

/// A timeout; see the [module docs](self).
///
/// Clones are cheap and share the limit and the counters.
#[derive(Clone, Copy, Debug)]
pub struct Timeout<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(Timeout, TimeoutBuilder, TimeoutConfig, modes: "enforce, shadow and disabled");

impl<H: Handle<Shared>> Timeout<H> {
    /// A Tower layer around this timeout.
    ///
    /// # Panics
    /// A call that has to wait panics outside a tokio runtime with its timer enabled.
    pub fn layer(&self) -> TimeoutLayer<Plain, H> {
        TimeoutLayer::new(self.clone())
    }

    /// Runs a future, and ends it if it takes too long.
    ///
    /// If another policy guards the future already, use [`around`](Self::around).
    ///
    /// # Panics
    /// When polled outside a tokio runtime with its timer enabled, if the future has to wait.
    #[inline]
    pub fn call<F, T, E>(&self, future: F) -> Call<'_, MapError<F>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.around(MapError::new(future))
    }

    /// As [`call`](Self::call), around the call of another policy, or any future whose error can
    /// carry a policy's word; the error type stays as it is. The
    /// [module docs of errors](crate::error#calls-within-calls) show it.
    ///
    /// # Panics
    /// As [`call`](Self::call).
    #[inline]
    pub fn around<F, T, E>(&self, future: F) -> Call<'_, F>
    where
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        Call::new(&self.shared, future)
    }
}
