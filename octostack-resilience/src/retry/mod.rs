//! Attempts a failed call again, without making an outage worse.
//!
//! # Why
//! Most failures of a call across a network are gone a moment later, and a second attempt hides
//! them from the caller. But when a dependency is overloaded, every client that repeats its calls
//! multiplies the load that keeps it down. So a retry needs limits that hold when everything fails,
//! waits that do not line up, and an idea of which calls may be repeated at all.
//!
//! # How it decides
//! * **What failed.** The protocol judges the answer. Failures and overloads may be repeated:
//!   errors, 5xx, 429, a timeout, an injected fault. What another policy *refused* is not: an open
//!   breaker stays open.
//! * **What may be repeated.** HTTP requests that are idempotent by method, by `Idempotency-Key` or
//!   by [`assume_idempotent()`](RetryLayer::assume_idempotent), with a body of at most 64 KiB;
//!   see [`HttpRequests`] and [`GrpcRequests`]. Any of them if the error proves that it was
//!   [never sent](is_never_sent). Other requests if they are `Clone`: adding the layer says that
//!   they may be executed twice.
//! * **How often.** [`max_attempts`](RetryConfig::max_attempts) for one call, and a
//!   [budget](RetryBudget) for all of them together: a share of the traffic and a few a second.
//!   When everything fails, the load grows by that share and not threefold. A repeat that is paid
//!   for and not made, because the caller left, goes back.
//! * **When.** After a random wait that grows from [`base_delay`](RetryConfig::base_delay) to
//!   [`max_delay`](RetryConfig::max_delay) as [`jitter`](RetryConfig::jitter) says. A wait that the
//!   service asks for (`Retry-After`, gRPC pushback) comes on top of it; above
//!   [`max_retry_after`](RetryConfig::max_retry_after) the call ends at once instead.
//! * **Until when.** A wait that would not end before the [deadline](crate::deadline) of the caller
//!   is not begun: the call ends with the answer that it has.
//!
//! A call ends with the answer of its last attempt. Only if the deadline passes between two of
//! them, when the answer of the one is gone and the other must not begin, the policy has a word of
//! its own: [`DeadlinePassed`](crate::PolicyErrorKind::DeadlinePassed). Its decisions are counted
//! by repeat: `permitted` were decided, `rejected` met an empty budget, `shadow_rejected` were
//! withheld in shadow mode. Outcomes are counted by call.
//!
//! # Where in the stack
//! Outside everything that belongs to one attempt (breaker, bulkhead, attempt timeout), inside the
//! total timeout. At one level of the system only: three layers of three attempts are 27 calls.
//!
//! # What it costs
//! A call that succeeds: a clone of the request and of the inner service, and one atomic increment;
//! two loads while the budget is full. No clock, no random number, no lock. After a failure: the
//! clock, for the deadline and the budget, and a timer.
//!
//! # What it does not do
//! It does not start attempts side by side, or repeat a call whose answer began well and broke off
//! in its body.
//!
//! # Example
//! ```
//! use octostack_resilience::{Error, Retry};
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let retry = Retry::builder("inventory.retry").max_attempts(3).build()?;
//!
//! // A service that fails once.
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let flaky = service_fn(|item: u32| async move {
//!     match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0 => Err(Error::Inner("connection reset")),
//!         _ => Ok(item * 10),
//!     }
//! });
//! let stock = ServiceBuilder::new().layer(retry.layer()).service(flaky);
//! assert_eq!(stock.oneshot(4).await, Ok(40));
//!
//! // Anything that is no service: the closure makes one attempt.
//! let row = retry
//!     .call(|attempt| async move {
//!         if attempt < 3 { Err(Error::Inner("deadlock")) } else { Ok("row") }
//!     })
//!     .await;
//! assert_eq!(row, Ok("row"));
//! # Ok(())
//! # }
//! ```
mod attempts;
#[cfg(feature = "http")]
mod body;
mod budget;
mod builder;
mod call;
mod config;
#[cfg(feature = "backoff")]
mod foreign;
#[cfg(feature = "http")]
mod http;
mod layer;
mod machine;
mod repeat;
mod schedule;
mod shared;
mod unsent;

pub use attempts::Attempts;
#[cfg(feature = "http")]
pub use body::{Replay, ReplayBody};
pub use budget::RetryBudget;
pub use builder::RetryBuilder;
use call::Words;
pub use call::{Call, Judge};
pub use config::RetryConfig;
#[cfg(feature = "http")]
pub use http::{GrpcRequests, HttpRequests, KeptRequest};
pub use layer::{ResponseFuture, RetryLayer, RetryService};
pub use repeat::{Cloned, Next, Repeat, RepeatAfter};
pub use schedule::Jitter;
pub use shared::Shared;
pub use unsent::{BySource, NeverSent, Untold, is_never_sent};

use crate::error::FromPolicy;
use crate::handle::Handle;
use crate::outcome::Outcome;
use crate::policy::policy_handle;
use crate::protocol::{Plain, Protocol};
use std::sync::Arc;

/// A retry policy; see the [module docs](self).
///
/// Clones are cheap and share the state.
#[derive(Clone, Copy, Debug)]
pub struct Retry<H = Arc<Shared>> {
    shared: H,
}

policy_handle!(Retry, RetryBuilder, RetryConfig, modes: "enforce, shadow and disabled");

impl<H: Handle<Shared>> Retry<H> {
    /// A Tower layer around this policy. All services of all its layers share the state.
    pub fn layer(&self) -> RetryLayer<Plain, H> {
        RetryLayer::new(self.clone())
    }

    /// Runs an operation until it succeeds or may not be repeated. The closure gets the number of
    /// the attempt, from 1, and makes the future of that attempt.
    ///
    /// The error type must be able to tell what a policy further in refused:
    /// [`Error<E>`](crate::Error) from another policy's `call`, `BoxError`, or a type of your own.
    /// For any other use [`call_with`](Self::call_with).
    #[inline]
    pub fn call<Op, F, T, E>(&self, operation: Op) -> Call<'_, Op, F, Judge<F::Output>>
    where
        Op: FnMut(u32) -> F,
        F: Future<Output = Result<T, E>>,
        E: FromPolicy,
    {
        let classify: Judge<F::Output> = |output| Plain.classify(output);
        let words = Words {
            retry_after: |output| Plain.retry_after(output),
            refuse: Some(|error| Plain.reject(error)),
        };
        Call::new(&self.shared, operation, classify, words)
    }

    /// As [`call`](Self::call), for any output. The second closure judges it: only
    /// [`Failure`](Outcome::Failure) and [`Overloaded`](Outcome::Overloaded) are repeated.
    ///
    /// It cannot say that the deadline has passed, so an attempt that is late, because the thread
    /// was busy when its wait ended, begins all the same.
    ///
    /// ```
    /// use octostack_resilience::{Outcome, Retry};
    /// use std::io::{Error, ErrorKind};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let retry = Retry::builder("files").build()?;
    /// let judge = |output: &Result<u32, Error>| match output {
    ///     Ok(_) => Outcome::Success,
    ///     Err(error) if error.kind() == ErrorKind::NotFound => Outcome::Ignored,
    ///     Err(_) => Outcome::Failure,
    /// };
    /// let mut attempts = 0;
    /// let operation = |attempt| {
    ///     attempts = attempt;
    ///     async { Err(Error::from(ErrorKind::NotFound)) }
    /// };
    /// assert!(retry.call_with(operation, judge).await.is_err());
    /// assert_eq!(attempts, 1, "a file that is not there will not be there in a moment");
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn call_with<Op, F, C>(&self, operation: Op, classify: C) -> Call<'_, Op, F, C>
    where
        Op: FnMut(u32) -> F,
        F: Future,
        C: Fn(&F::Output) -> Outcome,
    {
        Call::new(&self.shared, operation, classify, Words::NONE)
    }

    /// Starts a call by hand, for synchronous code or a loop of your own.
    ///
    /// ```
    /// use octostack_resilience::{Outcome, Retry};
    ///
    /// let retry = Retry::builder("inventory").build()?;
    /// let mut attempts = retry.attempts();
    /// let mut waits = Vec::new();
    /// while let Some(wait) = attempts.after(Outcome::Failure, None) {
    ///     waits.push(wait); // sleep so long, then try again
    /// }
    /// assert_eq!(waits.len(), 2);
    /// # Ok::<_, octostack_resilience::SettingsError>(())
    /// ```
    #[inline]
    pub fn attempts(&self) -> Attempts<H> {
        Attempts::new(self.shared.clone())
    }

    /// The budget, to share it with others.
    pub fn budget(&self) -> &RetryBudget {
        &self.shared.budget
    }
}
